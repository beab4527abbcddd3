"""Documents out of Parquet shards, some at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from lucie.errors import UsageError

ROWS = 256  # documents held in memory at a time

Document = dict[str, str]


def read_documents(shards: Iterable[Path], columns: tuple[str, ...]) -> Iterator[Document]:
    """The documents of shards, in order; of each the named columns."""
    for path in shards:
        for batch in read_batches(path, columns):
            yield from batch


def read_batches(path: Path, columns: tuple[str, ...]) -> Iterator[list[Document]]:
    """The documents of a shard, `ROWS` at a time.

    Raises UsageError for a file that is no such shard, and, naming the row, for a document that lacks a value.
    """
    import pyarrow
    import pyarrow.parquet

    first = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            if lacks := [name for name in columns if name not in file.schema_arrow.names]:
                raise UsageError(f"{path} has no column '{lacks[0]}'. Give shards of clean documents.")
            for batch in file.iter_batches(batch_size=ROWS, columns=list(columns)):
                yield _whole(batch.to_pylist(), path, first)
                first += batch.num_rows
    except (OSError, pyarrow.ArrowException) as error:
        raise UsageError(f"{path} cannot be read as Parquet: {error}. Write that shard again.") from error


def _whole(rows: list[dict[str, Any]], path: Path, first: int) -> list[Document]:
    for number, row in enumerate(rows, start=first):
        if lacks := [name for name, cell in row.items() if cell is None]:
            raise UsageError(f"{path}, row {number}: the document has no {lacks[0]}. Every document needs one.")
    return rows
