"""Turns a block of a file into documents. What is no document is named, line by line; nothing is lost in silence.

Polars parses a block at once but is lenient: a number where a text belongs becomes its digits. Documents that may
have come about so are looked at again; a block with one that has, or that polars refuses, is read line by line.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from lucie.corpus.blocks import Block, Problem
from lucie.corpus.documents import COLUMNS, TEXT

# What a number, list, object or truth value looks like once polars has made a text of it.
COERCED = r"(?s)^(?:[\[{].*[\]}]|-?\d[\d.eE+-]*|true|false)$"
LONE_SURROGATE = "\x00"  # what becomes of half of a surrogate pair
AS_JSON = (pl.Binary, pl.Duration, pl.Object)  # and whatever is nested
EXACT = 2**53  # below it a floating-point number without fraction is an integer

Found = tuple[pl.DataFrame, Sequence[int], list[Problem]]  # rows of their fields, the line of each; what is no row


@dataclass(frozen=True)
class Parsed:
    """The documents of a block, the line or row of each, and the lines that are none."""

    documents: pl.DataFrame
    lines: Sequence[int]
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

    @property
    def schema(self) -> dict[str, pl.String]:
        return dict.fromkeys(self.fields, pl.String())

    def arrange(self, frame: pl.DataFrame) -> pl.DataFrame:
        """A frame of their fields as a frame of our columns."""
        return frame.select(self._column(name).alias(name) for name in self.wanted)

    def _column(self, name: str) -> pl.Expr:
        if name in self.constants:
            return pl.lit(self.constants[name])
        field, _, inner = self.columns.get(name, name).partition(".")
        column = pl.col(field)
        return column.str.json_path_match(_path(inner)) if inner else column


def _path(inner: str) -> str:
    """The JSON path of `field` or `field.inner`; in brackets, since a name may hold a hyphen or a blank."""
    return "$" + "".join(f"[{json.dumps(name, ensure_ascii=False)}]" for name in inner.split("."))


def parse(block: Block, layout: Layout) -> Parsed:
    """The documents of a block, in our columns."""
    frame, lines, problems = _rows(block, layout) if isinstance(block.content, bytes) else _batch(block, layout)
    return Parsed(layout.arrange(frame), lines, (*block.problems, *problems))


def _rows(block: Block, layout: Layout) -> Found:
    if not block.content or block.content.isspace():
        return pl.DataFrame(schema=layout.schema), [], []
    frame = _read(block.content, layout)
    if frame is None or _doubtful(frame, layout.text, block.content):
        return _line_by_line(block, layout)
    lines = range(block.first, block.first + block.content.count(b"\n") + (not block.content.endswith(b"\n")))
    return (frame, lines, []) if len(lines) == frame.height else _line_by_line(block, layout)  # some are blank


def _read(lines: bytes, layout: Layout) -> pl.DataFrame | None:
    """The lines as polars reads them; None where it refuses one."""
    try:
        return pl.read_ndjson(io.BytesIO(lines), schema=layout.schema)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return None


def _doubtful(frame: pl.DataFrame, text: str, content: bytes) -> bool:
    """Whether a text may have been none in the file, or a character of any field."""
    texts = frame[text]
    if texts.has_nulls() or any(column.str.contains(LONE_SURROGATE, literal=True).any() for column in frame):
        return True
    looks_coerced = texts.str.contains(COERCED).arg_true()
    if looks_coerced.is_empty():
        return False
    lines = [line for line in content.split(b"\n") if line and not line.isspace()]
    return len(lines) != len(texts) or not all(_says(lines[row], text, texts[row]) for row in looks_coerced)


def _says(line: bytes, field: str, text: str) -> bool:
    """Whether the line itself has that text in the field."""
    try:
        entry = json.loads(line.decode("utf-8"), object_pairs_hook=_first_of_each)
    except (ValueError, RecursionError):
        return False
    return isinstance(entry, dict) and bool(entry.get(field) == text)


def _line_by_line(block: Block, layout: Layout) -> Found:
    """Looks at each line; what is fine is left to polars, so that a block's fate does not change how it is read."""
    fine: dict[int, bytes] = {}
    problems: list[Problem] = []
    for number, line in enumerate(block.content.split(b"\n"), block.first):
        if not line or line.isspace():
            continue
        if says := _what_is_wrong(line, layout):
            problems.append(Problem(block.file.name, number, says))
        else:
            fine[number] = line
    frame = _read(b"\n".join(fine.values()), layout) if fine else pl.DataFrame(schema=layout.schema)
    if frame is not None:
        return frame, list(fine), problems
    refused = [number for number, line in fine.items() if _read(line, layout) is None]
    problems += [Problem(block.file.name, number, "a number in it is too large, or not JSON") for number in refused]
    frames = [_read(line, layout) for number, line in fine.items() if number not in refused]
    return (
        pl.concat([pl.DataFrame(schema=layout.schema), *(frame for frame in frames if frame is not None)]),
        [number for number in fine if number not in refused],
        sorted(problems, key=lambda problem: problem.line or 0),
    )


