"""Tokens per word of tokenizers, a line a corpus, the tokenizer in question in front."""

from __future__ import annotations

import polars as pl

from lucie.plots.style import COLOURS, GREY, Axes, Figure, new_figure

LANGUAGES = ["French", "English", "German", "Spanish", "Italian", "Code"]
LUCIE = "Lucie2.10"
MARKERS = {  # marker and colour of each tokenizer: nine shapes, so that colours need not be told apart
    LUCIE: ("o", COLOURS[3]),
    "Lucie2.9": ("o", COLOURS[3]),
    "CroissantLLM": ("P", COLOURS[0]),
    "Llama-2": ("s", COLOURS[1]),
    "Mistral": ("D", COLOURS[2]),
    "Falcon": ("^", COLOURS[4]),
    "GPT-4": ("X", GREY),
    "Gemma": ("v", COLOURS[9]),
    "Bloom": ("<", COLOURS[5]),
}
NAMES = {
    "GallicaMonographies": "Gallica books",
    "Persee": "Persée",
    "c++": "C++",
    "tex": "TeX",
    "python": "Python",
    "javascript": "JavaScript",
}


def fertility(table: pl.DataFrame) -> Figure:
    """Fertility of each tokenizer on each corpus of `lucie.tokenizer.fertility.ratios`, text left, code right."""
    figure = new_figure(height=4.6)
    text, code = figure.subplots(1, 2, width_ratios=[2.1, 1])
    _panel(text, table.filter(pl.col("language") != "Code"))
    _panel(code, table.filter(language="Code"))
    code.set_title("Code")
    text.set_title("Text")
    for axes in (text, code):
        axes.set_xlabel("Fertility (tokens per word)")
    handles, labels = text.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, columnspacing=1.2, handletextpad=0.3)
    return figure


def _panel(axes: Axes, table: pl.DataFrame) -> None:
    of_lucie = table.filter(tokenizer=LUCIE).sort(
        pl.col("language").replace_strict(_ORDER), "fertility", maintain_order=True
    )
    corpora = of_lucie["dataset"].to_list()
    places = {corpus: place for place, corpus in enumerate(corpora)}
    for name, (marker, colour) in MARKERS.items():
        rows = table.filter(tokenizer=name)
        y = [places[corpus] for corpus in rows["dataset"]]
        axes.plot(
            rows["fertility"],
            y,
            marker,
            color=colour,
            markerfacecolor=colour if name == LUCIE else "none",
            markersize=6.5 if name == LUCIE else 4.5,
            markeredgewidth=0.9,
            label=f"{name} ({rows['vocabulary'][0] // 1000}k)",
            zorder=2 if name == LUCIE else 3,
        )
    axes.set_yticks(range(len(corpora)), [NAMES.get(corpus, corpus) for corpus in corpora])
    axes.set_ylim(len(corpora) - 0.5, -0.5)
    axes.grid(axis="both")
    for place, (one, other) in enumerate(zip(of_lucie["language"], of_lucie["language"][1:], strict=False)):
        if one != other:
            axes.axhline(place + 0.5, color="0.6", linewidth=0.5)


_ORDER = {language: place for place, language in enumerate(LANGUAGES)}
