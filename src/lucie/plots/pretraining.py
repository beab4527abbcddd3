"""A pretraining made here: losses and learning rate, speed and memory, and what was read of each source.

Tables come from `lucie.training.metrics`, `lucie.training.heldout` and `lucie.training.consumption`, with a column
seed (a phase for the last) more. Tokens are counted through all phases, and shown from each phase's beginning.
"""

from __future__ import annotations

import math
from itertools import pairwise

import polars as pl

from lucie.plots.convergence import TITLES
from lucie.plots.style import COLOURS, GREY, Axes, Figure, new_figure

LANGUAGES = {  # name, colour and marker
    "fr": ("French", COLOURS[0], "o"),
    "en": ("English", COLOURS[1], "s"),
    "de": ("German", COLOURS[2], "^"),
    "es": ("Spanish", COLOURS[4], "v"),
    "it": ("Italian", COLOURS[5], "D"),
    "code": ("code", COLOURS[3], "P"),
}
BESIDES = ("black", "x")  # colour and marker of other languages: pairs that translate each other
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
GIB = 2**30


def convergence(metrics: pl.DataFrame, heldout: pl.DataFrame) -> Figure:
    """Losses over the tokens of the phases, on training text and on held-out text, above the learning rate.

    ``metrics`` has seed, phase, tokens, loss and learning_rate, a line a seed; ``heldout`` has seed, phase, tokens,
    language and loss: means over seeds, with bars from the lowest to the highest.
    """
    phases = [phase for phase in TITLES if phase in set(metrics["phase"])]
    figure = new_figure(height=4.6)
    panels = figure.subplots(
        2, len(phases), sharex="col", sharey="row", squeeze=False, width_ratios=_widths(len(phases)),
        height_ratios=[2.4, 1],
    )  # fmt: skip
    starts, rates = _starts(metrics, phases), _power(metrics["learning_rate"], 1)
    for column, phase in enumerate(phases):
        trained, tested = (
            frame.filter(phase=phase).with_columns(pl.col("tokens") - starts[phase]) for frame in (metrics, heldout)
        )
        power = _power(trained["tokens"], 3)
        loss, rate = panels[0, column], panels[1, column]
        for _, rows in trained.group_by("seed", maintain_order=True):
            tokens = rows["tokens"] / 10**power
            loss.plot(tokens, rows["loss"], color="0.72", linewidth=0.6, zorder=1, label="training text, each seed")
            rate.plot(tokens, rows["learning_rate"] / 10.0**rates, color=COLOURS[3])
        for language in sorted(set(tested["language"]), key=_place):
            _held_out(loss, language, tested.filter(language=language), 10**power)
        loss.set_title(TITLES[phase])
        rate.set(xlabel=f"Tokens ({_unit(power)})", xlim=(0, None))
        for axes in (loss, rate):
            axes.grid(axis="y")
    panels[0, 0].set_ylabel("Loss (nats per token)")
    panels[1, 0].set_ylabel(f"Learning rate ({_unit(rates)})")
    panels[1, 0].set_ylim(bottom=0)
    _legend(figure, panels[0].tolist())
    return figure


def speed(metrics: pl.DataFrame) -> Figure:
    """Tokens per second, and the memory of a process, over the steps of the phases; a line a seed.

    ``metrics`` has seed, phase, step, tokens_per_second and memory (bytes).
    """
    figure = new_figure(height=3.2)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[1.5, 1])
    for _, rows in metrics.group_by("seed", maintain_order=True):
        upper.plot(rows["step"], rows["tokens_per_second"], color=COLOURS[0], linewidth=0.6)
        lower.plot(rows["step"], rows["memory"] / GIB, color=COLOURS[3], linewidth=0.9)
    upper.set_ylabel("Tokens per second")
    lower.set(ylabel="Memory (GiB)", xlabel="Step", xlim=(1, metrics["step"].max()))
    for axes in (upper, lower):
        axes.set_ylim(bottom=0)
        axes.grid(axis="y")
    _name_phases(upper, lower, metrics)
    return figure


