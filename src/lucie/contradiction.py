"""Judges statements of one quantity that do not agree: against our result, and against each other."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from decimal import Decimal
from itertools import combinations

from lucie.claims import Contradiction, Statement, Tolerance
from lucie.tolerance import (
    DIFFERS,
    EXPLAINED,
    HELD,
    REPRODUCED,
    WITHIN,
    Cell,
    compare,
    describe,
    half_unit,
    number,
    plain,
)
from lucie.verdict import Verdict


@dataclass(frozen=True)
class Said:
    """What a source says, and the result that would explain it, both as text."""

    statement: Statement
    text: str
    explained: str | None


def verdict(claim: Contradiction, said: list[Said], ours: str | None) -> Verdict:
    """The verdict, with the finding computed as its explanation.

    With a result of ours: *reproduced* when every statement agrees with it; *differs, explained* when those that do
    not are explained by another result, or when the statements contradict each other and ours agrees with one, which
    the finding then says; else *differs*. Without one: *quoted*, and the finding says how far they are apart.
    """
    if ours is None:
        found, cells = "quoted", [Cell(entry.statement.label, entry.text, "", "quoted", None, None) for entry in said]
    else:
        cells = [_judge(entry, ours, claim.tolerance) for entry in said]
        found = _overall(cells, disagree=_disagree(said))
    sentences = [_sentence(entry, cell) for entry, cell in zip(said, cells, strict=True)]
    if found == EXPLAINED and any(cell.verdict == DIFFERS for cell in cells):
        agree = sum(cell.verdict in HELD for cell in cells)
        sentences.append(
            f"The sources contradict each other: what is computed agrees with {agree} of the {len(cells)} statements, "
            "and no second computation gives the rest."
        )
    relatives = [abs(cell.relative) for cell in cells if cell.relative is not None]
    return Verdict(
        claim=claim.id,
        item=claim.item,
        says=claim.says,
        verdict=found,
        reason=claim.reason,
        published=" | ".join(entry.text for entry in said),
        value=_shown(ours),
        tolerance=describe(claim.tolerance) if ours is not None else "",
        explanation=" ".join(sentences),
        stage=claim.stage,
        statements=len(said),
        cells=dict(Counter(cell.verdict for cell in cells)),
        differing=[asdict(cell) for cell in cells],
        largest_relative_deviation=max(relatives, default=None),
    )


def _judge(entry: Said, ours: str, tolerance: Tolerance) -> Cell:
    label, scale = entry.statement.label, entry.statement.scale
    cell = compare(label, entry.text, ours, scale, tolerance)
    if cell.verdict == DIFFERS and entry.explained is not None:
        other = compare(label, entry.text, entry.explained, scale, tolerance)
        if other.verdict in HELD:
            return Cell(**{**asdict(cell), "verdict": EXPLAINED})
    return cell


def _overall(cells: list[Cell], disagree: bool) -> str:
    verdicts = {cell.verdict for cell in cells}
    if verdicts <= set(HELD):
        return WITHIN if WITHIN in verdicts else REPRODUCED
    if DIFFERS not in verdicts or (disagree and verdicts & set(HELD)):
        return EXPLAINED
    return DIFFERS


def _disagree(said: list[Said]) -> bool:
    """Whether two statements cannot both hold at the digits they print."""
    return any(_apart(one, other) for one, other in combinations(said, 2))


def _apart(one: Said, other: Said) -> bool:
    a, b = number(one.text), number(other.text)
    if a is None or b is None:
        return one.text != other.text
    scales = [Decimal(repr(entry.statement.scale)) for entry in (one, other)]
    slack = half_unit(a) * scales[0] + half_unit(b) * scales[1]
    return abs(a * scales[0] - b * scales[1]) > slack


def _sentence(entry: Said, cell: Cell) -> str:
    label, text = entry.statement.label, entry.text
    if cell.verdict == "quoted":
        return f"{label}: {text}."
    if cell.verdict in HELD:
        return f"{label}: {text}, as computed."
    off = (
        ""
        if cell.relative is None
        else f" (ours is {abs(cell.relative):.1%} {'more' if cell.relative > 0 else 'less'})"
    )
    why = f", which is {entry.statement.because}" if cell.verdict == EXPLAINED else ""
    return f"{label}: {text}{why}{off}."


def _shown(ours: str | None) -> str:
    value = number(ours) if ours is not None else None
    return (ours or "") if value is None else plain(value)
