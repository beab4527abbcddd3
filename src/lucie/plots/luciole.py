"""Luciole: loss over tokens for the three sizes, and the languages of each phase."""

from __future__ import annotations

import polars as pl

from lucie.plots.style import COLOURS, GREY, Figure, new_figure

SIZE_COLOURS = {"1B": COLOURS[0], "8B": COLOURS[1], "23B": COLOURS[2]}
WARM = 4e10  # tokens; the losses before would flatten the rest
LANGUAGES = {
    "en": "English",
    "fr": "French",
    "code": "code",
    "math": "mathematics",
    "de": "German",
    "es": "Spanish",
    "it": "Italian",
    "aligned": "parallel",
    "multi": "several",
    "other": "other",
}


def convergence(steps: pl.DataFrame, phases: pl.DataFrame) -> Figure:
    """The training loss over all tokens seen, with a dotted line where a phase of the longest training ends.

    ``steps`` is that of `lucie.luciole.logged`, ``phases`` that of `lucie.luciole.plan`.
    """
    figure = new_figure(height=3.2)
    axes, zoom = figure.subplots(1, 2, width_ratios=[3, 2], sharey=True)
    for panel in (axes, zoom):
        for size, colour in SIZE_COLOURS.items():
            rows = steps.filter(size=size).sort("seen", maintain_order=True).filter(pl.col("seen") > WARM)
            panel.plot(rows["seen"] / 1e12, rows["loss"], color=colour, linewidth=0.8, label=f"Luciole-{size}")
            end = rows.tail(1)
            panel.plot(end["seen"] / 1e12, end["loss"], "o", color=colour, markersize=4, markeredgecolor="white")
        panel.set_xlabel("Tokens seen (10¹²)")
        panel.grid(axis="y")
    marks = phases.filter(size="8B")["tokens"].cum_sum() / 1e12
    for mark in marks[:-1]:
        axes.axvline(mark, color=GREY, linestyle=":", linewidth=0.8)
        zoom.axvline(mark, color=GREY, linestyle=":", linewidth=0.8)
    axes.set_ylabel("Training loss (nats per token)")
    axes.set_title("All phases")
    zoom.set_title("Annealing and context extension")
    zoom.set_xlim(4.4, 5.15)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def languages(table: pl.DataFrame, titles: dict[str, str]) -> Figure:
    """One bar a mix, divided by language. ``table`` has mix, language and percent; ``titles`` names the mixes."""
    figure = new_figure(height=2.4)
    axes = figure.subplots()
    small = ~pl.col("language").is_in(list(LANGUAGES))
    grouped = table.with_columns(language=pl.when(small).then(pl.lit("other")).otherwise("language"))
    colours = dict(zip(LANGUAGES, [*COLOURS[:9], "0.75"], strict=True))
    for place, mix in enumerate(titles):
        left = 0.0
        for language, name in LANGUAGES.items():
            percent = float(grouped.filter(mix=mix, language=language)["percent"].sum())
            label = name if not place else None
            axes.barh(place, percent, left=left, color=colours[language], edgecolor="white", linewidth=0.5, label=label)
            left += percent
    axes.set_yticks(range(len(titles)), labels=list(titles.values()))
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("Share of tokens (%)")
    figure.legend(loc="outside lower center", ncols=5, columnspacing=1.2, handlelength=1)
    return figure
