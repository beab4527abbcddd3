"""Evaluates models on a suite: several processes, each score kept as soon as it is there, nothing done twice.

    evaluation = run(project, suite, models, data=Path("mirror"), into=Path("scores"))
    evaluation.scores        # model, task, title, language, metric, shots, score, stderr, items, chance
    evaluation.failures      # model, task, why

Processes work in the folder of the mirrored data with every hub switched off, so that task files find
`owner/dataset` there as a folder. A killed evaluation goes on where it was; a damaged score is made anew.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from lucie import cache
from lucie.errors import StageError
from lucie.evaluation import rouge
from lucie.evaluation.suite import Suite, SuiteTask
from lucie.evaluation.worker import Job, Model
from lucie.machine import cores
from lucie.project import Project

OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_EVALUATE_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
SCORES = {
    "model": pl.String, "task": pl.String, "title": pl.String, "language": pl.String, "metric": pl.String,
    "shots": pl.Int64, "score": pl.Float64, "stderr": pl.Float64, "items": pl.Int64, "chance": pl.Float64,
    "examples_from_test": pl.Boolean,
}  # fmt: skip

Watch = Callable[[dict[str, str]], None]


@dataclass(frozen=True)
class Evaluation:
    """The finished scores of models on a suite."""

    suite: Suite
    outcomes: dict[tuple[str, str], dict[str, Any]]  # by model and task
    failures: list[dict[str, str]] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)  # of the finished scores

    @property
    def scores(self) -> pl.DataFrame:
        """The score of each model on each task, in the suite's order of tasks."""
        rows = [
            {"model": model, **_score(task, outcome)}
            for task in self.suite.tasks
            for (model, name), outcome in self.outcomes.items()
            if name == task.task
        ]
        return pl.DataFrame(rows, schema=SCORES)

    def items(self, model: str, task: str) -> list[Any]:
        """A model's score on every item of a task, in the order of its documents: a number, or a sum and divisor."""
        chosen = next(one for one in self.suite.tasks if one.task == task)
        return [
            score
            for columns in self.outcomes[model, task]["samples"].values()
            for score, used in zip(columns[chosen.metric], columns["filter"], strict=True)
            if used == chosen.filter
        ]


def run(
    project: Project,
    suite: Suite,
    models: list[Model],
    data: Path,
    into: Path,
    workers: int | None = None,
    limit: int | None = None,
    watch: Watch = lambda _: None,
) -> Evaluation:
    """Evaluate every model on every task of a suite. ``watch`` is told of every score as it is there.

    ``data`` holds the mirrored data, ``into`` the finished scores. Raises StageError where a process dies; what could
    not be scored is in the evaluation's failures.
    """
    into.mkdir(parents=True, exist_ok=True)
    rouge.lay_out(data)
    count = max(1, min(workers or cores(), len(models)))
    threads = max(1, cores() // count)
    jobs = [
        Job(
            suite=suite,
            tasks_folder=suite.tasks_folder(project),
            models=models[first::count],
            into=into,
            threads=threads,
            limit=limit,
        )
        for first in range(count)
    ]
    outcomes, failures, files = {}, [], []
    with ThreadPoolExecutor(count) as pool:
        for said in (line for lines in pool.map(lambda job: list(_watched(job, data, watch)), jobs) for line in lines):
            if said["state"] == "failed":
                failures.append({name: said[name] for name in ("model", "task", "why")})
            else:
                outcome = cache.read(into / said["file"])
                assert outcome is not None  # it was written or checked just now
                outcomes[said["model"], said["task"]] = outcome
                files.append(into / said["file"])
    order = {model.name: place for place, model in enumerate(models)}
    return Evaluation(suite, dict(sorted(outcomes.items(), key=lambda entry: order[entry[0][0]])), failures, files)


def _watched(job: Job, data: Path, watch: Watch) -> Iterator[dict[str, str]]:
    for line in _work(job, data):
        watch(line)
        yield line


def _work(job: Job, data: Path) -> Iterator[dict[str, str]]:
    """The lines that a process says."""
    first = job.models[0].name.replace("/", "--")
    asked, log = job.into / f".{first}.job", job.into / f".{first}.log"
    asked.write_text(job.model_dump_json(), "utf-8")
    environment = {
        **os.environ,
        **OFFLINE,
        "HF_HOME": str(job.into / ".cache"),
        "OMP_NUM_THREADS": str(job.threads),
        "TOKENIZERS_PARALLELISM": "false",
    }
    with log.open("w", encoding="utf-8") as errors, subprocess.Popen(
        [sys.executable, "-m", "lucie.evaluation.worker", str(asked)],
        cwd=data, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True,
    ) as process:  # fmt: skip
        assert process.stdout
        try:
            for line in process.stdout:
                yield json.loads(line)
        finally:
            if process.poll() is None and sys.exc_info()[0]:
                process.kill()
    if process.returncode:
        last = (log.read_text("utf-8").strip().splitlines() or ["it said nothing"])[-1]
        raise StageError(f"The evaluation of {first} stopped with code {process.returncode}: {last}\nIts log: {log}")


def _score(task: SuiteTask, outcome: dict[str, Any]) -> dict[str, Any]:
    """The one score of a task that the suite shows; a group's where the task is a group."""
    found = {**outcome["results"], **outcome.get("groups", {})}[task.task]
    stderr = found.get(f"{task.metric}_stderr,{task.filter}")
    counted = [entry["effective"] for entry in outcome["n-samples"].values()]
    shots = {int(number) for number in outcome["n-shot"].values()}
    return {
        "task": task.task,
        "title": task.title,
        "language": task.language,
        "metric": task.metric,
        "shots": shots.pop() if len(shots) == 1 else None,
        "score": float(found[f"{task.metric},{task.filter}"]),
        "stderr": float(stderr) if isinstance(stderr, int | float) else None,
        "items": sum(counted),
        "chance": task.chance,
        "examples_from_test": outcome["examples_from_test"],
    }
