"""Tables of the report, in booktabs, from the tables that notebooks gave out and paper/tables.yaml."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import polars as pl
from pydantic import ValidationError

from lucie.config import Strict, read_yaml
from lucie.errors import UsageError
from lucie.paper.links import Places, indexed
from lucie.paper.numbers import code, escape, format_value, grouped


class Column(Strict):
    """A printed column. ``header`` is TeX; ``format`` is that of \\val; ``names`` replaces words."""

    column: str
    header: str
    format: str = ""
    align: Literal["l", "r", "c"] = "r"
    names: dict[str, str] = {}


class Table(Strict):
    """A printed table: which results table, which columns."""

    table: str
    columns: list[Column]
    rule_after: list[int] = []  # rows after which a thin rule is drawn


def generate(specification: Path, tiers: list[Path]) -> dict[str, str]:
    """The TeX of every table in paper/tables.yaml, by name."""
    try:
        tables = {name: Table.model_validate(entry) for name, entry in read_yaml(specification).items()}
    except ValidationError as error:
        raise UsageError(f"paper/tables.yaml: {error}") from error
    return {name: _tabular(table, _read(name, table, tiers)) for name, table in tables.items()}


def _read(name: str, table: Table, tiers: list[Path]) -> pl.DataFrame:
    for tier in tiers:
        path = tier / "tables" / f"{table.table}.csv"
        if path.is_file():
            frame = pl.read_csv(path, infer_schema=False).fill_null("")
            missing = [column.column for column in table.columns if column.column not in frame.columns]
            if missing:
                raise UsageError(f"paper/tables.yaml, {name}: {table.table} has no column '{missing[0]}'.")
            return frame
    raise UsageError(f"paper/tables.yaml, {name}: no results have a table '{table.table}'.")


def _tabular(table: Table, frame: pl.DataFrame) -> str:
    lines = [
        rf"\begin{{tabular}}{{@{{}}{''.join(column.align for column in table.columns)}@{{}}}}",
        r"\toprule",
        " & ".join(column.header for column in table.columns) + r" \\",
        r"\midrule",
    ]
    for number, row in enumerate(frame.iter_rows(named=True), start=1):
        lines.append(" & ".join(_cell(column, row[column.column]) for column in table.columns) + r" \\")
        if number in table.rule_after:
            lines.append(r"\midrule")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _cell(column: Column, text: str) -> str:
    if column.format and text:
        return format_value(float(text), column.format)
    return grouped(column.names.get(text, text))


def sources(specification: Path, tiers: list[Path]) -> Iterator[tuple[str, tuple[str, str]]]:
    """For every table in paper/tables.yaml the tier and the name of the results table it prints."""
    for name, entry in read_yaml(specification).items():
        tier = next(tier for tier in tiers if (tier / "tables" / f"{entry['table']}.csv").is_file())
        yield name, (tier.name, entry["table"])


def values_table(values: dict[str, dict[str, Any]], notebooks: dict[str, str], places: Places | None) -> str:
    """Values with their units, notebooks and cells; the numbers in the text link here, or where these rows do."""
    lines = []
    for name, entry in values.items():
        cell = f"{notebooks[entry['stage']].removesuffix('.ipynb')}, {entry['cell']}"
        anchor = rf"\raisebox{{\baselineskip}}[0pt][0pt]{{\hypertarget{{value.{name}}}{{}}}}"
        shown = format_value(entry["value"])
        named = indexed(code(name), places.value(name) if places else "")
        lines.append(rf"{anchor}{named} & {shown} & {escape(entry['unit'])} & {escape(cell)} \\")
    return "\n".join(lines) + "\n"
