"""Tokens per word of tokenizers by language, on text that is at hand."""

from __future__ import annotations

import polars as pl

from lucie.plots.style import COLOURS, GREY, Figure, new_figure

MARKERS = ("o", "s", "D", "^", "v", "P", "X", "<")
NAMES = {"fr": "French", "en": "English", "de": "German", "es": "Spanish", "it": "Italian"}


def fertility(table: pl.DataFrame) -> Figure:
    """A row a language, a mark a tokenizer; ``table`` has tokenizer, entries, text, language, fertility."""
    languages = [name for name in NAMES if name in table["language"]]
    figure = new_figure(height=0.26 * len(languages) + 1.1)
    axes = figure.subplots()
    series = table.group_by("tokenizer", "entries", "text", maintain_order=True).agg("language", "fertility")
    for number, (name, entries, text, spoken, values) in enumerate(series.iter_rows()):
        elsewhere = text != table["text"][0]
        axes.plot(
            values,
            [languages.index(language) for language in spoken],
            "|" if elsewhere else MARKERS[number % len(MARKERS)],
            color=GREY if elsewhere else COLOURS[number % len(COLOURS)],
            markersize=11 if elsewhere else 5,
            markeredgewidth=1.4 if elsewhere else 0.9,
            markerfacecolor="none" if number else COLOURS[0],
            label=f"{name} ({entries:,} entries), {text}".replace(",", "\u202f", 1),
        )
    axes.set_yticks(range(len(languages)), [NAMES[language] for language in languages])
    axes.set_ylim(len(languages) - 0.5, -0.5)
    axes.set_xlabel("Fertility (tokens per word)")
    axes.grid(axis="both")
    figure.legend(loc="outside lower center", ncols=2)
    return figure
