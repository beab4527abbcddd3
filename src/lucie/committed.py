"""Judges a rerun against the committed run: the same values, within the claim's tolerance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from lucie.claims import Committed, Tolerance, Training
from lucie.tolerance import DIFFERS, REPRODUCED, WITHIN, Cell, compare, describe
from lucie.verdict import Verdict

Values = Mapping[str, Mapping[str, Any]]
QUOTED, NOT_ATTEMPTED = "quoted", "not attempted"


def verdict(claim: Committed, committed: Values, ours: Values | None) -> Verdict:
    """The verdict on a rerun's values ``ours``; None where the committed run itself is looked at."""
    found = Verdict(claim.id, claim.item, claim.says, QUOTED, claim.reason, stage=claim.stage)
    found.tolerance = describe(claim.tolerance)
    wanted = _judged(committed, claim.stage)
    found.published = f"{len(wanted)} values"
    if ours is None:
        found.explanation = (
            f"These are the values of the committed run itself. A rerun is judged by them: "
            f"lucie reproduce --tier {claim.tier}"
        )
        return found
    if not wanted:
        found.verdict, found.explanation = NOT_ATTEMPTED, "No run of this stage is committed yet."
        return found
    mine = _judged(ours, claim.stage)
    cells = [_compare(name, wanted, mine, claim.tolerance) for name in sorted(wanted.keys() | mine.keys())]
    return _sum_up(found, cells)


def _judged(values: Values, stage: str) -> Values:
    """The values of a stage, but for those that vary from machine to machine."""
    return {name: entry for name, entry in values.items() if entry["stage"] == stage and not entry.get("varies")}


def _compare(name: str, wanted: Values, mine: Values, tolerance: Tolerance) -> Cell:
    cell = compare(name, _text(wanted, name), _text(mine, name), 1, tolerance)
    between = wanted.get(name, {}).get("between")
    if not between or cell.deviation is None or cell.verdict == REPRODUCED or not isinstance(tolerance, Training):
        return cell
    low, high = between
    return replace(cell, verdict=WITHIN if low <= mine[name]["value"] <= high else DIFFERS)


def _text(values: Values, name: str) -> str:
    return str(values[name]["value"]) if name in values else "none"


def _sum_up(found: Verdict, cells: list[Cell]) -> Verdict:
    counts = Counter(cell.verdict for cell in cells)
    off = [cell for cell in cells if cell.verdict == DIFFERS]
    found.verdict = next(name for name in (DIFFERS, WITHIN, REPRODUCED) if counts[name])
    found.value = f"{len(cells) - len(off)} equal"
    found.explanation = f"{len(off)} of {len(cells)} differ from the committed run." if off else ""
    found.cells, found.differing = dict(counts), [asdict(cell) for cell in off]
    found.largest_deviation = max((abs(c.deviation) for c in cells if c.deviation is not None), default=None)
    found.largest_relative_deviation = max((abs(c.relative) for c in cells if c.relative is not None), default=None)
    return found
