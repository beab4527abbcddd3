"""Finished scores on disk: one file a model and task, named by the hash of all that decides the score.

A file holds its key in clear, and a sha256 of its content: one that was damaged is as one that is not there.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lucie.files import sha256, sha256_of, write_json

WEIGHTS = ("*.safetensors", "*.bin", "config.json", "tokenizer*", "special_tokens_map.json", "*.model")


@dataclass(frozen=True)
class Cache:
    """A folder of finished scores."""

    folder: Path

    def path(self, key: dict[str, Any]) -> Path:
        """Where the score of a key is, or will be."""
        return self.folder / f"{sha256_of(key)[:32]}.json"

    def get(self, key: dict[str, Any]) -> dict[str, Any] | None:
        """The finished score; None where there is none, or it is damaged."""
        return read(self.path(key))

    def put(self, key: dict[str, Any], outcome: dict[str, Any]) -> Path:
        """Keep a score, all or nothing."""
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


def model_digest(folder: Path) -> str:
    """The hash of a model's weights, configuration and tokenizer, by the contents of its files."""
    files = sorted({path for pattern in WEIGHTS for path in folder.glob(pattern)})
    return sha256_of({path.name: sha256(path) for path in files})
