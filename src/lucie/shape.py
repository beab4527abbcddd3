"""The shape of files that programs wrote and people may have spoiled: what is wrong with them, in a few words.

content = json_object(path)     # ValueError where it is none
Model.model_validate(content)   # pydantic's ValidationError, which is a ValueError
problem(error)                  # "stages.claire.outputs: Field required"
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

NO_OBJECT = ("dataclass_type", "dict_type", "model_type")  # as pydantic calls it


def json_object(path: Path) -> dict[str, Any]:
    """A file's JSON object. Raises ValueError where it holds none."""
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError("it is no JSON object")
    return content


def part(content: dict[str, Any], name: str) -> dict[str, Any]:
    """The object ``name`` in another. Raises ValueError where there is none."""
    found = content.get(name)
    if not isinstance(found, dict):
        raise ValueError(f"'{name}' is missing or no JSON object")
    return found


def problem(error: Exception) -> str:
    """What is wrong; of several things the first, and where it is."""
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"]))
    said = "it is no JSON object" if first["type"] in NO_OBJECT else first["msg"]
    return f"{place}: {said}" if place else said
