"""Fits how much slower than its data sheet a machine is, and says how well that predicts what it did not see.

model = fitted(project, site)
model.slowness  # four numbers
model.test.median_error, model.test.rank_correlation  # of the half that was not fitted
model.interval(seconds)  # eight of ten of that half lie inside

Sums of products are made with fractions, exactly: a library for linear algebra takes other routines on another CPU, and
the last digits of a result would be that machine's. Floats are added by fsum, as Python 3.12 adds otherwise than 3.11.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from itertools import combinations
from math import fsum
from statistics import correlation

import numpy as np
import numpy.typing as npt
import polars as pl

from lucie.hpc.sites import Gpus, Site
from lucie.project import Project
from lucie.scaling.model import Slowness, step_parts
from lucie.scaling.trials import Trial, halves, logged, longer, training

Numbers = npt.NDArray[np.float64]
RESOURCES = tuple(field.name for field in fields(Slowness))
COVERED = 0.8  # of the tested trials, by an interval


@dataclass(frozen=True)
class Test:
    """Trials with the model's seconds for each."""

    trials: tuple[Trial, ...]
    seconds: tuple[float, ...]

    def __add__(self, other: Test) -> Test:
        return Test(self.trials + other.trials, self.seconds + other.seconds)

    def table(self) -> pl.DataFrame:
        """One row a trial: how it was divided, what was measured, what the model says (seconds of a step)."""
        rows = [
            {
                "trial": trial.name,
                "gpus": trial.layout.gpus,
                "layout": str(trial.layout),
                "sequence_length": trial.work.sequence_length,
                "global_batch": trial.work.batch,
                "seconds": trial.seconds,
                "predicted_seconds": seconds,
            }
            for trial, seconds in zip(self.trials, self.seconds, strict=True)
        ]
        return pl.DataFrame(rows)

    @property
    def ratios(self) -> Numbers:
        """Measured by predicted."""
        ratios: Numbers = np.array([trial.seconds for trial in self.trials]) / np.array(self.seconds)
        return ratios

    @property
    def errors(self) -> Numbers:
        """Relative to what was measured."""
        return np.abs(1 / self.ratios - 1)

    @property
    def median_error(self) -> float:
        return float(np.median(self.errors))

    @property
    def rank_correlation(self) -> float:
        """Spearman's, of tokens per second and GPU: does the model order the layouts as they were?"""
        work = np.array([trial.work.tokens / trial.layout.gpus for trial in self.trials])
        measured = np.array([trial.seconds for trial in self.trials])
        return spearman(work / measured, work / np.array(self.seconds))


@dataclass(frozen=True)
class Model:
    """A fit with its tests."""

    slowness: Slowness
    swapped: Slowness  # fitted on the tested half instead: how sure the factors are. Nothing is computed from it
    slow_steps: float  # mean by median time of a step: the median of the fitted trials. A training pays the mean
    fit: Test  # the half it was fitted on
    logged: Test  # the other half of the published logs
    longer: Test  # the other half of the trials with sequences of twice the length
    training: Test  # Lucie-7B's phases themselves, on other GPUs; with slow steps

    @property
    def test(self) -> Test:
        """The half that was not fitted."""
        return self.logged + self.longer

    def interval(self, seconds: float) -> tuple[float, float]:
        """The bounds of a time that the model gives, from the ratios of the tested half."""
        low, high = np.quantile(self.test.ratios, [(1 - COVERED) / 2, (1 + COVERED) / 2])
        return float(low * seconds), float(high * seconds)


