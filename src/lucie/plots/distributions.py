"""What single languages and sources are made of: bars of their largest parts, and histograms by year."""

from __future__ import annotations

import polars as pl

from lucie.plots.style import COLOURS, GREY, Axes, Figure, new_figure

PARTS = {
    "french": "French",
    "english": "English",
    "german": "German",
    "spanish": "Spanish",
    "italian": "Italian",
    "fr-en": "French-English",
    "code": "Code",
    "claire_fr": "Claire, French",
    "claire_en": "Claire, English",
}
YEARS = {
    "redpajama_fr": "RedPajama, French",
    "redpajama_de": "RedPajama, German",
    "redpajama_es": "RedPajama, Spanish",
    "redpajama_it": "RedPajama, Italian",
    "finewebedu": "FineWebEdu",
    "americanstories": "AmericanStories",
}
DENSE = 20  # bars, from which on gaps between them would flicker
SHOWN = 6  # parts named in a panel; the others are added up


def largest_parts(distributions: pl.DataFrame) -> Figure:
    """The largest parts of each of `PARTS`, in percent of its tokens: columns figure, label, percent."""
    figure = new_figure(height=4.9)
    for axes, (name, title) in zip(figure.subplots(3, 3).flat, PARTS.items(), strict=True):
        _bars(axes, distributions.filter(figure=name).sort("percent", descending=True, maintain_order=True))
        axes.set_title(title)
    figure.supxlabel("percent of the tokens", fontsize=8)
    return figure


def _bars(axes: Axes, parts: pl.DataFrame) -> None:
    shown = parts if parts.height <= SHOWN + 1 else parts.head(SHOWN)
    names, percents = shown["label"].to_list(), shown["percent"].to_list()
    if parts.height > len(names):
        names.append(f"{parts.height - len(names)} others")
        percents.append(100 - sum(percents))
    colours = [GREY if name.endswith(" others") else COLOURS[0] for name in names]
    bars = axes.barh(range(len(names)), percents, color=colours)
    labels = [f"{percent:.1f}" if percent >= 0.1 else "< 0.1" for percent in percents]
    axes.bar_label(bars, labels, padding=2, fontsize=6.5)
    axes.set_yticks(range(len(names)), [_short(name) for name in names], fontsize=6.5)
    axes.set_ylim(SHOWN + 0.5, -0.5)
    axes.set_xlim(0, 118)
    axes.set_xticks([0, 50, 100])


def _short(name: str) -> str:
    return name.removeprefix("Pile (").removesuffix(")").replace("_", " ")


def by_year(distributions: pl.DataFrame) -> Figure:
    """Each of `YEARS` over the years: columns figure, label (the year), percent."""
    figure = new_figure(height=3.2)
    for axes, (name, title) in zip(figure.subplots(2, 3).flat, YEARS.items(), strict=True):
        years = (
            distributions.filter(figure=name).with_columns(pl.col("label").cast(int)).sort("label", maintain_order=True)
        )
        axes.bar(years["label"], years["percent"], width=0.8 if years.height < DENSE else 1.0, color=COLOURS[0])
        axes.set_title(title)
        axes.xaxis.get_major_locator().set_params(integer=True, nbins=5)
        axes.set_axisbelow(True)
        axes.yaxis.grid(True)
        measure = "characters" if name == "americanstories" else "tokens"
        axes.set_ylabel(f"percent of {measure}")
    figure.supxlabel("year of the crawl, or of the newspaper", fontsize=8)
    return figure
