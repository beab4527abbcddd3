"""A stage's notebook as it runs in one tier.

A notebook has cells for every tier, cells tagged `record` that recompute what was published, and cells tagged `rerun`
that run the stage again on a corpus. A tier runs the first and one of the other two.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lucie.files import sha256_of

RECORD = "record"  # the tier, and the tag of its cells
RERUN = "rerun"


def read(path: Path, tier: str) -> dict[str, Any]:
    """The notebook with the cells that run in ``tier``, as the file's JSON."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    left_out = RERUN if tier == RECORD else RECORD
    content["cells"] = [cell for cell in content["cells"] if left_out not in cell["metadata"].get("tags", [])]
    return content


def digest(notebook: dict[str, Any]) -> str:
    """The sha256 of what a reader sees and a kernel runs, whatever else the file holds."""
    return sha256_of([[cell["cell_type"], cell.get("id"), "".join(cell["source"])] for cell in notebook["cells"]])


def code(notebook: dict[str, Any]) -> str:
    """The code of all cells."""
    return "\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code")
