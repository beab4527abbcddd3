"""How much of what was published is claimed, and how much of our report is bound to values.

A published figure is a cell of a record, in a column that the record's schema lists under ``cells``. It is covered
when a claim is judged against it, or says why it is only quoted or was not attempted. A number of our report is
covered when it is a macro made from a value; a typed digit in its text is not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from lucie.claims import Claim, Contradiction, Judged, Published, Unjudged, load_all
from lucie.paper.numbers import COMMENT, MACRO
from lucie.project import Project
from lucie.records import load_record, load_schema, pick, record_names

# Names of models, arguments that are no results, measures of the page.
NO_RESULTS = re.compile(
    r"\\(?:ref|label|input|fig|generated|cite\w*|begin\{longtable\}.*|setlength\{[^}]*\}\{[^}]*\})(?:\{[^}]*\})?"
    r"|(?:Lucie|Mistral|Llama|Falcon|Bloom|Pythia|LLaMA)-?[\d.]+(?:-\d+B)?B?|32-bit|v\d(?:\.\d)+|H100|A100|CO\$?_2\$?"
)


@dataclass
class Coverage:
    """Counts of covered and of all, with what is not covered."""

    cells: int = 0
    covered_cells: int = 0
    numbers: int = 0
    uncovered: list[str] = field(default_factory=list)  # published cells
    typed: list[str] = field(default_factory=list)  # digits in the report's text

    @property
    def published(self) -> float:
        return 100 * self.covered_cells / self.cells if self.cells else 100.0

    @property
    def report(self) -> float:
        return 100 * self.numbers / (self.numbers + len(self.typed)) if self.numbers else 100.0

    def to_json(self) -> dict[str, float]:
        return {"published": self.published, "report": self.report, "percent": min(self.published, self.report)}


def coverage(project: Project) -> Coverage:
    """Count over all records and the whole text of the report."""
    found = Coverage()
    targets = [target for claim in load_all(project) for target in _targets(claim)]
    for name in record_names(project):
        for column in load_schema(project, name).cells:
            _count_cells(project, name, column, [t for t in targets if (t.record, t.column) == (name, column)], found)
    for source in sorted((project.paper / "sections").glob("*.tex")):
        _count_numbers(source, found)
    return found


def _targets(claim: Judged | Unjudged) -> list[Published]:
    if isinstance(claim, Claim):
        return [claim.published]
    if isinstance(claim, Contradiction):
        return [*claim.statements]
    return claim.about if isinstance(claim, Unjudged) else []


def _count_cells(project: Project, name: str, column: str, targets: list[Published], found: Coverage) -> None:
    rows = load_record(project, name).with_row_index("row")
    covered = {row for target in targets for row in pick(rows, target.where)["row"]}
    found.cells += len(rows)
    found.covered_cells += len(covered)
    for row in rows.iter_rows(named=True):
        if row["row"] not in covered:
            found.uncovered.append(f"{name}, line {row['row'] + 2}, {column}: {row[column]}")


def _count_numbers(source: Path, found: Coverage) -> None:
    for number, line in enumerate(source.read_text(encoding="utf-8").splitlines(), start=1):
        text = COMMENT.sub("", line)
        found.numbers += len(MACRO.findall(text))
        typed = re.findall(r"\d[\d.,]*", NO_RESULTS.sub("", MACRO.sub("", text)))
        found.typed += [f"paper/sections/{source.name}, line {number}: {digits}" for digits in typed]
