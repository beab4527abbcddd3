"""A stage's notebook as it runs in one tier.

A notebook has cells for every tier, cells tagged `record` that recompute what was published, and cells tagged `rerun`
that run the stage again on a corpus. A tier runs the first and one of the other two.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel

from lucie.errors import UsageError
from lucie.files import sha256_of
from lucie.shape import json_object, problem

RECORD = "record"  # the tier, and the tag of its cells
RERUN = "rerun"


class _Cell(BaseModel):
    """What a cell must have."""

    cell_type: str
    source: str | list[str]
    metadata: dict[str, Any]
    id: str | None = None
    outputs: list[dict[str, Any]] = []


class _Notebook(BaseModel):
    """What a notebook must have."""

    cells: list[_Cell]


def load(path: Path) -> dict[str, Any]:
    """The file's JSON. Raises ValueError, saying what is wrong, where it is no notebook."""
    content = json_object(path)
    _Notebook.model_validate(content)
    return content


def read(path: Path, tier: str) -> dict[str, Any]:
    """The notebook with the cells that run in ``tier``, as the file's JSON. Raises UsageError where it is none."""
    try:
        content = load(path)
    except ValueError as error:
        raise UsageError(f"{path} is not a notebook ({problem(error)}). Restore it: git checkout -- {path}") from error
    left_out = RERUN if tier == RECORD else RECORD
    content["cells"] = [cell for cell in content["cells"] if left_out not in cell["metadata"].get("tags", [])]
    return content


def digest(notebook: dict[str, Any]) -> str:
    """The sha256 of what a reader sees and a kernel runs, whatever else the file holds."""
    return sha256_of([[cell["cell_type"], cell.get("id"), "".join(cell["source"])] for cell in notebook["cells"]])


def code(notebook: dict[str, Any]) -> str:
    """The code of all cells."""
    return "\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code")
