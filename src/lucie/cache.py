"""Finished results of long computations on disk: a file each, named by the hash of all that decides the result.

A file holds its key in clear, and a sha256 of its content: one that was damaged is as one that is not there.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lucie.files import sha256_of, write_json


@dataclass(frozen=True)
class Cache:
    """A folder of finished results."""

    folder: Path

    def path(self, key: dict[str, Any]) -> Path:
        """Where the result of a key is, or will be."""
        return self.folder / f"{sha256_of(key)[:32]}.json"

    def get(self, key: dict[str, Any]) -> dict[str, Any] | None:
        """The finished result; None where there is none, or it is damaged."""
        return read(self.path(key))

    def put(self, key: dict[str, Any], outcome: dict[str, Any]) -> Path:
        """Keep a result, all or nothing."""
        path = self.path(key)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(path, {"key": key, "outcome": outcome, "sha256": sha256_of(outcome)})
        return path


def read(path: Path) -> dict[str, Any] | None:
    """The outcome that a file holds; None where it is missing or damaged."""
    try:
        content = json.loads(path.read_text("utf-8"))
        outcome: dict[str, Any] = content["outcome"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return outcome if content.get("sha256") == sha256_of(outcome) else None
