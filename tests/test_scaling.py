"""Throughput and utilisation: layouts, which runs are compared, the trainer's count, and the records' figures."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lucie.project import Project
from lucie.records import load_record
from lucie.records import scaling as records
from lucie.training import scaling
from lucie.training.schedule import Phase

NODE = 8
LLAMA = {
    "hidden_size": "4096",
    "intermediate_size": "11008",
    "num_hidden_layers": "32",
    "num_attention_heads": "32",
    "num_key_value_heads": "32",
    "vocab_size": "32000",
    "tie_word_embeddings": "false",
}


@pytest.fixture
def runs(project: Project) -> pl.DataFrame:
    return scaling.lay_out(load_record(project, "input/parallelism_runs"), NODE)


@pytest.fixture
def iterations(project: Project) -> pl.DataFrame:
    return load_record(project, "input/parallelism_iterations")


def test_replicas_and_parallelism_make_up_all_gpus(runs: pl.DataFrame) -> None:
    product = runs["tensor_parallelism"] * runs["pipeline_parallelism"] * runs["data_parallelism"]
    assert sorted(set(runs["gpus"])) == [8, 16, 32, 64, 128]
    # One run divides the model over more GPUs than the node of its name has.
    assert runs.filter(product != runs["gpus"])["run"].to_list() == [1301550]


def test_the_authors_table_holds_exactly_the_compared_runs(
    project: Project, runs: pl.DataFrame, iterations: pl.DataFrame
) -> None:
    key = ["zero_stage", "batch", *scaling.LAYOUT, "consumed_samples"]
    ours = scaling.by_iteration(scaling.compared(runs), iterations)
    published = load_record(project, "published/parallelism_table")
    assert set(ours.select(key).iter_rows()) == set(published.select(key).iter_rows())
    assert (len(ours), len(iterations)) == (4216, 5390)
    assert ours.select(key).is_unique().all()


def test_one_run_is_in_the_folder_of_another_batch_and_one_log_lost_a_line(runs: pl.DataFrame) -> None:
    misplaced = runs.filter(pl.col("batch_in_folder") != "b" + pl.col("global_batch").cast(pl.String))
    assert misplaced.select("run", "batch_in_name", "global_batch").rows() == [(1407392, "b256", 256)]
    lost = runs.filter(pl.col("last_iteration") != pl.col("iterations"))
    assert lost.select("run", "iterations", "last_iteration").rows() == [(1299267, 92, 93)]


def test_the_first_steps_do_not_enter_the_median() -> None:
    run = pl.DataFrame({"run": [1], "gpus": [8], "global_batch": [16], "sequence_length": [2048]})
    steps = list(range(1, 11))
    times = [9e9 if step <= scaling.WARMUP else 2000.0 for step in steps]
    iterations = pl.DataFrame({"run": [1] * 10, "iteration": steps, "milliseconds": times})
    measured = scaling.throughput(run, iterations).row(0, named=True)
    assert measured["median_seconds"] == measured["mean_seconds"] == 2
    assert measured["tokens_per_gpu_second"] == 16 * 2048 / 2 / 8


def test_no_micro_batch_of_one_is_indivisible_and_one_beyond_the_batch_is(runs: pl.DataFrame) -> None:
    layouts = scaling.compared(runs)
    cells = layouts.select(*scaling.LAYOUT, batch="batch_in_folder", micro_batch=pl.lit(1))
    assert scaling.indivisible(cells, layouts).is_empty()
    assert scaling.indivisible(cells.with_columns(micro_batch=pl.lit(513)), layouts).height == layouts.height == 40


def test_three_stated_micro_batches_cannot_be(project: Project, runs: pl.DataFrame) -> None:
    stated = load_record(project, "transcribed/parallelism_micro_batches")
    broken = scaling.indivisible(stated, scaling.compared(runs))
    assert set(broken.select(scaling.LAYOUT).iter_rows()) == {(64, 2, 1), (64, 1, 2), (128, 1, 2)}
    assert set(broken["global_batch"]) == {192}


@given(st.integers(1, 64), st.integers(1, 200_000), st.integers(128, 32_768))
def test_the_trainer_counts_a_third_more_when_it_computes_activations_again(
    tensor: int, vocabulary: int, length: int
) -> None:
    kept = scaling.trainer_flops(LLAMA, length, vocabulary, tensor)
    again = scaling.trainer_flops(LLAMA, length, vocabulary, tensor, recomputed=True)
    assert again / kept == pytest.approx(4 / 3)


@given(st.integers(1, 8), st.integers(1, 200_000))
def test_the_vocabulary_is_padded_to_what_tensor_parallelism_divides(tensor: int, vocabulary: int) -> None:
    multiple = 128 * tensor
    padded = vocabulary + -vocabulary % multiple
    assert scaling.trainer_flops(LLAMA, 2048, vocabulary, tensor) == scaling.trainer_flops(LLAMA, 2048, padded, tensor)


def test_the_trainers_count_is_close_to_ours_for_attention_in_full() -> None:
    # A Llama of this width has nearly the weights of a GPT with a feed-forward layer four times as wide. The trainer
    # counts the embedding's matrix once, we count both.
    theirs = scaling.trainer_flops(LLAMA, 4096, 32_000, 1) / 4096
    ours = scaling.flops_per_token(LLAMA, 4096, attended=1)
    assert ours == pytest.approx(theirs, rel=0.03)


def test_attention_is_linear_in_what_is_attended_and_in_the_sequence() -> None:
    parameters = scaling.flops_per_token(LLAMA, 4096, 0)
    half, full = (scaling.flops_per_token(LLAMA, 4096, share) - parameters for share in (0.5, 1))
    assert parameters == 6 * 6_738_415_616  # Llama-2-7B
    assert full == 2 * half == 12 * 32 * 4096 * 4096
    with pytest.raises(ValueError, match="between 0 and 1"):
        scaling.flops_per_token(LLAMA, 4096, 1.5)


def test_the_recomputing_run_fits_the_small_vocabulary_only(project: Project) -> None:
    table = scaling.experiments(load_record(project, "input/parallelism_experiments"), NODE, 4096)
    published = load_record(project, "published/parallelism_summary")["tflops"].cast(pl.Float64)
    off = (scaling.trainer_tflops(table, LLAMA, 4096, scaling.VOCABULARIES) - published).abs()
    assert table.filter(off > 0.1)["experiment"].to_list() == [scaling.RECOMPUTED]
    small = scaling.trainer_tflops(table, LLAMA, 4096, dict.fromkeys(scaling.VOCABULARIES, 32_000)) - published
    assert small.abs().filter(table["experiment"] == scaling.RECOMPUTED).item() < 0.001


def test_a_name_without_its_zero_stage_is_laid_out_too(project: Project) -> None:
    table = scaling.experiments(load_record(project, "input/parallelism_experiments"), NODE, 4096)
    assert set(table.filter(pl.col("name").str.contains("-z-"))["nodes"]) == {4, 8}
    assert not table.null_count().sum_horizontal().item()


def test_the_phases_run_on_the_gpus_of_their_scripts(project: Project) -> None:
    scripts = load_record(project, "transcribed/launch_scripts")
    phases = {name: Phase.from_record(scripts, name) for name in ("main", "extension", "annealing")}
    reached = scaling.phase_throughput(load_record(project, "input/training_losses"), phases)
    assert dict(reached.select("phase", "gpus").iter_rows()) == {"main": 512, "extension": 128, "annealing": 128}
    assert reached["tokens_per_gpu_second"][0] == pytest.approx(1782, abs=1)


def test_a_log_s_name_gives_its_layout() -> None:
    name = records.RUN_NAME.fullmatch("z1/b192/iterations/lucie7b-16nodes-tp1-pp1-z1-b256-1407392.iterations.txt")
    assert name
    assert (name["folder"], name["named"], name["nodes"], name["job"]) == ("b192", "b256", "16", "1407392")
    assert not records.RUN_NAME.fullmatch("z1/b192/iterations/lucie7b-16nodes-tp1.iterations.txt")
