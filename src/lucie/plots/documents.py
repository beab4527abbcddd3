"""Figures of a corpus at hand: what it holds, what its filters drop, and how surprising its texts are."""

from __future__ import annotations

import numpy as np
import polars as pl
from matplotlib.ticker import ScalarFormatter

from lucie.plots.style import COLOURS, GREY, Figure, new_figure

LANGUAGES = ("fr", "en", "de", "es", "it")


def composition(counts: pl.DataFrame) -> Figure:
    """Bytes by category, one colour a language; ``counts`` has language, category, bytes."""
    languages = [name for name in LANGUAGES if name in counts["language"]]
    kinds = {**{name: name for name in languages}, "code": "code", "": "two languages"}
    shown = (
        counts.with_columns(kind=_kind()).group_by("category", "kind", maintain_order=True).agg(pl.col("bytes").sum())
    )
    totals = shown.group_by("category", maintain_order=True).agg(pl.col("bytes").sum())
    categories = totals.sort("bytes", "category", maintain_order=True)["category"].to_list()
    figure = new_figure(height=0.22 * len(categories) + 0.9)
    axes = figure.subplots()
    left = np.zeros(len(categories))
    for colour, (kind, label) in zip(COLOURS, kinds.items(), strict=False):
        sizes = dict(shown.filter(kind=kind).select("category", "bytes").iter_rows())
        widths = np.array([sizes.get(category, 0) for category in categories]) / 1000
        if widths.any():
            axes.barh(range(len(categories)), widths, left=left, color=colour, label=label)
        left += widths
    axes.set_yticks(range(len(categories)), [name.replace("_", " ") for name in categories])
    axes.set_xlabel("Text (kB of UTF-8)")
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    axes.legend(loc="lower right")
    return figure


def _kind() -> pl.Expr:
    spoken = pl.col("language")
    code = pl.when(spoken.str.starts_with("code:")).then(pl.lit("code"))
    return code.when(spoken.is_in(LANGUAGES)).then(spoken).otherwise(pl.lit(""))


def reasons(table: pl.DataFrame, rules: pl.DataFrame) -> Figure:
    """Documents that break each rule: those planted for it, other planted ones, and those without a planted fault.

    ``table`` has reason and breaking; ``rules`` has rule, found, others, wrong. Where ``rules`` is empty, nothing was
    planted and only the first is drawn.
    """
    series = {"breaking": ("documents", COLOURS[0])}
    shown = table.select("reason", "breaking")
    if rules.height:
        shown = rules.select("rule", "found", "others", "wrong")
        series = {
            "found": ("planted for this rule", COLOURS[0]),
            "others": ("planted for another rule", COLOURS[9]),
            "wrong": ("without a planted fault", COLOURS[3]),
        }
    shown = shown.with_columns(total=pl.sum_horizontal(list(series))).filter(pl.col("total") > 0)
    shown = shown.sort("total", maintain_order=True)
    figure = new_figure(height=max(1.6, 0.19 * shown.height + 0.9))
    axes = figure.subplots()
    places, left = range(shown.height), np.zeros(shown.height)
    for column, (label, colour) in series.items():
        widths = shown[column].to_numpy()
        axes.barh(places, widths, left=left, color=colour, label=label)
        left += widths
    axes.set_yticks(places, shown.to_series(0).to_list())
    axes.set_xlabel("Documents that break the rule")
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    if rules.height:
        axes.legend(loc="lower right")
    return figure


def perplexities(scored: pl.DataFrame) -> Figure:
    """The perplexity of each document, one row a category and language; planted garbled ones are crossed.

    ``scored`` has category, language, perplexity and planted.
    """
    groups = scored.select("category", "language").unique(maintain_order=True).sort(
        "category", "language", maintain_order=True
    )  # fmt: skip
    figure = new_figure(height=max(1.8, 0.17 * groups.height + 0.9))
    axes = figure.subplots()
    spread = np.random.default_rng(0)
    for place, (category, language) in enumerate(groups.iter_rows()):
        rows = scored.filter(category=category, language=language)
        heights = place + spread.uniform(-0.25, 0.25, rows.height)
        planted = rows["planted"].to_numpy()
        values = rows["perplexity"].to_numpy()
        axes.plot(values[~planted], heights[~planted], ".", color=GREY, markersize=3, alpha=0.6)
        axes.plot(values[planted], heights[planted], "x", color=COLOURS[3], markersize=5)
    labels = [f"{category.replace('_', ' ')} ({language})" for category, language in groups.iter_rows()]
    axes.set_yticks(range(groups.height), labels)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("Perplexity of a character, by the model of the other half of the corpus")
    axes.plot([], [], ".", color=GREY, label="document")
    if scored["planted"].any():
        axes.plot([], [], "x", color=COLOURS[3], label="planted as garbled")
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.grid(axis="x")
    figure.legend(loc="outside lower center", ncols=2)
    return figure