def _what_is_wrong(line: bytes, layout: Layout) -> str | None:
    text = layout.text
    try:
        entry = json.loads(line.decode("utf-8"), object_pairs_hook=_first_of_each)
    except UnicodeDecodeError as error:
        return f"byte {error.start + 1} is not UTF-8"
    except (ValueError, RecursionError) as error:
        return f"not JSON ({error})"
    if not isinstance(entry, dict):
        return f"a JSON {_kind(entry)}, not an object"
    if text not in entry:
        return f"no field '{text}'"
    if not isinstance(entry[text], str):
        return f"field '{text}' is a {_kind(entry[text])}, not a text"
    for name in layout.fields:
        if not _is_characters(entry.get(name)):
            return f"field '{name}' holds half of a surrogate pair, which is no character"
    return None


def _first_of_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of a field that is there twice the first is taken, as polars does."""
    return dict(reversed(pairs))


def _is_characters(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _kind(value: Any) -> str:
    kinds = {dict: "object", list: "list", str: "text", bool: "truth value", int: "number", float: "number"}
    return kinds.get(type(value), "null")


def _batch(block: Block, layout: Layout) -> Found:
    import pyarrow

    batch, text = block.content, layout.text
    there = batch.schema.names
    if text not in there:
        return _nothing(block, layout, f"no column '{text}'; it has {', '.join(there)}")
    if not _holds_text(batch.schema.field(text).type):
        return _nothing(block, layout, f"column '{text}' holds {batch.schema.field(text).type}, not text")
    batch = batch.select([name for name in layout.fields if name in there])
    wrong = dict.fromkeys(_not_utf8(batch), "it holds what is not UTF-8")
    missing = batch[text].is_null().to_pylist() if batch[text].null_count else []
    wrong |= {row: f"field '{text}' is empty" for row, empty in enumerate(missing) if empty}
    fine = [row for row in range(len(batch)) if row not in wrong]
    found = pl.DataFrame(pl.from_arrow(pyarrow.table(batch.take(fine) if wrong else batch)))
    frame = pl.DataFrame({name: _texts(found, name) for name in layout.fields}, schema=layout.schema)
    problems = [Problem(block.file.name, block.first + row, wrong[row]) for row in sorted(wrong)]
    return frame, [block.first + row for row in fine], problems


def _nothing(block: Block, layout: Layout, says: str) -> Found:
    problems = [Problem(block.file.name, block.first + row, says) for row in range(block.content.num_rows)]
    return pl.DataFrame(schema=layout.schema), [], problems


def _holds_text(kind: Any) -> bool:
    from pyarrow import types

    kind = kind.value_type if types.is_dictionary(kind) else kind
    return any((types.is_string(kind), types.is_large_string(kind), types.is_string_view(kind)))


def _not_utf8(batch: Any) -> list[int]:
    """The rows with texts that are not UTF-8: in Parquet they are so by promise only."""

    def is_valid(rows: Any) -> bool:
        import pyarrow

        try:
            rows.validate(full=True)
        except pyarrow.ArrowInvalid:
            return False
        return True

    return [] if is_valid(batch) else [row for row in range(len(batch)) if not is_valid(batch.slice(row, 1))]


def _texts(frame: pl.DataFrame, name: str) -> pl.Series:
    """A column as polars reads it from JSON: a text as it is, anything else as JSON."""
    if name not in frame.columns:
        return pl.Series(name, [None] * frame.height, pl.String())
    column = frame[name]
    if not (column.dtype.is_nested() or column.dtype.is_float() or column.dtype in AS_JSON):
        return column.cast(pl.String())
    cells = (None if cell is None else _plain(cell) for cell in column.to_list())
    texts = [None if cell is None else json.dumps(cell, ensure_ascii=False, default=str) for cell in cells]
    return pl.Series(name, texts, pl.String())


def _plain(cell: Any) -> Any:
    """A value with 1999 for 1999.0: a column of integers is floating point as soon as one is missing."""
    if isinstance(cell, dict):
        return {name: _plain(inner) for name, inner in cell.items()}
    if isinstance(cell, list):
        return [_plain(inner) for inner in cell]
    return int(cell) if isinstance(cell, float) and cell.is_integer() and abs(cell) < EXACT else cell
