"""Trains a recipe, once: what is finished is left alone, what was begun is gone on with.

    outcome = run(Recipe.load(project, "mini"), seed=1, tokens=folder_of_token_files, folder=Path("build/mini/..."))

The folder of a training:

    run.json                 recipe (all of it, with the mix), seed, digest of the token files, and the key of all
    nanotron/A-B.yaml        what nanotron was given for the steps A to B: one file a phase and batch size
    checkpoints/STEP/        STEP counts through all phases; a folder with a number for a name is whole
      lucie.json             recipe, key, seed, phase, step, phase_step, tokens, sequence_length, rope_theta, and the
                             sha256 of every file (`lucie.training.checkpoints.Manifest`)
      model/                 nanotron's weights, fp32 or bf16: a .safetensors a weight, tensor "data"
      model_config.json      nanotron's configuration of the model
      config.yaml, checkpoint_metadata.json, optimizer/, lr_scheduler/, random/     nanotron's too, to go on
    checkpoints/.unfinished  a checkpoint that is being written, or was when the process ended
    metrics.jsonl            one line a step (`lucie.training.metrics.Metrics`)
    tensorboard/             the same for TensorBoard
    worker.log               what the processes printed
    outcome.json, stop       how the processes ended; ask them to stop

nanotron's rotary embedding turns neighbouring dimensions (interleaved), transformers' turns halves; queries, keys and
values are one matrix in nanotron (q, k, v by rows), gate and up too.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from lucie.closure import code_of
from lucie.errors import MismatchError, StageError, UsageError
from lucie.files import sha256_of, write_atomic, write_json
from lucie.machine import cores
from lucie.mixture.plan import PHASES
from lucie.tokens.folder import TokenFolder
from lucie.tokens.order import OrderedTokens
from lucie.training import checkpoints, metrics
from lucie.training.metrics import METRICS, Metrics
from lucie.training.nanotron_config import nanotron_config
from lucie.training.recipe import Recipe

RUN = "run.json"
OUTCOME = "outcome.json"
STOP = "stop"
LOG = "worker.log"
JOBS = "jobs"  # what the jobs of a cluster keep, where they make the training
WORKER = "lucie.training.worker"
WORKING = ".working"  # locked by the processes that train
LEAVE = 120  # seconds that processes whose runner was killed have for their last checkpoint
POLL = 0.2  # seconds
ASKED = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
ERRORS = {kind.code: kind for kind in (UsageError, MismatchError, StageError)}

Watch = Callable[[Metrics], None]
Launch = Callable[[int, list[str]], list[str]]  # so many processes of a worker: the command that starts them


class RunFile(BaseModel):
    """What run.json says."""

    model_config = ConfigDict(extra="forbid")

    key: str  # changes with all that decides the weights
    recipe: dict[str, Any]
    seed: int
    tokens: str  # digest of the token files
    code: str = ""  # hash of our own, as the training began

    @classmethod
    def of(cls, recipe: Recipe, seed: int, tokens: Path) -> RunFile:
        digest = TokenFolder(tokens).digest
        key = sha256_of([recipe.key(), seed, digest])
        return cls(key=key, recipe=recipe.model_dump(mode="json"), seed=seed, tokens=digest, code=code())

    @classmethod
    def read(cls, folder: Path) -> RunFile:
        """Raises MismatchError where it is missing or damaged."""
        try:
            return cls.model_validate_json((folder / RUN).read_bytes())
        except (OSError, ValidationError) as error:
            raise MismatchError(f"{folder / RUN} is missing or damaged. Remove the folder to train anew.") from error

    def about(self) -> dict[str, Any]:
        """What a checkpoint says of its run."""
        return {"recipe": self.recipe["name"], "key": self.key, "seed": self.seed}


@dataclass(frozen=True)
class Outcome:
    """How a training ended."""

    step: int
    finished: bool
    reason: str = ""  # why it stopped before its end


def on_this_machine(processes: int, worker: list[str]) -> list[str]:
    """torchrun; the processes stop with the one that asks for them."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return [*torchrun, *worker, "--runner", str(os.getpid())]


