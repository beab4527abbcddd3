"""Luciole: tokens from steps, weights of mixes from counts and repeats, shares, sums of energy."""

from __future__ import annotations

from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lucie import luciole
from lucie.project import Project
from lucie.records import load_record


@pytest.fixture
def phases(project: Project) -> pl.DataFrame:
    return luciole.plan(load_record(project, "transcribed/luciole_setup"))


def test_a_phase_keeps_the_batch_of_the_phase_before_unless_it_states_another() -> None:
    stated = [
        ("8B", "initial", "context_length", 10),
        ("8B", "initial", "batch_size", 3),
        ("8B", "initial", "last_step", 5),
        ("8B", "continued", "last_step", 7),
        ("8B", "extension_131k", "batch_size", 2),
        ("8B", "extension_131k", "last_step", 11),
        ("1B", "initial", "context_length", 100),
        ("1B", "initial", "batch_size", 1),
        ("1B", "initial", "last_step", 1),
    ]
    phases = luciole.plan(pl.DataFrame(stated, schema=["size", "phase", "parameter", "value"], orient="row"))
    assert phases.select("size", "phase", "samples", "tokens").rows() == [
        ("1B", "initial", 1, 100),
        ("8B", "initial", 15, 150),
        ("8B", "continued", 21, 210),
        ("8B", "extension_131k", 22, 220),
    ]


def test_the_steps_of_all_phases_add_up_to_those_of_the_released_models(phases: pl.DataFrame) -> None:
    steps = dict(luciole.totals(phases).filter(parameter="num_steps").select("size", "value").iter_rows())
    assert steps == {"1B": 1_204_876, "8B": 1_216_796, "23B": 1_170_080}


def test_every_step_of_every_phase_has_the_same_number_of_tokens(phases: pl.DataFrame) -> None:
    assert (phases["tokens"] / phases["steps"]).unique().to_list() == [4096 * 1024]


def test_copies_change_four_entries_and_no_other(phases: pl.DataFrame) -> None:
    copied = luciole.plan_with_copies(phases)
    other = phases.join(copied, on=["size", "phase"], suffix="_copied").filter(
        (pl.col("steps") != pl.col("steps_copied")) | (pl.col("samples") != pl.col("samples_copied"))
    )
    assert set(other.select("size", "phase").rows()) == {
        ("8B", "continued"),
        ("8B", "extension_131k"),
        ("23B", "continued"),
        ("23B", "extension_32k"),
    }


def test_seen_tokens_go_on_where_the_phase_before_ended(project: Project, phases: pl.DataFrame) -> None:
    steps = luciole.logged(load_record(project, "input/luciole_losses"), phases)
    assert steps.height == 3903
    for size in luciole.SIZES:
        own = steps.filter(size=size)
        assert own["seen"].is_sorted()
        assert own["seen"].diff().drop_nulls().min() > 0  # type: ignore[operator]


@given(st.integers(0, 10**12), st.decimals(0, 4, places=2))
def test_a_weight_is_the_number_of_sequences_that_fit(tokens: int, repeats: Decimal) -> None:
    count = luciole.sequences(tokens, str(repeats))
    assert count * luciole.SEQUENCE <= tokens * repeats < (count + 1) * luciole.SEQUENCE


def mix(names: list[tuple[str, float | None]]) -> pl.DataFrame:
    rows = [("m", file, "data", "fr", fraction) for file, fraction in names]
    schema = {"mix": pl.String, "file": pl.String, "dataset": pl.String, "language": pl.String, "fraction": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def test_two_files_of_one_data_set_share_its_weight() -> None:
    repeats = pl.DataFrame({"mix": ["m"], "dataset": ["data"], "repeats": ["0.30"]})
    counts = pl.DataFrame({"dataset": ["data"], "tokens": [40_960]})
    alone = luciole.mix_weights(mix([("part", 0.3)]), repeats, counts)
    both = luciole.mix_weights(mix([("part", 0.2), ("whole", None)]), repeats, counts)
    assert dict(alone.select("file", "sequences").iter_rows()) == {"part": 3}
    assert dict(both.select("file", "sequences").iter_rows()) == {"part": 2, "whole": 1}


def test_a_file_without_repeats_is_an_error() -> None:
    none = pl.DataFrame({"mix": ["n"], "dataset": ["data"], "repeats": ["1"]})
    with pytest.raises(ValueError, match="1 files have no repeats"):
        luciole.mix_weights(mix([("part", None)]), none, pl.DataFrame({"dataset": ["data"], "tokens": [1]}))


def test_weights_of_the_record_are_those_published(project: Project) -> None:
    published = load_record(project, "published/luciole_mix_weights")
    files = load_record(project, "input/luciole_mix_files").filter(
        pl.col("mix").is_in(published["mix"].unique().to_list())
    )
    counts = load_record(project, "input/luciole_token_counts")
    ours = luciole.mix_weights(files, load_record(project, "input/luciole_mix_repeats"), counts)
    both = ours.join(published, on=["mix", "file"], suffix="_published", validate="1:1")
    assert both.height == ours.height == published.height == 222
    assert both["sequences"].equals(both["sequences_published"], check_names=False)


def test_shares_of_a_size_add_up_to_all_and_weigh_phases_by_their_tokens() -> None:
    phases = pl.DataFrame({"size": ["1B", "1B"], "phase": ["initial", "annealing"], "tokens": [30, 10]})
    languages = pl.DataFrame(
        {
            "mix": ["luciole_phase1", "luciole_phase1", "luciole_phase3"],
            "language": ["fr", "en", "fr"],
            "percent": [60.0, 40.0, 100.0],
        }
    )
    shares = luciole.shares(phases, languages)
    assert dict(shares.select("language", "percent").iter_rows()) == {"fr": 70.0, "en": 30.0}
    assert shares["parameter"].to_list() == ["share:fr", "share:en"]


def test_emissions_of_hosts_and_gpus_add_up_to_the_total_within_grams(project: Project) -> None:
    gaps = luciole.emission_gaps(load_record(project, "input/luciole_consumption"))
    assert gaps.height == 24
    assert gaps.filter(pl.col("gap").abs() > 5)["job"].to_list() == ["Time Benchmark"]
    assert gaps["gap"].abs().max() == pytest.approx(5.82)


def test_the_eight_kinds_of_jobs_add_up_to_what_is_printed(project: Project) -> None:
    total = dict(luciole.consumption_total(load_record(project, "input/luciole_consumption")).iter_rows())
    published = load_record(project, "published/luciole_consumption_total")
    for quantity, printed in published.select("quantity", "printed").iter_rows():
        assert total[quantity] == pytest.approx(float(printed), abs=0.45), quantity
