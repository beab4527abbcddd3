"""What each output was made from, and whether it still is.

A stage's *key* is the sha256 of its notebook, the modules it imports, its parameters and the content of its
inputs. The commit is recorded beside it, never in it: committing a text file makes no result stale.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock
from pydantic import BaseModel, Field, TypeAdapter

from lucie import notebook as notebooks
from lucie.closure import modules_of
from lucie.errors import MismatchError, UsageError
from lucie.files import sha256, sha256_of, write_json
from lucie.inputs import input_files
from lucie.project import Project
from lucie.shape import json_object, part, problem
from lucie.stages import Stage

VALUES = "values.json"
RESTORE = "Restore it from git, or delete it and rerun."
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
        """Raises ValueError or TypeError, saying what is wrong, where the entry is none."""
        checked = _ENTRY.validate_python(entry)
        _SHOWN.validate_python(checked.shown)
        _Environment.model_validate(checked.environment)
        return checked

    @property
    def key(self) -> str:
        return self.ingredients.key


class _Shown(BaseModel):
    """What an entry of ``shown`` must have."""

    kind: str
    files: list[str] = Field(min_length=1)
    cell: str | None


class _Environment(BaseModel):
    """What an environment must have."""

    python: str
    platform: str
    container: str | None
    lock: str
    packages: dict[str, str]


class _Value(BaseModel):
    """What an entry of values.json must have."""

    value: float | int | str
    unit: str
    stage: str
    cell: str | None
    between: tuple[float, float] | None = None
    varies: bool = False


_ENTRY = TypeAdapter(StageManifest)
_SHOWN = TypeAdapter(dict[str, _Shown])
_VALUES = TypeAdapter(dict[str, _Value])


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
            content = json_object(path)
            stages = {name: StageManifest.from_json(entry) for name, entry in part(content, "stages").items()}
            return cls(folder, stages, part(content, "judged"))
        except (ValueError, TypeError) as error:
            raise MismatchError(f"{path} is not a manifest ({problem(error)}). {RESTORE}") from error

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
    if entry.values and not (manifest.folder / VALUES).is_file():
        return [*wrong, VALUES]
    values = load_values(manifest.folder)
    wrong += [
        f"{VALUES}, {name}"
        for name, digest in entry.values.items()
        if name not in values or sha256_of(values[name]) != digest
    ]
    return wrong


def load_values(folder: Path) -> dict[str, dict[str, Any]]:
    """A tier's values: name -> {value, unit, stage, cell}.

    Raises MismatchError for a file that holds none, and for one that is missing though the manifest lists values.
    """
    path = folder / VALUES
    if not path.is_file():
        if any(entry.values for entry in Manifest.load(folder).stages.values()):
            raise MismatchError(f"{path} is missing, and the manifest lists values. Restore it from git or rerun.")
        return {}
    try:
        values: dict[str, dict[str, Any]] = json_object(path)
        _VALUES.validate_python(values)
    except ValueError as error:
        raise MismatchError(f"{path} does not hold values ({problem(error)}). {RESTORE}") from error
    return values
