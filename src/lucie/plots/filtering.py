"""What each filter kept of the scanned sources, as points on a line a source."""

from __future__ import annotations

import polars as pl

from lucie.plots.style import COLOURS, Axes, Figure, new_figure

QUANTITIES = {"documents": "Documents", "words": "Words", "characters": "Characters"}


def kept(table: pl.DataFrame) -> Figure:
    """One panel a quantity, one line a source: kept by the first filter, and kept in the final dataset.

    ``table`` has source, language, quantity, ratio and final_ratio of `lucie.corpus.filtering`.
    """
    figure = new_figure(height=2.9)
    panels = figure.subplots(1, 3, sharex=True, sharey=True)
    for axes, (quantity, title) in zip(panels, QUANTITIES.items(), strict=True):
        _panel(axes, table.filter(quantity=quantity), title)
    panels[1].set_xlabel("Part kept, of what there was before any filter (%)")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


def _panel(axes: Axes, rows: pl.DataFrame, title: str) -> None:
    places = range(len(rows))
    first, final = 100 * rows["ratio"], 100 * rows["final_ratio"]
    axes.hlines(places, first, final, color="0.75", linewidth=1)
    axes.plot(first, places, "o", color=COLOURS[0], markersize=5, label="first filter, whole documents (published)")
    axes.plot(
        final, places, "D", color=COLOURS[1], markersize=4, markerfacecolor="none", label="in the final dataset (ours)"
    )
    several = rows["source"].is_duplicated()
    names = [
        f"{row['source']} ({row['language']})" if more else row["source"]
        for row, more in zip(rows.iter_rows(named=True), several, strict=True)
    ]
    axes.set_yticks(places, names)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(74, 101)
    axes.set_title(title)
    axes.grid(axis="both")
