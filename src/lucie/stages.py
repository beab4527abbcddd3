"""The stages and tiers, as config/stages.yaml and config/tiers/*.yaml list them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lucie.errors import UsageError, unknown
from lucie.notebook import RECORD
from lucie.project import MARKER, Project


class TierRun(BaseModel):
    """What a stage needs in one tier."""

    model_config = ConfigDict(extra="forbid")

    reads: list[str] = Field(description="as lucie.inputs names them: input/NAME, corpus/NAME, ...")
    needs: list[str] = Field(default=[], description="stages whose outputs this one reads")
    parameters: dict[str, Any] = {}
    repeats: dict[str, int] = Field(
        default={}, description="parameters that say how often, not what: other numbers make no result stale"
    )
    keep_on_new_image: bool = Field(default=False, description="too dear to rerun for a new container image")


class Stage(BaseModel):
    """One notebook with its parameters, inputs and outputs."""

    model_config = ConfigDict(extra="forbid")

    id: str
    notebook: str
    title: str
    tiers: dict[str, TierRun]

    def run(self, tier: str) -> TierRun:
        """What the stage needs in ``tier``."""
        if tier not in self.tiers:
            raise UsageError(
                f"Stage '{self.id}' has nothing to run in tier '{tier}'. It runs in: {', '.join(self.tiers)}."
            )
        return self.tiers[tier]


class Tier(BaseModel):
    """A scale at which the stages run."""

    model_config = ConfigDict(extra="forbid")

    name: str
    says: str
    by_default: bool = Field(default=False, description="part of a plain `lucie reproduce`")
    groups: list[str] = Field(default=[], description="groups of packages that its stages need")


class Stages:
    """All stages, in the order of the book."""

    def __init__(self, stages: list[Stage]) -> None:
        self.all = {stage.id: stage for stage in stages}

    @classmethod
    def load(cls, project: Project) -> Stages:
        path = project.root / MARKER
        listed = read_yaml(path)
        try:
            stages = [Stage.model_validate(entry) for entry in listed["stages"]]
        except (ValidationError, KeyError, TypeError) as error:
            raise UsageError(f"{path} is not a list of stages: {error}") from error
        known = {stage.id for stage in stages}
        for stage in stages:
            for run in stage.tiers.values():
                for need in run.needs:
                    if need not in known:
                        raise unknown(f"stage (needed by '{stage.id}')", need, known)
        return cls(stages)

    def get(self, name: str) -> Stage:
        if name not in self.all:
            raise unknown("stage", name, self.all)
        return self.all[name]

    def in_tier(self, tier: str) -> list[Stage]:
        """The stages that run in ``tier``, in the order of the book."""
        return [stage for stage in self.all.values() if tier in stage.tiers]


def load_tiers(project: Project) -> dict[str, Tier]:
    """Every tier by name: `record`, then the others by name."""
    folder = project.root / "config" / "tiers"
    tiers = {}
    for path in sorted(folder.glob("*.yaml")):
        try:
            tiers[path.stem] = Tier.model_validate({"name": path.stem, **read_yaml(path)})
        except (ValidationError, TypeError) as error:
            raise UsageError(f"{path} is not a tier: {error}") from error
    return dict(sorted(tiers.items(), key=lambda entry: entry[0] != RECORD))


def get_tier(project: Project, name: str) -> Tier:
    """The tier of that name."""
    tiers = load_tiers(project)
    if name not in tiers:
        raise unknown("tier", name, tiers)
    return tiers[name]


def read_yaml(path: Path) -> Any:
    """A YAML file's content."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)
    except FileNotFoundError as error:
        raise UsageError(f"{path} is missing. It is part of the repository: git checkout -- {path.name}") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is not valid YAML: {error}") from error


_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
