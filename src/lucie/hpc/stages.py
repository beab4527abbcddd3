"""Stages as batch jobs: each one that is out of date is a job, which Snakemake submits and waits for.

    stale = ready(project, "mini", ["tokenizer", "training_mix"])
    where = place(project, site, "mini", Scheduler(), charged="abc")
    engine.execute(project, "mini", stale, where, print)

The training itself is none of them: it is a chain of jobs (`lucie.hpc.chain`), after which its notebook finds it done.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lucie.engine import CANCELLED, FOLDER, PLAN, Place, Stale, job_log, jobs_name, plan
from lucie.errors import UsageError
from lucie.hpc import container
from lucie.hpc.container import LOCK, Image
from lucie.hpc.images import others
from lucie.hpc.scheduler import Queued, Scheduler
from lucie.hpc.sites import Site
from lucie.project import Project
from lucie.training.checkpoints import steps
from lucie.training.recipe import Recipe

KIND = "cpu"  # of a site's jobs
TRAINING = "pretraining"
INSIDE = Path("/opt/lucie")  # the repository in an image
JOB_LOGS = "jobs"  # in build/TIER
LOGIN = ". /etc/profile"  # as in a login shell: it defines `module`
RESOURCES = {"--partition": "slurm_partition", "--constraint": "constraint"}  # as Snakemake calls what sbatch takes


def ready(project: Project, tier: str, wanted: list[str]) -> list[Stale]:
    """What `engine.plan` says. Raises UsageError where it comes to a training that is not finished."""
    stale = plan(project, tier, wanted)
    for entry in stale:
        recipes = [name.partition("/")[2] for name in entry.stage.run(tier).reads if name.startswith("recipe/")]
        for name in recipes if entry.stage.id == TRAINING else []:
            recipe = Recipe.load(project, name)
            made = max(steps(recipe.folder(project, recipe.seeds[0]) / "checkpoints"), default=0)
            if made < recipe.steps:
                raise UsageError(
                    f"These stages need the training of recipe {name}, which is at step {made:,} of {recipe.steps:,}. "
                    f"Finish it first: lucie submit {TRAINING} --tier {tier}"
                )
    return stale


def place(
    project: Project,
    site: Site,
    tier: str,
    scheduler: Scheduler,
    charged: str = "",
    qos: str = "",
    minutes: int = 0,
    image: Image | None = None,
) -> Place:
    """The jobs of a site as a place for the engine.

    Raises UsageError for an image that holds other files than are here, MismatchError for one that was changed.
    """
    jobs = site.job(KIND)
    given = [option.partition("=") for option in jobs.options]
    resources: dict[str, Any] = {RESOURCES[name]: value for name, _, value in given if name in RESOURCES}
    extra = [name + equals + value for name, equals, value in given if name not in RESOURCES]
    account = jobs.charged(charged)
    resources |= {"runtime": minutes or 60 * jobs.hours, "cpus_per_task": jobs.cores, "mem_mb": 0}  # 0: not asked for
    resources |= {"slurm_account": account} if account else {}
    resources |= {"qos": qos} if qos else {}
    resources |= {"slurm_extra": " ".join(extra)} if extra else {}
    return Place(
        "slurm",
        [] if account else ["--slurm-no-account"],
        command=[sys.executable, "-m", "lucie"] if image is None else _inside(project, image),
        setup=[LOGIN, *jobs.setup] if jobs.setup else [],
        resources=resources,
        logs=project.build / tier / JOB_LOGS,
        cancel=lambda folder: Submission(folder).cancel(scheduler),
    )


def _inside(project: Project, image: Image) -> list[str]:
    """The command `lucie` in an image."""
    commit = container.locked(project)[image.name].commit
    if changed := others(project, commit):
        raise UsageError(
            f"Image {image.name} of {LOCK} holds commit {commit[:12]}, and {changed[0]} is another here. Check that "
            "commit out, or build the image anew, or run without: --image none"
        )
    container.check(image)
    project.build.mkdir(exist_ok=True)
    binds = [f"{project.build}:{INSIDE / 'build'}", f"{project.root / 'data'}:{INSIDE / 'data'}:ro"]
    return container.command(image, binds, {}, ["lucie"], [f"--pwd={INSIDE}"])


@dataclass(frozen=True)
class Submission:
    """A run of the engine whose stages are jobs."""

    folder: Path  # its own, in build/TIER

    @property
    def tier(self) -> str:
        return self.folder.parent.name

    @property
    def stages(self) -> list[str]:
        """Those that it submits, in order."""
        return list(json.loads((self.folder / PLAN).read_text("utf-8"))["stages"])

    @property
    def logs(self) -> list[Path]:
        """What its stages printed, and the logs of their jobs."""
        jobs = [path for stage in self.stages if (path := job_log(self.folder, stage, self.folder.parent / JOB_LOGS))]
        return [*sorted(self.folder.glob("*.said")), *jobs]

    def queued(self, scheduler: Scheduler) -> dict[str, tuple[str, Queued]]:
        """By stage: the job that waits or runs, and what Slurm says of it."""
        return scheduler.named(jobs_name(self.folder))

    def cancel(self, scheduler: Scheduler) -> list[str]:
        """Tell the command that submits to stop, and cancel what it submitted; returns the jobs."""
        (self.folder / CANCELLED).touch()
        jobs = [job for job, _ in self.queued(scheduler).values()]
        if jobs:
            scheduler.cancel(jobs)
        return jobs

    def states(self, scheduler: Scheduler) -> Iterator[tuple[str, str, str]]:
        """Of each stage: its name, its job, and how far it is."""
        queued = self.queued(scheduler)
        for stage in self.stages:
            marks = {mark.suffix: mark for mark in self.folder.glob(f"{stage}.*")}
            job = marks[".running"].read_text("utf-8").strip() if ".running" in marks else ""
            if stage in queued:
                number, said = queued[stage]
                yield stage, number, said.words
            elif ended := [state for state in ("done", "failed") if f".{state}" in marks]:
                yield stage, job, ended[0]
            else:
                yield stage, job, "ended" if job else "not submitted yet"


def submissions(project: Project) -> list[Submission]:
    """Those that are not over, or whose submitting command was killed."""
    plans = project.build.glob(f"*/{FOLDER}*/{PLAN}")
    return [Submission(path.parent) for path in sorted(plans) if json.loads(path.read_text("utf-8"))["jobs"]]


def refuse_twice(project: Project, tier: str, scheduler: Scheduler) -> None:
    """Raises UsageError where jobs of stages of this tier are still queued. What a killed command left is removed."""
    for earlier in submissions(project):
        if earlier.tier != tier:
            continue
        if queued := earlier.queued(scheduler):
            raise UsageError(
                f"Jobs of tier {tier} are in the queue: {', '.join(job for job, _ in queued.values())}. "
                "See lucie status, or lucie cancel first."
            )
        shutil.rmtree(earlier.folder)
