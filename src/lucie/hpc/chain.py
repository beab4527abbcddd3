"""A training as a chain of batch jobs: one a leg, each waiting for the leg before it.

    chain = Chain.plan(recipe, seed, tokens, folder, site, "h100", charged="abc")
    for leg in chain.open():
        print(chain.batch_job(project, leg).script(chain.jobs_folder))

A leg is what one number of nodes can train: successive runs of the recipe with equally many processes. Its job ends
itself before its time is over, with a checkpoint, and queues again until the leg is done (`lucie.hpc.job`). All that a
job needs to know is in FOLDER/jobs/chain.json, so that a change of config/ does not reach jobs that wait.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from lucie.errors import MismatchError, UsageError
from lucie.files import write_json
from lucie.hpc.container import Image
from lucie.hpc.scheduler import Scheduler
from lucie.hpc.sites import Jobs, Site
from lucie.hpc.slurm import submit
from lucie.project import Project
from lucie.training.checkpoints import steps
from lucie.training.recipe import Recipe
from lucie.training.run import JOBS

CHAIN = "chain.json"
WARNING = 60  # seconds before its end that Slurm warns a job that did not end itself; Slurm's own look is every 30 s


class Leg(BaseModel):
    """Steps that one job, run as often as need be, trains."""

    model_config = ConfigDict(extra="forbid")

    number: int
    first_step: int
    last_step: int
    phases: list[str]
    nodes: int
    processes: int  # in all
    job: str = ""  # Slurm's number, once it was submitted


class Chain(BaseModel):
    """What chain.json says."""

    model_config = ConfigDict(extra="forbid")

    recipe: dict[str, Any]
    seed: int
    tokens: Path
    folder: Path
    site: str
    options: list[str]  # for sbatch
    setup: list[str]
    environment: dict[str, str]
    minutes: int  # of a job
    ending_minutes: float
    image: Image | None
    legs: list[Leg]

    @classmethod
    def plan(
        cls,
        recipe: Recipe,
        seed: int,
        tokens: Path,
        folder: Path,
        site: Site,
        kind: str,
        charged: str = "",
        qos: str = "",
        minutes: int = 0,
        image: Image | None = None,
    ) -> Chain:
        """The chain of a training. Raises UsageError for what the site's file does not allow."""
        jobs = site.job(kind)
        minutes = minutes or 60 * (jobs.qos[qos].hours if qos in jobs.qos else jobs.hours)
        found = list(legs(recipe, jobs.processes))
        check_rules(site, kind, qos, minutes, max(leg.nodes for leg in found))
        return cls(
            recipe=recipe.model_dump(mode="json"),
            seed=seed,
            tokens=tokens.resolve(),
            folder=folder.resolve(),
            site=site.name,
            options=[*jobs.sbatch(charged, minutes), *([f"--qos={qos}"] if qos else [])],
            setup=jobs.setup,
            environment=jobs.environment,
            minutes=minutes,
            ending_minutes=min(jobs.ending_minutes, minutes / 2),
            image=image,
            legs=found,
        )

    @classmethod
    def read(cls, folder: Path) -> Chain:
        """The chain of a training's folder. Raises UsageError where there is none, MismatchError for a damaged one."""
        path = folder / JOBS / CHAIN
        if not path.is_file():
            raise UsageError(f"{folder} was not submitted to a cluster: it has no {JOBS}/{CHAIN}.")
        try:
            return cls.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise MismatchError(
                f"{path} is damaged. Submit the training again: it goes on where it stopped."
            ) from error

    def write(self) -> None:
        write_json(self.jobs_folder / CHAIN, self.model_dump(mode="json"))

    @property
    def name(self) -> str:
        return f"{self.recipe['name']}-{self.seed}"

    @property
    def jobs_folder(self) -> Path:
        """Scripts, what the jobs printed, and how each of them ended."""
        return self.folder / JOBS

    @property
    def step(self) -> int:
        """That of the last checkpoint, by its name alone."""
        return max(steps(self.folder / "checkpoints"), default=0)

    def open(self) -> list[Leg]:
        """The legs that are not done."""
        return [leg for leg in self.legs if leg.last_step > self.step]

    def batch_job(self, project: Project, leg: Leg) -> LegJob:
        return LegJob(self, leg, project.root)


