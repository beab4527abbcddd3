"""What the book is made from: the tiers' results, judged, with their notebooks; and what stops it.

Everything the pages say is looked up here, and a book is not made from results that do not hold together: a missing
notebook, a claim without its value, a value that nothing judges, a figure without alternative text.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from lucie import notebook as notebooks
from lucie.book import links
from lucie.claims import Claim, Judged, Unjudged, load_all
from lucie.config import read_yaml
from lucie.errors import MismatchError, UsageError
from lucie.judge import Judge
from lucie.manifest import Manifest, StageManifest, load_values
from lucie.notebook import RECORD
from lucie.project import Project
from lucie.shape import problem
from lucie.stages import Stage, Stages, get_tier
from lucie.tolerance import Cell
from lucie.verdict import Verdict
from lucie.verify import Report, judge_whole

SUMMARY = re.compile(r"\*\*(In short|En bref)\.\*\*\s*(.*)", re.DOTALL)


@dataclass(frozen=True)
class Chapter:
    """An executed notebook of a tier."""

    tier: str
    stage: Stage
    made: StageManifest
    cells: list[dict[str, Any]]

    @property
    def file(self) -> str:
        return self.stage.notebook

    @property
    def page(self) -> str:
        return links.notebook(self.tier, self.file)

    @property
    def source(self) -> str:
        """Its notebook, as the manifest names it."""
        return next(iter(self.made.ingredients.notebook))

    @property
    def ids(self) -> set[str]:
        return {cell["id"] for cell in self.cells}

    @cached_property
    def opening(self) -> dict[str, str]:
        """What the first cell says: `title`, `question`, and the summaries `en` and `fr`, as Markdown."""
        blocks = "".join(self.cells[0]["source"]).split("\n\n")
        said = {"title": blocks[0].lstrip("# "), "question": "", "en": "", "fr": ""}
        for block in blocks[1:]:
            summary = SUMMARY.match(block)
            if summary:
                said["en" if summary[1] == "In short" else "fr"] = summary[2]
            elif block.startswith("*") and not said["question"]:
                said["question"] = block.strip("*")
        return said

    def cell(self, name: str) -> str:
        """The source of a cell."""
        return next("".join(cell["source"]) for cell in self.cells if cell["id"] == name)


class CellJudge(Judge):
    """A judge that shows every cell it compares, those that hold included."""

    def cells(self, claim: Claim) -> list[Cell]:
        published = self._published(claim.published)
        cells = list(self._compare(claim, published, claim.ours, claim.tolerance))
        return self._explain(claim, published, cells) if claim.explanation else cells


@dataclass
class TierContents:
    """A tier's results: values, verdicts and executed notebooks."""

    name: str
    says: str
    folder: Path
    values: dict[str, dict[str, Any]]
    report: Report
    chapters: dict[str, Chapter]  # stage -> its notebook
    judge: CellJudge


