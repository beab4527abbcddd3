"""What the batch job of a leg does: train until its time is nearly over, then queue again, until the leg is done.

    python -m lucie job FOLDER LEG        # in the batch script, on the first node

srun starts one process on each node, in the container where there is one, and that is torchrun, which makes the others.
This process stays outside, tells the training to stop in time, and keeps account in FOLDER/jobs/attempts.jsonl.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from itertools import takewhile
from pathlib import Path

from lucie.errors import StageError, UsageError
from lucie.hpc import container
from lucie.hpc.chain import Chain, Leg
from lucie.hpc.scheduler import Scheduler, first_host
from lucie.training.recipe import Recipe
from lucie.training.run import JOBS, STOP, Launch, Outcome, run

ATTEMPTS = "attempts.jsonl"
FAILURES = 3  # in a row, without a new checkpoint: then it is no accident
ENDED = "signal SIGTERM"  # scancel, a node that went down, preemption, or a time that is over: see _was_cancelled
LEFT = 0.25  # of the minutes kept for a job's end: when they are left, what hangs is killed
KILL = 30  # seconds between asking what hangs to end, and killing it
PORT = 29500
# Each node's torchrun gets its rank from srun. A container is given variables by these names only.
ON_A_NODE = """export PET_NODE_RANK=$SLURM_PROCID
export APPTAINERENV_PET_NODE_RANK=$SLURM_PROCID SINGULARITYENV_PET_NODE_RANK=$SLURM_PROCID
if [ -n "${CUDA_VISIBLE_DEVICES-}" ]; then
    export APPTAINERENV_CUDA_VISIBLE_DEVICES=$CUDA_VISIBLE_DEVICES
    export SINGULARITYENV_CUDA_VISIBLE_DEVICES=$CUDA_VISIBLE_DEVICES
fi
exec "$@"
"""


@dataclass(frozen=True)
class Attempt:
    """One run of a leg's job."""

    job: str
    leg: int
    hosts: str
    image: str | None  # its sha256
    from_step: int
    to_step: int
    seconds: float
    ended: str
    failed: bool


def run_leg(folder: Path, number: int, scheduler: Scheduler) -> str:
    """Train a leg as far as the job's time goes; returns how it ended, for the log.

    Queues the job again where the leg is not done: because its time was over, even if Slurm had to end it, or it
    failed, fewer than `FAILURES` times in a row without a new checkpoint. Raises StageError for a job that was
    cancelled, and what the training raises.
    """
    chain = Chain.read(folder)
    leg, started, before = chain.legs[number], time.time(), chain.step
    if before < leg.first_step - 1:
        raise UsageError(f"Leg {number} begins after step {leg.first_step - 1:,}, and only {before:,} are made.")
    try:
        outcome = _train(chain, leg, started)
    except StageError as error:
        _note(chain, leg, before, chain.step, started, str(error), failed=True)
        if _was_cancelled(folder, scheduler) or len(list(takewhile(_in_vain, reversed(attempts(folder))))) >= FAILURES:
            raise
        scheduler.requeue(_job())
        return f"it failed, and is queued again: {error}"
    _note(chain, leg, before, outcome.step, started, outcome.reason or "done", failed=False)
    if outcome.step >= leg.last_step:
        return f"leg {number} is done: step {outcome.step:,}"
    if _was_cancelled(folder, scheduler):
        raise StageError(f"The job was told to end, and did so at step {outcome.step:,}. Submit the training again.")
    scheduler.requeue(_job())
    return f"step {outcome.step:,} of {leg.last_step:,} ({outcome.reason}); the job is queued again"


def attempts(folder: Path) -> list[Attempt]:
    """The runs of a training's jobs so far, in order."""
    path = folder / JOBS / ATTEMPTS
    return [Attempt(**json.loads(line)) for line in path.read_text("utf-8").splitlines()] if path.is_file() else []


def launcher(chain: Chain, leg: Leg, seconds: float) -> Launch:
    """srun outside, the container inside it, torchrun inside that. What hangs after so many seconds is killed."""
    host, port = first_host(os.environ["SLURM_JOB_NODELIST"]), PORT + int(_job()) % 1000

    def launch(processes: int, worker: list[str]) -> list[str]:
        srun = ["srun", f"--nodes={leg.nodes}", f"--ntasks={leg.nodes}", "--wait=60", "--kill-on-bad-exit=1"]
        srun += [f"--cpus-per-task={os.environ['SLURM_CPUS_PER_TASK']}"]  # which newer ones do not take from the job
        torchrun = ["-m", "torch.distributed.run", f"--nnodes={leg.nodes}", f"--master-addr={host}"]
        torchrun += [f"--master-port={port}", f"--nproc-per-node={processes // leg.nodes}", "--max-restarts=0"]
        python = [sys.executable]
        if chain.image:
            binds = [f"{chain.tokens}:{chain.tokens}:ro", f"{chain.folder}:{chain.folder}"]
            python = container.command(chain.image, binds, chain.environment, ["python"], ["--nv"])
        stop = ["timeout", f"--kill-after={KILL}", str(int(seconds))]
        return [*stop, *srun, "sh", "-c", ON_A_NODE, "sh", *python, *torchrun, *worker]

    return launch


def _train(chain: Chain, leg: Leg, started: float) -> Outcome:
    """Raises MismatchError, before anything starts, for an image that is not the one that was submitted."""
    if chain.image:
        container.check(chain.image)
    end, kept = started + 60 * chain.minutes, 60 * chain.ending_minutes
    launch = launcher(chain, leg, end - LEFT * kept - time.time())
    return run(
        Recipe.of(chain.recipe), chain.seed, chain.tokens, chain.folder, end - kept, launch=launch, last=leg.last_step
    )


def _note(chain: Chain, leg: Leg, before: int, after: int, started: float, ended: str, failed: bool) -> None:
    attempt = Attempt(
        job=_job(),
        leg=leg.number,
        hosts=os.environ["SLURM_JOB_NODELIST"],
        image=chain.image.sha256 if chain.image else None,
        from_step=before,
        to_step=after,
        seconds=time.time() - started,
        ended=ended,
        failed=failed,
    )
    with (chain.jobs_folder / ATTEMPTS).open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(attempt)) + "\n")


def _job() -> str:
    return os.environ["SLURM_JOB_ID"]


def _in_vain(attempt: Attempt) -> bool:
    return attempt.failed and attempt.to_step == attempt.from_step


def _was_cancelled(folder: Path, scheduler: Scheduler) -> bool:
    """Whether somebody ended the job; or a node did, or preemption, after which Slurm itself queues it again."""
    path = folder / STOP
    told = path.is_file() and path.read_text("utf-8") == ENDED
    return told and not scheduler.is_over_time(_job())
