"""The authors' raw files: which ones, at which commit, with which sha256; and how to get them."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from lucie.errors import LucieError, MismatchError, UsageError, unknown
from lucie.files import sha256, write_atomic
from lucie.project import Project

RAW_URL = "https://raw.githubusercontent.com/{repository}/{commit}/{source_path}"
DOWNLOADS_AT_ONCE = 8


@dataclass(frozen=True)
class Pin:
    """One raw file: ``path`` is its place in our folder of raw files, the rest says what it is."""

    path: str
    repository: str
    commit: str
    source_path: str
    sha256: str
    licence: str
    bytes: int


def load_pins(project: Project) -> dict[str, Pin]:
    """All pinned raw files by path, from data/records/sources.csv."""
    path = project.records / "sources.csv"
    if not path.is_file():
        raise UsageError(f"{path} is missing. Restore it from git: git checkout -- data/records/sources.csv")
    with path.open(encoding="utf-8", newline="") as file:
        return {row["path"]: _pin(row) for row in csv.DictReader(file)}


def _pin(row: dict[str, str]) -> Pin:
    size = int(row.pop("bytes"))
    return Pin(**row, bytes=size)


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


def fetch(
    pins: dict[str, Pin],
    into: Path,
    mirror: Path | None,
    progress: Callable[[Pin], None],
    url: str = RAW_URL,
) -> int:
    """Bring the raw files into ``into``, from the network or from a mirror folder; returns how many were new.

    A file that is there and right is kept. Raises MismatchError for content that is not the pinned one and
    LucieError where a file cannot be had; what arrived before stays.
    """

    def bring(pin: Pin) -> bool:
        target = into / pin.path
        new = not target.is_file() or sha256(target) != pin.sha256
        if new and mirror:
            _copy(pin, mirror, target)
        elif new:
            _download(pin, target, url)
        progress(pin)
        return new

    with ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool:
        return sum(pool.map(bring, pins.values()))


def _copy(pin: Pin, mirror: Path, target: Path) -> None:
    source = mirror / pin.path
    if not source.is_file():
        raise UsageError(f"The mirror {mirror} lacks {pin.path}.")
    if sha256(source) != pin.sha256:
        raise MismatchError(f"{source} is not the pinned file (its sha256 differs).")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.tmp")
    shutil.copyfile(source, temporary)
    temporary.replace(target)


def _download(pin: Pin, target: Path, url: str) -> None:
    import pooch

    pooch.get_logger().setLevel("WARNING")
    address = url.format(repository=pin.repository, commit=pin.commit, source_path=quote(pin.source_path))
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        arrived = pooch.retrieve(
            address, known_hash=f"sha256:{pin.sha256}", fname=f".{target.name}.fetched", path=target.parent
        )
    except ValueError as error:
        raise MismatchError(f"{address} is not the pinned file: {error}") from error
    except OSError as error:
        raise LucieError(
            f"{pin.path} could not be fetched: {error}\n"
            "Check the network, or give a folder that holds the files with --mirror DIR."
        ) from error
    Path(arrived).replace(target)


def write_csv(path: Path, header: list[str], rows: list[list[object]]) -> None:
    """Write a small CSV file at once."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_atomic(path, text.getvalue())
