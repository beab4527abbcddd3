"""Throughput of training runs over the number of GPUs, and the share of the GPUs' peak that they use."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from lucie.plots.style import COLOURS, GREY, Axes, Figure, new_figure

LAYOUTS = {  # tensor, pipeline parallelism and ZeRO stage: colour, marker, line
    (1, 1, 1): (COLOURS[0], "o", "--"),
    (2, 1, 1): (COLOURS[2], "v", "--"),
    (2, 1, 0): (COLOURS[2], "v", "-"),
    (1, 2, 0): (COLOURS[1], "s", "-"),
    (2, 2, 0): (COLOURS[3], "D", "-"),
}
PHASES = {"main": "Main phase", "extension": "Extension", "annealing": "Annealing"}


def throughput(runs: pl.DataFrame, titles: Mapping[str, str]) -> Figure:
    """A panel a batch (``titles``: its label to its title): tokens/s per GPU over GPUs, a line a layout.

    ``runs`` has batch_in_folder, gpus, the parallelisms, zero_stage and tokens_per_gpu_second.
    """
    figure = new_figure(height=3.3)
    panels = figure.subplots(1, len(titles), sharey=True)
    for axes, (batch, title) in zip(panels, titles.items(), strict=True):
        for (tensor, pipeline, zero), (colour, marker, line) in LAYOUTS.items():
            rows = runs.filter(
                batch_in_folder=batch, tensor_parallelism=tensor, pipeline_parallelism=pipeline, zero_stage=zero
            ).sort("gpus", maintain_order=True)
            label = f"tensor {tensor}, pipeline {pipeline}, ZeRO-{zero}"
            axes.plot(
                rows["gpus"],
                rows["tokens_per_gpu_second"],
                line,
                color=colour,
                marker=marker,
                markersize=4,
                label=label,
            )
        axes.set(title=title, ylim=(0, None))
        axes.grid(axis="y")
        _gpus(axes, runs["gpus"].unique().sort().to_list())
    panels[0].set_ylabel("Tokens per second and GPU")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def utilisation(study: pl.DataFrame, phases: pl.DataFrame) -> Figure:
    """Percent of the peak over GPUs: every run of the study by sequence length, and the phases of the training.

    ``study`` has gpus, sequence_length and utilisation; ``phases`` has phase, gpus and utilisation.
    """
    figure = new_figure(height=3.2)
    axes = figure.subplots()
    for (length,), colour, marker in zip(
        study.select("sequence_length").unique().sort("sequence_length", maintain_order=True).iter_rows(),
        COLOURS,
        "os",
        strict=False,
    ):
        rows = study.filter(sequence_length=length)
        axes.plot(
            rows["gpus"], 100 * rows["utilisation"], marker, color=colour, markersize=4, alpha=0.75,
            label=f"study, A100, sequences of {length} tokens",
        )  # fmt: skip
    axes.plot(phases["gpus"], 100 * phases["utilisation"], "*", color=COLOURS[3], markersize=10, label="Lucie-7B, H100")
    _name_phases(axes, phases)
    axes.set(ylabel="Model operations (% of the peak)", ylim=(0, 65))
    axes.grid(axis="y")
    axes.legend()
    _gpus(axes, sorted({*study["gpus"], *phases["gpus"]}))
    return figure


def _name_phases(axes: Axes, phases: pl.DataFrame) -> None:
    for row in phases.iter_rows(named=True):
        above = row["phase"] != "annealing"
        axes.annotate(
            PHASES[row["phase"]],
            (row["gpus"], 100 * row["utilisation"]),
            textcoords="offset points",
            xytext=(7, 2 if above else -7),
            color=GREY,
            fontsize=7.5,
        )


def _gpus(axes: Axes, ticks: list[int]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_xlim(ticks[0] / 1.25, ticks[-1] * (2.0 if ticks[-1] > 200 else 1.25))
    axes.set_xlabel("GPUs")
