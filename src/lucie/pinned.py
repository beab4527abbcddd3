"""Files of public git repositories, each pinned by commit and sha256; and how to get them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from lucie.errors import LucieError, MismatchError, UsageError
from lucie.files import sha256
from lucie.rows import read_rows

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


Progress = Callable[[Pin], None]  # called as each file is there


def read_pins(path: Path) -> dict[str, Pin]:
    """All pins of a table, by path."""
    return {pin.path: pin for pin in read_rows(path, Pin)}


def fetch(
    pins: dict[str, Pin],
    into: Path,
    mirror: Path | None,
    progress: Progress,
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
