"""How sure a score is: one model against chance, and two models on the same items."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

RESAMPLES = 2000

Items = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Difference:
    """Two scores on the same items: the second less the first, and where 95 % of the resampled differences lie."""

    first: float
    second: float
    low: float
    high: float

    @property
    def difference(self) -> float:
        return self.second - self.first

    @property
    def sure(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0


def paired_bootstrap(first: Items, second: Items, seed: int = 0, resamples: int = RESAMPLES) -> Difference:
    """Resample the items, the same for both: shape (items,) of scores, or (items, 2) of sums and what divides them.

    Items that are easy for both then cancel, which two standard errors would not see. Raises ValueError for scores on
    different numbers of items.
    """
    if first.shape != second.shape or not len(first):
        raise ValueError(f"Scores on {len(first)} and {len(second)} items are not on the same ones.")
    draws = np.random.default_rng(seed).integers(len(first), size=(resamples, len(first)))
    differences = _scores(second[draws]) - _scores(first[draws])
    low, high = np.quantile(differences, [0.025, 0.975])
    return Difference(float(_scores(first[None])[0]), float(_scores(second[None])[0]), float(low), float(high))


def _scores(items: Items) -> Items:
    """The score of each row of items."""
    if items.ndim == 2:
        return np.asarray(items.mean(axis=1))
    totals = items.sum(axis=1)
    return np.asarray(totals[:, 0] / totals[:, 1])


def bits_per_byte(likelihoods: Items) -> Items:
    """(log-likelihood in nats, bytes) of each document as (bits, bytes)."""
    return np.asarray(likelihoods * np.array([-1 / math.log(2), 1.0]))


def errors_above_chance(score: float, stderr: float, chance: float) -> float:
    """How many standard errors a score lies above that of a guesser."""
    return (score - chance) / stderr
