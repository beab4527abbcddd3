"""Where the trainings stand that were submitted: one row a leg."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from lucie.errors import UsageError
from lucie.hpc.chain import CHAIN, JOBS, Chain, Leg
from lucie.hpc.job import attempts
from lucie.hpc.scheduler import Queued, Scheduler
from lucie.inputs import work_folder
from lucie.project import Project
from lucie.training.metrics import METRICS, Metrics, parse

RECENT = 20  # steps whose time says how long the others take


@dataclass(frozen=True)
class Row:
    """A leg: which training and phases, its job and state, the step it is at, the last loss, and the time left."""

    training: str
    stage: str
    job: str
    state: str
    step: int
    last_step: int
    loss: float | None
    seconds_left: float | None  # of training; waiting in the queue comes on top


def submitted(project: Project) -> list[Path]:
    """The folders under build/ of trainings that were submitted."""
    tiers = [work_folder(project, path.name) / "training" for path in project.build.glob("*")]
    return sorted(path.parent.parent for folder in tiers for path in folder.glob(f"*/{JOBS}/{CHAIN}"))


def folders(project: Project, named: list[Path]) -> list[Path]:
    """Those that are named, or all under build/. Raises UsageError where there are none."""
    found = named or submitted(project)
    if not found:
        raise UsageError("Nothing was submitted from here. Submit: lucie submit pretraining --tier TIER --site SITE")
    return found


def status(folder: Path, scheduler: Scheduler) -> Iterator[Row]:
    """The rows of one training."""
    chain = Chain.read(folder)
    path = folder / METRICS
    made = parse(path.read_text("utf-8")) if path.is_file() else []
    numbers = [leg.job for leg in chain.legs if leg.job]
    queued, ended = scheduler.queued(numbers), scheduler.ended(numbers)
    for leg in chain.legs:
        ours = [line for line in made if leg.first_step <= line["step"] <= leg.last_step]
        step = ours[-1]["step"] if ours else leg.first_step - 1
        yield Row(
            training=chain.name,
            stage=" ".join(leg.phases),
            job=leg.job or "-",
            state=_state(chain, leg, queued, ended),
            step=step,
            last_step=leg.last_step,
            loss=ours[-1]["loss"] if ours else None,
            seconds_left=_left(leg, step, ours),
        )


def _state(chain: Chain, leg: Leg, queued: dict[str, Queued], ended: dict[str, str]) -> str:
    if chain.step >= leg.last_step:
        return "done"
    if leg.job in queued:
        said = queued[leg.job]
        return said.state.lower() + (f" ({said.reason})" if said.state == "PENDING" else f", {said.left} left")
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
