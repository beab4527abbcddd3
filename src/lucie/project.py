"""Where things are: one checkout of the repository, and the folders in it."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lucie.errors import UsageError

MARKER = Path("config/stages.yaml")


@dataclass(frozen=True)
class Commit:
    """The commit a run was made at; ``dirty`` when tracked files had changed since."""

    id: str
    dirty: bool


@dataclass(frozen=True)
class Project:
    """A checkout, by its root folder."""

    root: Path

    @classmethod
    def find(cls, start: Path | None = None) -> Project:
        """The checkout around ``start`` (default: $LUCIE_ROOT, the working folder, the package's own)."""
        named = os.environ.get("LUCIE_ROOT")
        starts = [start] if start else [Path(named)] if named else [Path.cwd(), Path(__file__).resolve()]
        for place in starts:
            for folder in (place.resolve(), *place.resolve().parents):
                if (folder / MARKER).is_file():
                    return cls(folder)
        raise UsageError(f"No {MARKER} in {starts[0]} or above it. Run lucie inside a clone of the repository.")

    @property
    def records(self) -> Path:
        return self.root / "data" / "records"

    @property
    def notebooks(self) -> Path:
        return self.root / "notebooks"

    @property
    def paper(self) -> Path:
        return self.root / "paper"

    @property
    def build(self) -> Path:
        return self.root / "build"

    @property
    def results(self) -> Path:
        return self.root / "results"

    def relative(self, path: Path) -> str:
        """``path`` as it is written in manifests: relative to the root, with forward slashes."""
        return path.resolve().relative_to(self.root).as_posix()

    @cached_property
    def commit(self) -> Commit:
        """HEAD; 'unknown' outside of git."""
        head = self._git("rev-parse", "HEAD")
        if head is None:
            return Commit("unknown", dirty=True)
        return Commit(head, dirty=bool(self._git("status", "--porcelain", "--", ":!results", ":!build")))

    def _git(self, *arguments: str) -> str | None:
        command = ["git", "-C", str(self.root), *arguments]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None
