"""Compares one number with a published one, under a tolerance."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from lucie.claims import Precision, Rounding, Tolerance, Training

REPRODUCED, WITHIN, EXPLAINED, DIFFERS = "reproduced", "within tolerance", "differs, explained", "differs"
HELD = (REPRODUCED, WITHIN)


@dataclass(frozen=True)
class Cell:
    """One compared number. ``deviation`` is ours minus published, None for words; ``relative`` is it by published."""

    key: str
    published: str
    ours: str
    verdict: str
    deviation: float | None
    relative: float | None


def compare(key: str, published: str, ours: str, scale: float, tolerance: Tolerance) -> Cell:
    """Hold ``ours``, divided by ``scale``, against ``published``; both are the text of a number, or words."""
    wanted, got = number(published), number(ours)
    if wanted is None or got is None:
        verdict = REPRODUCED if published == ours else DIFFERS
        return Cell(key, published, ours, verdict, None, None)
    if scale != 1:
        got /= Decimal(repr(scale))
    gap = got - wanted
    relative = float(gap / wanted) if wanted else None
    return Cell(key, published, plain(got), _verdict(wanted, gap, tolerance), float(gap), relative)


def describe(tolerance: Tolerance) -> str:
    """A tolerance in words."""
    if isinstance(tolerance, Precision):
        bounds = {"relative": tolerance.relative, "absolute": tolerance.absolute}
        return "precision: " + ", ".join(f"{name} {bound:g}" for name, bound in bounds.items() if bound)
    if isinstance(tolerance, Training):
        return f"training: interval over seeds, else relative {tolerance.relative:g}"
    return tolerance.kind


def number(text: str) -> Decimal | None:
    """The number that a text is; None for words."""
    try:
        parsed = Decimal(text)
    except InvalidOperation:
        return None
    return parsed if parsed.is_finite() else None


def half_unit(printed: Decimal) -> Decimal:
    """Half a unit of the last printed digit."""
    return Decimal(5).scaleb(int(printed.as_tuple().exponent) - 1)


def plain(value: Decimal) -> str:
    """A number without exponent where it is whole."""
    return f"{value.normalize():f}" if value == value.to_integral() else str(value.normalize())


def _verdict(published: Decimal, gap: Decimal, tolerance: Tolerance) -> str:
    if gap == 0:
        return REPRODUCED
    if isinstance(tolerance, Rounding):
        return REPRODUCED if abs(gap) <= half_unit(published) else DIFFERS
    if isinstance(tolerance, Training):
        tolerance = Precision(kind="precision", relative=tolerance.relative)
    if isinstance(tolerance, Precision):
        bound = max(Decimal(repr(tolerance.absolute)), abs(published) * Decimal(repr(tolerance.relative)))
        return WITHIN if abs(gap) <= bound else DIFFERS
    return DIFFERS
