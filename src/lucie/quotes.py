"""What was published, as a table to read: the cells of records that a claim names, with their units."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import polars as pl

from lucie.claims import Claim, Contradiction, Expected, Judged, Published, Unjudged
from lucie.project import Project
from lucie.records import load_record, load_schema, pick

NOT_SHOWN = ("origin", "line", "where", "unit")
COUNTED = ("hundred ", "thousand ", "million", "billion", "trillion ")  # such a unit says its scale itself
SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Quote:
    """Cells of a record: what names each of them, then the values with their units."""

    record: str
    where: dict[str, Any]
    header: list[str]
    rows: list[list[str]]


def quotes(project: Project, claim: Judged | Unjudged) -> list[Quote]:
    """What an unjudged claim speaks of; columns of the same rows are one table."""
    rows: dict[str, list[Published]] = {}
    for published in about(claim):
        rows.setdefault(f"{published.record} {published.where}", []).append(published)
    return [_quote(project, columns) for columns in rows.values()]


def about(claim: Judged | Unjudged) -> list[Published]:
    """The cells that an unjudged claim speaks of."""
    return claim.about if isinstance(claim, Unjudged) else []


def _quote(project: Project, columns: list[Published]) -> Quote:
    """Columns of the same rows. What would say the same in each of several rows is left out."""
    first = columns[0]
    rows = pick(load_record(project, first.record), first.where)
    values = {published.column: _texts(rows[published.column]) for published in columns}
    names = first.key or [name for name in rows.columns if name not in (*NOT_SHOWN, *values) and _tells(rows[name])]
    shown = {name: _texts(rows[name]) for name in names}
    shown = {name: texts for name, texts in shown.items() if texts not in values.values()}
    for published in columns:
        units = units_of(project, published, rows)
        alike = len(set(units)) == 1
        shown[_titled(published.column, units[0] if alike else "")] = values[published.column]
        shown |= {} if alike else {"unit": units}
    return Quote(first.record, first.where, list(shown), [list(row) for row in zip(*shown.values(), strict=True)])


def _titled(column: str, unit: str) -> str:
    return f"{column} ({unit})" if unit and unit != column else column


def units_of(project: Project, published: Published, rows: pl.DataFrame) -> list[str]:
    """The unit of each row's published value; empty for what has none."""
    unit = load_schema(project, published.record).columns[published.column].unit
    units = [unit] * len(rows) if unit or "unit" not in rows.columns else _texts(rows["unit"])
    return ["" if unit == "1" else unit for unit in units]


def cell_units(project: Project, claim: Judged | Unjudged, values: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """The unit of each compared cell, by its key: that of the record, else that of our value by the scale."""
    if isinstance(claim, Expected):
        return {"": our_unit(claim, values)}
    said: list[tuple[str, Published]] = []
    if isinstance(claim, Contradiction):
        said = [(statement.label, statement) for statement in claim.statements]
    elif isinstance(claim, Claim):
        said = [("", claim.published)]
    ours = our_unit(claim, values)
    return {label or key: unit for label, one in said for key, unit in _units(project, one, ours)}


def our_unit(claim: Judged | Unjudged, values: Mapping[str, Mapping[str, str]]) -> str:
    """The unit of the value that a claim judges, before any scale; empty for a table."""
    ours = getattr(claim, "ours", None)
    return values.get(ours.value or "", {}).get("unit", "") if ours else ""


def _units(project: Project, published: Published, ours: str) -> Iterator[tuple[str, str]]:
    rows = pick(load_record(project, published.record), published.where)
    units = units_of(project, published, rows)
    for row, unit in zip(rows.iter_rows(named=True), units, strict=True):
        key = ", ".join(str(row[column]) for column in published.key if row[column] not in (None, ""))
        yield key, _scaled(unit, published.scale, ours)


def _scaled(unit: str, scale: float, ours: str) -> str:
    """The unit of a printed number that our value is divided by ``scale`` to be compared with."""
    if scale <= 1 or not ours:
        return unit or ours
    if unit in ("", ours):
        return f"{_times(scale)} {ours}"
    if not unit.startswith(COUNTED):
        return f"{unit} of {_times(scale)} {ours}"
    return unit if " " in unit else f"{unit} {ours}"


def _times(scale: float) -> str:
    """A factor: a power of ten as such, another with its digits.

    >>> _times(1e9), _times(4096.0), _times(730.5)
    ('10⁹', '4096', '730.5')
    """
    sign, digits, exponent = Decimal(repr(scale)).normalize().as_tuple()
    if (sign, digits) == (0, (1,)) and int(exponent) > 3:
        return "10" + str(exponent).translate(SUPERSCRIPTS)
    return f"{scale:.12g}"


def _texts(column: pl.Series) -> list[str]:
    return column.cast(pl.String).fill_null("").to_list()


def _tells(column: pl.Series) -> bool:
    """Whether a column tells rows apart, or says something of the only one."""
    texts = _texts(column)
    return len(set(texts)) > 1 if len(texts) > 1 else any(texts)
