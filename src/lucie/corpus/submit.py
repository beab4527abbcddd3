"""The same cleaning as job arrays on a cluster: one array a step, each waiting for the one before it.

Only tasks that are not done are submitted, so that submitting again reruns what failed, and nothing else.
"""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path

from lucie.corpus.clean import STEPS, Cleaning
from lucie.corpus.recipe import Recipe
from lucie.errors import UsageError, unknown
from lucie.files import write_json
from lucie.hpc.sites import Jobs, Site
from lucie.hpc.slurm import ArrayJob, submit
from lucie.project import Project


@dataclass(frozen=True)
class Submitted:
    """An array that was submitted, or would be: its step, how many jobs for how many tasks, and its id."""

    step: str
    elements: int
    tasks: int
    job: str


def submit_cleaning(
    project: Project, recipe: Recipe, folder: Path, site: Site, charged: str, dry_run: bool
) -> list[Submitted]:
    """Submit the open tasks of a cleaning, step by step."""
    cleaning, jobs = Cleaning(project, recipe, folder.resolve()), site.jobs["cpu"]
    options = jobs.sbatch(charged)
    if not dry_run:
        cleaning.claim_folder()
    found: list[Submitted] = []
    after: str | None = None
    for step in STEPS:
        pending = cleaning.pending(step)
        if not pending:
            continue
        elements = _elements(pending, jobs)
        if not dry_run:
            write_json(_list_path(cleaning.folder, step), elements)
            after = submit(_job(cleaning, step, len(elements), options), cleaning.folder / "jobs", after)
        found.append(Submitted(step, len(elements), len(pending), after or "not submitted"))
    return found


def run_element(project: Project, recipe: Recipe, folder: Path, step: str, element: int) -> list[int]:
    """Do the tasks of one job of a step's array; returns their numbers.

    Raises UsageError for a step or an element that there is not, or whose earlier steps are not done.
    """
    if step not in STEPS:
        raise unknown("step", step, STEPS)
    cleaning = Cleaning(project, recipe, folder.resolve())
    cleaning.join()
    path = _list_path(cleaning.folder, step)
    elements = json.loads(path.read_text("utf-8")) if path.is_file() else [[n] for n in range(cleaning.tasks(step))]
    if not 0 <= element < len(elements):
        raise UsageError(f"Step '{step}' has elements 0 to {len(elements) - 1}; there is no element {element}.")
    for earlier in STEPS[: STEPS.index(step)]:
        if pending := cleaning.pending(earlier):
            raise UsageError(f"Step '{step}' needs step '{earlier}', of which task {pending[0]} is not done.")
    tasks: list[int] = elements[element]
    for task in tasks:
        cleaning.run(step, task)
    return tasks


def _elements(pending: list[int], jobs: Jobs) -> list[list[int]]:
    """The tasks of each job: as even as the site's limit on arrays allows."""
    each = math.ceil(len(pending) / jobs.array)
    return [pending[at : at + each] for at in range(0, len(pending), each)]


def _list_path(folder: Path, step: str) -> Path:
    return folder / "jobs" / f"{step}.json"


def _job(cleaning: Cleaning, step: str, elements: int, options: list[str]) -> ArrayJob:
    recipe = cleaning.recipe
    command = [sys.executable, "-m", "lucie", "corpus", "task", recipe.argument, step, "$SLURM_ARRAY_TASK_ID"]
    settings = [word for setting in recipe.settings for word in ("--set", setting)]
    return ArrayJob(
        name=f"lucie-{recipe.name_of_work}-{step}",
        elements=elements,
        options=options,
        command=[*command, "--into", str(cleaning.folder), *settings],
        folder=cleaning.project.root,
    )
