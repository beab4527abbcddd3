"""Benchmark scores over the tokens seen in training, with baselines and standard errors."""

from __future__ import annotations

import polars as pl
from matplotlib.artist import Artist

from lucie.plots.style import COLOURS, GREY, Axes, Figure, new_figure

BASELINES = {
    "Meta-Llama-3.1-8B": ("Llama-3.1-8B", COLOURS[1], "s"),
    "Meta-Llama-3.1-8B-Instruct": ("Llama-3.1-8B-Instruct", COLOURS[1], "_"),
    "Mistral-7B-v0.1": ("Mistral-7B-v0.1", COLOURS[2], "D"),
    "Mistral-7B-Instruct-v0.2": ("Mistral-7B-Instruct-v0.2", COLOURS[2], "_"),
    "falcon-7b": ("Falcon-7B", COLOURS[3], "^"),
    "bloom-7b1": ("Bloom-7B1", COLOURS[4], "v"),
    "CroissantLLMBase": ("CroissantLLM", COLOURS[5], "P"),
    "CroissantLLMChat-v0.1": ("CroissantLLM-Chat", COLOURS[5], "_"),
    "pythia-6.9b": ("Pythia-6.9B", COLOURS[7], "X"),
}
STAGES = {"extension": ("+ context extension", "o"), "annealing": ("+ annealing (final)", "*")}
METRICS = {
    "acc": "Accuracy",
    "acc_norm": "Normalised accuracy",
    "exact_match,flexible-extract": "Exact match",
    "rouge1": "ROUGE-1",
}
PANEL_HEIGHT, LEGEND_HEIGHT = 1.95, 1.0  # inches


def learning_curves(curve: pl.DataFrame, titles: dict[str, str], chance: dict[str, float]) -> Figure:
    """One panel a task, in two columns: Lucie's checkpoints as a line, later phases and baselines as points.

    ``curve`` is that of `lucie.evaluation.learning_curves.curve` for the runs to be shown; ``chance`` is the score
    of a guesser, for the tasks that can be guessed. Bands and bars are one standard error each way, where it is known.
    """
    height = -(-len(titles) // 2)
    odd = len(titles) % 2
    figure = new_figure(height=height * PANEL_HEIGHT + (0 if odd else LEGEND_HEIGHT))
    panels = list(figure.subplots(height, 2, sharex=True, squeeze=False).flat)
    named: dict[str, Artist] = {}
    for axes, (task, title) in zip(panels, titles.items(), strict=False):
        _panel(axes, curve.filter(task=task), title)
        if task in chance:
            axes.axhline(chance[task], color=GREY, linestyle=":", linewidth=0.8, label="chance")
        handles, labels = axes.get_legend_handles_labels()
        named |= dict(zip(labels, handles, strict=True))
    for axes in panels[len(titles) - 2 : len(titles)]:
        axes.set_xlabel("Training tokens (10¹²)")
        axes.tick_params(labelbottom=True)
    if odd:
        panels[-1].axis("off")
        legend = panels[-1].legend(
            list(named.values()),
            list(named),
            loc="upper center",
            bbox_to_anchor=(0.5, 1.1),
            fontsize=7,
            labelspacing=0.3,
        )
        legend.set_in_layout(False)
    else:
        figure.legend(list(named.values()), list(named), loc="outside lower center", ncols=4, columnspacing=1.2)
    return figure


def _panel(axes: Axes, rows: pl.DataFrame, title: str) -> None:
    metric, items, shots = rows["metric"][0], rows["items"][0], rows["shots"][0]
    lucie = rows.filter(~pl.col("baseline"))
    _line(axes, lucie.filter(phase="main").sort("tokens", maintain_order=True))
    for phase, (label, marker) in STAGES.items():
        size = 9 if marker == "*" else 4.5
        _point(axes, lucie.filter(phase=phase), label, COLOURS[0], marker, size)
    for model, (label, colour, marker) in BASELINES.items():
        _point(axes, rows.filter(model=model), label, colour, marker, 7 if marker == "_" else 4.5)
    axes.set_xscale("log")
    axes.set_xlim(0.05, 22)
    axes.set_xticks([0.1, 0.3, 1, 3, 10], labels=["0.1", "0.3", "1", "3", "10"], minor=False)
    axes.minorticks_off()
    counted = f", {items:,} items".replace(",", " ")[1:] if items else ""
    axes.set_title(f"{title} ({shots}-shot{',' if items else ''}{counted})")
    axes.set_ylabel(METRICS[metric])
    axes.grid(axis="y")


def _line(axes: Axes, main: pl.DataFrame) -> None:
    """The main phase: a line with its band, or a point where only its end was evaluated."""
    label = "Lucie-7B, main phase"
    if main.height == 1:
        _point(axes, main, label, COLOURS[0], "h", 6.5)
        return
    tokens, score, error = main["tokens"] / 1e12, main["score"], main["stderr"].fill_null(0)
    axes.plot(tokens, score, "-", color=COLOURS[0], label=label)
    axes.fill_between(tokens, score - error, score + error, color=COLOURS[0], alpha=0.2, linewidth=0)


def _point(
    axes: Axes, rows: pl.DataFrame, label: str, colour: tuple[float, ...] | str, marker: str, size: float
) -> None:
    if rows.is_empty():
        return
    axes.errorbar(
        rows["tokens"] / 1e12,
        rows["score"],
        yerr=None if rows["stderr"].has_nulls() else rows["stderr"],
        fmt=marker,
        color=colour,
        markersize=size,
        markeredgecolor=colour if marker == "_" else "white",
        markeredgewidth=1.4 if marker == "_" else 0.5,
        elinewidth=0.8,
        label=label,
        zorder=3,
    )
