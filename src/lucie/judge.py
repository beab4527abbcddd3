"""Compares results with what was published: a verdict for every claim, computed, never written by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import polars as pl

from lucie.claims import Claim, Exact, Ours, Precision, Rounding, Unjudged, published_cells
from lucie.errors import MismatchError
from lucie.manifest import Manifest, load_values
from lucie.project import Project
from lucie.records import load_record, source_of

REPRODUCED, WITHIN, EXPLAINED, DIFFERS = "reproduced", "within tolerance", "differs, explained", "differs"
ORDER = (DIFFERS, EXPLAINED, WITHIN, REPRODUCED)  # a table's verdict is that of its worst cell


@dataclass(frozen=True)
class Cell:
    """One compared number. ``deviation`` is ours minus published, None for words."""

    key: str
    published: str
    ours: str
    verdict: str
    deviation: float | None
    relative: float | None


@dataclass
class Verdict:
    """What became of a claim, with all that is needed to doubt it."""

    claim: str
    item: str
    says: str
    verdict: str
    reason: str
    published: str = ""
    value: str = ""
    tolerance: str = ""
    explanation: str = ""
    source: str = ""
    stage: str = ""
    cell: str = ""
    cells: dict[str, int] = field(default_factory=dict)
    differing: list[dict[str, Any]] = field(default_factory=list)
    largest_deviation: float | None = None
    largest_relative_deviation: float | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Judge:
    """Judges claims against the results in one tier's folder."""

    def __init__(self, project: Project, folder: Path) -> None:
        self._project = project
        self._folder = folder
        self._values = load_values(folder)
        self._manifest = Manifest.load(folder)

    def verdict(self, claim: Claim | Unjudged) -> Verdict:
        """The verdict on one claim.

        Raises MismatchError when the folder lacks the result that the claim needs.
        """
        if isinstance(claim, Unjudged):
            return Verdict(claim.id, claim.item, claim.says, claim.verdict, claim.reason)
        published = published_cells(claim.published, load_record(self._project, claim.published.record))
        cells = list(self._compare(claim, published, claim.ours, claim.tolerance))
        if claim.explanation and any(cell.verdict == DIFFERS for cell in cells):
            cells = self._explain(claim, published, cells)
        return self._sum_up(claim, cells)

    def _compare(
        self, claim: Claim, published: pl.DataFrame, ours: Ours, tolerance: Exact | Rounding | Precision
    ) -> Iterator[Cell]:
        results = self._ours(claim, ours)
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
            yield _compare_cell(name, str(row["published"]), str(row["ours"]), claim.published.scale, tolerance)

    def _ours(self, claim: Claim, ours: Ours) -> pl.DataFrame:
        if ours.value is not None:
            if ours.value not in self._values:
                raise self._missing(claim, f"value '{ours.value}'")
            return pl.DataFrame({"ours": [str(self._values[ours.value]["value"])]})
        path = self._folder / "tables" / f"{ours.table}.csv"
        if not path.is_file():
            raise self._missing(claim, f"table '{ours.table}'")
        table = pl.read_csv(path, infer_schema=False).fill_null("")
        missing = [column for column in [*claim.published.key, ours.column] if column not in table.columns]
        if missing:
            raise self._missing(claim, f"column '{missing[0]}' of table '{ours.table}'")
        return table.select(*claim.published.key, pl.col(str(ours.column)).alias("ours"))

    def _missing(self, claim: Claim, what: str) -> MismatchError:
        tier = f"Rerun it with: lucie run {claim.stage} --tier {claim.tier}"
        place = self._project.relative(self._folder)
        return MismatchError(f"Claim '{claim.id}' needs {what} of stage '{claim.stage}', which {place} lacks. {tier}")

    def _explain(self, claim: Claim, published: pl.DataFrame, cells: list[Cell]) -> list[Cell]:
        assert claim.explanation
        alternative = self._compare(claim, published, claim.explanation.alternative, claim.explanation.tolerance)
        return [
            Cell(**{**asdict(cell), "verdict": EXPLAINED})
            if cell.verdict == DIFFERS and other.verdict in (REPRODUCED, WITHIN)
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
            cell=self._cell(claim),
            cells=dict(counts),
            differing=[asdict(cell) for cell in off],
            largest_deviation=max(deviations, default=None),
            largest_relative_deviation=max(relatives, default=None),
        )

    def _cell(self, claim: Claim) -> str:
        if claim.ours.value:
            cell = self._values[claim.ours.value]["cell"]
        else:
            shown = self._manifest.stages[claim.stage].shown if claim.stage in self._manifest.stages else {}
            cell = shown.get(str(claim.ours.table), {}).get("cell")
        return f"{claim.stage}#{cell}"


def describe(tolerance: Exact | Rounding | Precision) -> str:
    """A tolerance in words."""
    if isinstance(tolerance, Precision):
        bounds = {"relative": tolerance.relative, "absolute": tolerance.absolute}
        return "precision: " + ", ".join(f"{name} {bound:g}" for name, bound in bounds.items() if bound)
    return tolerance.kind


def _compare_cell(key: str, published: str, ours: str, scale: float, tolerance: Exact | Rounding | Precision) -> Cell:
    wanted, got = _number(published), _number(ours)
    if wanted is None or got is None:
        verdict = REPRODUCED if published == ours else DIFFERS
        return Cell(key, published, ours, verdict, None, None)
    if scale != 1:
        got /= Decimal(repr(scale))
    gap = got - wanted
    relative = float(gap / wanted) if wanted else None
    return Cell(key, published, _plain(got), _verdict(wanted, gap, tolerance), float(gap), relative)


def _verdict(published: Decimal, gap: Decimal, tolerance: Exact | Rounding | Precision) -> str:
    if gap == 0:
        return REPRODUCED
    if isinstance(tolerance, Rounding):
        half_unit = Decimal(5).scaleb(int(published.as_tuple().exponent) - 1)
        return REPRODUCED if abs(gap) <= half_unit else DIFFERS
    if isinstance(tolerance, Precision):
        bound = max(Decimal(repr(tolerance.absolute)), abs(published) * Decimal(repr(tolerance.relative)))
        return WITHIN if abs(gap) <= bound else DIFFERS
    return DIFFERS


def _number(text: str) -> Decimal | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _plain(number: Decimal) -> str:
    return f"{number.normalize():f}" if number == number.to_integral() else str(number.normalize())


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
