"""Records: published figures as our own tidy tables under data/records/.

A record is a table NAME.csv beside its schema NAME.yaml, in the folder of its kind:

    input/        raw counts, logged steps, raw scores: what stages compute from
    published/    what the authors printed: what results are judged against, never computed from
    transcribed/  read off a page, a script or a picture: origin and line on each row
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

import polars as pl
import polars.selectors as cs
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from lucie.config import read_yaml
from lucie.errors import UsageError, unknown
from lucie.project import Project

Stamp = tuple[int, int] | None
KINDS = ("input", "published", "transcribed")
TYPES: dict[str, pl.DataType] = {
    "string": pl.String(),
    "integer": pl.Int64(),
    "number": pl.Float64(),
    "boolean": pl.Boolean(),
}


class Column(BaseModel):
    """A column of a record: its type, its unit and what it holds."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["string", "integer", "number", "boolean"]
    says: str
    unit: str = ""
    optional: bool = False  # whether a cell may be empty


class Schema(BaseModel):
    """A record's schema."""

    model_config = ConfigDict(extra="forbid")

    says: str
    source: str = ""  # the raw file, where all rows come from one; else the column `origin` names it row by row
    cells: list[str] = []  # columns whose every cell is a figure that was published
    columns: dict[str, Column]

    @model_validator(mode="after")
    def _sourced(self) -> Schema:
        if not self.source and "origin" not in self.columns:
            raise ValueError("give a 'source', or a column 'origin' that names it row by row")
        return self


def record_names(project: Project) -> list[str]:
    """All records, as KIND/NAME."""
    return [f"{kind}/{path.stem}" for kind in KINDS for path in sorted((project.records / kind).glob("*.yaml"))]


def load_schema(project: Project, name: str) -> Schema:
    """The schema of record ``name`` (KIND/NAME)."""
    path = project.records / f"{name}.yaml"
    if not path.is_file():
        raise unknown("record", name, record_names(project))
    return _schema(path, _stamp(path))


def load_record(project: Project, name: str) -> pl.DataFrame:
    """The record's rows, typed by its schema. Raises UsageError where the table does not fit it."""
    load_schema(project, name)
    table, schema = (project.records / f"{name}{suffix}" for suffix in (".csv", ".yaml"))
    return _table(table, _stamp(table), schema, _stamp(schema))


@cache  # judging asks for the same few tables hundreds of times
def _schema(path: Path, stamp: Stamp) -> Schema:
    try:
        return Schema.model_validate(read_yaml(path))
    except ValidationError as error:
        raise UsageError(f"{path} is not a schema: {error}") from error


@cache
def _table(path: Path, stamp: Stamp, schema: Path, schema_stamp: Stamp) -> pl.DataFrame:
    return read_table(path, _schema(schema, schema_stamp))


def _stamp(path: Path) -> Stamp:
    """What changes when the file does."""
    if not path.is_file():
        return None
    found = path.stat()
    return found.st_mtime_ns, found.st_size


def load(name: str) -> pl.DataFrame:
    """A record for a notebook: ``load("input/training_losses")``."""
    return load_record(Project.find(), name)


def read_table(path: Path, schema: Schema) -> pl.DataFrame:
    """Read a CSV whose columns and rows must be exactly the schema's; raises UsageError that names the line."""
    try:
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError as error:
        raise UsageError(f"{path} is missing. Restore it from git, or: lucie records build --upstream DIR") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8: {error}") from error
    _check_shape(path, text, list(schema.columns))
    types = {column: TYPES[spec.type] for column, spec in schema.columns.items()}
    try:
        table = pl.read_csv(io.StringIO(text), schema=types).with_columns(cs.string().fill_null(""))
    except pl.exceptions.PolarsError as error:
        raise UsageError(f"{path} does not fit its schema: {str(error).splitlines()[0]}") from error
    for column, spec in schema.columns.items():
        if not spec.optional and table[column].has_nulls():
            line = table[column].is_null().arg_max()
            raise UsageError(f"{path}, line {(line or 0) + 2}: {column} is empty.")
    return table


def _check_shape(path: Path, text: str, columns: list[str]) -> None:
    rows = csv.reader(io.StringIO(text))
    header = next(rows, [])
    if header != columns:
        raise UsageError(f"{path} has the columns {header}; its schema says {columns}.")
    for number, row in enumerate(rows, start=2):
        if len(row) != len(columns):
            raise UsageError(f"{path}, line {number}: {len(row)} cells where the schema has {len(columns)} columns.")


def pick(rows: pl.DataFrame, where: Mapping[str, Any]) -> pl.DataFrame:
    """The rows whose columns hold the wanted value, or one of the wanted values."""
    for column, wanted in where.items():
        rows = rows.filter(pl.col(column).is_in(wanted if isinstance(wanted, list) else [wanted]))
    return rows


def source_of(project: Project, name: str, where: Mapping[str, Any]) -> str:
    """Where a record comes from: the raw file its schema names, or the origins of the rows ``where`` picks."""
    schema = load_schema(project, name)
    if schema.source:
        return schema.source
    rows = pick(load_record(project, name), where)
    origins = rows["origin"].unique(maintain_order=True).to_list()
    lines = f", line {rows['line'][0]}" if len(rows) == 1 and "line" in rows.columns else ""
    return ", ".join(origins[:3]) + (f" and {len(origins) - 3} more" if len(origins) > 3 else "") + lines
