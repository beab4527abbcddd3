"""A stage's notebook as it runs in one tier.

A notebook has cells for every tier, cells tagged `record` that recompute what was published, and cells tagged `rerun`
that run the stage again on a corpus. A tier runs the first and one of the other two.
"""

from __future__ import annotations

from pathlib import Path

import nbformat

from lucie.files import sha256_of

RECORD = "record"  # the tier, and the tag of its cells
RERUN = "rerun"


def read(path: Path, tier: str) -> nbformat.NotebookNode:
    """The notebook with the cells that run in ``tier``."""
    notebook: nbformat.NotebookNode = nbformat.read(path, as_version=4)
    left_out = RERUN if tier == RECORD else RECORD
    notebook.cells = [cell for cell in notebook.cells if left_out not in cell.metadata.get("tags", [])]
    return notebook


def digest(notebook: nbformat.NotebookNode) -> str:
    """The sha256 of what a reader sees and a kernel runs, whatever else the file holds."""
    return sha256_of([[cell.cell_type, cell.get("id"), cell.source] for cell in notebook.cells])


def source(notebook: nbformat.NotebookNode) -> str:
    """The code of all cells."""
    return "\n".join(str(cell.source) for cell in notebook.cells if cell.cell_type == "code")
