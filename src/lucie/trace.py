"""Records which of the project's files a process opens.

Python's audit hook sees every file that Python opens. Polars opens files itself, so its readers are wrapped. A
test runs the notebooks under strace and compares, so that what this misses is known.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

WATCHED = ("data", "results", "build", "paper")
_opened: set[Path] = set()


def start(root: Path) -> None:
    """Watch the folders of ``root`` that hold data, results and claims, until the process ends.

    Hidden folders (caches, the stage's own scratch folder) are not watched.
    """
    folders = tuple(f"{root / name}{os.sep}" for name in WATCHED)

    def note(path: object) -> None:
        if isinstance(path, str | bytes | os.PathLike):
            name = os.path.realpath(os.fsdecode(path))
            if name.startswith(folders) and f"{os.sep}." not in name[len(str(root)) :]:
                _opened.add(Path(name))

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and not _writes(arguments[1], arguments[2]):
            note(arguments[0])

    sys.addaudithook(hook)
    _wrap_polars(note)


def opened() -> list[Path]:
    """The watched files opened for reading so far."""
    return sorted(_opened)


def _writes(mode: object, flags: object) -> bool:
    if isinstance(mode, str):
        return not ("r" in mode or "+" in mode)
    return isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR) == os.O_WRONLY


def _wrap_polars(note: Callable[[object], None]) -> None:
    import polars

    def noting(reader: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(reader)
        def read(source: Any = None, *arguments: Any, **options: Any) -> Any:
            for item in source if isinstance(source, list | tuple) else [source]:
                note(item)
            return reader(source, *arguments, **options)

        return read

    for name in dir(polars):
        if name.startswith(("read_", "scan_")):
            setattr(polars, name, noting(getattr(polars, name)))