@dataclass
class Contents:
    """All that the book shows."""

    project: Project
    tiers: list[TierContents] = field(default_factory=list)

    @classmethod
    def load(cls, project: Project, results: Path) -> Contents:
        """Read and judge the tiers in ``results`` (build/ or results/); one that is only published is taken from there.

        Raises MismatchError or UsageError, naming what is missing or wrong.
        """
        found = {path.parent.name: path.parent for place in (project.results, results) for path in _manifests(place)}
        if not found:
            raise UsageError(f"There are no results in {project.relative(results)}. Make some with: lucie reproduce")
        names = sorted(found, key=lambda name: (name != RECORD, name))
        contents = cls(project, [_load_tier(project, name, found[name]) for name in names])
        for tier in contents.tiers:
            _check_tier(contents, tier)
        return contents

    def tier(self, name: str) -> TierContents:
        return next(tier for tier in self.tiers if tier.name == name)

    @cached_property
    def claims(self) -> dict[str, Judged | Unjudged]:
        return {claim.id: claim for claim in load_all(self.project)}

    @cached_property
    def items(self) -> dict[str, str]:
        """The published tables and figures, by what is in them."""
        items: dict[str, str] = read_yaml(self.project.paper / "items.yaml")
        return items

    @property
    def verdicts(self) -> list[tuple[TierContents, Verdict]]:
        return [(tier, verdict) for tier in self.tiers for verdict in tier.report.verdicts]

    def stage_of(self, verdict: Verdict) -> str:
        """The stage a verdict belongs with: its own, or for what is not judged that of its item or its name."""
        return verdict.stage or self._stage_of_item.get(verdict.item, "")

    @cached_property
    def _stage_of_item(self) -> dict[str, str]:
        counts: dict[str, Counter[str]] = {}
        for _, verdict in self.verdicts:
            if verdict.stage:
                counts.setdefault(verdict.item, Counter())[verdict.stage] += 1
        return {item: stages.most_common(1)[0][0] for item, stages in counts.items()}

    def claims_on(self, tier: str, value: str) -> list[str]:
        """The claims that a value is judged by, by name."""
        return self._claims_on.get((tier, value), [])

    @cached_property
    def _claims_on(self) -> dict[tuple[str, str], list[str]]:
        found: dict[tuple[str, str], list[str]] = {}
        for claim in self.claims.values():
            ours = getattr(claim, "ours", None)
            if ours is not None and ours.value:
                found.setdefault((claim.tier, ours.value), []).append(claim.id)
        return found


def _manifests(place: Path) -> list[Path]:
    return sorted(place.glob("[!.]*/manifest.json"))


def _load_tier(project: Project, name: str, folder: Path) -> TierContents:
    manifest, stages = Manifest.load(folder), Stages.load(project)
    chapters = {
        stage.id: _load_chapter(project, name, stage, manifest.stages[stage.id], folder)
        for stage in stages.in_tier(name)
        if stage.id in manifest.stages
    }
    report, judging = judge_whole(project, folder), CellJudge(project, folder)
    return TierContents(name, get_tier(project, name).says, folder, load_values(folder), report, chapters, judging)


def _load_chapter(project: Project, tier: str, stage: Stage, made: StageManifest, folder: Path) -> Chapter:
    path = folder / "notebooks" / stage.notebook
    if not path.is_file():
        raise MismatchError(
            f"{project.relative(folder)} lacks the executed notebook notebooks/{stage.notebook} of stage '{stage.id}'. "
            f"Make it with: lucie run {stage.id} --tier {tier}"
        )
    try:
        cells = notebooks.load(path)["cells"]
    except ValueError as error:
        raise MismatchError(
            f"{project.relative(path)} is not a notebook ({problem(error)}). Rerun its stage."
        ) from error
    return Chapter(tier, stage, made, cells)


def _check_tier(contents: Contents, tier: TierContents) -> None:
    """Raises MismatchError or UsageError for results that do not hold together."""
    where = contents.project.relative(tier.folder)
    judged = {claim.stage for claim in contents.claims.values() if claim.tier == tier.name and hasattr(claim, "stage")}
    for name, value in tier.values.items():
        chapter = tier.chapters.get(value["stage"])
        if chapter is None or value["cell"] not in chapter.ids:
            raise MismatchError(f"{where}/values.json: value '{name}' names a cell that no notebook there has.")
        if value["stage"] not in judged and not value.get("varies"):
            raise UsageError(
                f"Value '{name}' of stage '{value['stage']}' in tier '{tier.name}' has no claim: nothing says what it "
                "is judged by. Write one in paper/claims/."
            )
    for verdict in tier.report.verdicts:
        stage, _, cell = verdict.cell.partition("#")
        if cell and (stage not in tier.chapters or cell not in tier.chapters[stage].ids):
            raise MismatchError(f"{where}: claim '{verdict.claim}' names a cell that no notebook there has.")
    for chapter in tier.chapters.values():
        for name, shown in chapter.made.shown.items():
            if shown["kind"] == "figure" and not shown.get("alt"):
                raise UsageError(f"Figure '{name}' of {chapter.source} has no alternative text. Give it as alt=...")
