"""Reads a file of documents in blocks of bounded size: JSON lines, plain, gzip or zstd, and Parquet.

Memory depends on the size of a block, not of the file. A line longer than LINE_LIMIT is passed over without being
held, and named.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from lucie.errors import UsageError

BLOCK_BYTES = 8 << 20
LINE_LIMIT = 64 << 20
PARQUET_ROWS = 4096
SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet")


@dataclass(frozen=True)
class Problem:
    """A document, or a whole file, that could not be read. ``line`` is a row in Parquet; None for a whole file."""

    file: str
    line: int | None
    says: str

    def __str__(self) -> str:
        place = f"{self.file}, line {self.line}" if self.line is not None else self.file
        return f"{place}: {self.says}"


@dataclass(frozen=True)
class Block:
    """A part of a file: some lines of JSON, or some rows of Parquet.

    ``first`` is the number of its first line or row, from 1; ``end`` how far into the file on disk it reaches.
    """

    file: Path
    first: int
    content: Any  # bytes, or a pyarrow.RecordBatch
    end: int
    problems: tuple[Problem, ...] = ()


class UnreadableError(Exception):
    """The file cannot be read on from here; what came before was fine."""


def is_documents(path: Path, folder: Path) -> bool:
    """Whether the name is that of a file of documents, and nothing on its way from ``folder`` is hidden."""
    return path.name.endswith(SUFFIXES) and not any(part.startswith(".") for part in path.relative_to(folder).parts)


def blocks(path: Path) -> Iterator[Block]:
    """The file's blocks, in order.

    Raises UnreadableError where the file breaks off or is not what its name says, UsageError where it vanishes or
    changes while it is read.
    """
    before = _stat(path)
    yield from _parquet(path) if path.suffix == ".parquet" else _lines(path)
    if _stat(path) != before:
        raise UsageError(f"{path} changed while it was read. Let it be written to its end, then start again.")


def _stat(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise UsageError(
            f"{path} is gone or cannot be read ({error.strerror}). What was done before is kept: "
            "bring the file back and start again."
        ) from error
    return found.st_size, found.st_mtime_ns


def _lines(path: Path) -> Iterator[Block]:
    line, rest, too_long = 1, b"", False
    with _opened(path) as (stream, raw):
        while True:
            read = _read(path, stream)
            cut = read.rfind(b"\n") + 1
            if too_long:  # pass over the rest of that line
                end = read.find(b"\n") + 1
                if read and not end:
                    continue
                problem = Problem(path.name, line, f"the line is longer than {LINE_LIMIT >> 20} MiB")
                too_long, line = False, line + 1
                yield Block(path, line, b"", raw.tell(), (problem,))
                read, cut = read[end:], max(0, cut - end)
            if not read:
                break
            if not cut:
                rest += read
                if len(rest) > LINE_LIMIT:
                    too_long, rest = True, b""
                continue
            content, rest = rest + read[:cut], read[cut:]
            yield Block(path, line, content, raw.tell())
            line += content.count(b"\n")
        if rest:
            yield Block(path, line, rest, raw.tell())


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, BinaryIO]]:
    """The unpacked content, and the file itself (which tells how far one is)."""
    try:
        raw = path.open("rb")
    except OSError as error:
        raise UsageError(f"{path} cannot be opened: {error.strerror}.") from error
    with raw:
        packed = {".gz": "gzip", ".zst": "zstd"}.get(path.suffix)
        if packed and os.fstat(raw.fileno()).st_size:
            import pyarrow

            yield pyarrow.CompressedInputStream(raw, packed), raw
        else:
            yield raw, raw


def _read(path: Path, stream: Any) -> bytes:
    try:
        content: bytes = stream.read(BLOCK_BYTES)
    except OSError as error:
        raise UnreadableError(f"it breaks off or is damaged ({error})") from error
    return content


def _parquet(path: Path) -> Iterator[Block]:
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            row = 1
            for batch in file.iter_batches(batch_size=PARQUET_ROWS):
                done = path.stat().st_size * (row - 1 + batch.num_rows) // max(1, file.metadata.num_rows)
                yield Block(path, row, batch, done)
                row += batch.num_rows
    except (OSError, pyarrow.ArrowInvalid) as error:
        if not path.exists():
            _stat(path)
        raise UnreadableError(f"it is not a whole Parquet file ({str(error).splitlines()[0]})") from error
