"""The energy of trainings made here, with its bounds."""

from __future__ import annotations

import polars as pl

from lucie.plots.convergence import TITLES
from lucie.plots.style import COLOURS, GREY, Figure, new_figure

WATT_HOURS = 1000  # of a kWh


def energies(runs: pl.DataFrame) -> Figure:
    """A row a phase, a dot a seed, with a line from the low bound to the high one.

    ``runs`` has seed, phase, kwh, kwh_low and kwh_high.
    """
    phases = [phase for phase in TITLES if phase in set(runs["phase"])]
    seeds = sorted(set(runs["seed"]))
    figure = new_figure(height=0.32 * len(phases) + 0.9)
    axes = figure.subplots()
    for number, seed in enumerate(seeds):
        rows = runs.filter(seed=seed)
        shift = 0.5 * ((number + 0.5) / len(seeds) - 0.5)
        places = [phases.index(phase) + shift for phase in rows["phase"]]
        value, low, high = (rows[name] * WATT_HOURS for name in ("kwh", "kwh_low", "kwh_high"))
        axes.hlines(places, low, high, color=GREY, linewidth=1)
        axes.plot(value, places, "o", color=COLOURS[0], markersize=4)
    axes.set_yticks(range(len(phases)), [TITLES[phase] for phase in phases])
    axes.set_ylim(len(phases) - 0.5, -0.5)
    axes.set_xscale("log")
    axes.set_xlabel("Energy (Wh), a dot a seed, with its bounds")
    axes.grid(axis="x")
    return figure
