"""Suites: which tasks of lm-eval a model is given, how they are scored, and what a guesser would get.

    suite = Suite.load(project, "mini")      # config/suites/mini.yaml
    suite.tasks_folder(project)              # config/tasks/mini, for tasks of our own; None: lm-eval's own, unmodified

A suite on data that stand in for others' has task names of its own, so that no score passes for a published one.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lucie.config import checked, find, read_mapping
from lucie.project import Project


class SuiteTask(BaseModel):
    """One task and the one score of it that is shown."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: str = Field(description="lm-eval's name")
    title: str
    metric: str = "acc"
    filter: str = "none"
    shots: int | None = Field(default=None, ge=0, description="examples in the prompt; none given: the task's own")
    chance: float | None = Field(default=None, description="the score of a guesser")
    lower_is_better: bool = False
    language: str = ""
    data: str = Field(default="", description="the data set of the hub that it reads")


class Suite(BaseModel):
    """Tasks that are run together."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    says: str
    own_tasks: bool = Field(default=False, description="task files in config/tasks/NAME, not lm-eval's")
    batch_size: int = Field(default=16, ge=1)
    seed: int = 1234
    bos: dict[str, bool] = Field(default={}, description="models that read a <s> first, by the start of their names")
    prefix: str = Field(default="", description="token before a text without context; none given: lm-eval's choice")
    tasks: list[SuiteTask] = Field(min_length=1)

    @model_validator(mode="after")
    def _each_once(self) -> Suite:
        names = [task.task for task in self.tasks]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"task {min(twice)} is listed twice")
        return self

    @classmethod
    def load(cls, project: Project, name: str) -> Suite:
        """Raises UsageError for a suite that does not exist or is malformed."""
        path = find(project, "suites", name, "suite")
        return checked(cls, {"name": name, **read_mapping(path)}, str(path))

    def tasks_folder(self, project: Project) -> Path | None:
        """Where its own task files are; None for a suite of lm-eval's tasks."""
        return project.root / "config" / "tasks" / self.name if self.own_tasks else None

    def reads_bos(self, model: str) -> bool:
        """Whether a model is given the beginning-of-sequence token first, as its authors had it."""
        given = [bos for start, bos in self.bos.items() if model.startswith(start)]
        return given[-1] if given else False
