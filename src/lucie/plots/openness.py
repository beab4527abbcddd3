"""Languages of two models side by side, and tokens by class of licence."""

from __future__ import annotations

import polars as pl

from lucie.plots.style import COLOURS, Figure, new_figure

LANGUAGES = {"en": "English", "fr": "French", "de": "German", "es": "Spanish", "it": "Italian"}
SHADES = {  # from free to closed; hatched where the terms are unclear
    "public domain": (COLOURS[2], ""),
    "attribution": (COLOURS[9], ""),
    "share-alike": (COLOURS[0], ""),
    "called open": (COLOURS[0], "////"),
    "own or mixed terms": (COLOURS[8], "////"),
    "none stated": ("0.8", "////"),
    "non-commercial": (COLOURS[1], ""),
    "not released": (COLOURS[3], ""),
}


def languages(table: pl.DataFrame) -> Figure:
    """Two bars a language on a logarithmic axis. ``table`` is that of `lucie.openness.beside_llama`."""
    figure = new_figure(height=2.6)
    axes = figure.subplots()
    models = (("llama", "LLaMA 2 (quoted)", COLOURS[1]), ("lucie", "Lucie-7B (computed)", COLOURS[0]))
    for shift, (column, label, colour) in zip((-0.2, 0.2), models, strict=True):
        places = [place + shift for place in range(len(table))]
        bars = axes.barh(places, table[column], height=0.38, color=colour, label=label)
        axes.bar_label(bars, fmt="%.2f", padding=2, fontsize=7)
    axes.set_yticks(range(len(table)), labels=[LANGUAGES[name] for name in table["language"]])
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xticks([0.1, 1, 10, 100], labels=["0.1", "1", "10", "100"])
    axes.set_xlim(0.05, 200)
    axes.set_xlabel("Share of the pretraining tokens (%, logarithmic)")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def licences(tables: dict[str, pl.DataFrame]) -> Figure:
    """One bar a table of `lucie.openness.by_class`, divided by class."""
    figure = new_figure(height=2.2)
    axes = figure.subplots()
    for place, table in enumerate(tables.values()):
        left = 0.0
        for name, percent in table.select("class", "percent").iter_rows():
            colour, hatch = SHADES[name]
            label = name if not place else None
            axes.barh(
                place, percent, left=left, color=colour, hatch=hatch, edgecolor="white", linewidth=0.5, label=label
            )
            left += percent
    axes.set_yticks(range(len(tables)), labels=list(tables))
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("Share of tokens (%)")
    figure.legend(loc="outside lower center", ncols=4, columnspacing=1.2)
    return figure
