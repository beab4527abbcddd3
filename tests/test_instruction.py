"""Instruction mixes: whole numbers from weights, passes in whole batches, changes with standard errors."""

from __future__ import annotations

import math

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lucie import instruction
from lucie.project import Project
from lucie.records import load_record
from lucie.training.schedule import Phase

BATCH = 1024
PHASE = Phase("instruct_full", sequence_length=4096, global_batch_size=BATCH, learning_rate=3e-5, decay_style="cosine")


def mix(sequences: list[int], decimals: int = 9) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Weights, rounded as the authors round them, and the size of a mix of datasets with so many sequences."""
    total = sum(sequences)
    weights = [round(count / total, decimals) for count in sequences]
    names = [f"set{number}" for number in range(len(sequences))]
    rows = pl.DataFrame({"mix": "m", "dataset": names, "language": "fr", "weight": weights, "origin": "here"})
    return rows, pl.DataFrame({"mix": ["m"], "sequences": [total], "origin": ["here"]})


@given(st.lists(st.integers(1, 400_000), min_size=1, max_size=30))
def test_weights_of_nine_decimals_give_back_the_samples(sequences: list[int]) -> None:
    assert instruction.counts(*mix(sequences))["sequences"].to_list() == sequences


def test_a_weight_that_is_no_share_of_the_sequences_is_an_error() -> None:
    weights, sizes = mix([1000, 3000])
    spoilt = weights.with_columns(weight=pl.Series([0.25, 0.7501]))
    with pytest.raises(ValueError, match="set1 of m is not a whole number"):
        instruction.counts(spoilt, sizes)


def test_samples_that_do_not_add_up_are_an_error() -> None:
    weights, sizes = mix([1000, 3000])
    with pytest.raises(ValueError, match="do not add up"):
        instruction.counts(weights.head(1), sizes)


@given(st.integers(BATCH, 1_000_000))
def test_a_pass_has_whole_batches_and_leaves_less_than_one(sequences: int) -> None:
    row = instruction.passes(pl.DataFrame({"mix": ["m"], "sequences": [sequences]}), PHASE).row(0, named=True)
    assert row["steps"] * BATCH + row["left_over"] == sequences
    assert 0 <= row["left_over"] < BATCH
    assert row["filled_up"] == math.ceil(sequences / BATCH)
    assert row["tokens"] == row["steps"] * BATCH * 4096


def test_the_mixes_of_the_record_have_the_published_samples_and_steps(project: Project) -> None:
    sizes = load_record(project, "input/instruction_sizes")
    counts = instruction.counts(load_record(project, "input/instruction_weights"), sizes)
    stated = load_record(project, "transcribed/instruct_card_counts")
    both = stated.join(counts, on=["mix", "dataset", "language"], suffix="_ours", validate="1:1")
    assert both.height == stated.height == counts.filter(mix="mix4").height == 6
    assert both["sequences"].equals(both["sequences_ours"], check_names=False)
    assert counts.filter(mix="mix1", dataset="Flanv2Converted")["sequences"].item() == 78_580
    passes = instruction.passes(
        sizes, Phase.from_record(load_record(project, "transcribed/launch_scripts"), PHASE.name)
    )
    assert passes.select("mix", "steps", "filled_up").rows() == [("mix1", 208, 209), ("mix4", 317, 318)]


def scores() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "run": ["a", "b", "a"],
            "task": ["quiz", "quiz", "only a took it"],
            "score": [0.5, 0.75, 0.1],
            "stderr": [0.03, 0.04, 0.01],
        }
    )


def test_a_change_is_after_minus_before_and_errors_add_as_squares() -> None:
    changes = instruction.changes(scores(), {"tuning": ("a", "b")})
    assert changes.select("step", "task", "change").rows() == [("tuning", "quiz", 0.25)]
    assert changes["stderr"].item() == pytest.approx(0.05)
    assert changes["ratio"].item() == pytest.approx(5)


def test_scores_stand_beside_each_other_with_a_gap_where_a_task_was_not_run() -> None:
    table = instruction.beside_each_other(
        scores(), {"a": "Before", "b": "After"}, {"quiz": "Quiz", "only a took it": "A"}
    )
    assert table.rows() == [("Quiz", "0.500 (30)", "0.750 (40)"), ("A", "0.100 (10)", "")]
