"""Where what was submitted stands: one row a leg of a training, one row a stage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from lucie.errors import LucieError
from lucie.hpc.chain import CHAIN, Chain, Leg
from lucie.hpc.job import attempts
from lucie.hpc.scheduler import Queued, Scheduler
from lucie.hpc.stages import submissions
from lucie.inputs import work_folder
from lucie.project import Project
from lucie.training.metrics import METRICS, Metrics, parse
from lucie.training.run import JOBS

RECENT = 20  # steps whose time says how long the others take


@dataclass(frozen=True)
class Row:
    """A leg, or a stage: of which training or tier, its job and state, and how far a leg is."""

    work: str
    stage: str
    job: str
    state: str
    progress: str = ""
    loss: float | None = None
    seconds_left: float | None = None  # of training; waiting in the queue comes on top


def submitted(project: Project) -> list[Path]:
    """The folders under build/ of trainings that were submitted."""
    tiers = [work_folder(project, path.name) / "training" for path in project.build.glob("*")]
    return sorted(path.parent.parent for folder in tiers for path in folder.glob(f"*/{JOBS}/{CHAIN}"))


def training_rows(folder: Path, scheduler: Scheduler) -> Iterator[Row]:
    """A row for each leg of one training; one that says so where its file is damaged."""
    try:
        chain = Chain.read(folder)
    except LucieError as error:
        yield Row(work=folder.name, stage="-", job="-", state=str(error))
        return
    path = folder / METRICS
    made = parse(path.read_text("utf-8")) if path.is_file() else []
    numbers = [leg.job for leg in chain.legs if leg.job]
    queued, ended = scheduler.queued(numbers), scheduler.ended(numbers)
    for leg in chain.legs:
        ours = [line for line in made if leg.first_step <= line["step"] <= leg.last_step]
        step = ours[-1]["step"] if ours else leg.first_step - 1
        yield Row(
            work=chain.name,
            stage=" ".join(leg.phases),
            job=leg.job or "-",
            state=_state(chain, leg, queued, ended),
            progress=f"{step:,} of {leg.last_step:,}",
            loss=ours[-1]["loss"] if ours else None,
            seconds_left=_left(leg, step, ours),
        )


def stage_rows(project: Project, scheduler: Scheduler) -> Iterator[Row]:
    """A row for each stage that is submitted now."""
    for submission in submissions(project):
        for stage, job, state in submission.states(scheduler):
            yield Row(f"tier {submission.tier}", stage, job or "-", state)


def _state(chain: Chain, leg: Leg, queued: dict[str, Queued], ended: dict[str, str]) -> str:
    if chain.step >= leg.last_step:
        return "done"
    if leg.job in queued:
        return queued[leg.job].words
    if not leg.job:
        return "not submitted"
    mine = [attempt for attempt in attempts(chain.folder) if attempt.job == leg.job]
    how = ended.get(leg.job, "ended").lower()
    return f"{how}: {mine[-1].ended}" if mine else how


def _left(leg: Leg, step: int, made: list[Metrics]) -> float | None:
    """By the pace of the last steps; None before the first."""
    if not made:
        return None
    return (leg.last_step - step) * median(line["seconds"] for line in made[-RECENT:])
