"""Scores before and after annealing and instruction tuning, and the changes with their standard errors."""

from __future__ import annotations

import polars as pl

from lucie.plots.style import COLOURS, GREY, Axes, Figure, new_figure

MARKERS = ("o", "s", "D", "^")
OFFSET = 0.2  # of a row, between points of one task


def scores_and_changes(
    scores: pl.DataFrame, changes: pl.DataFrame, runs: dict[str, str], steps: list[str], titles: dict[str, str]
) -> Figure:
    """Left: the score of each run; right: the change by each step. One row a task, bars of one standard error."""
    figure = new_figure(height=4.6)
    left, right = figure.subplots(1, 2, sharey=True)
    for number, (run, name) in enumerate(runs.items()):
        _points(left, scores.filter(run=run), "score", name, number, len(runs), titles)
    for number, step in enumerate(steps, start=1):
        _points(right, changes.filter(step=step), "change", step, number, len(runs), titles)
    left.set_yticks(range(len(titles)), labels=list(titles.values()))
    left.invert_yaxis()
    left.set_xlabel("Score")
    right.set_xlabel("Change of the score")
    right.axvline(0, color=GREY, linewidth=0.8)
    for axes in (left, right):
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0)
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, handletextpad=0.2, columnspacing=1)
    return figure


def _points(
    axes: Axes, rows: pl.DataFrame, column: str, label: str, number: int, series: int, titles: dict[str, str]
) -> None:
    places = [list(titles).index(task) + OFFSET * (number - (series - 1) / 2) for task in rows["task"]]
    axes.errorbar(
        rows[column],
        places,
        xerr=rows["stderr"],
        fmt=MARKERS[number],
        color=COLOURS[number],
        markersize=4,
        elinewidth=0.9,
        label=label,
    )
