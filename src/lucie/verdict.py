"""What became of a claim, with all that is needed to doubt it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


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
    statements: int = 0  # of several sources, where it is about their contradiction
    cell: str = ""
    cells: dict[str, int] = field(default_factory=dict)
    differing: list[dict[str, Any]] = field(default_factory=list)
    largest_deviation: float | None = None
    largest_relative_deviation: float | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