def consumption(table: pl.DataFrame) -> Figure:
    """Percent of the tokens by source and phase: a dot for what was read, a bar for the mix.

    ``table`` has phase, name, share and weight; short and long documents of a source are added up.
    """
    phases = [phase for phase in TITLES if phase in set(table["phase"])]
    shares = table.group_by("phase", "name", maintain_order=True).agg(pl.sum("share", "weight"))
    weights = shares.group_by("name", maintain_order=True).agg(pl.sum("weight"))
    names = weights.sort("weight", "name", maintain_order=True)["name"].to_list()
    figure = new_figure(height=0.135 * len(names) + 0.9)
    panels = figure.subplots(1, len(phases), sharey=True, squeeze=False)[0]
    for axes, phase in zip(panels, phases, strict=True):
        rows = shares.filter(phase=phase)
        places = [names.index(name) for name in rows["name"]]
        axes.barh(places, 100 * rows["weight"], 0.75, color=COLOURS[9], alpha=0.6, label="mix")
        axes.plot(100 * rows["share"], places, "o", color="black", markersize=2.5, label="read")
        axes.set(title=TITLES[phase], xlabel="Percent of the tokens", ylim=(-0.7, len(names) - 0.3), xlim=(0, None))
        axes.grid(axis="x")
        axes.set_axisbelow(True)
    panels[0].set_yticks(range(len(names)), [name.replace("--", ", ").replace("_", " ") for name in names])
    panels[0].tick_params(axis="y", length=0, labelsize=6.5)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


def _power(numbers: pl.Series, step: int) -> int:
    """The power of ten to show numbers in, a multiple of ``step``."""
    return step * int(math.log10(numbers.max()) // step)  # type: ignore[arg-type]


def _unit(power: int) -> str:
    return "10" + str(power).translate(RAISED)


def _widths(phases: int) -> list[float]:
    return [2.2, *[1.0] * (phases - 1)]


def _starts(metrics: pl.DataFrame, phases: list[str]) -> dict[str, int]:
    """Tokens read before each phase: those of the phases before it."""
    ends = [0, *(int(metrics.filter(phase=phase)["tokens"].max()) for phase in phases)]  # type: ignore[arg-type]
    return dict(zip(phases, ends, strict=False))


def _place(language: str) -> tuple[int, str]:
    """The languages of `LANGUAGES` come first."""
    return [*LANGUAGES, language].index(language), language


def _held_out(axes: Axes, language: str, rows: pl.DataFrame, scale: int) -> None:
    name, colour, marker = LANGUAGES.get(language, (language, *BESIDES))
    means = (
        rows.group_by("tokens", maintain_order=True)
        .agg(pl.mean("loss"), low=pl.min("loss"), high=pl.max("loss"))
        .sort("tokens", maintain_order=True)
        .with_columns(below=pl.col("loss") - pl.col("low"), above=pl.col("high") - pl.col("loss"))
    )
    axes.errorbar(
        means["tokens"] / scale, means["loss"], [means["below"], means["above"]], color=colour, marker=marker,
        markersize=3, linewidth=0.9, elinewidth=0.7, capsize=1.5, label=f"{name}, held out",
    )  # fmt: skip


def _legend(figure: Figure, panels: list[Axes]) -> None:
    """One entry a label, of all panels."""
    found = {}
    for axes in panels:
        handles, labels = axes.get_legend_handles_labels()
        found.update(dict(zip(labels, handles, strict=True)))
    figure.legend(found.values(), found.keys(), loc="outside lower center", ncols=4)


def _name_phases(upper: Axes, lower: Axes, metrics: pl.DataFrame) -> None:
    ends = metrics.group_by("phase", maintain_order=True).agg(first=pl.min("step"), last=pl.max("step"))
    for number, row in enumerate(ends.iter_rows(named=True)):
        place = (row["first"] + row["last"]) / 2, 1.02 + 0.1 * (number % 2)  # names of short phases would meet
        upper.annotate(
            TITLES[row["phase"]], place, xycoords=("data", "axes fraction"), ha="center", va="bottom",
            color=GREY, fontsize=7.5,
        )  # fmt: skip
    for before, _ in pairwise(ends.iter_rows(named=True)):
        for axes in (upper, lower):
            axes.axvline(before["last"] + 0.5, color=GREY, linewidth=0.6, linestyle=":")