def run(
    recipe: Recipe,
    seed: int,
    tokens: Path,
    folder: Path,
    until: float | None = None,
    watch: Watch = lambda _: None,
    launch: Launch = on_this_machine,
    last: int | None = None,
) -> Outcome:
    """Train a recipe from a seed on the token files of a folder, or go on with it, or find that it is done.

    ``until`` is when to write a checkpoint and stop, in seconds since 1970; SIGTERM, SIGUSR1 and Ctrl-C do the same.
    ``watch`` is told the metrics of every step. ``launch`` starts the processes elsewhere than here; none is started
    once step ``last`` is made. Raises UsageError or MismatchError, before anything is started, for token files that
    cannot serve, a folder of another training and a damaged checkpoint; StageError where it fails.
    """
    check_tokens(recipe, tokens)
    ours = RunFile.of(recipe, seed, tokens)
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        if (folder / RUN).is_file():
            held = RunFile.read(folder)
            if held.key != ours.key:
                raise UsageError(
                    f"{folder} holds another training than recipe '{recipe.name}' with seed {seed} and these token "
                    "files. Name another folder, or remove this one."
                )
            ours.code = held.code
        write_json(folder / RUN, ours.model_dump())  # the work may be divided in another way than before
        while (step := latest(folder)) < (recipe.steps if last is None else last):
            with _told_to_stop(folder):
                ended = _work(recipe, seed, tokens, folder, step, until, watch, launch)
            if ended != "done":
                return Outcome(latest(folder), latest(folder) == recipe.steps, ended)
        return Outcome(step, step == recipe.steps)


def set_aside(recipe: Recipe, seed: int, tokens: Path, folder: Path) -> None:
    """Rename a folder that holds another training than this one, or one by other code, so that this one can be made.

    One of this training that was put aside before comes back. A training that was made by jobs of a cluster is too dear
    to be made anew: it stays, and run.json says by which code it is. Raises UsageError for two of one training.
    """
    ours = RunFile.of(recipe, seed, tokens)
    if (folder / RUN).is_file():
        held = RunFile.read(folder)
        if held.key == ours.key and (held.code == ours.code or (folder / JOBS).is_dir()):
            return
        aside = _aside(folder, held)
        if aside.exists():
            raise UsageError(f"{aside} and {folder} hold the same training. Remove one of them.")
        folder.replace(aside)
    if not folder.exists() and _aside(folder, ours).is_dir():
        _aside(folder, ours).replace(folder)


def _aside(folder: Path, run: RunFile) -> Path:
    return folder.with_name(f"{folder.name}.{sha256_of([run.key, run.code])[:12]}")


def code() -> str:
    """The hash of all our modules that a process of a training uses."""
    return code_of(WORKER)


def check_tokens(recipe: Recipe, tokens: Path) -> None:
    """Raises UsageError or MismatchError for token files that the recipe cannot be trained on."""
    for name in PHASES:
        ordered = OrderedTokens(tokens, recipe.mix, name, check=name == PHASES[0])
        ordered.folder.check_vocabulary(recipe.architecture.vocab_size)
        most = ordered.plan.sort("epochs", maintain_order=True).row(-1, named=True)
        if most["epochs"] > recipe.most_epochs:
            raise UsageError(
                f"Recipe '{recipe.name}': phase {name} reads {most['name']} {most['epochs']:.1f} times, and the recipe "
                f"allows {recipe.most_epochs:g}. Give it more text, a shorter phase, or a higher most_epochs."
            )


def latest(folder: Path) -> int:
    """The step of the last checkpoint, 0 without any. Raises MismatchError where it is not what was written."""
    found = checkpoints.steps(folder / "checkpoints")
    if found:
        checkpoints.check(folder / "checkpoints" / str(found[-1]))
    return found[-1] if found else 0


