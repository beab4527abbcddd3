"""Small CSV tables, read and written without a data frame: commands that only copy files start at once."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from lucie.errors import UsageError
from lucie.files import write_atomic

Row = TypeVar("Row")


def read_rows(path: Path, kind: type[Row]) -> list[Row]:
    """The table's rows as ``kind``, a dataclass of strings and integers whose fields are the table's columns.

    Raises UsageError that names the line.
    """
    types = get_type_hints(kind)
    if not path.is_file():
        raise UsageError(f"{path} is missing. Restore it from git: git checkout -- {path}")
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        header = next(rows, [])
        if sorted(header) != sorted(types):
            raise UsageError(f"{path} has the columns {', '.join(header)}; they must be {', '.join(types)}.")
        return [kind(**_typed(f"{path}, line {rows.line_num}", header, row, types)) for row in rows]


def _typed(where: str, header: list[str], row: list[str], types: dict[str, Any]) -> dict[str, Any]:
    if len(row) != len(header):
        raise UsageError(f"{where}: {len(row)} cells where the table has {len(header)} columns.")
    cells = dict(zip(header, row, strict=True))
    for column, text in cells.items():
        if types[column] is int and not (text.isascii() and text.isdigit()):
            raise UsageError(f"{where}: {column} is '{text}'; it must be a number of digits only.")
    return {column: int(text) if types[column] is int else text for column, text in cells.items()}


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write a small CSV file at once."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_atomic(path, text.getvalue())
