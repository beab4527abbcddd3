"""The composition of the corpus as rings, by language and by category."""

from __future__ import annotations

import polars as pl

from lucie.plots.style import COLOURS, Axes, Figure, new_figure

LANGUAGES = {
    "fr": "French",
    "en": "English",
    "code": "Code",
    "de": "German",
    "es": "Spanish",
    "it": "Italian",
    "parallel": "Parallel text",
}
CATEGORIES = {
    "web": "Web",
    "newspaper": "Newspaper",
    "technical": "Technical",
    "book": "Book",
    "legislative": "Legislative",
    "wiki": "Wiki",
    "math": "Math",
    "forum": "Forum",
    "dialogue": "Dialogue",
}
LABELLED_FROM = 3.0  # percent: thinner wedges are named in the legend only


def rings(shares: pl.DataFrame) -> Figure:
    """Two rings from `lucie.corpus.composition.shares`: tokens by language and by category of text."""
    figure = new_figure(height=2.5)
    left, right = figure.subplots(1, 2)
    _ring(left, _percents(shares, "language", LANGUAGES), "By language")
    categories = _percents(shares, "category", CATEGORIES)
    _ring(right, {**categories, "Code, parallel text": 100 - sum(categories.values())}, "By category of text")
    return figure


def _percents(shares: pl.DataFrame, kind: str, names: dict[str, str]) -> dict[str, float]:
    percent = dict(shares.select("label", "percent").iter_rows())
    chosen = {name: percent[f"{kind}:{code}"] for code, name in names.items()}
    return dict(sorted(chosen.items(), key=lambda item: -item[1]))


def _ring(axes: Axes, percents: dict[str, float], title: str) -> None:
    wedges, *_ = axes.pie(
        list(percents.values()),
        labels=[f"{value:.0f}" if value >= LABELLED_FROM else "" for value in percents.values()],
        labeldistance=0.80,
        startangle=90,
        counterclock=False,
        colors=[*COLOURS[:7], COLOURS[9], COLOURS[8], COLOURS[7]],
        wedgeprops={"width": 0.42, "edgecolor": "white", "linewidth": 0.8},
        textprops={"ha": "center", "va": "center", "fontsize": 7, "color": "white", "fontweight": "bold"},
    )
    legend = [f"{name}  {_three_digits(value)} %" for name, value in percents.items()]
    axes.legend(wedges, legend, loc="center left", bbox_to_anchor=(0.98, 0.5), handlelength=1, labelspacing=0.35)
    axes.set_title(title)


def _three_digits(value: float) -> str:
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"