def _work(
    recipe: Recipe,
    seed: int,
    tokens: Path,
    folder: Path,
    step: int,
    until: float | None,
    watch: Watch,
    launch: Launch,
) -> str:
    """Start the processes of the phase that comes next and wait for them; returns why they ended."""
    prepare(recipe, seed, folder, step)
    (folder / METRICS).touch()
    known = (folder / METRICS).stat().st_size
    processes = recipe.phase(recipe.phase_of(step + 1)[0]).parallelism.processes
    worker = ["-m", WORKER, str(folder), str(tokens), "--from", str(step)]
    if until is not None:
        worker += ["--until", str(until)]
    threads = os.environ.get("OMP_NUM_THREADS", str(max(1, cores() // processes)))
    with (folder / LOG).open("a", encoding="utf-8") as log:
        started = subprocess.Popen(
            launch(processes, worker),
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": threads},
            start_new_session=True,  # Ctrl-C is for us: we ask it to stop
        )
        try:
            _follow(started, folder / METRICS, known, watch)
        except BaseException:
            os.killpg(started.pid, signal.SIGKILL)
            raise
    return _ended(folder)


def prepare(recipe: Recipe, seed: int, folder: Path, step: int) -> None:
    """Make the folder ready to go on after a step: no later metrics, and a file of nanotron for each run."""
    metrics.cut(folder / METRICS, step)
    for name in (OUTCOME, STOP):
        (folder / name).unlink(missing_ok=True)
    for run in recipe.runs():
        if run.last_step > step:
            before = max(step, run.first_step - 1)
            resume = folder / "checkpoints" / str(before) if before else None
            content = nanotron_config(recipe, run, seed, folder / "checkpoints", resume)
            write_atomic(config_path(folder, run), yaml.safe_dump(content, sort_keys=False))


def config_path(folder: Path, run: Any) -> Path:
    """The file of nanotron for a run."""
    return folder / "nanotron" / f"{run.first_step}-{run.last_step}.yaml"


def _follow(process: subprocess.Popen[bytes], path: Path, known: int, watch: Watch) -> None:
    """Wait for a process and tell of every line of metrics after the first so many bytes."""
    with path.open(encoding="utf-8") as file:
        file.seek(known)
        rest = ""
        while True:
            ended = process.poll()
            rest += file.read()
            whole = rest.rfind("\n") + 1
            for line in rest[:whole].splitlines():
                watch(json.loads(line))
            rest = rest[whole:]
            if ended is not None:
                return
            with suppress(subprocess.TimeoutExpired):
                process.wait(POLL)


def _ended(folder: Path) -> str:
    """Why the processes ended. Raises the error that they met."""
    try:
        outcome = json.loads((folder / OUTCOME).read_text("utf-8"))
    except (OSError, ValueError) as error:
        lines = (folder / LOG).read_text("utf-8", errors="replace").splitlines()
        said = [line for line in lines if "Error" in line] or lines or ["it said nothing"]
        raise StageError(f"The training failed: {said[0]}. The whole log: {folder / LOG}") from error
    if "error" in outcome:
        raise ERRORS[outcome["code"]](outcome["error"])
    return str(outcome["ended"])


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    try:
        with FileLock(folder / ".lock", timeout=0):
            with FileLock(folder / WORKING, timeout=LEAVE):
                pass  # those of a runner that was killed have ended
            yield
    except Timeout as error:
        raise UsageError(f"Another process is training in {folder}. Wait for it, or name another folder.") from error


@contextmanager
def _told_to_stop(folder: Path) -> Iterator[None]:
    """Signals that come meanwhile ask the processes to write a checkpoint and stop."""

    def ask(number: int, _: Any) -> None:
        write_atomic(folder / STOP, f"signal {signal.Signals(number).name}")

    before = {number: signal.signal(number, ask) for number in ASKED}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
