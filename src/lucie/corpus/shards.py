"""Parquet files written and read in parts of bounded size; a file that is not whole never has its name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import polars as pl
import pyarrow
import pyarrow.parquet

GROUP_CHARACTERS = 16 << 20  # a row group is written when it holds so many


class ShardWriter:
    """Writes rows to a Parquet file, which appears when all are there.

    with ShardWriter(path, schema) as shard:
        shard.add({"id": "a", "text": "..."})
    """

    def __init__(self, path: Path, schema: Mapping[str, Any]) -> None:
        self.rows = 0
        self._path, self._temporary = path, path.with_name(f".{path.name}.tmp")
        self._schema = dict(schema)
        arrow = pl.DataFrame(schema=self._schema).to_arrow().schema
        self._writer = pyarrow.parquet.ParquetWriter(self._temporary, arrow, compression="zstd")
        self._arrow = arrow
        self._held: list[Mapping[str, Any]] = []
        self._characters = 0

    def add(self, row: Mapping[str, Any]) -> None:
        self._held.append(row)
        self.rows += 1
        self._characters += sum(len(cell) for cell in row.values() if isinstance(cell, str))
        if self._characters >= GROUP_CHARACTERS:
            self._flush()

    def _flush(self) -> None:
        frame = pl.DataFrame(self._held, schema=self._schema)
        self._writer.write_table(frame.to_arrow().cast(self._arrow))
        self._held, self._characters = [], 0

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._flush()
        self._writer.close()
        if kind is None:
            self._temporary.replace(self._path)
        else:
            self._temporary.unlink(missing_ok=True)


def read_frames(path: Path) -> Iterator[pl.DataFrame]:
    """The file's rows, some at a time."""
    with pyarrow.parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=1024):
            yield pl.DataFrame(pl.from_arrow(batch))


def write_frame(path: Path, frame: pl.DataFrame) -> None:
    """Write a small Parquet file at once."""
    temporary = path.with_name(f".{path.name}.tmp")
    frame.write_parquet(temporary)
    temporary.replace(path)