def fitted(project: Project, site: Site) -> Model:
    """The model for a site, fitted on half of the trials and tested on the others."""
    logs = logged(project)
    half, other = halves([*logs, *longer(project)])
    names = {trial.name for trial in logs}
    slowness = fit(half, site.gpus)
    slow_steps = float(np.median([trial.slow_steps for trial in half if trial.slow_steps]))
    phases = check(slowness, training(project), site.gpus)
    return Model(
        slowness=slowness,
        swapped=fit(other, site.gpus),
        slow_steps=slow_steps,
        fit=check(slowness, half, site.gpus),
        logged=check(slowness, [trial for trial in other if trial.name in names], site.gpus),
        longer=check(slowness, [trial for trial in other if trial.name not in names], site.gpus),
        training=Test(phases.trials, tuple(seconds * slow_steps for seconds in phases.seconds)),
    )


def check(slowness: Slowness, trials: Sequence[Trial], gpus: dict[str, Gpus]) -> Test:
    """What the model says of each trial."""
    seconds = [slowness.seconds(step_parts(trial.work, trial.layout, gpus[trial.gpu])) for trial in trials]
    return Test(tuple(trials), tuple(seconds))


def fit(trials: Sequence[Trial], gpus: dict[str, Gpus]) -> Slowness:
    """The factors that make the squares of relative errors least; no resource is faster than its data sheet."""
    rows, wanted = [], []
    for trial in trials:
        parts = step_parts(trial.work, trial.layout, gpus[trial.gpu])
        ideal = [fsum(part.seconds for part in parts if part.resource == name) for name in RESOURCES]
        known = fsum(part.seconds for part in parts if part.resource == "hbm")
        known += fsum(getattr(Slowness(), name) * seconds for name, seconds in zip(RESOURCES, ideal, strict=True))
        rows.append([Fraction(seconds / trial.seconds) for seconds in ideal])
        wanted.append(Fraction((trial.seconds - known) / trial.seconds))
    above = non_negative(rows, wanted)
    least = (getattr(Slowness(), name) for name in RESOURCES)
    return Slowness(*(float(start + number) for start, number in zip(least, above, strict=True)))


def non_negative(rows: Sequence[Sequence[Fraction]], wanted: Sequence[Fraction]) -> list[Fraction]:
    """The least-squares solution without negative numbers: the best of those over every choice of columns."""
    columns = list(zip(*rows, strict=True))
    products = [[_dot(one, other) for other in columns] for one in columns]
    aims = [_dot(column, wanted) for column in columns]
    best, most = [Fraction(0)] * len(columns), Fraction(0)
    for size in range(1, len(columns) + 1):
        for chosen in combinations(range(len(columns)), size):
            found = _solved([[products[i][j] for j in chosen] + [aims[i]] for i in chosen])
            explained = _dot(found, [aims[i] for i in chosen])  # of the sum of squares, by a least-squares solution
            if found and min(found) >= 0 and explained > most:
                best, most = [Fraction(0)] * len(columns), explained
                for column, number in zip(chosen, found, strict=True):
                    best[column] = number
    return best


def _solved(system: list[list[Fraction]]) -> list[Fraction]:
    """The solution of equations whose last column is the right-hand side, by elimination; none where it is not one."""
    for pivot in range(len(system)):
        usable = next((place for place in range(pivot, len(system)) if system[place][pivot]), None)
        if usable is None:
            return []
        system[pivot], system[usable] = system[usable], system[pivot]
        system[pivot] = [number / system[pivot][pivot] for number in system[pivot]]
        for place, row in enumerate(system):
            if place != pivot:
                system[place] = [number - row[pivot] * lead for number, lead in zip(row, system[pivot], strict=True)]
    return [row[-1] for row in system]


def _dot(first: Sequence[Fraction], second: Sequence[Fraction]) -> Fraction:
    return sum((one * other for one, other in zip(first, second, strict=True)), Fraction(0))


def spearman(first: Numbers, second: Numbers) -> float:
    """The correlation of ranks; equal numbers share the mean of their ranks."""
    return correlation(_ranks(first), _ranks(second))


def _ranks(numbers: Numbers) -> list[float]:
    return [float((numbers < number).sum() + (numbers == number).sum() / 2) for number in numbers]
