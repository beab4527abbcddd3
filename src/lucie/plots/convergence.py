"""Training loss and learning rate over the tokens of the three pretraining phases."""

from __future__ import annotations

import polars as pl

from lucie.plots.style import COLOURS, GREY, Axes, Figure, new_figure

TITLES = {"main": "Main phase", "extension": "Context extension", "annealing": "Annealing"}
SCALES = {"main": (1e12, "10¹²"), "extension": (1e9, "10⁹"), "annealing": (1e9, "10⁹")}
LOSS_RANGE = (1.15, 2.55)  # the first steps, above, are cut off


def convergence(log: pl.DataFrame) -> Figure:
    """Three columns of panels from a table with phase, tokens, loss, learning_rate and gpu_hours."""
    figure = new_figure(height=3.7)
    panels = figure.subplots(2, 3, sharex="col", width_ratios=[2.2, 1, 1], height_ratios=[1.6, 1])
    for column, (phase, title) in enumerate(TITLES.items()):
        rows = log.filter(phase=phase)
        scale, unit = SCALES[phase]
        tokens = rows["tokens"] / scale
        loss, rate = panels[0, column], panels[1, column]
        loss.plot(tokens, rows["loss"], color=COLOURS[0])
        loss.set(ylim=LOSS_RANGE, title=title)
        rate.plot(tokens, rows["learning_rate"] * 1e5, color=COLOURS[3])
        rate.set(xlabel=f"Tokens ({unit})", xlim=(0, None))
        rate.set_ylim(bottom=0)
        _mark_last(loss, tokens[-1], rows["loss"][-1])
        _hours(loss, rows["gpu_hours"][-1])
        for axes in (loss, rate):
            axes.grid(axis="y")
    panels[0, 0].set_ylabel("Training loss (nats per token)")
    panels[1, 0].set_ylabel("Learning rate (10⁻⁵)")
    return figure


def _mark_last(axes: Axes, tokens: float, loss: float) -> None:
    axes.plot(tokens, loss, "o", color=COLOURS[0], markersize=3)
    axes.annotate(f"{loss:.3f}", (tokens, loss), textcoords="offset points", xytext=(-2, 5), ha="right", fontsize=7.5)


def _hours(axes: Axes, hours: float) -> None:
    text = f"{hours:,.0f} GPU hours".replace(",", "\N{NARROW NO-BREAK SPACE}")
    axes.text(0.97, 0.93, text, transform=axes.transAxes, ha="right", va="top", color=GREY, fontsize=7.5)
