"""The footprint by figure of GPU hours, and over the utilisation of the GPUs."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from lucie.plots.style import COLOURS, GREY, Axes, Figure, new_figure

ROUNDS_UP = 1e-9  # a half is printed upwards, whatever the last bit of the float


def footprint(
    by_hours: pl.DataFrame, names: Mapping[str, str], curve: pl.DataFrame, reached: pl.DataFrame, chosen: pl.DataFrame
) -> Figure:
    """Left: tonnes by figure of GPU hours, with and without PUE. Right: tonnes over utilisation.

    ``reached`` is the training's own point, ``chosen`` the utilisations to mark on the curve.
    """
    figure = new_figure(height=2.9)
    left, right = figure.subplots(1, 2, width_ratios=[1.15, 1])
    _bars(left, by_hours, names)
    _curve(right, curve, reached, chosen)
    return figure


def _bars(axes: Axes, by_hours: pl.DataFrame, names: Mapping[str, str]) -> None:
    rows = by_hours.reverse()
    places = list(range(len(rows)))
    axes.barh(
        [place + 0.19 for place in places], rows["tonnes"], 0.36, color=COLOURS[0], label="hours times coefficient"
    )
    axes.barh(
        [place - 0.19 for place in places], rows["tonnes_with_pue"], 0.36, color=COLOURS[1], label="and times the PUE"
    )
    for place, row in zip(places, rows.iter_rows(named=True), strict=True):
        for shift, column in ((0.19, "tonnes"), (-0.19, "tonnes_with_pue")):
            axes.text(
                row[column] + 0.2, place + shift, f"{row[column] + ROUNDS_UP:.2f}", va="center", fontsize=7, color=GREY
            )
    labels = [f"{names[row['source']]}\n{_spaced(row['gpu_hours'])}" for row in rows.iter_rows(named=True)]
    axes.set_yticks(places, labels)
    axes.set(xlabel="t CO₂e", xlim=(0, 1.17 * max(by_hours["tonnes_with_pue"].to_list())))
    axes.tick_params(axis="y", length=0)
    handles, legend = axes.get_legend_handles_labels()
    axes.legend(handles, legend, loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=2)


def _curve(axes: Axes, curve: pl.DataFrame, reached: pl.DataFrame, chosen: pl.DataFrame) -> None:
    axes.plot(100 * curve["utilisation"], curve["tonnes"], color=COLOURS[0])
    axes.plot(100 * reached["utilisation"], reached["tonnes"], "*", color=COLOURS[3], markersize=10)
    axes.plot(100 * chosen["utilisation"], chosen["tonnes"], "o", color=COLOURS[0], markersize=4)
    _mark(axes, reached, "as run: ")
    _mark(axes, chosen)
    axes.set(xlabel="Model operations (% of the peak)", ylabel="t CO₂e", xlim=(0, 57), ylim=(0, None))
    axes.grid(axis="y")


def _mark(axes: Axes, points: pl.DataFrame, before: str = "") -> None:
    for row in points.iter_rows(named=True):
        axes.annotate(
            f"{before}{row['tonnes']:.1f}",
            (100 * row["utilisation"], row["tonnes"]),
            textcoords="offset points",
            xytext=(5, 5),
            fontsize=7.5,
            color=GREY,
        )


def _spaced(hours: float) -> str:
    return f"{hours:,.0f} GPU hours".replace(",", "\N{NARROW NO-BREAK SPACE}")
