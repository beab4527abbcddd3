"""What each output was made from, and whether it still is.

A stage's *key* is the sha256 of its notebook, the modules it imports, its parameters and the content of its
inputs. The commit is recorded beside it, never in it: committing a text file makes no result stale.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

from lucie import notebook as notebooks
from lucie.closure import modules_of
from lucie.errors import MismatchError, UsageError
from lucie.files import sha256, sha256_of, write_json
from lucie.inputs import input_files
from lucie.project import Project
from lucie.stages import Stage

CONTAINER_VARIABLE = "LUCIE_CONTAINER_DIGEST"  # set by the launcher inside an image


@dataclass(frozen=True)
class Ingredients:
    """All that decides what a stage computes, and how often (``repeats``, which is not in the key).

    Paths are relative to the root, contents are sha256.
    """

    notebook: dict[str, str]
    code: dict[str, str]
    parameters: dict[str, Any]
    inputs: dict[str, str]
    repeats: dict[str, int] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return sha256_of(self.deciding)

    @property
    def deciding(self) -> dict[str, dict[str, Any]]:
        """What is in the key."""
        return {name: part for name, part in asdict(self).items() if name != "repeats"}


@dataclass
class StageManifest:
    """What one run of a stage was made from and what it made."""

    ingredients: Ingredients
    reads: list[str]  # files under data/, results/ and build/ that were opened while it ran
    outputs: dict[str, str]  # path in the tier's folder -> sha256
    values: dict[str, str]  # value name -> sha256 of its entry in values.json
    shown: dict[str, dict[str, Any]]  # table or figure name -> its kind, files, cell and alternative text
    commit: str
    dirty: bool
    environment: dict[str, Any]
    seconds: float

    @classmethod
    def from_json(cls, entry: dict[str, Any]) -> StageManifest:
        fields = {name: content for name, content in entry.items() if name != "key"}
        return cls(**{**fields, "ingredients": Ingredients(**entry["ingredients"])})

    @property
    def key(self) -> str:
        return self.ingredients.key


@dataclass
class Manifest:
    """The manifest of a tier's folder: one entry a stage, and what the verdicts were judged against."""

    folder: Path
    stages: dict[str, StageManifest] = field(default_factory=dict)
    judged: dict[str, str] = field(default_factory=dict)  # claims and published records -> sha256

    @classmethod
    def load(cls, folder: Path) -> Manifest:
        """The manifest in ``folder``; an empty one where there is none."""
        path = folder / "manifest.json"
        if not path.is_file():
            return cls(folder)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            stages = {name: StageManifest.from_json(entry) for name, entry in content["stages"].items()}
            return cls(folder, stages, content["judged"])
        except (ValueError, KeyError, TypeError) as error:
            raise MismatchError(f"{path} is not a manifest ({error}). Restore it from git or rerun.") from error

    def save(self) -> None:
        stages = {name: {"key": entry.key, **asdict(entry)} for name, entry in self.stages.items()}
        write_json(self.folder / "manifest.json", {"stages": stages, "judged": self.judged})


def lock(folder: Path) -> FileLock:
    """Held by whoever changes a tier's folder: stages run side by side, their results land one by one."""
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / ".lock", timeout=600)


def ingredients(
    project: Project, stage: Stage, tier: str, overrides: dict[str, Any] | None = None, folder: Path | None = None
) -> Ingredients:
    """What a run of ``stage`` would be made from now; products are those in ``folder`` (default: build/<tier>)."""
    run = stage.run(tier)
    notebook = project.notebooks / stage.notebook
    if not notebook.is_file():
        raise UsageError(f"Stage '{stage.id}' names the notebook {notebook}, which is missing.")
    place = folder or project.build / tier
    inputs = {called: path for name in run.reads for called, path in input_files(project, place, name).items()}
    given = {"tier": tier, **run.parameters, **run.repeats, **(overrides or {})}
    cells = notebooks.read(notebook, tier)
    modules = modules_of(notebooks.code(cells), project.root / "src" / "lucie")
    return Ingredients(
        notebook={project.relative(notebook): notebooks.digest(cells)},
        code={project.relative(path): sha256(path) for path in modules.values()},
        parameters={name: value for name, value in given.items() if name not in run.repeats},
        inputs={called: sha256(path) for called, path in inputs.items()},
        repeats={name: value for name, value in given.items() if name in run.repeats},
    )


def container() -> str | None:
    """The digest of the image this runs in, if it runs in one."""
    return os.environ.get(CONTAINER_VARIABLE)


def why_stale(project: Project, stage: Stage, tier: str, manifest: Manifest) -> str | None:
    """Why ``stage`` must run again in the manifest's folder; None when its results are current."""
    entry = manifest.stages.get(stage.id)
    if entry is None:
        return "never ran"
    now = ingredients(project, stage, tier, folder=manifest.folder)
    if now.key != entry.key:
        return "changed: " + ", ".join(changed_parts(entry.ingredients, now))
    if entry.environment.get("container") != container() and not stage.run(tier).keep_on_new_image:
        return "new container image"
    wrong = wrong_outputs(manifest, stage.id)
    return f"output edited or missing: {wrong[0]}" if wrong else None


def changed_parts(before: Ingredients, now: Ingredients) -> list[str]:
    """The files and parameters that differ between two sets of ingredients."""
    old, new = before.deciding, now.deciding
    return [
        name
        for part in old
        for name in sorted(old[part].keys() | new[part].keys())
        if old[part].get(name) != new[part].get(name)
    ]


def wrong_outputs(manifest: Manifest, stage: str) -> list[str]:
    """The stage's outputs in the folder, values included, that are not what the manifest says."""
    entry = manifest.stages[stage]
    wrong = [
        name
        for name, digest in entry.outputs.items()
        if not (manifest.folder / name).is_file() or sha256(manifest.folder / name) != digest
    ]
    values = load_values(manifest.folder)
    wrong += [
        f"values.json, {name}"
        for name, digest in entry.values.items()
        if name not in values or sha256_of(values[name]) != digest
    ]
    return wrong


def load_values(folder: Path) -> dict[str, dict[str, Any]]:
    """A tier's values: name -> {value, unit, stage, cell}."""
    path = folder / "values.json"
    if not path.is_file():
        return {}
    try:
        values: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise MismatchError(f"{path} is not valid JSON ({error}). Restore it from git or rerun.") from error
    return values
