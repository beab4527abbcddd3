"""The schedule of a training phase: samples, batch sizes and learning rates at every step."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lucie.project import Project
from lucie.records import load_record
from lucie.training.schedule import Phase, at_phase_ends, axis_marks, hyperparameters

NAMES = ("main", "extension", "annealing")
RAMP = Phase(
    name="ramp",
    sequence_length=10,
    global_batch_size=6,
    learning_rate=1.0,
    decay_style="constant",
    train_samples=25,
    initial_batch_size=2,
    batch_size_increment=2,
    rampup_samples=8,
)


@st.composite
def phases(draw: st.DrawFn) -> Phase:
    """A small phase, with or without a batch ramp-up and a warm-up."""
    initial, more = draw(st.integers(0, 8)), draw(st.integers(0, 24))
    train = draw(st.integers(1, 1500))
    lowest, highest = sorted(draw(st.tuples(*[st.floats(1e-6, 1.0)] * 2)))
    return Phase(
        name="small",
        sequence_length=draw(st.integers(1, 64)),
        global_batch_size=max(initial + more, 1),
        learning_rate=highest,
        decay_style=draw(st.sampled_from(["cosine", "linear", "constant"])),
        train_samples=train,
        min_learning_rate=lowest,
        warmup_samples=draw(st.integers(0, train - 1)),
        initial_batch_size=initial,
        batch_size_increment=draw(st.integers(1, 6)),
        rampup_samples=draw(st.integers(1, 1000)),
    )


@pytest.fixture(scope="module")
def scripts() -> pl.DataFrame:
    return load_record(Project.find(), "transcribed/launch_scripts")


@pytest.fixture(scope="module")
def lucie_phases(scripts: pl.DataFrame) -> dict[str, Phase]:
    """The three phases of the pretraining of Lucie-7B."""
    return {name: Phase.from_record(scripts, name) for name in NAMES}


@given(phases())
def test_samples_start_at_nothing_and_strictly_increase(phase: Phase) -> None:
    assert phase.samples[0] == 0
    assert (np.diff(phase.samples) > 0).all()


@given(phases())
def test_batches_never_shrink_and_stay_between_initial_and_global(phase: Phase) -> None:
    batches = np.diff(phase.samples)
    assert (np.diff(batches) >= 0).all()
    assert (batches >= (phase.initial_batch_size or phase.global_batch_size)).all()
    assert (batches <= phase.global_batch_size).all()


@given(phases())
def test_the_batch_is_global_once_the_ramp_up_is_over(phase: Phase) -> None:
    assert phase.batch_size(phase.rampup_samples + 1) == phase.global_batch_size


@given(phases())
def test_a_phase_ends_where_one_more_batch_would_exceed_its_samples(phase: Phase) -> None:
    last = int(phase.samples[-1])
    assert last <= phase.train_samples < last + phase.batch_size(last)


@given(phases())
def test_the_table_of_steps_adds_up(phase: Phase) -> None:
    table = phase.at(list(range(phase.steps + 1)))
    assert (table["batch_size"].cum_sum() * phase.sequence_length).equals(table["tokens"], check_names=False)
    assert table["tokens"][-1] == phase.tokens


@given(phases())
def test_the_learning_rate_stays_below_its_maximum_and_above_its_minimum_after_warm_up(phase: Phase) -> None:
    rates = [phase.learning_rate_at(samples) for samples in range(phase.train_samples + 1)]
    most, least = phase.learning_rate * (1 + 1e-12), phase.min_learning_rate * (1 - 1e-12)
    assert all(0 <= rate <= most for rate in rates)
    assert all(rate >= least for rate in rates[phase.warmup_samples :])


@given(phases())
def test_after_warm_up_the_learning_rate_never_rises(phase: Phase) -> None:
    rates = [phase.learning_rate_at(samples) for samples in range(phase.warmup_samples, phase.train_samples + 1)]
    assert all(later <= earlier * (1 + 1e-12) for earlier, later in pairwise(rates))


@given(phases())
def test_warm_up_is_linear_from_nothing_to_the_maximum(phase: Phase) -> None:
    assume(phase.warmup_samples)
    rates = [phase.learning_rate_at(samples) for samples in range(phase.warmup_samples + 1)]
    assert rates == pytest.approx(np.linspace(0, phase.learning_rate, phase.warmup_samples + 1).tolist())


@given(phases(), st.sampled_from(["cosine", "linear"]))
def test_cosine_and_linear_decay_start_at_the_maximum_and_end_at_the_minimum(phase: Phase, style: str) -> None:
    decaying = replace(phase, decay_style=style)
    assert decaying.learning_rate_at(phase.warmup_samples) == pytest.approx(phase.learning_rate)
    assert decaying.learning_rate_at(phase.train_samples) == pytest.approx(phase.min_learning_rate)


@pytest.mark.parametrize(("style", "quarter"), [("cosine", (1 + math.sqrt(0.5)) / 2), ("linear", 0.75)])
def test_a_quarter_of_the_way_down_tells_the_styles_apart(style: str, quarter: float) -> None:
    phase = replace(RAMP, decay_style=style, train_samples=110, warmup_samples=10, min_learning_rate=0.5)
    assert phase.learning_rate_at(35) == pytest.approx(0.5 + 0.5 * quarter)
    assert phase.learning_rate_at(60) == pytest.approx(0.75)


def test_a_small_ramp_up_goes_as_counted_by_hand() -> None:
    # Two increments over 8 samples: batches of 2 until 4 samples were seen, of 4 until 8, then of 6.
    assert RAMP.samples.tolist() == [0, 2, 4, 8, 14, 20]
    assert (RAMP.steps, RAMP.tokens) == (5, 200)
    assert RAMP.at([0, 1, 3, 4]).drop("learning_rate").rows() == [
        ("ramp", 0, 0, 0),
        ("ramp", 1, 2, 20),
        ("ramp", 3, 4, 80),
        ("ramp", 4, 6, 140),
    ]


def test_the_phases_of_lucie_have_the_steps_and_tokens_of_the_model_card(lucie_phases: dict[str, Phase]) -> None:
    assert [phase.steps for phase in lucie_phases.values()] == [753_851, 1_220, 1_220]
    assert [phase.tokens for phase in lucie_phases.values()] == [3_121_742_086_144, 4_997_120_000, 4_997_120_000]


def test_the_extension_of_lucie_keeps_its_batch_and_learning_rate(lucie_phases: dict[str, Phase]) -> None:
    steps = lucie_phases["extension"].at([1, 610, 1220])
    assert steps["batch_size"].to_list() == [128] * 3
    assert steps["learning_rate"].to_list() == [2e-5] * 3
    assert steps["tokens"].to_list() == [4_096_000, 2_498_560_000, 4_997_120_000]


def test_the_annealing_of_lucie_falls_in_a_line_to_nothing(lucie_phases: dict[str, Phase]) -> None:
    annealing = lucie_phases["annealing"]
    ends = [annealing.learning_rate_at(samples) for samples in (0, 78_125, 156_250)]
    assert ends == pytest.approx([3e-5, 1.5e-5, 0])
    assert annealing.at([1220])["learning_rate"].item() == pytest.approx(3e-5 * 90 / 156_250)


def test_tokens_and_learning_rates_of_all_484_logged_steps_are_those_published(
    project: Project, lucie_phases: dict[str, Phase]
) -> None:
    logged = load_record(project, "published/training_schedule")
    ours = pl.concat(phase.at(logged.filter(phase=name)["step"].to_list()) for name, phase in lucie_phases.items())
    both = logged.join(ours, on=["phase", "step"], suffix="_ours", validate="1:1")
    assert both.height == logged.height == 484
    assert both["tokens_ours"].equals(both["tokens"], check_names=False)
    # The log keeps float32.
    rates = both["learning_rate"].cast(pl.Float64).to_list()
    assert both["learning_rate_ours"].to_list() == pytest.approx(rates, rel=1e-6, abs=1e-11)


def test_gpus_and_data_parallelism_follow_from_the_launch_scripts(
    scripts: pl.DataFrame, lucie_phases: dict[str, Phase]
) -> None:
    table = hyperparameters(scripts, lucie_phases, samples={"main": 17})
    given = {(row["section"], row["parameter"]): row["value"] for row in table.iter_rows(named=True)}
    assert len(given) == table.height, "a parameter of a phase is listed twice"
    assert [given[name, "num_gpus"] for name in NAMES] == ["512", "128", "128"]
    assert [given[name, "data_parallelism"] for name in NAMES] == ["32", "8", "8"]
    assert [given[name, "train_samples"] for name in NAMES] == ["17", "156250", "156250"]
    assert given["main", "train_steps"] == "753851"


def test_hours_and_tokens_at_the_ends_of_phases_are_summed_in_their_order() -> None:
    rows = [("main", 2, 9e6, 5.0), ("main", 1, 4e6, 2.0), ("extension", 1, 1e6, 1.0), ("annealing", 1, 2e6, 3.0)]
    log = pl.DataFrame(rows, schema=["phase", "step", "tokens", "wall_hours"], orient="row").with_columns(
        loss=pl.col("step") / 2, gpu_hours=pl.col("wall_hours") * 4
    )
    ends = at_phase_ends(log, dict.fromkeys(NAMES, RAMP))
    assert ends["tokens_so_far"].to_list() == [9e6, 10e6, 12e6]
    assert ends["hours_so_far"].to_list() == [5, 6, 9]
    assert ends["gpu_hours_so_far"].to_list() == [20, 24, 36]
    assert ends["tokens_per_gpu_second"][0] == 9e6 / (20 * 3600)
    marks = dict(axis_marks(ends).iter_rows())
    assert marks["offset:extension:training_time"] == 0.005
    assert marks["offset:annealing:tokens"] == 1e-5
    assert marks["end:gpu_hours"] == 0.036


def test_a_phase_without_samples_has_no_learning_rate() -> None:
    phase = Phase("open", 4, 4, 3e-5, "cosine", min_learning_rate=3e-6)
    with pytest.raises(ValueError, match="'open' has no samples"):
        phase.at([0])