@dataclass(frozen=True)
class LegJob:
    """The batch job of a leg."""

    chain: Chain
    leg: Leg
    root: Path

    @property
    def name(self) -> str:
        return f"lucie-{self.chain.name}-{self.leg.number}"

    def script(self, logs: Path) -> str:
        """The batch script. One process a node starts; the others are made inside, by torchrun."""
        chain = self.chain
        lines = [
            "#!/bin/bash -l",
            f"#SBATCH --job-name={self.name}",
            f"#SBATCH --nodes={self.leg.nodes}",
            "#SBATCH --ntasks-per-node=1",
            *(f"#SBATCH {option}" for option in chain.options),
            "#SBATCH --requeue",
            f"#SBATCH --signal=B:USR1@{WARNING}",
            "#SBATCH --open-mode=append",
            f'#SBATCH --output="{logs}/%x-%j.out"',
            "trap '' USR1",  # a warning must not end what does not listen yet; the training has a clock of its own
            *chain.setup,
            *(f"export {name}={value}" for name, value in chain.environment.items()),
            "set -eu",
            f'cd "{self.root}"',
            f'exec "{sys.executable}" -m lucie job "{chain.folder}" {self.leg.number}',
        ]
        return "\n".join(lines) + "\n"


def legs(recipe: Recipe, per_node: int) -> Iterator[Leg]:
    """The legs of a recipe on nodes of so many processes. Raises UsageError where they do not fill whole nodes."""
    runs = groupby(recipe.runs(), key=lambda run: recipe.phase(run.phase).parallelism.processes)
    for number, (processes, found) in enumerate(runs):
        if processes > per_node and processes % per_node:
            raise UsageError(
                f"Recipe '{recipe.name}' divides its work among {processes} processes, which do not fill nodes of "
                f"{per_node}. Change its parallelism."
            )
        same = list(found)
        yield Leg(
            number=number,
            first_step=same[0].first_step,
            last_step=same[-1].last_step,
            phases=list(dict.fromkeys(run.phase for run in same)),
            nodes=max(1, processes // per_node),
            processes=processes,
        )


def check_rules(site: Site, kind: str, qos: str, minutes: int, nodes: int) -> None:
    """Raises UsageError for a job that the site's file does not allow."""
    jobs: Jobs = site.job(kind)
    where = f"config/sites/{site.name}.yaml"
    if qos and qos not in jobs.qos:
        raise UsageError(f"{where} lists no QoS '{qos}' for {kind} jobs. It lists: {', '.join(jobs.qos) or 'none'}.")
    hours = jobs.qos[qos].hours if qos else jobs.hours
    if minutes > 60 * hours:
        raise UsageError(
            f"A {kind} job{f' of QoS {qos}' if qos else ''} may take {hours} h by {where}, and {minutes} minutes were "
            "asked for. A training that takes longer goes on in the next job: ask for less with --minutes."
        )
    if nodes > jobs.nodes:
        raise UsageError(f"A {kind} job may have {jobs.nodes} nodes by {where}, and this one needs {nodes}.")
    if qos and nodes * jobs.processes > jobs.qos[qos].gpus:
        raise UsageError(
            f"A job of QoS {qos} may have {jobs.qos[qos].gpus} GPUs by {where}, and this one needs "
            f"{nodes * jobs.processes}."
        )


def submit_chain(project: Project, chain: Chain, scheduler: Scheduler) -> list[Leg]:
    """Submit a job for each leg that is not done, each after the one before it; returns the legs.

    Raises UsageError where jobs of this training are still queued, StageError where Slurm refuses one.
    """
    if (chain.jobs_folder / CHAIN).is_file():
        known = [leg.job for leg in Chain.read(chain.folder).legs if leg.job]
        if queued := scheduler.queued(known):
            raise UsageError(
                f"{chain.folder} has jobs in the queue: {', '.join(queued)}. See lucie status, or lucie cancel first."
            )
    chain.write()
    after: str | None = None
    for leg in chain.open():
        leg.job = after = submit(chain.batch_job(project, leg), chain.jobs_folder, after)
        chain.write()
    return [leg for leg in chain.legs if leg.job]
