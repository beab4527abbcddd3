"""Figures of a pretraining: they show what the tables hold, phase by phase and seed by seed."""

from __future__ import annotations

import io
import math

import polars as pl
import pytest

from lucie.plots import pretraining
from lucie.plots.style import Figure

PHASES = {"main": 40, "extension": 10, "annealing": 10}
SEEDS = (1, 2, 3)
BATCH = 4096


@pytest.fixture(scope="module")
def metrics() -> pl.DataFrame:
    rows = []
    for seed in SEEDS:
        step = 0
        for phase, steps in PHASES.items():
            for within in range(steps):
                step += 1
                rows.append(
                    {
                        "seed": seed,
                        "phase": phase,
                        "step": step,
                        "tokens": step * BATCH,
                        "loss": 4 + 4 * math.exp(-step / 20) + seed / 100,
                        "learning_rate": 3e-3 * (1 - within / steps),
                        "tokens_per_second": 9000.0 + seed,
                        "memory": 600 * 2**20,
                    }
                )
    return pl.DataFrame(rows)


@pytest.fixture(scope="module")
def heldout(metrics: pl.DataFrame) -> pl.DataFrame:
    ends = metrics.filter(pl.col("step") % 10 == 0).select("seed", "phase", "tokens", "loss")
    return pl.concat(
        ends.with_columns(pl.col("loss") + shift, language=pl.lit(language))
        for shift, language in enumerate(["fr", "en", "fr-en"])
    )


def pdf(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="pdf")
    return buffer.getvalue()


def test_convergence_shows_each_seed_and_each_language(metrics: pl.DataFrame, heldout: pl.DataFrame) -> None:
    figure = pretraining.convergence(metrics, heldout)
    assert pdf(figure).startswith(b"%PDF")
    losses, rates = figure.axes[:3], figure.axes[3:]
    assert [axes.get_title() for axes in losses] == ["Main phase", "Context extension", "Annealing"]
    assert losses[0].get_ylabel() == "Loss (nats per token)" and rates[0].get_ylabel() == "Learning rate (10⁻³)"
    for axes, (phase, steps) in zip(losses, PHASES.items(), strict=True):
        lines = [line for line in axes.lines if len(line.get_xdata()) == steps and line.get_marker() == "None"]
        assert len(lines) == len(SEEDS)
        for seed, line in zip(SEEDS, lines, strict=True):
            expected = metrics.filter(phase=phase, seed=seed)["loss"].to_list()
            assert list(line.get_ydata()) == expected
            assert list(line.get_xdata()) == pytest.approx([n * BATCH / 1e3 for n in range(1, steps + 1)])
    tested = {container.get_label(): container for container in losses[0].containers}
    assert set(tested) == {"French, held out", "English, held out", "fr-en, held out"}
    means = tested["English, held out"].lines[0].get_ydata()
    expected = heldout.filter(phase="main", language="en").group_by("tokens", maintain_order=True).agg(pl.mean("loss"))
    assert list(means) == pytest.approx(expected["loss"].to_list())
    assert len({text.get_text() for text in figure.legends[0].texts}) == len(figure.legends[0].texts) == 4


def test_speed_shows_each_seed(metrics: pl.DataFrame) -> None:
    figure = pretraining.speed(metrics)
    upper, lower = figure.axes
    assert pdf(figure) and (upper.get_ylabel(), lower.get_ylabel()) == ("Tokens per second", "Memory (GiB)")
    drawn = [line for line in upper.lines if len(line.get_xdata()) == sum(PHASES.values())]
    assert [line.get_ydata()[0] for line in drawn] == [9001, 9002, 9003]
    assert lower.lines[0].get_ydata()[0] == pytest.approx(600 / 1024)


def test_consumption_shows_every_source_of_a_phase() -> None:
    rows = [("main", "fr--web", "all", 0.4, 0.5), ("main", "en--book", "all", 0.6, 0.5)]
    rows += [("extension", "fr--web", "short", 0.1, 0.2), ("extension", "fr--web", "long", 0.9, 0.8)]
    table = pl.DataFrame(rows, schema=["phase", "name", "length", "share", "weight"], orient="row")
    figure = pretraining.consumption(table)
    main, extension = figure.axes
    assert pdf(figure)
    assert [label.get_text() for label in main.get_yticklabels()] == ["en, book", "fr, web"]
    assert sorted(main.lines[0].get_xdata()) == pytest.approx([40, 60])
    assert [bar.get_width() for bar in extension.patches] == pytest.approx([100])
