"""Scores of checkpoints made here, in the layout of the published learning curves."""

from __future__ import annotations

import polars as pl

from lucie.plots.convergence import TITLES
from lucie.plots.pretraining import LANGUAGES
from lucie.plots.style import COLOURS, GREY, Axes, Figure, new_figure

STAGES = {"extension": ("+ context extension", "o"), "annealing": ("+ annealing (final)", "*")}
METRICS = {"acc": "Accuracy", "acc_norm": "Normalised accuracy", "exact_match": "Exact match"}
PANEL_HEIGHT, LEGEND_HEIGHT, COLUMNS = 1.75, 0.45, 3  # inches, inches, panels beside each other
UNIT = 1e5  # tokens


def learning_curves(scores: pl.DataFrame) -> Figure:
    """One panel a task: the main phase as a line, later checkpoints as points, a guesser's score dotted.

    ``scores`` is that of one seed: title, metric, items, tokens, phase, score, stderr and chance. Bands and bars are
    one standard error each way.
    """
    titles = scores["title"].unique(maintain_order=True).to_list()
    rows = -(-len(titles) // COLUMNS)
    figure = new_figure(height=rows * PANEL_HEIGHT + LEGEND_HEIGHT)
    panels = list(figure.subplots(rows, COLUMNS, sharex=True, squeeze=False).flat)
    for axes, title in zip(panels, titles, strict=False):
        _panel(axes, scores.filter(title=title))
    for axes in panels[len(titles) :]:
        axes.axis("off")
    for axes in panels[len(titles) - COLUMNS : len(titles)]:
        axes.set_xlabel("Training tokens (10⁵)")
        axes.tick_params(labelbottom=True)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4)
    return figure


def _panel(axes: Axes, rows: pl.DataFrame) -> None:
    main = rows.filter(phase="main")
    tokens, score, error = main["tokens"] / UNIT, main["score"], main["stderr"].fill_null(0)
    axes.plot(tokens, score, "-", color=COLOURS[0], label=TITLES["main"])
    axes.fill_between(tokens, score - error, score + error, color=COLOURS[0], alpha=0.2, linewidth=0)
    for phase, (label, marker) in STAGES.items():
        later = rows.filter(phase=phase)
        axes.errorbar(
            later["tokens"] / UNIT, later["score"], yerr=later["stderr"].fill_null(0), fmt=marker, color=COLOURS[1],
            markersize=7 if marker == "*" else 4, markeredgecolor="white", markeredgewidth=0.5, elinewidth=0.8,
            label=label, zorder=3,
        )  # fmt: skip
    if rows["chance"][0] is not None:
        axes.axhline(rows["chance"][0], color=GREY, linestyle=":", linewidth=0.8, label="chance")
    axes.set_title(f"{rows['title'][0]} ({rows['items'][0]} items)")
    axes.set_ylabel(METRICS[rows["metric"][0]])
    axes.set_xlim(left=0)
    if rows["chance"][0] is None:
        axes.set_ylim(-0.005, max(0.1, *(1.1 * score for score in rows["score"])))
    axes.grid(axis="y")


def bits_per_byte(scores: pl.DataFrame) -> Figure:
    """Bits per byte of held-out text over the tokens trained on, a line a language.

    ``scores`` is that of one seed: language, tokens, phase and score; shaded is the main phase.
    """
    figure = new_figure(height=2.6)
    axes = figure.subplots()
    for language, (name, colour, marker) in LANGUAGES.items():
        rows = scores.filter(language=language).sort("tokens", maintain_order=True)
        if rows.height:
            axes.plot(rows["tokens"] / UNIT, rows["score"], marker=marker, color=colour, markersize=4, label=name)
    main = scores.filter(phase="main")["tokens"].max()
    axes.axvspan(0, float(main) / UNIT, color="0.93", zorder=0, linewidth=0)  # type: ignore[arg-type]
    axes.set(xlabel="Training tokens (10⁵)", ylabel="Bits per byte", xlim=(0, None))
    axes.grid(axis="y")
    axes.legend(ncols=2)
    return figure


def language_kept(table: pl.DataFrame) -> Figure:
    """The share of continuations in the prompt's language, beside that of human text of the same length.

    ``table`` is that of `lucie.evaluation.fidelity.fidelity`. Bars are one standard error of a share each way.
    """
    figure = new_figure(height=2.4)
    axes = figure.subplots()
    places = list(range(table.height))
    for column, label, colour, marker, shift in (
        ("kept", "written by the model", COLOURS[0], "o", -0.12),
        ("identified", "written by people", COLOURS[1], "s", 0.12),
    ):
        share = table[column]
        error = (share * (1 - share) / table["pieces"]).sqrt()
        axes.errorbar(
            [place + shift for place in places], 100 * share, yerr=100 * error, fmt=marker, color=colour, markersize=5,
            label=label,
        )  # fmt: skip
    axes.set_xticks(places, [LANGUAGES[language][0] for language in table["language"]])
    axes.set(ylabel="Identified as the\nprompt's language (%)", ylim=(-3, 106))
    axes.grid(axis="y")
    figure.legend(loc="outside lower center", ncols=2)
    return figure
