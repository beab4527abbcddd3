"""The model of memory and time: what must hold for any layout, the fit and its tests, the plan of the full run."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from conftest import ROOT, Lucie
from hypothesis import assume, given
from hypothesis import strategies as st

from lucie.errors import Exit, UsageError
from lucie.hpc.sites import Site
from lucie.mixture.plan import PHASES
from lucie.project import Project
from lucie.records import load_record
from lucie.scaling import here
from lucie.scaling.fit import Model, check, fit, fitted, spearman
from lucie.scaling.layout import Layout, Spread, Work
from lucie.scaling.memory import check_fit, layer_activations, memory, stage_weights, usable
from lucie.scaling.model import Part, Slowness, step_parts
from lucie.scaling.plan import Plan, make_plan
from lucie.scaling.search import best, layouts
from lucie.scaling.storage import checkpoint_files
from lucie.scaling.trials import Trial, halves, logged, longer
from lucie.training.architecture import count_parameters
from lucie.training.recipe import Architecture, Parallelism, Recipe
from lucie.training.scaling import flops_per_token

PROJECT = Project(ROOT)
SITE = Site.load(PROJECT, "jean-zay")
H100, A100 = SITE.gpus["h100"], SITE.gpus["a100"]
LUCIE = Recipe.load(PROJECT, "full").architecture
WORK = Work(LUCIE, sequence_length=4096, batch=1024)
NO_COMMUNICATION = Slowness(nvlink=0.0, link=0.0)

powers = st.sampled_from([1, 2, 4, 8])
splits = st.builds(
    lambda data, tensor, pipeline, zero_stage: Parallelism(
        data=data, tensor=tensor, pipeline=pipeline, zero_stage=zero_stage
    ),
    data=powers,
    tensor=st.sampled_from([1, 2, 4]),
    pipeline=powers,
    zero_stage=st.sampled_from([0, 1]),
)
any_layout = st.builds(Layout, splits, micro_batch=powers, recompute=st.booleans())
slownesses = st.builds(
    Slowness,
    matrix=st.floats(1, 5),
    nvlink=st.floats(1, 10),
    link=st.floats(1, 10),
    launch=st.floats(0, 0.01),
)


def layout(data: int = 1, tensor: int = 1, pipeline: int = 1, zero: int = 0, micro_batch: int = 1) -> Layout:
    split = {"data": data, "tensor": tensor, "pipeline": pipeline, "zero_stage": zero}
    return Layout(Parallelism.model_validate(split), micro_batch)


def changed(given: Layout, **split: int) -> Layout:
    return replace(given, parallelism=given.parallelism.model_copy(update=split))


@pytest.fixture(scope="module")
def model() -> Model:
    return fitted(PROJECT, SITE)


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan(PROJECT, Recipe.load(PROJECT, "full"), SITE, "h100", (16, 64, 512))


# Memory


@given(any_layout)
def test_memory_never_grows_where_more_is_divided(given: Layout) -> None:
    def total(other: Layout) -> float:
        return memory(WORK, other).total

    split = given.parallelism
    assert total(changed(given, zero_stage=1)) <= total(changed(given, zero_stage=0))
    assert total(changed(given, tensor=2 * split.tensor)) < total(given)
    assert total(changed(given, zero_stage=1, data=2 * split.data)) < total(changed(given, zero_stage=1))
    assert total(replace(given, micro_batch=2 * given.micro_batch)) > total(given)


@given(any_layout)
def test_activations_computed_again_need_less(given: Layout) -> None:
    kept = memory(WORK, replace(given, recompute=False)).activations
    assert memory(WORK, replace(given, recompute=True)).activations < kept


@given(powers)
def test_the_stages_hold_every_weight_once(stages: int) -> None:
    everything = count_parameters(LUCIE.as_config())["parameters"].sum()
    divided = layout(pipeline=stages)
    assert sum(stage_weights(WORK, divided, stage) for stage in range(stages)) == everything == 6_706_958_336


@given(powers, powers)
def test_the_first_stage_holds_a_micro_batch_for_each_stage(stages: int, micro_batch: int) -> None:
    divided = layout(pipeline=stages, micro_batch=micro_batch)
    held = stages * divided.layers(WORK) * layer_activations(WORK, divided)
    assert memory(WORK, divided).activations == pytest.approx(held)
    few = replace(WORK, batch=micro_batch)  # one micro-batch is all there is
    assert memory(few, divided).activations == pytest.approx(held / stages)


def test_a_layer_keeps_what_can_be_counted_by_hand() -> None:
    # Hidden 8, feed-forward 24, two heads of which one keyed: 4 x 8 whole; queries and keys before and after rotation,
    # values, output: 8 + 4 + 8 + 4 + 4 + 8; gate, up, activated, product: 4 x 24; all of 2 bytes. Softmax: 2 x 4 bytes.
    shape = {**LUCIE.model_dump(), "hidden_size": 8, "intermediate_size": 24, "num_attention_heads": 2}
    small = Work(Architecture.model_validate({**shape, "num_key_value_heads": 1}), sequence_length=10, batch=4)
    assert layer_activations(small, layout()) == 10 * (2 * (32 + 36 + 96) + 8)


@given(any_layout)
def test_what_does_not_fit_is_refused_with_the_term_that_is_too_large(given: Layout) -> None:
    needed = memory(WORK, given)
    if needed.total <= usable(H100):
        assert check_fit(WORK, given, H100) == needed
        return
    largest = max(asdict(needed).items(), key=lambda term: term[1])
    with pytest.raises(UsageError, match=f"largest term is {largest[0]}: {largest[1] / 1e9:.0f} GB"):
        check_fit(WORK, given, H100)


# Time


@given(any_layout, slownesses)
def test_more_gpus_never_take_more_time_without_communication(given: Layout, slowness: Slowness) -> None:
    free = replace(slowness, nvlink=0.0, link=0.0)
    seconds = free.seconds(step_parts(WORK, given, H100))
    assert free.seconds(step_parts(WORK, changed(given, data=2 * given.parallelism.data), H100)) <= seconds
    if given.parallelism.tensor < 4:
        assert free.seconds(step_parts(WORK, changed(given, tensor=2 * given.parallelism.tensor), H100)) <= seconds


@given(any_layout, slownesses)
def test_a_slower_machine_takes_more_time_and_every_part_takes_some(given: Layout, slowness: Slowness) -> None:
    parts = step_parts(WORK, given, H100)
    assert all(part.seconds >= 0 for part in parts)
    times = slowness.by_name(parts)
    assert slowness.seconds(parts) == pytest.approx(sum(times.values()))
    assert slowness.seconds(parts) >= Slowness().seconds(parts) * (1 - 1e-12)
    assert (times["bubble"] > 0) == (given.parallelism.pipeline > 1)


def test_one_gpu_computes_what_the_parameters_ask_for() -> None:
    parts = step_parts(WORK, layout(), H100)
    flops = sum(part.seconds for part in parts if part.resource == "matrix") * H100.peak.value
    looked_up = 6 * (WORK.embedding + 65 * LUCIE.hidden_size)  # embeddings and norms are not multiplied
    assert flops == pytest.approx(WORK.tokens * (flops_per_token(LUCIE.as_config(), 4096, 0.5) - looked_up))
    assert NO_COMMUNICATION.seconds(parts) == Slowness().seconds(parts), "one GPU has nobody to talk to"


def test_the_bubble_is_the_time_of_the_stages_before() -> None:
    divided = layout(data=4, pipeline=8, micro_batch=2)
    times = NO_COMMUNICATION.by_name(step_parts(WORK, divided, H100))
    assert times["bubble"] == pytest.approx((times["matrix products"] + times["element-wise"]) * 7 / 128)


@given(st.integers(1, 64), st.sampled_from([1, 2, 4]))
def test_replicas_are_somewhere(data: int, tensor: int) -> None:
    spread = Spread(layout(data=data, tensor=tensor), 4)
    assert spread.in_node * tensor <= 4
    assert spread.in_node * spread.nodes >= data > spread.in_node * (spread.nodes - 1)


def test_what_cannot_be_divided_is_refused() -> None:
    with pytest.raises(UsageError, match="1024 sequences does not divide by 3 replicas x 1"):
        layout(data=3).micro_batches(WORK)
    with pytest.raises(UsageError, match="32 layers do not divide by 5"):
        layout(pipeline=5).layers(WORK)
    with pytest.raises(UsageError, match="tensor parallelism of 8 does not fit a node of 4"):
        step_parts(WORK, layout(tensor=8), H100)


# The fit


@given(slownesses)
def test_a_fit_finds_the_factors_that_made_the_times(true: Slowness) -> None:
    known = [
        Trial(
            str(given), WORK, given, "a100", true.seconds(step_parts(WORK, given, A100))
        )
        for given in (
            layout(8), layout(64, zero=1), layout(8, tensor=2, micro_batch=2), layout(16, tensor=4, micro_batch=4),
            layout(4, pipeline=4), layout(32, tensor=2, pipeline=2, micro_batch=8),
        )
    ]  # fmt: skip
    found = fit(known, {"a100": A100})
    assert list(asdict(found).values()) == pytest.approx(list(asdict(true).values()), rel=1e-5, abs=1e-7)


@given(st.lists(st.floats(0.1, 100), min_size=6, max_size=6))
def test_no_fit_makes_a_machine_faster_than_its_data_sheet(seconds: list[float]) -> None:
    given = [layout(8), layout(64), layout(8, tensor=2), layout(4, tensor=4), layout(4, pipeline=4), layout(16)]
    known = [Trial("", WORK, one, "a100", time) for one, time in zip(given, seconds, strict=True)]
    assert all(np.greater_equal(list(asdict(fit(known, {"a100": A100})).values()), [1, 1, 1, 0]))


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=3, max_size=20))
def test_the_rank_correlation_is_spearmans(pairs: list[tuple[int, int]]) -> None:
    first, second = (np.array(side, dtype=float) for side in zip(*pairs, strict=True))
    assume(len(set(first)) > 1 and len(set(second)) > 1)
    expected = pl.DataFrame({"a": first, "b": second}).select(pl.corr("a", "b", method="spearman")).item()
    assert spearman(first, second) == pytest.approx(expected, abs=1e-9)


def test_no_layout_is_fitted_and_tested_and_no_time_decides(model: Model) -> None:
    trials = [*logged(PROJECT), *longer(PROJECT)]
    half, other = halves(trials)
    assert (len(trials), len(half), len(other)) == (94, 37, 57)
    assert not {trial.divided for trial in half} & {trial.divided for trial in other}
    falsified = [replace(trial, seconds=3 * trial.seconds) if trial in other else trial for trial in trials]
    assert fit(halves(falsified)[0], SITE.gpus) == model.slowness


def test_the_other_half_is_predicted_and_so_is_the_order_of_its_layouts(model: Model) -> None:
    assert model.test.median_error < 0.08 and model.test.errors.max() < 0.3
    assert model.logged.median_error < 0.06 and model.longer.median_error < 0.1
    assert min(model.logged.rank_correlation, model.longer.rank_correlation) > 0.95
    assert model.test.table().height == 57
    low, high = model.interval(1.0)
    assert np.mean((model.test.ratios >= low) & (model.test.ratios <= high)) == pytest.approx(0.8, abs=0.03)


def test_the_training_is_predicted_and_its_long_sequences_are_not(model: Model) -> None:
    main, *long = model.training.errors
    assert main < 0.15
    assert all(error > 0.5 for error in long), "say so no longer: the model has learned what they lose"
    blind = check(replace(model.slowness, launch=0.0), model.training.trials, SITE.gpus)
    assert blind.ratios[0] > 2, "more than half of the time waits for kernels"


def test_the_peaks_are_those_of_the_records() -> None:
    peaks = dict(load_record(PROJECT, "transcribed/gpu_peaks").select("gpu", "tflops").iter_rows())
    assert {name.upper(): gpus.peak.value / 1e12 for name, gpus in SITE.gpus.items()} == peaks


# The search and the plan


@given(st.sampled_from([8, 16, 64, 256]), slownesses, st.randoms(use_true_random=False))
def test_no_layout_that_fits_is_faster_than_the_best(count: int, slowness: Slowness, chance: object) -> None:
    batches = [256, 320, 1024]
    found = best(WORK, count, H100, slowness, batches)
    every = list(layouts(WORK, count, 4, batches))
    other = chance.choice(every)  # type: ignore[attr-defined]
    assert found.layout.gpus == other.gpus == count
    assert all(batch % (other.parallelism.data * other.micro_batch) == 0 for batch in batches)
    assert memory(WORK, found.layout).total <= usable(H100)
    if memory(WORK, other).total <= usable(H100):
        assert found.seconds <= slowness.seconds(step_parts(WORK, other, H100))


def test_a_checkpoint_has_the_files_that_nanotron_writes() -> None:
    four_layers = Work(LUCIE.model_copy(update={"num_hidden_layers": 4}), 64, 4)
    assert checkpoint_files(four_layers, layout()) == 35  # counted in one of tier mini


def test_the_published_hours_lie_in_the_plan_s_interval(plan: Plan) -> None:
    as_it_ran = plan.options[0].gpu_hours
    assert as_it_ran.low < plan.published_hours < as_it_ran.high
    assert plan.published_hours == pytest.approx(489_969, abs=1)


def test_the_plan_is_consistent(plan: Plan) -> None:
    widest = plan.widest()
    assert widest and widest.phases[0].layout.gpus == 64
    assert widest.gpu_hours.value < 0.2 * plan.published_hours
    for option in plan.options:
        main = option.phases[0]
        assert option.gpu_hours.value >= sum(phase.step.value * phase.layout.gpus for phase in option.phases) / 3600
        assert option.jobs >= option.days.value * 24 / 20
        assert main.waiting >= main.step.value * (1 - 1e-12)
        for number in (option.gpu_hours, option.days, plan.energy(option), plan.tonnes(option)):
            assert number.low < number.value < number.high
    assert 0.5 < plan.kilowatts.low < plan.kilowatts.high < 0.7 and all(0.3 < u < 0.4 for u in plan.elsewhere.values())
    row = plan.table().row(0, named=True)
    assert row["gpu_hours_low"] < row["gpu_hours"] == plan.options[0].gpu_hours.value


def test_layouts_measured_here_are_held_against_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe.load(PROJECT, "mini")
    batch, length = next(recipe.runs()).batch, recipe.mix.phase("main").sequence_length
    given: dict[Path, tuple[Recipe, float]] = {}

    def run(told: Recipe, seed: int, tokens: Path, folder: Path, until: float) -> None:
        seconds = {1: 2.0, 2: 1.5}[told.phase("main").parallelism.processes]
        given[folder] = told, until
        if not folder.is_dir():  # too slow: it has to go on
            folder.mkdir()
            (folder / "metrics.jsonl").write_text(json.dumps({"step": 3}) + "\n")
            return
        steps = [
            {"phase": "main", "step": step, "tokens": step * batch * length, "seconds": seconds if step > 5 else 99.0}
            for step in range(1, 12)
        ]
        steps.append({"phase": "main", "step": 12, "tokens": (11 * batch + 2 * batch) * length, "seconds": 88.0})
        (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(step)}\n" for step in steps))

    monkeypatch.setattr(here, "run", run)
    splits = [layout(micro_batch=2), layout(data=2, micro_batch=2), layout(pipeline=2, micro_batch=2)]
    table = here.measure(recipe, tmp_path, tmp_path, splits, H100, seconds=60)
    assert table["relative"].to_list() == [1.0, 0.75, 0.75]
    assert table["ideal"][1] == pytest.approx(0.5) and 0.5 < table["ideal"][2] < 1
    assert table["steps"].to_list() == [6, 6, 6], "neither the first steps nor those of another batch"
    for (told, _), one in zip(given.values(), splits, strict=True):
        assert all(told.phase(name).parallelism == one.parallelism for name in PHASES)
        assert told.key() == recipe.key(), "only the work is divided in another way"


def test_the_command_prints_the_plan_and_submits_nothing(lucie: Lucie) -> None:
    shown = lucie(PROJECT, "submit", "pretraining", "--tier", "full", "--site", "jean-zay", "--dry-run")
    assert shown.returncode == 0
    for said in ("rank correlation", "[", "published, as it ran", "fastest of 512", "missed", "CUDA_LAUNCH_BLOCKING"):
        assert said in shown.stdout
    assert "#SBATCH --nodes=128" in shown.stdout and "#SBATCH --nodes=32" in shown.stdout, "and the jobs"
    refused = lucie(PROJECT, "submit", "pretraining", "--tier", "full")
    assert refused.returncode == Exit.USAGE and "there are none in build/full/work/tokens" in refused.stderr
    other = lucie(PROJECT, "submit", "evaluation", "--tier", "full", "--dry-run")
    assert other.returncode == Exit.USAGE


def test_a_part_is_named_once_for_all_its_resources() -> None:
    parts = [Part("data parallel", "nvlink", 1.0), Part("data parallel", "link", 2.0)]
    assert Slowness(nvlink=3.0, link=4.0).by_name(parts) == {"data parallel": 11.0}
