"""Moves what a stage made from its scratch folder into the tier's folder, one stage at a time."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from lucie.errors import StageError
from lucie.files import sha256, sha256_of, write_json
from lucie.manifest import VALUES, Ingredients, Manifest, StageManifest, load_values, lock
from lucie.project import Project
from lucie.stages import Stage


def land(
    project: Project,
    stage: Stage,
    scratch: Path,
    made_from: Ingredients,
    outputs: dict[str, Any],
    environment: dict[str, Any],
    seconds: float,
) -> StageManifest:
    """Put the stage's files and values into build/<tier>/. The manifest is written last: it makes them count."""
    folder = project.build / made_from.parameters["tier"]
    cells = _cells_by_execution_count(scratch / stage.notebook)
    values = _with_cell_ids(outputs["values"], cells)
    shown = _with_cell_ids(outputs["files"], cells)
    moves = {f"notebooks/{stage.notebook}": scratch / stage.notebook}
    moves |= {f"logs/{stage.id}.log": scratch / "logs" / f"{stage.id}.log"}
    moves |= {file: scratch / file for entry in shown.values() for file in entry["files"]}
    entry = StageManifest(
        ingredients=made_from,
        reads=outputs["reads"],
        outputs={target: sha256(path) for target, path in sorted(moves.items())},
        values={name: sha256_of(value) for name, value in values.items()},
        shown=shown,
        commit=project.commit.id,
        dirty=project.commit.dirty,
        environment=environment,
        seconds=round(seconds, 1),
    )
    with lock(folder):
        manifest = Manifest.load(folder)
        held = load_values(folder) if (folder / VALUES).is_file() else {}  # without it all others rerun
        others = {name: value for name, value in held.items() if value["stage"] != stage.id}
        _refuse_taken_names(stage, values, shown, others, manifest)
        before = manifest.stages.pop(stage.id, None)
        manifest.save()
        for target, path in moves.items():
            (folder / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.move(path, folder / target)
        for gone in set(before.outputs if before else ()) - set(moves):
            (folder / gone).unlink(missing_ok=True)
        write_json(folder / VALUES, {**others, **values})
        manifest.stages[stage.id] = entry
        manifest.save()
    (folder / "failed" / stage.notebook).unlink(missing_ok=True)
    return entry


def _with_cell_ids(entries: dict[str, dict[str, Any]], cells: dict[int, str]) -> dict[str, dict[str, Any]]:
    return {name: {**entry, "cell": cells.get(entry["cell"])} for name, entry in sorted(entries.items())}


def _cells_by_execution_count(notebook: Path) -> dict[int, str]:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return {cell["execution_count"]: cell["id"] for cell in cells if cell["cell_type"] == "code"}


def _refuse_taken_names(
    stage: Stage,
    values: dict[str, Any],
    shown: dict[str, Any],
    others: dict[str, dict[str, Any]],
    manifest: Manifest,
) -> None:
    owners = {name: value["stage"] for name, value in others.items()}
    owners |= {name: other for other, entry in manifest.stages.items() if other != stage.id for name in entry.shown}
    for name in [*values, *shown]:
        if name in owners:
            raise StageError(f"'{name}' of stage '{stage.id}' is already given out by stage '{owners[name]}'.")
