"""Genres of CLAIRE: share of the words and share of the samples."""

from __future__ import annotations

import polars as pl

from lucie.plots.style import COLOURS, Figure, new_figure


def genres(table: pl.DataFrame) -> Figure:
    """Two bars a genre. ``table`` has genre, percent_words and weight of one run."""
    figure = new_figure(height=3.2)
    axes = figure.subplots()
    ordered = table.sort("percent_words", descending=True, maintain_order=True)
    bars = (("percent_words", "of the words", COLOURS[7]), ("weight", "of the samples drawn", COLOURS[0]))
    for shift, (column, label, colour) in zip((-0.2, 0.2), bars, strict=True):
        places = [place + shift for place in range(len(ordered))]
        drawn = axes.barh(places, ordered[column], height=0.38, color=colour, label=label)
        axes.bar_label(drawn, fmt="%.2f", padding=2, fontsize=7)
    axes.set_yticks(range(len(ordered)), labels=ordered["genre"].to_list())
    axes.invert_yaxis()
    axes.set_xlim(0, 95)
    axes.set_xlabel("Share (%)")
    axes.legend(loc="lower right")
    return figure
