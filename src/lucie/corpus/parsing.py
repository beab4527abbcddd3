"""Turns a block of a file into documents. What is no document is named, line by line; nothing is lost in silence.

Polars parses a block at once but is lenient: a number where a text belongs becomes its digits. Documents that may
have come about so are looked at again one by one, and so is a block that polars refuses.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from lucie.corpus.blocks import Block, Problem
from lucie.corpus.documents import COLUMNS, TEXT

# What a number, list, object or truth value looks like once polars has made a text of it.
COERCED = r"(?s)^(?:[\[{].*[\]}]|-?\d[\d.eE+-]*|true|false)$"
COERCED_BEGINS = [*"[{-0123456789tf"]
LONE_SURROGATE = "\x00"  # what becomes of half of a surrogate pair


@dataclass(frozen=True)
class Parsed:
    """The documents of a block, and the lines that are none."""

    documents: pl.DataFrame
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class Layout:
    """Where the documents' columns are found: ours -> theirs, `field` or `field.inner`; only ``wanted`` are read."""

    columns: Mapping[str, str]
    constants: Mapping[str, str]
    wanted: tuple[str, ...] = COLUMNS

    @property
    def fields(self) -> list[str]:
        """The fields of a line that are read."""
        named = [self.columns.get(name, name).partition(".")[0] for name in self.wanted]
        return list(dict.fromkeys([*named, self.text]))

    @property
    def text(self) -> str:
        return self.columns.get(TEXT, TEXT)

    def arrange(self, frame: pl.DataFrame) -> pl.DataFrame:
        """A frame of their fields as a frame of our columns."""
        return frame.select(self._column(name).alias(name) for name in self.wanted)

    def _column(self, name: str) -> pl.Expr:
        if name in self.constants:
            return pl.lit(self.constants[name])
        field, _, inner = self.columns.get(name, name).partition(".")
        column = pl.col(field)
        return column.str.json_path_match(f"$.{inner}") if inner else column


def parse(block: Block, layout: Layout) -> Parsed:
    """The documents of a block, in our columns."""
    frame, problems = _rows(block, layout) if isinstance(block.content, bytes) else _batch(block, layout)
    return Parsed(layout.arrange(frame), (*block.problems, *problems))


def _rows(block: Block, layout: Layout) -> tuple[pl.DataFrame, list[Problem]]:
    schema = {name: pl.String() for name in layout.fields}
    if not block.content.strip():
        return pl.DataFrame(schema=schema), []
    try:
        frame = pl.read_ndjson(io.BytesIO(block.content), schema=schema)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return _line_by_line(block, layout, schema)
    if _doubtful(frame[layout.text]):
        return _line_by_line(block, layout, schema)
    return frame, []


def _doubtful(texts: pl.Series) -> bool:
    """Whether a text may have been none in the file."""
    if texts.has_nulls() or texts.str.contains(LONE_SURROGATE, literal=True).any():
        return True
    begins = texts.filter(texts.str.slice(0, 1).is_in(COERCED_BEGINS))
    return bool(begins.str.contains(COERCED).any())


def _line_by_line(block: Block, layout: Layout, schema: dict[str, Any]) -> tuple[pl.DataFrame, list[Problem]]:
    rows: list[dict[str, str | None]] = []
    problems: list[Problem] = []
    for number, line in enumerate(block.content.split(b"\n"), block.first):
        if not line.strip():
            continue
        wrong = None
        try:
            entry = json.loads(line.decode("utf-8"))
        except UnicodeDecodeError as error:
            wrong = f"byte {error.start + 1} is not UTF-8"
        except (json.JSONDecodeError, RecursionError) as error:
            wrong = f"not JSON ({error})"
        else:
            wrong = _what_is_wrong(entry, layout.text)
        if wrong:
            problems.append(Problem(block.file.name, number, wrong))
        else:
            rows.append({name: _as_text(entry.get(name)) for name in schema})
    return pl.DataFrame(rows, schema=schema), problems


def _what_is_wrong(entry: Any, text: str) -> str | None:
    if not isinstance(entry, dict):
        return f"a JSON {_kind(entry)}, not an object"
    if text not in entry:
        return f"no field '{text}'"
    if not isinstance(entry[text], str):
        return f"field '{text}' is a {_kind(entry[text])}, not a text"
    try:
        entry[text].encode("utf-8")
    except UnicodeEncodeError:
        return f"field '{text}' holds half of a surrogate pair, which is no character"
    return None


def _kind(value: Any) -> str:
    kinds = {dict: "object", list: "list", str: "text", bool: "truth value", int: "number", float: "number"}
    return kinds.get(type(value), "null")


def _as_text(value: Any) -> str | None:
    """Metadata as polars reads them: a text as it is, anything else as JSON."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _batch(block: Block, layout: Layout) -> tuple[pl.DataFrame, list[Problem]]:
    import pyarrow

    batch, text = block.content, layout.text
    if text not in batch.schema.names:
        says = f"no column '{text}'; it has {', '.join(batch.schema.names)}"
        return _nothing(block, layout, says)
    kind = batch.schema.field(text).type
    if not (pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind)):
        return _nothing(block, layout, f"column '{text}' holds {kind}, not text")
    try:
        batch.validate(full=True)
    except pyarrow.ArrowInvalid as error:  # rows of Parquet are not UTF-8 by nature, only by promise
        return _nothing(block, layout, f"the rows hold what is not UTF-8 ({error})")
    table = pyarrow.table({name: batch.column(name) for name in layout.fields if name in batch.schema.names})
    found = pl.DataFrame(pl.from_arrow(table))
    frame = found.select(_text_column(found, name) for name in layout.fields)
    empty = frame.with_row_index("row", block.first).filter(pl.col(text).is_null())["row"]
    problems = [Problem(block.file.name, row, f"field '{text}' is empty") for row in empty]
    return frame.filter(pl.col(text).is_not_null()), problems


def _nothing(block: Block, layout: Layout, says: str) -> tuple[pl.DataFrame, list[Problem]]:
    problems = [Problem(block.file.name, block.first + row, says) for row in range(block.content.num_rows)]
    return pl.DataFrame(schema={name: pl.String() for name in layout.fields}), problems


def _text_column(frame: pl.DataFrame, name: str) -> pl.Expr:
    if name not in frame.columns:
        return pl.lit(None, dtype=pl.String()).alias(name)
    kind = frame.schema[name]
    if kind == pl.String():
        return pl.col(name)
    if isinstance(kind, pl.Struct):
        return pl.col(name).struct.json_encode().alias(name)
    if isinstance(kind, pl.List):
        return pl.col(name).map_elements(lambda cell: json.dumps(list(cell), default=str), pl.String()).alias(name)
    return pl.col(name).cast(pl.String()).alias(name)
