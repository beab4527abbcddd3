"""The checkpoints of a run: what is in them, whether it is what was written, and which is the latest.

A checkpoint is a folder named by its step (counted through all phases). nanotron writes it under a hidden name; when
its manifest is written too, the folder gets its name. So a folder with a name is whole.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from lucie.errors import MismatchError
from lucie.files import sha256, write_json

MANIFEST = "lucie.json"
HIDDEN = ".unfinished"


class Manifest(BaseModel):
    """What lucie.json in a checkpoint says."""

    model_config = ConfigDict(extra="forbid")

    recipe: str
    key: str  # of the run: recipe, seed and tokens
    seed: int
    phase: str
    step: int  # counted through all phases
    phase_step: int
    tokens: int  # read so far, in all phases
    sequence_length: int
    rope_theta: float
    files: dict[str, str]  # path in the checkpoint: sha256


def finish(folder: Path, step: int, about: dict[str, Any]) -> Path:
    """Give the checkpoint that nanotron has written its manifest and its name; returns its folder."""
    written = folder / HIDDEN / str(step)
    paths = [path for path in sorted(written.rglob("*")) if path.is_file()]
    files = {path.relative_to(written).as_posix(): sha256(path) for path in paths}
    write_json(written / MANIFEST, Manifest(**about, step=step, files=files).model_dump())
    written.rename(folder / str(step))
    shutil.rmtree(folder / HIDDEN)
    return folder / str(step)


def steps(folder: Path) -> list[int]:
    """The steps that have a checkpoint, in order."""
    return sorted(int(path.name) for path in folder.glob("[0-9]*")) if folder.is_dir() else []


def read(checkpoint: Path) -> Manifest:
    """The manifest of a checkpoint. Raises MismatchError where it is missing or damaged."""
    path = checkpoint / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise MismatchError(f"{path} is missing or damaged. {_instead(checkpoint)}") from error


def check(checkpoint: Path) -> Manifest:
    """Read every file of a checkpoint and compare its sha256. Raises MismatchError for one that changed."""
    manifest = read(checkpoint)
    for name, digest in manifest.files.items():
        path = checkpoint / name
        if not path.is_file() or sha256(path) != digest:
            raise MismatchError(f"{path} is not what was written. {_instead(checkpoint)}")
    return manifest


def _instead(checkpoint: Path) -> str:
    earlier = [step for step in steps(checkpoint.parent) if step < int(checkpoint.name)]
    return f"Remove the folder {checkpoint.name} to go on from {f'step {earlier[-1]}' if earlier else 'the beginning'}."
