"""Tokenizers of others: those in a folder, and how the authors' get there.

config/tokenizers/fetched.csv pins the authors' files. Those that they compared theirs with lie on the Hugging Face hub;
config/tokenizers/missing.csv says of each why it is not fetched. Whoever has one puts its tokenizer.json into a folder
of its name beside the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lucie.files import sha256, write_atomic
from lucie.pinned import RAW_URL, Pin, Progress
from lucie.pinned import fetch as fetch_pinned
from lucie.project import Project
from lucie.records import upstream
from lucie.rows import read_rows

FOLDER = Path("data") / "tokenizers"
FILE = "tokenizer.json"
UPSTREAM = Path("lucie") / "tokenizers"  # where they are among the authors' raw files


@dataclass(frozen=True)
class PinnedFile:
    """A row of config/tokenizers/fetched.csv: a file of a tokenizer, ``path`` within its repository."""

    name: str
    repository: str
    commit: str
    path: str
    sha256: str
    bytes: int
    licence: str

    @property
    def pin(self) -> Pin:
        """The same for a download, into a folder of the tokenizer's name."""
        place = f"{self.name}/{self.path.rpartition('/')[2]}"
        return Pin(place, self.repository, self.commit, self.path, self.sha256, self.licence, self.bytes)


@dataclass(frozen=True)
class Missing:
    """A row of config/tokenizers/missing.csv: a tokenizer that is not fetched, and why."""

    name: str
    repository: str
    reason: str


def load_pins(project: Project) -> dict[str, Pin]:
    """The pinned files, by their place in our folder."""
    rows = read_rows(project.root / "config" / "tokenizers" / "fetched.csv", PinnedFile)
    return {row.pin.path: row.pin for row in rows}


def found(folder: Path) -> dict[str, Path]:
    """The tokenizers in a folder by name: its folders that hold a tokenizer.json. None where there is no folder."""
    if not folder.is_dir():
        return {}
    return {path.parent.name: path.parent for path in sorted(folder.glob(f"*/{FILE}")) if path.is_file()}


def missing(project: Project, folder: Path) -> list[Missing]:
    """The tokenizers that the authors compared with and that are not in the folder, each with the reason."""
    held = found(folder)
    rows = read_rows(project.root / "config" / "tokenizers" / "missing.csv", Missing)
    return [row for row in rows if row.name not in held]


def fetch(project: Project, into: Path, mirror: Path | None, progress: Progress, url: str = RAW_URL) -> int:
    """Bring the pinned tokenizers into ``into``; returns how many files were new.

    ``mirror`` is a folder fetched before, by this or by `lucie fetch upstream`, which brings the same files under
    other names. Raises as lucie.pinned.fetch.
    """
    pins = load_pins(project)
    if mirror is None or not (mirror / UPSTREAM).is_dir():
        return fetch_pinned(pins, into, mirror, progress, url)
    held = upstream.load_pins(project)
    raw, places = upstream.Upstream(mirror, held), {pin.sha256: pin.path for pin in held.values()}
    new = 0
    for pin in pins.values():
        target = into / pin.path
        if not target.is_file() or sha256(target) != pin.sha256:
            write_atomic(target, raw.read(places[pin.sha256]))
            new += 1
        progress(pin)
    return new
