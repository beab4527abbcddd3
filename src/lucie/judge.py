"""Compares results with what was published: a verdict for every claim, computed, never written by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import polars as pl

from lucie import committed, contradiction
from lucie.claims import (
    Claim,
    Committed,
    Contradiction,
    Expected,
    Judged,
    Ours,
    Published,
    Tolerance,
    Unjudged,
    published_cells,
)  # fmt: skip
from lucie.errors import MismatchError
from lucie.manifest import Manifest, load_values
from lucie.project import Project
from lucie.records import load_record, source_of
from lucie.tolerance import DIFFERS, EXPLAINED, HELD, REPRODUCED, WITHIN, Cell, compare, describe
from lucie.verdict import Verdict

ORDER = (DIFFERS, EXPLAINED, WITHIN, REPRODUCED)  # a table's verdict is that of its worst cell


class Judge:
    """Judges claims against the results in one tier's folder."""

    def __init__(self, project: Project, folder: Path) -> None:
        self._project = project
        self._folder = folder
        self._values = load_values(folder)
        self._manifest = Manifest.load(folder)
        published = project.results in folder.parents
        self._committed = self._values if published else load_values(project.results / folder.name)

    def verdict(self, claim: Judged | Unjudged) -> Verdict:
        """The verdict on one claim.

        Raises MismatchError when the folder lacks the result that the claim needs.
        """
        if isinstance(claim, Unjudged):
            return Verdict(claim.id, claim.item, claim.says, claim.verdict, claim.reason)
        if isinstance(claim, Contradiction):
            return self._contradiction(claim)
        if isinstance(claim, Committed):
            return self._rerun(claim)
        if isinstance(claim, Expected):
            return self._expected(claim)
        published = self._published(claim.published)
        cells = list(self._compare(claim, published, claim.ours, claim.tolerance))
        if claim.explanation and any(cell.verdict == DIFFERS for cell in cells):
            cells = self._explain(claim, published, cells)
        return self._sum_up(claim, cells)

    def _rerun(self, claim: Committed) -> Verdict:
        published = self._project.results in self._folder.parents
        ours = None if published else self._values
        return committed.verdict(claim, self._committed, ours)

    def _expected(self, claim: Expected) -> Verdict:
        value = float(self._ours(claim, claim.ours, [])["ours"][0])
        return Verdict(
            claim=claim.id,
            item=claim.item,
            says=claim.says,
            verdict=REPRODUCED if value >= claim.at_least else DIFFERS,
            reason=claim.reason,
            published=f"at least {claim.at_least:g}",
            value=f"{value:.4g}",
            tolerance="at least",
            source="said in advance, in the claim itself",
            stage=claim.stage,
            cell=self._cell(claim.stage, claim.ours),
        )

    def _contradiction(self, claim: Contradiction) -> Verdict:
        said = [
            contradiction.Said(
                statement=statement,
                text=str(self._published(statement)["published"][0]),
                explained=self._number(claim, statement.explained),
            )
            for statement in claim.statements
        ]
        found = contradiction.verdict(claim, said, self._number(claim, claim.ours))
        sources = [source_of(self._project, entry.record, entry.where) for entry in claim.statements]
        found.source = "; ".join(dict.fromkeys(sources))
        found.cell = self._cell(claim.stage, claim.ours) if claim.ours else ""
        return found

    def _number(self, claim: Contradiction, ours: Ours | None) -> str | None:
        return str(self._ours(claim, ours, [])["ours"][0]) if ours else None

    def _published(self, published: Published) -> pl.DataFrame:
        return published_cells(published, load_record(self._project, published.record))

    def _compare(self, claim: Claim, published: pl.DataFrame, ours: Ours, tolerance: Tolerance) -> Iterator[Cell]:
        results = self._ours(claim, ours, claim.published.key)
        key = claim.published.key
        if key:
            published = published.with_columns(pl.col(key).cast(pl.String))
            joined = published.join(results, on=key, how="left")
            if len(joined) != len(published):
                raise MismatchError(f"Claim '{claim.id}': {ours.name} has several rows for one published cell.")
        else:
            joined = pl.concat([published, results], how="horizontal")
        for row in joined.iter_rows(named=True):
            name = ", ".join(str(row[column]) for column in key if row[column] not in (None, ""))
            if row["ours"] is None:
                raise MismatchError(f"Claim '{claim.id}': {ours.name} has no row for the published cell {name}.")
            yield compare(name, str(row["published"]), str(row["ours"]), claim.published.scale, tolerance)

    def _ours(self, claim: Claim | Contradiction | Expected, ours: Ours, key: list[str]) -> pl.DataFrame:
        if ours.value is not None:
            if ours.value not in self._values:
                raise self._missing(claim, f"value '{ours.value}'")
            return pl.DataFrame({"ours": [str(self._values[ours.value]["value"])]})
        path = self._folder / "tables" / f"{ours.table}.csv"
        if not path.is_file():
            raise self._missing(claim, f"table '{ours.table}'")
        try:
            table = pl.read_csv(path, infer_schema=False).fill_null("")
        except pl.exceptions.PolarsError as error:
            place = self._project.relative(path)
            raise MismatchError(f"{place} is not a table ({error}). Restore it from git or rerun.") from error
        missing = [column for column in [*key, ours.column] if column not in table.columns]
        if missing:
            raise self._missing(claim, f"column '{missing[0]}' of table '{ours.table}'")
        return table.select(*key, pl.col(str(ours.column)).alias("ours"))

    def _missing(self, claim: Claim | Contradiction | Expected, what: str) -> MismatchError:
        tier = f"Rerun it with: lucie run {claim.stage} --tier {claim.tier}"
        place = self._project.relative(self._folder)
        return MismatchError(f"Claim '{claim.id}' needs {what} of stage '{claim.stage}', which {place} lacks. {tier}")

    def _explain(self, claim: Claim, published: pl.DataFrame, cells: list[Cell]) -> list[Cell]:
        assert claim.explanation
        alternative = self._compare(claim, published, claim.explanation.alternative, claim.explanation.tolerance)
        return [
            Cell(**{**asdict(cell), "verdict": EXPLAINED})
            if cell.verdict == DIFFERS and other.verdict in HELD
            else cell
            for cell, other in zip(cells, alternative, strict=True)
        ]

    def _sum_up(self, claim: Claim, cells: list[Cell]) -> Verdict:
        counts = Counter(cell.verdict for cell in cells)
        worst = next(verdict for verdict in ORDER if counts[verdict])
        off = [cell for cell in cells if cell.verdict in (DIFFERS, EXPLAINED)]
        deviations = [abs(cell.deviation) for cell in cells if cell.deviation is not None]
        relatives = [abs(cell.relative) for cell in cells if cell.relative is not None]
        single = cells[0] if not claim.published.key else None
        return Verdict(
            claim=claim.id,
            item=claim.item,
            says=claim.says,
            verdict=worst,
            reason=claim.reason,
            published=single.published if single else f"{len(cells)} cells",
            value=single.ours if single else f"{len(cells) - len(off)} equal",
            tolerance=describe(claim.tolerance),
            explanation=_explanation(claim, cells, off),
            source=source_of(self._project, claim.published.record, claim.published.where),
            stage=claim.stage,
            cell=self._cell(claim.stage, claim.ours),
            cells=dict(counts),
            differing=[asdict(cell) for cell in off],
            largest_deviation=max(deviations, default=None),
            largest_relative_deviation=max(relatives, default=None),
        )

    def _cell(self, stage: str, ours: Ours) -> str:
        if ours.value:
            return f"{stage}#{self._values[ours.value]['cell']}"
        shown = self._manifest.stages[stage].shown if stage in self._manifest.stages else {}
        return f"{stage}#{shown.get(str(ours.table), {}).get('cell')}"


def _explanation(claim: Claim, cells: list[Cell], off: list[Cell]) -> str:
    if not off:
        return ""
    explained = [cell for cell in off if cell.verdict == EXPLAINED]
    if not explained:
        return f"{len(off)} of {len(cells)} differ; no check explains it." if len(cells) > 1 else ""
    assert claim.explanation
    because = claim.explanation.because
    if not claim.published.key:
        return f"{explained[0].published} follows {because}."
    left = len(off) - len(explained)
    which = f"{len(explained)} of these {len(off)} equal" if left else f"all {len(off)} equal"
    return f"{len(off)} of {len(cells)} cells differ; {which} the published ones {because}."
