"""Reads a file of documents in blocks of bounded size: JSON lines, plain, gzip or zstd, and Parquet.

Memory depends on the size of a block, not of the file. A line longer than LINE_LIMIT (at least a block) is passed over
without being held, and named.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from lucie.errors import UsageError

BLOCK_BYTES = 4 << 20
LINE_LIMIT = 64 << 20
PARQUET_ROWS = 4096  # of a block, at most
PARQUET_BUFFER = 1 << 20  # read of a column at a time; without it, pyarrow holds all of it that a row group has
BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # some editors begin a file with it; it is no part of the first line
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
    try:
        yield from _parquet(path, before[0]) if path.suffix == ".parquet" else _lines(path)
    except UnreadableError:
        _check_unchanged(path, before)
        raise
    _check_unchanged(path, before)


def _check_unchanged(path: Path, before: tuple[int, int]) -> None:
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
    line, rest, too_long = 1, bytearray(), False
    with _opened(path) as (stream, raw):
        read = _read(path, stream).removeprefix(BYTE_ORDER_MARK)
        while read:
            if too_long:  # pass over the rest of that line
                _, newline, read = read.partition(b"\n")
                if newline:
                    yield _passed_over(path, line, raw.tell())
                    too_long, line = False, line + 1
            cut = read.rfind(b"\n") + 1
            content = b"".join((rest, memoryview(read)[:cut])) if cut else b""
            if cut and content.find(b"\n") > LINE_LIMIT:
                yield _passed_over(path, line, raw.tell())
                line, content = line + 1, content.partition(b"\n")[2]
            if content:
                yield Block(path, line, content, raw.tell())
                line += content.count(b"\n")
            if cut:
                rest.clear()
            rest += memoryview(read)[cut:]
            if len(rest) > LINE_LIMIT:
                too_long, rest = True, bytearray()
            read = _read(path, stream)
        if too_long:
            yield _passed_over(path, line, raw.tell())
        elif rest:
            yield Block(path, line, bytes(rest), raw.tell())


def _passed_over(path: Path, line: int, end: int) -> Block:
    problem = Problem(path.name, line, f"the line is longer than {LINE_LIMIT >> 20} MiB")
    return Block(path, line, b"", end, (problem,))


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


def _parquet(path: Path, size: int) -> Iterator[Block]:
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path, pre_buffer=False, buffer_size=PARQUET_BUFFER) as file:
            row = 1
            for batch in file.iter_batches(batch_size=_rows_of_a_block(file.metadata)):
                done = size * (row - 1 + batch.num_rows) // max(1, file.metadata.num_rows)
                yield Block(path, row, batch, done)
                row += batch.num_rows
    except (OSError, pyarrow.ArrowException) as error:
        raise UnreadableError(f"it is not a whole Parquet file ({str(error).splitlines()[0]})") from error


def _rows_of_a_block(metadata: Any) -> int:
    """How many rows are about BLOCK_BYTES where they are the longest."""
    groups = map(metadata.row_group, range(metadata.num_row_groups))
    longest = max((group.total_byte_size / max(1, group.num_rows) for group in groups), default=0)
    return min(PARQUET_ROWS, max(1, int(BLOCK_BYTES / max(1, longest))))
