"""Training with nanotron on the toy recipe: recipes, parity, layouts, resuming, kills, bad input, the adapter."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from conftest import ROOT, Lucie
from filelock import FileLock, Timeout
from toy_training import make_tokens, same_weights, weights

from lucie.closure import modules_of
from lucie.errors import MismatchError, StageError, UsageError
from lucie.files import write_json
from lucie.mixture.plan import PHASES, Mix
from lucie.mixture.plan import Phase as MixPhase
from lucie.project import Project
from lucie.records import load_record
from lucie.tokens.order import OrderedTokens
from lucie.training import checkpoints, schedule
from lucie.training import run as training
from lucie.training.metrics import METRICS, read_metrics
from lucie.training.recipe import Recipe

torch = pytest.importorskip("torch", reason="training needs torch, which group 'train' installs")
pytest.importorskip("nanotron", reason="training needs nanotron, which group 'train' installs")

CLOSE = 1e-5  # two computations of one loss in fp32
KILLS = 20
MEASURED = ("seconds", "cpu_seconds", "tokens_per_second", "memory")  # what differs from run to run


def recipe_of(**changes: Any) -> Recipe:
    """The toy recipe, changed: `main={...}` is of the phase, `mix_main={...}` of what it reads, others of the top."""
    content = yaml.safe_load((ROOT / "config/recipes/toy.yaml").read_text("utf-8"))
    mix = yaml.safe_load((ROOT / "config/mixes/toy.yaml").read_text("utf-8"))
    for name, change in changes.items():
        if name in PHASES:
            content["phases"][name] |= change
        elif name.startswith("mix_"):
            mix["phases"][name.removeprefix("mix_")] |= change
        elif isinstance(change, dict):
            content[name] |= change
        else:
            content[name] = change
    return Recipe.of({**content, "name": "toy", "mix": Mix.model_validate({"name": "toy", **mix})})


def divided(**layout: int) -> Recipe:
    """The toy recipe with all phases divided in one way."""
    return in_all_phases(micro_batch=1, parallelism=layout)


def in_all_phases(**changes: Any) -> Recipe:
    return recipe_of(**dict.fromkeys(PHASES, changes))


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Token files of the books in data/mini, with a small tokenizer; tests only look at them."""
    return make_tokens(tmp_path_factory.mktemp("tokens"))


