"""The corpus and what the three phases read of it, by kind of text."""

from __future__ import annotations

import polars as pl
from matplotlib.colors import to_rgb

from lucie.plots.style import COLOURS, GREY, Axes, Figure, new_figure

KINDS = {
    "web": "Web",
    "programming": "Code",
    "technical": "Technical",
    "newspaper": "Newspaper",
    "aligned": "Parallel text",
    "book": "Book",
    "wiki": "Wiki",
    "math": "Math",
    "instructions": "Instructions",
    "other": "Other",
}
AT_HAND = {  # the kinds of text that the corpora of the small tiers hold instead
    **{kind: label for kind, label in KINDS.items() if kind not in ("aligned", "instructions", "other")},
    "parallel": "Parallel text",
    "dialogue": "Dialogue",
    "other": "Other",
}
NARROWEST = 4.0  # percent: thinner parts carry no number
LIGHT = 0.6  # of 1: white letters are not legible on it


def by_kind(mixes: dict[str, dict[str, float]], kinds: dict[str, str] = KINDS) -> Figure:
    """One bar a mix, from percents by kind of text; kinds that are not in ``kinds`` are added up as 'Other'."""
    figure = new_figure(height=0.5 * len(mixes) + 1.1)
    axes = figure.subplots()
    colours = dict(zip(kinds, [*COLOURS[:7], COLOURS[8], COLOURS[9], GREY], strict=True))
    for row, percents in enumerate(mixes.values()):
        _bar(axes, row, _with_other(percents, kinds), colours)
    axes.set_yticks(range(len(mixes)), list(mixes))
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("percent of the tokens")
    axes.spines["left"].set_visible(False)
    axes.tick_params(left=False)
    handles = [axes.barh(0, 0, color=colour, label=kinds[kind]) for kind, colour in colours.items()]
    figure.legend(handles=handles, loc="outside upper center", ncols=5, handlelength=1, columnspacing=1.2)
    return figure


def _with_other(percents: dict[str, float], kinds: dict[str, str]) -> dict[str, float]:
    known = {kind: percents.get(kind, 0.0) for kind in kinds if kind != "other"}
    return {**known, "other": sum(percents.values()) - sum(known.values())}


def _bar(
    axes: Axes, row: int, percents: dict[str, float], colours: dict[str, tuple[float, float, float] | str]
) -> None:
    left = 0.0
    for kind, percent in percents.items():
        axes.barh(row, percent, left=left, height=0.7, color=colours[kind], edgecolor="white", linewidth=0.6)
        if percent >= NARROWEST:
            ink = "black" if _lightness(colours[kind]) > LIGHT else "white"
            axes.text(left + percent / 2, row, f"{percent:.0f}", ha="center", va="center", color=ink, weight="bold")
        left += percent


def _lightness(colour: tuple[float, float, float] | str) -> float:
    red, green, blue = to_rgb(colour)
    return 0.299 * red + 0.587 * green + 0.114 * blue


def percents(frame: pl.DataFrame, kind: str, percent: str) -> dict[str, float]:
    """Two columns of a table as a mix for `by_kind`."""
    return dict(frame.select(kind, percent).iter_rows())
