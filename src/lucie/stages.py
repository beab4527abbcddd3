"""The stages and tiers, as config/stages.yaml and config/tiers/*.yaml list them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from lucie.config import Strict, checked, find, read_mapping, read_yaml
from lucie.errors import UsageError, unknown
from lucie.notebook import RECORD
from lucie.project import MARKER, Project


class TierRun(Strict):
    """What a stage needs in one tier."""

    reads: list[str] = Field(description="as lucie.inputs names them: input/NAME, corpus/NAME, ...")
    needs: list[str] = Field(default=[], description="stages whose outputs this one reads")
    parameters: dict[str, Any] = {}
    repeats: dict[str, int] = Field(
        default={}, description="parameters that say how often, not what: other numbers make no result stale"
    )
    keep_on_new_image: bool = Field(default=False, description="too dear to rerun for a new container image")


class Stage(Strict):
    """One notebook with its parameters, inputs and outputs."""

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


class Tier(Strict):
    """A scale at which the stages run."""

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
    tiers = {path.stem: _tier(path) for path in sorted(folder.glob("*.yaml"))}
    return dict(sorted(tiers.items(), key=lambda entry: entry[0] != RECORD))


def get_tier(project: Project, name: str) -> Tier:
    """The tier of that name."""
    return _tier(find(project, "tiers", name, "tier"))


def _tier(path: Path) -> Tier:
    return checked(Tier, {"name": path.stem, **read_mapping(path)}, str(path))