@dataclass
class Workers:
    """The forked workers of `forkserver.py`."""

    server: subprocess.Popen[str]
    pids: list[int] = field(default_factory=list)

    def start(self, recipe: Recipe, tokens: Path, folder: Path, step: int = 0, **job: Any) -> list[int]:
        """Start the processes of the recipe's next phase after a step; returns their ids."""
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / training.RUN, training.RunFile.of(recipe, 1, tokens).model_dump())
        training.prepare(recipe, 1, folder, step)
        processes = recipe.phase(recipe.phase_of(step + 1)[0]).parallelism.processes
        job |= {"processes": processes, "folder": str(folder), "tokens": str(tokens), "start": step}
        assert self.server.stdin
        self.server.stdin.write(json.dumps(job) + "\n")
        self.server.stdin.flush()
        self.pids = self.answer()["pids"]
        return self.pids

    def answer(self) -> dict[str, list[int]]:
        assert self.server.stdout
        found: dict[str, list[int]] = json.loads(self.server.stdout.readline())
        return found

    def train(self, recipe: Recipe, tokens: Path, folder: Path, step: int = 0, **job: Any) -> list[int]:
        """Train the recipe after a step, as far as one number of processes goes; returns how they ended."""
        self.start(recipe, tokens, folder, step, **job)
        return self.answer()["codes"]


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    command = [sys.executable, str(ROOT / "tests" / "forkserver.py")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as server:
        started = Workers(server)
        started.answer()
        yield started
        server.kill()


@pytest.fixture(scope="module")
def whole(workers: Workers, tokens: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the toy recipe, trained in one go by one process; tests only look at it."""
    folder = tmp_path_factory.mktemp("whole")
    assert workers.train(recipe_of(), tokens, folder) == [0], (folder / "worker.log").read_text()
    return folder


def until(whole: Path, folder: Path, step: int) -> Path:
    """A copy of a training as it was after the checkpoint of a step."""
    shutil.copytree(whole, folder, dirs_exist_ok=True)
    for later in checkpoints.steps(folder / "checkpoints"):
        if later > step:
            shutil.rmtree(folder / "checkpoints" / str(later))
    return folder


def numbers(folder: Path) -> pl.DataFrame:
    """The metrics that are not measured."""
    return read_metrics(folder / METRICS).drop(MEASURED)


def losses(folder: Path) -> list[float]:
    return read_metrics(folder / METRICS)["loss"].to_list()


# Recipes


def test_the_full_recipe_is_that_of_the_launch_scripts(project: Project) -> None:
    recipe, scripts = Recipe.load(project, "full"), load_record(project, "transcribed/launch_scripts")
    shape = recipe.architecture
    for name in PHASES:
        given = dict(scripts.filter(phase=name).select("parameter", "value").iter_rows())
        phase, optimizer = recipe.phase(name), recipe.optimizer
        assert recipe.schedules[name] == schedule.Phase.from_record(scripts, name)
        ours = {
            "hidden_size": shape.hidden_size,
            "intermediate_size": shape.intermediate_size,
            "num_layers": shape.num_hidden_layers,
            "num_attention_heads": shape.num_attention_heads,
            "num_key_value_heads": shape.num_key_value_heads,
            "micro_batch_size": phase.micro_batch,
            "tensor_parallelism": phase.parallelism.tensor,
            "pipeline_parallelism": phase.parallelism.pipeline,
            "zero_stage": phase.parallelism.zero_stage,
            "adam_beta1": optimizer.beta1,
            "adam_beta2": optimizer.beta2,
            "adam_epsilon": optimizer.epsilon,
            "weight_decay": optimizer.weight_decay,
            "gradient_clipping": optimizer.gradient_clipping,
            "rope_theta": phase.rope_theta,
            "save_interval": phase.checkpoint_every,
            "seed": recipe.seeds[0],
        }
        assert ours == {key: pytest.approx(float(given[key])) for key in ours}
        assert phase.parallelism.processes == int(given["nodes"]) * int(given["gpus_per_node"])
        assert recipe.precision == given["precision"]
    assert (recipe.steps, recipe.tokens) == (756_291, 3_131_736_326_144)  # of the released model's card


@pytest.mark.parametrize("name", ["toy", "mini", "sample", "gpu", "full"])
def test_the_runs_of_a_recipe_are_its_steps(project: Project, name: str) -> None:
    recipe = Recipe.load(project, name)
    runs = list(recipe.runs())
    assert [run.first_step for run in runs] == [1, *(run.last_step + 1 for run in runs[:-1])]
    assert runs[-1].last_step == recipe.steps
    read = sum(run.steps * run.batch * recipe.mix.phase(run.phase).sequence_length for run in runs)
    assert read == recipe.tokens == recipe.tokens_at(recipe.steps)
    for run in runs:
        sizes = {len(recipe.mix.phase(run.phase).sequences_of(recipe.phase_of(step)[1]))
                 for step in (run.first_step, run.last_step)}  # fmt: skip
        assert sizes == {run.batch}


def test_a_batch_that_grows_reads_every_sequence_once() -> None:
    phase = MixPhase.model_validate(
        {"sequence_length": 8, "sequences_per_batch": 10, "tokens": 8 * 217,
         "ramp_up": {"sequences_per_batch": 4, "increment": 2, "sequences": 60}}
    )  # fmt: skip
    steps = [phase.sequences_of(step) for step in range(1, phase.steps + 1)]
    assert [index for step in steps for index in step] == list(range(phase.sequences))
    assert sorted({len(step) for step in steps}) == [4, 6, 8, 10]
    assert 0 <= 217 - phase.sequences < 10


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"main": {"micro_batch": 3}}, r"a batch \(4\) does not divide by 1 replicas x 3 samples of phase main"),
        ({"main": {"parallelism": {"data": 3}}}, r"a batch \(4\) does not divide by 3 replicas"),
        ({"architecture": {"num_attention_heads": 3}}, r"hidden_size \(32\) does not divide"),
        ({"main": {"parallelism": {"tensor": 4}}}, r"num_key_value_heads \(2\) does not divide by the tensor"),
        ({"main": {"parallelism": {"pipeline": 4}}}, r"divides 2 layers by 4 stages"),
        ({"main": {"warm_up": 1000}}, r"warms up over 1000 samples"),
        ({"mix_annealing": {"tokens": 100}}, r"fewer tokens than one batch in phase annealing"),
        ({"main": {"decay": "square"}}, r"phases\.main\.decay: Input should be"),
        ({"seed": 1}, r"seed: Extra inputs are not permitted"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        recipe_of(**changes)


def test_the_plan_prints_every_file_of_nanotron(project: Project, lucie: Lucie) -> None:
    done = lucie(project, "train", "toy", "--dry-run")
    assert done.returncode == 0
    assert done.stdout.count("train_steps: ") == len(list(recipe_of().runs())) == 4
    assert "20 steps, 7,040 tokens" in done.stdout and "batch_accumulation_per_replica: 4" in done.stdout


# Training


def test_the_loss_is_that_of_plain_transformers(workers: Workers, tokens: Path, tmp_path: Path) -> None:
    """60 steps of nanotron against a loop of transformers and AdamW, from the same weights."""
    recipe = recipe_of(mix_main={"ramp_up": None, "tokens": 32 * 8 * 60}, main={"micro_batch": 4})
    assert workers.train(recipe, tokens, tmp_path, until=0) == [0]
    first = tmp_path / "checkpoints" / "1"  # the first step has a learning rate of 0
    assert workers.train(recipe, tokens, tmp_path, 1) == [0]
    model = as_transformers(first, recipe)
    optimizer = torch.optim.AdamW(model.parameters(), 0, (0.9, 0.95), 1e-5, 0.1)
    ordered, expected = OrderedTokens(tokens, recipe.mix, "main"), []
    for step in range(1, 61):
        batch = torch.from_numpy(ordered.batch(step))
        optimizer.param_groups[0]["lr"] = recipe.learning_rate_at(step)
        logits = model(batch[:, :-1]).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        expected.append(loss.item())
    assert expected[-1] < expected[0] - 0.3
    assert np.abs(np.subtract(losses(tmp_path)[:60], expected)).max() < CLOSE


def as_transformers(checkpoint: Path, recipe: Recipe) -> Any:
    """The model of a checkpoint, by this test's own mapping of the weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    shape, found = recipe.architecture, weights(checkpoint)
    size, heads, key_heads = shape.hidden_size, shape.num_attention_heads, shape.num_key_value_heads
    theta = checkpoints.read(checkpoint).rope_theta
    config = LlamaConfig(
        **shape.model_dump(), tie_word_embeddings=False, rope_parameters={"rope_type": "default", "rope_theta": theta}
    )
    model = LlamaForCausalLM(config)

    def halves(rows: Any) -> Any:  # neighbouring pairs of a head become its two halves
        return rows.view(-1, size // heads // 2, 2, size).transpose(1, 2).reshape(rows.shape)

    state = {
        "model.embed_tokens.weight": found["token_position_embeddings/pp_block/token_embedding"],
        "model.norm.weight": found["final_layer_norm/pp_block"],
        "lm_head.weight": found["lm_head/pp_block"],
    }
    for layer in range(shape.num_hidden_layers):
        here, there = f"decoder/{layer}/pp_block", f"model.layers.{layer}"
        width = size // heads * key_heads
        query, key, value = found[f"{here}/attn/qkv_proj"].split([size, width, width])
        gate, up = found[f"{here}/mlp/gate_up_proj"].chunk(2)
        state |= {
            f"{there}.self_attn.q_proj.weight": halves(query),
            f"{there}.self_attn.k_proj.weight": halves(key),
            f"{there}.self_attn.v_proj.weight": value,
            f"{there}.self_attn.o_proj.weight": found[f"{here}/attn/o_proj"],
            f"{there}.mlp.gate_proj.weight": gate,
            f"{there}.mlp.up_proj.weight": up,
            f"{there}.mlp.down_proj.weight": found[f"{here}/mlp/down_proj"],
            f"{there}.input_layernorm.weight": found[f"{here}/input_layernorm"],
            f"{there}.post_attention_layernorm.weight": found[f"{here}/post_attention_layernorm"],
        }
    model.load_state_dict(state)
    return model


def test_metrics_and_checkpoints_are_those_of_the_recipe(whole: Path) -> None:
    recipe, found = recipe_of(), read_metrics(whole / METRICS)
    assert found["step"].to_list() == list(range(1, recipe.steps + 1))
    assert found["tokens"].to_list() == [recipe.tokens_at(step) for step in found["step"]]
    assert found["learning_rate"].to_list() == [recipe.learning_rate_at(step) for step in found["step"]]
    assert found["phase"].unique(maintain_order=True).to_list() == list(PHASES)
    assert found["memory"].min() > 0  # type: ignore[operator]
    assert checkpoints.steps(whole / "checkpoints") == [5, 10, 15, 20]
    manifest = checkpoints.check(whole / "checkpoints" / "15")
    assert (manifest.phase, manifest.phase_step, manifest.rope_theta) == ("extension", 5, 100_000)
    assert len(list((whole / "tensorboard").iterdir())) == 4


@pytest.mark.parametrize(
    "layout",
    [{"data": 2}, {"tensor": 2}, {"pipeline": 2}, {"data": 2, "zero_stage": 1}],
    ids=["data", "tensor", "pipeline", "ZeRO-1"],
)
def test_processes_compute_what_one_computes(
    workers: Workers, tokens: Path, whole: Path, tmp_path: Path, layout: dict[str, int]
) -> None:
    assert workers.train(divided(**layout), tokens, tmp_path) == [0, 0], (tmp_path / "worker.log").read_text()
    for column in ("loss", "grad_norm"):
        ours, theirs = (read_metrics(folder / METRICS)[column] for folder in (tmp_path, whole))
        assert (ours - theirs).abs().max() < CLOSE  # type: ignore[operator]


def test_recomputed_activations_change_nothing(workers: Workers, tokens: Path, whole: Path, tmp_path: Path) -> None:
    assert workers.train(in_all_phases(recompute=True), tokens, tmp_path) == [0]
    assert numbers(tmp_path).equals(numbers(whole))


@pytest.mark.parametrize("step", [5, 10])
def test_going_on_is_bit_identical(workers: Workers, tokens: Path, whole: Path, tmp_path: Path, step: int) -> None:
    folder = until(whole, tmp_path, step)
    assert workers.train(recipe_of(), tokens, folder, step) == [0]
    assert same_weights(folder / "checkpoints" / "20", whole / "checkpoints" / "20")
    assert numbers(folder).equals(numbers(whole))


@pytest.mark.parametrize("zero_stage", [0, 1])
def test_going_on_with_other_replicas(
    workers: Workers, tokens: Path, whole: Path, tmp_path: Path, zero_stage: int
) -> None:
    """From one process to two replicas and back."""
    one, two = divided(zero_stage=zero_stage), divided(data=2, zero_stage=zero_stage)
    folder = tmp_path / "run"
    assert workers.train(one, tokens, folder, until=0) == [0]
    assert workers.train(two, tokens, folder, 1, until=0) == [0, 0], (folder / "worker.log").read_text()
    assert workers.train(one, tokens, folder, 2) == [0], (folder / "worker.log").read_text()
    assert np.abs(np.subtract(losses(folder), losses(whole))).max() < CLOSE


def test_killed_at_any_step_the_same_weights_come_out(
    workers: Workers, tokens: Path, whole: Path, tmp_path: Path
) -> None:
    chance = random.Random(7)
    killed: list[int] = []  # the steps with a checkpoint, at the time
    while len(killed) < KILLS:
        folder, step = tmp_path / f"run{len(killed)}", 0
        while step < 20:
            [pid] = workers.start(recipe_of(), tokens, folder, step)
            if len(killed) < KILLS:
                wait_for(folder, chance.randrange(step, 20))
                time.sleep(chance.uniform(0, 0.03))  # while the next step is made, or a checkpoint is written
                os.kill(pid, signal.SIGKILL)
            [code] = workers.answer()["codes"]
            assert code in (0, -signal.SIGKILL), (folder / "worker.log").read_text()
            step = training.latest(folder)
            killed += [step] if code else []
        assert same_weights(folder / "checkpoints" / "20", whole / "checkpoints" / "20")
        assert numbers(folder).equals(numbers(whole))
    assert len(set(killed)) >= 3 and any(0 < step < 20 for step in killed)


def wait_for(folder: Path, step: int) -> None:
    """Until the metrics of a step are written."""
    path = folder / METRICS
    while step and (not path.is_file() or path.read_text("utf-8").count("\n") < step):
        time.sleep(0.002)


def test_a_process_that_is_told_to_stop_writes_a_checkpoint_first(
    workers: Workers, tokens: Path, whole: Path, tmp_path: Path
) -> None:
    recipe = recipe_of(mix_main={"tokens": 32 * 8 * 2000})
    [pid] = workers.start(recipe, tokens, tmp_path)
    wait_for(tmp_path, 12)
    os.kill(pid, signal.SIGTERM)
    assert workers.answer()["codes"] == [0]
    outcome = json.loads((tmp_path / training.OUTCOME).read_text())
    assert outcome == {"ended": "signal SIGTERM", "step": training.latest(tmp_path)}
    assert len(read_metrics(tmp_path / METRICS)) == outcome["step"] < 1000


def test_processes_whose_runner_was_killed_write_a_checkpoint_and_stop(
    workers: Workers, tokens: Path, tmp_path: Path
) -> None:
    recipe = recipe_of(mix_main={"tokens": 32 * 8 * 2000})
    with subprocess.Popen(["sleep", "600"]) as runner:
        workers.start(recipe, tokens, tmp_path, runner=runner.pid)
        wait_for(tmp_path, 12)
        with pytest.raises(Timeout), FileLock(tmp_path / training.WORKING, timeout=0):
            pass  # who starts the training again waits
        runner.kill()
        runner.wait()
        assert workers.answer()["codes"] == [0]
    outcome = json.loads((tmp_path / training.OUTCOME).read_text())
    assert outcome == {"ended": "nobody waits for it any more", "step": training.latest(tmp_path)}
    with FileLock(tmp_path / training.WORKING, timeout=0):
        assert 12 <= outcome["step"] < 1000


def test_a_training_is_made_once(tokens: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through torchrun: two processes for the main phase, stopped on the way, then one for the others."""
    recipe = recipe_of(main={"micro_batch": 1, "checkpoint_every": 1000, "parallelism": {"data": 2}})
    watched: list[int] = []

    def watch(metrics: Any) -> None:
        watched.append(metrics["step"])
        if len(watched) == 1:
            os.kill(os.getpid(), signal.SIGUSR1)

    stopped = training.run(recipe, 1, tokens, tmp_path, watch=watch)
    assert not stopped.finished and stopped.reason == "signal SIGUSR1" and 0 < stopped.step < 20
    assert training.run(recipe, 1, tokens, tmp_path, watch=watch) == training.Outcome(20, True)
    assert watched == list(range(1, 21))
    assert np.abs(np.subtract(losses(tmp_path), losses(whole))).max() < CLOSE
    monkeypatch.setattr(training.subprocess, "Popen", None)
    assert training.run(recipe, 1, tokens, tmp_path) == training.Outcome(20, True)
    with pytest.raises(UsageError, match="holds another training"):
        training.run(recipe, 2, tokens, tmp_path)
    assert training.run(recipe_of(), 1, tokens, tmp_path).finished  # divided otherwise, it is the same training


def test_a_training_by_other_code_is_made_anew_unless_a_cluster_made_it(
    tokens: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, folder = recipe_of(), tmp_path / "run"

    def held() -> bool:
        training.set_aside(recipe, 1, tokens, folder)
        return folder.is_dir()

    write_json(folder / training.RUN, training.RunFile.of(recipe, 1, tokens).model_dump())
    assert held()
    monkeypatch.setattr(training, "code", lambda: "another")
    (folder / training.JOBS).mkdir()
    assert held()
    (folder / training.JOBS).rmdir()
    assert not held() and len(list(tmp_path.glob("run.*"))) == 1
    write_json(folder / training.RUN, training.RunFile.of(recipe, 1, tokens).model_dump())
    monkeypatch.undo()
    assert held() and training.RunFile.read(folder).code == training.code(), "the first comes back"
    assert len(list(tmp_path.glob("run.*"))) == 1
    shutil.copytree(folder, tmp_path / "copy")
    monkeypatch.setattr(training, "code", lambda: "another")
    assert held() and len(list(tmp_path.glob("run.*"))) == 1
    shutil.rmtree(folder)
    (tmp_path / "copy").rename(folder)
    with pytest.raises(UsageError, match=r"hold the same training. Remove one"):
        held()


def test_what_is_started_as_a_process_is_code_of_a_stage() -> None:
    """Even though nothing imports it: a change of the training loop makes a training stale."""
    used = modules_of("from lucie.training import again", ROOT / "src" / "lucie")
    assert {"lucie.training.worker", "lucie.training.trainer", "lucie.training.batches"} <= set(used)


# Bad input


def test_what_cannot_be_trained_is_refused_before_it_starts(
    tokens: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training.subprocess, "Popen", None)
    spoiled = Path(shutil.copytree(tokens, tmp_path / "spoiled"))
    content = bytearray((spoiled / "fr--book.ds").read_bytes())
    content[:2] = b"\xff\xff"  # a token that no vocabulary here has
    (spoiled / "fr--book.ds").write_bytes(content)
    spanish = recipe_of()
    spanish.mix.epochs["es"] = {"book": 1}
    begun = until(whole, tmp_path / "begun", 15)
    path = begun / "checkpoints/15/model/model/lm_head/pp_block/model_weight_pp-rank-0-of-1_tp-rank-0-of-1.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    cases: list[tuple[type[Exception], str, Recipe, Path, Path]] = [
        (MismatchError, "use a vocabulary of", recipe_of(architecture={"vocab_size": 512}), tokens, tmp_path / "run"),
        (MismatchError, "not what was written: another sha256", recipe_of(), spoiled, tmp_path / "run"),
        (UsageError, "no finished token files", recipe_of(), tmp_path / "none", tmp_path / "run"),
        (UsageError, "no token file of the language 'es'", spanish, tokens, tmp_path / "run"),
        (UsageError, r"phase main reads fr--book .* times, and the recipe allows 0\.01",
         recipe_of(most_epochs=0.01), tokens, tmp_path / "run"),
        (MismatchError, "Remove the folder 15 to go on from step 10", recipe_of(), tokens, begun),
    ]  # fmt: skip
    for kind, message, recipe, folder, run_folder in cases:
        with pytest.raises(kind, match=message):
            training.run(recipe, 1, folder, run_folder)
        assert not (tmp_path / "run" / training.RUN).is_file()
    shutil.rmtree(begun / "checkpoints" / "15")
    assert training.latest(begun) == 10


def test_token_files_that_are_not_there_are_named(copy: Project, lucie: Lucie) -> None:
    done = lucie(copy, "train", "mini")
    assert done.returncode == UsageError.code
    assert "none in build/mini/work/tokens. Make them: lucie reproduce --tier mini" in " ".join(done.stderr.split())


def test_two_processes_do_not_train_in_one_folder(tokens: Path, tmp_path: Path) -> None:
    from filelock import FileLock

    with FileLock(tmp_path / ".lock"), pytest.raises(UsageError, match="Another process is training"):
        training.run(recipe_of(), 1, tokens, tmp_path)


def test_a_full_disk_leaves_the_checkpoint_before(workers: Workers, tokens: Path, whole: Path, tmp_path: Path) -> None:
    folder = until(whole, tmp_path, 10)
    assert workers.train(recipe_of(), tokens, folder, 10, file_limit=50_000) == [1]
    outcome = json.loads((folder / training.OUTCOME).read_text())
    assert "The checkpoint of step 15 could not be written" in outcome["error"]
    assert outcome["code"] == StageError.code
    assert training.latest(folder) == 10
    assert workers.train(recipe_of(), tokens, folder, 10) == [0]
    assert same_weights(folder / "checkpoints" / "20", whole / "checkpoints" / "20")


def test_a_nanotron_that_is_not_known_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from lucie.training import nanotron_adapter

    monkeypatch.setattr(nanotron_adapter.importlib.metadata, "version", lambda _: "0.5")
    with pytest.raises(UsageError, match=r"nanotron 0\.5 is installed; .* pip install nanotron==0\.4"):
        nanotron_adapter.install()


# The adapter

REPAIRS = {  # what is said without it; empty: it trains, and wrongly, or never ends
    "import cycle": "partially initialized module",
    "flash-attn": "No module named 'flash_attn'",
    "cuda": "Torch not compiled with CUDA enabled",
    "nccl": "_cuda_setDevice",
    "rotary buffer": 'assert self.freqs_cis.device.type == "cuda"',
    "memory": "_cuda_resetPeakMemoryStats",
    "average": "a leaf Variable that requires grad is being used in an in-place operation",
    "sends": "",
    "other replicas": "optimizer_pp-0-of-1_dp-1-of-2",
    "RoPE theta": "",
    "learning rate": "",
}


def test_every_repair_has_a_test() -> None:
    from lucie.training.nanotron_adapter import DEFECTS

    assert {defect.name for defect in DEFECTS} == {*REPAIRS, "shapes"}  # that one's is in test_export.py


@pytest.mark.parametrize("name", REPAIRS)
def test_without_a_repair_it_fails(workers: Workers, tokens: Path, whole: Path, tmp_path: Path, name: str) -> None:
    """It fails, waits for ever, or gives other numbers."""
    recipe = {"sends": LARGE_MESSAGES, "other replicas": divided(data=2, zero_stage=1)}.get(name, recipe_of())
    start = 10 if name in ("learning rate", "other replicas") else 0
    folder = until(whole, tmp_path / "run", start) if start else tmp_path / "run"
    if name == "sends":
        assert workers.train(recipe, tokens, folder) == [0, 0]
        shutil.rmtree(folder)
    patience = 8 if name == "sends" else 120  # seconds; the one that waits for ever
    codes = workers.train(recipe, tokens, folder, start, without=[name], timeout=patience)
    if name == "sends":
        assert codes == [-signal.SIGKILL] * 2 and not (folder / METRICS).is_file()
    elif REPAIRS[name]:
        assert any(codes) and REPAIRS[name] in (folder / "worker.log").read_text("utf-8")
    else:
        assert codes == [0] and not numbers(folder).equals(numbers(whole))


LARGE_MESSAGES = recipe_of(  # gloo keeps small ones for a receiver that is not there yet
    architecture={"hidden_size": 128, "num_hidden_layers": 4},
    mix_main={"sequence_length": 512, "ramp_up": None, "tokens": 512 * 8 * 3},
    main={"warm_up": 1, "parallelism": {"pipeline": 2}},
)
