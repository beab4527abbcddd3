"""The authors' raw files: which ones, at which commit, with which sha256. Read only as pinned."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from lucie.errors import MismatchError, UsageError, unknown
from lucie.files import sha256
from lucie.pinned import Pin, read_pins
from lucie.project import Project


def load_pins(project: Project) -> dict[str, Pin]:
    """All pinned raw files by path, from data/records/sources.csv."""
    return read_pins(project.records / "sources.csv")


class Upstream:
    """A folder of raw files. Every file is checked against its pin as it is read."""

    def __init__(self, folder: Path, pins: dict[str, Pin]) -> None:
        if not folder.is_dir():
            raise UsageError(f"There is no folder {folder}. Get the raw files with: lucie fetch upstream")
        self.folder = folder
        self._pins = pins

    def paths(self, folder: str) -> list[str]:
        """The pinned files directly in ``folder``."""
        return sorted(path for path in self._pins if path.rpartition("/")[0] == folder)

    def read(self, path: str) -> bytes:
        """A raw file's content. Raises MismatchError where it is not the pinned one."""
        if path not in self._pins:
            raise unknown("pinned raw file", path, self._pins)
        file = self.folder / path
        if not file.is_file():
            raise UsageError(f"{file} is missing. Get the raw files with: lucie fetch upstream")
        if sha256(file) != self._pins[path].sha256:
            raise MismatchError(
                f"{file} is not the file pinned in data/records/sources.csv (its sha256 differs). "
                "Fetch it again with: lucie fetch upstream"
            )
        return file.read_bytes()

    def rows(self, path: str) -> list[dict[str, str]]:
        """A raw CSV file's rows, as strings, headers and cells stripped of padding."""
        reader = csv.reader(io.StringIO(self.read(path).decode("utf-8")))
        header = [name.strip() for name in next(reader)]
        return [dict(zip(header, (cell.strip() for cell in row), strict=True)) for row in reader]
