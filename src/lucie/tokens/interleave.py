"""Which source each sequence comes from: by weight, without chance, and known for any sequence without those before.

The unit interval is divided among the sources by weight, and sequence i takes the source at the i-th point of van der
Corput's sequence in base 2 (J. G. van der Corput, 1935): i's binary digits, mirrored at the point. The
first n points lie so evenly that an interval holds n times its length of them, give or take 2 (log2(n) / 3 + 1): every
weight is met within 0.1 % after some 11,000 sequences, in fact sooner. An aligned batch of 2^k sequences has one point
in each 2^k-th of the interval, so that every batch is near the mix. Where the number of sequences is known beforehand,
the bounds are laid on the points so that in the end each source has had its share, give or take a sequence.

Numbers are integers on a grid of 2^48 points; everything is exact, and the same on every machine.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

BITS = 48
UNITS = 10**12  # weights count to so many parts: the last bits of a float, which may differ between machines, do not


def point(number: int) -> int:
    """Where sequence ``number`` lies on the grid."""
    return int(f"{number:0{BITS}b}"[::-1], 2)


def points_below(bound: int, count: int) -> int:
    """How many of the first ``count`` points lie below ``bound``, in `BITS` steps at most.

    The first points are split into aligned runs of 2^m; the points of such a run have the same distance, 2^(BITS - m).
    """
    found, start = 0, 0
    for m in reversed(range(count.bit_length())):
        if count >> m & 1:
            step = 1 << (BITS - m)
            found += max(0, -(-(bound - point(start)) // step))
            start += 1 << m
    return found


def bound_above(rank: int, count: int) -> int:
    """The least bound that has ``rank`` of the first ``count`` points below it; the end of the grid for all of them."""
    if rank == count:
        return 1 << BITS
    return bisect_left(range(1 << BITS), rank, key=lambda bound: points_below(bound, count)) if rank else 0


def apportion(units: Sequence[int], sequences: int) -> list[int]:
    """Whole sequences for each source, by the largest remainders; of equals the first."""
    total = sum(units)
    counts = [unit * sequences // total for unit in units]
    order = sorted(range(len(units)), key=lambda source: (-(units[source] * sequences % total), source))
    for source in order[: sequences - sum(counts)]:
        counts[source] += 1
    return counts


@dataclass(frozen=True)
class Interleaving:
    """The order of sources, by the bounds of their intervals on the grid: source j has bounds[j] to bounds[j + 1]."""

    bounds: tuple[int, ...]

    @classmethod
    def of(cls, weights: Sequence[float], sequences: int = 0) -> Interleaving:
        """By weights, which need not sum to one; ``sequences`` are all that there will be, where that is known.

        Raises ValueError where all weights are zero, or one is negative.
        """
        units = [round(weight / sum(weights) * UNITS) for weight in weights] if sum(weights) > 0 else []
        if not units or min(units) < 0:
            raise ValueError(f"These weights cannot be met: {list(weights)}.")
        total = sum(units)
        if sequences:
            counts = apportion(units, sequences)
            return cls(tuple(bound_above(count, sequences) for count in accumulate(counts, initial=0)))
        return cls(tuple((cumulated << BITS) // total for cumulated in accumulate(units, initial=0)))

    def source(self, sequence: int) -> int:
        """The source of a sequence, from 0."""
        return bisect_right(self.bounds, point(sequence)) - 1

    def drawn(self, source: int, sequences: int) -> int:
        """How many of the first ``sequences`` come from a source."""
        low, high = self.bounds[source], self.bounds[source + 1]
        return points_below(high, sequences) - points_below(low, sequences)
