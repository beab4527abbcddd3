"""Needle in a haystack as heat-maps, in the layout of the published pictures."""

from __future__ import annotations

import numpy as np
import polars as pl
from matplotlib.collections import QuadMesh

from lucie.evaluation.needle import PARTS
from lucie.plots.style import Axes, Figure, new_figure

TITLES = {
    "main": "After the main phase",
    "extension": "After context extension",
    "annealing": "After annealing (final)",
}


LANGUAGES = {"fr": "French", "en": "English"}


def heat_maps(needle: pl.DataFrame, trained: dict[str, int]) -> Figure:
    """One map a phase of transcribed/needle: length of the text across, depth of the needle down.

    Cells hold elevenths; the dashed line stands where the context length in training (``trained``, tokens) does.
    """
    titles = {phase: f"{TITLES[phase]}, read off the published picture" for phase in trained}
    return _maps(needle, "phase", titles, trained, height=2.2)


def heat_maps_by_language(needle: pl.DataFrame, trained: int) -> Figure:
    """The same for a table of `lucie.evaluation.again.Evaluated.needles`, one map a language."""
    titles = {language: name for language, name in LANGUAGES.items() if language in set(needle["language"])}
    return _maps(needle, "language", titles, dict.fromkeys(titles, trained), height=1.9)


def _maps(needle: pl.DataFrame, column: str, titles: dict[str, str], trained: dict[str, int], height: float) -> Figure:
    figure = new_figure(height=height * len(titles))
    panels = figure.subplots(len(titles), 1, sharex=True)
    for axes, (name, title) in zip(panels, titles.items(), strict=True):
        mesh = _map(axes, needle.filter(pl.col(column) == name), trained[name])
        axes.set_title(title)
    panels[-1].set_xlabel("Length of the text (tokens)")
    bar = figure.colorbar(mesh, ax=list(panels), shrink=0.5, aspect=30, pad=0.01)
    bar.set_label(f"Score (numbers: parts of {PARTS})")
    return figure


def _map(axes: Axes, rows: pl.DataFrame, trained: int) -> QuadMesh:
    wide = rows.pivot("context_tokens", index="depth_percent", values="elevenths").sort(
        "depth_percent", maintain_order=True
    )
    depths, lengths = wide["depth_percent"].to_list(), [int(name) for name in wide.columns[1:]]
    parts = wide.drop("depth_percent").to_numpy()
    share = parts / PARTS
    mesh = axes.pcolormesh(share, cmap="cividis", vmin=0, vmax=1, edgecolors="white", linewidth=0.4)
    for (row, column), count in np.ndenumerate(parts):
        colour = "black" if share[row, column] > 0.5 else "white"
        axes.text(column + 0.5, row + 0.5, str(count), ha="center", va="center", fontsize=5.5, color=colour)
    if trained < lengths[-1]:
        axes.axvline(_between(lengths, trained), color="black", linestyle="--", linewidth=1.4)
    axes.set_yticks([row + 0.5 for row in range(len(depths))], labels=[str(depth) for depth in depths])
    axes.set_xticks(
        [column + 0.5 for column in range(len(lengths))],
        labels=[f"{length:,}".replace(",", " ") for length in lengths],
        rotation=45,
        ha="right",
        rotation_mode="anchor",
    )
    axes.tick_params(length=0)
    axes.invert_yaxis()
    axes.set_ylabel("Depth of the needle (%)")
    return mesh


def _between(lengths: list[int], tokens: int) -> int:
    """The edge of cells before the first length that exceeds ``tokens``."""
    return sum(length <= tokens for length in lengths)
