"""Benchmark scores over the tokens seen in training, with baselines and standard errors."""

from __future__ import annotations

import polars as pl

from lucie.plots.style import COLOURS, GREY, Axes, Figure, new_figure

BASELINES = {
    "Meta-Llama-3.1-8B": ("Llama-3.1-8B", COLOURS[1], "s"),
    "Mistral-7B-v0.1": ("Mistral-7B-v0.1", COLOURS[2], "D"),
    "falcon-7b": ("Falcon-7B", COLOURS[3], "^"),
    "bloom-7b1": ("Bloom-7B1", COLOURS[4], "v"),
    "CroissantLLMBase": ("CroissantLLM", COLOURS[5], "P"),
    "pythia-6.9b": ("Pythia-6.9B", COLOURS[7], "X"),
}
STAGES = {"extension": ("+ context extension", "o"), "annealing": ("+ annealing (final)", "*")}


def learning_curves(curve: pl.DataFrame, titles: dict[str, str], chance: dict[str, float]) -> Figure:
    """One panel a task: Lucie's checkpoints as a line, later phases and baselines as points, 1 stderr each way.

    ``curve`` is that of `lucie.evaluation.learning_curves.curve` for the runs to be shown; ``chance`` is the score
    of a guesser by task.
    """
    figure = new_figure(height=5.2)
    panels = figure.subplots(2, 2, sharex=True)
    for axes, (task, title) in zip(panels.flat, titles.items(), strict=True):
        _panel(axes, curve.filter(task=task), title)
        axes.axhline(chance[task], color=GREY, linestyle=":", linewidth=0.8, label="chance")
    for axes in panels[1]:
        axes.set_xlabel("Training tokens (10¹²)")
    handles, labels = panels.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, columnspacing=1.2, handletextpad=0.4)
    return figure


def _panel(axes: Axes, rows: pl.DataFrame, title: str) -> None:
    metric, items, shots = rows["metric"][0], rows["items"][0], rows["shots"][0]
    lucie = rows.filter(~pl.col("baseline"))
    main = lucie.filter(phase="main").sort("tokens")
    tokens, score, error = main["tokens"] / 1e12, main["score"], main["stderr"]
    axes.plot(tokens, score, "-", color=COLOURS[0], label="Lucie-7B, main phase")
    axes.fill_between(tokens, score - error, score + error, color=COLOURS[0], alpha=0.2, linewidth=0)
    for phase, (label, marker) in STAGES.items():
        size = 9 if marker == "*" else 4.5
        _point(axes, lucie.filter(phase=phase), label, COLOURS[0], marker, size)
    for model, (label, colour, marker) in BASELINES.items():
        _point(axes, rows.filter(model=model), label, colour, marker, 4.5)
    axes.set_xscale("log")
    axes.set_xticks([0.1, 0.3, 1, 3, 10], labels=["0.1", "0.3", "1", "3", "10"], minor=False)
    axes.minorticks_off()
    axes.set_title(f"{title} ({shots}-shot, {items:,} items)".replace(",000", " 000"))
    axes.set_ylabel({"acc": "Accuracy", "acc_norm": "Normalised accuracy"}[metric])
    axes.grid(axis="y")


def _point(
    axes: Axes, rows: pl.DataFrame, label: str, colour: tuple[float, ...] | str, marker: str, size: float
) -> None:
    axes.errorbar(
        rows["tokens"] / 1e12,
        rows["score"],
        yerr=rows["stderr"],
        fmt=marker,
        color=colour,
        markersize=size,
        markeredgecolor="white",
        markeredgewidth=0.5,
        elinewidth=0.8,
        label=label,
        zorder=3,
    )
