"""Makes the record tables from the authors' raw files, and proves that they follow from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl

from lucie.errors import UsageError
from lucie.files import sha256, write_atomic
from lucie.project import Project
from lucie.records import (
    KINDS,
    TYPES,
    claire,
    composition,
    evaluation,
    filtering,
    instruction,
    load_schema,
    luciole,
    mixture,
    read_table,
    record_names,
    scaling,
    tokenizer_files,
    tokenizers,
    training,
)
from lucie.records.upstream import Upstream, load_pins
from lucie.rows import write_csv

Builder = Callable[[Upstream], pl.DataFrame]

BUILDERS: dict[str, Builder] = {
    **composition.BUILDERS,
    **mixture.BUILDERS,
    **training.BUILDERS,
    **evaluation.BUILDERS,
    **instruction.BUILDERS,
    **tokenizers.BUILDERS,
    **scaling.BUILDERS,
    **tokenizer_files.BUILDERS,
    **filtering.BUILDERS,
    **luciole.BUILDERS,
    **claire.BUILDERS,
}


def build(project: Project, upstream_folder: Path) -> Iterator[tuple[str, int]]:
    """Write every built record; yields its name and number of rows. The index is written last."""
    upstream = Upstream(upstream_folder, load_pins(project))
    for name, builder in BUILDERS.items():
        frame = conform(project, name, builder(upstream))
        write_atomic(project.records / f"{name}.csv", frame.write_csv())
        yield name, len(frame)
    write_index(project)


def check(project: Project, upstream_folder: Path) -> Iterator[tuple[str, str]]:
    """Yields each record with what is wrong with it ('' when it follows from the raw files)."""
    upstream = Upstream(upstream_folder, load_pins(project))
    for name, builder in BUILDERS.items():
        made = conform(project, name, builder(upstream)).write_csv()
        table = project.records / f"{name}.csv"
        committed = table.read_text(encoding="utf-8") if table.is_file() else ""
        yield name, _first_difference(made, committed) if committed else "the table is missing"
    for name in record_names(project):
        if name.startswith("transcribed/"):
            yield name, _unsourced(project, name)
        elif name not in BUILDERS:
            yield name, "no code builds it from the raw files"
    for problem in index_problems(project):
        yield "index.csv", problem


def conform(project: Project, name: str, frame: pl.DataFrame) -> pl.DataFrame:
    """The table with exactly the columns and types of its schema."""
    schema = load_schema(project, name)
    if set(frame.columns) != set(schema.columns):
        raise UsageError(f"Record '{name}' was built with {frame.columns}; its schema says {list(schema.columns)}.")
    return frame.select(pl.col(column).cast(TYPES[spec.type]) for column, spec in schema.columns.items())


def write_index(project: Project) -> None:
    """The content of every record: rows and sha256 of table and schema."""
    rows: list[list[object]] = []
    for name in record_names(project):
        path = project.records / f"{name}.csv"
        lines = len(read_table(path, load_schema(project, name)))
        rows.append([name, lines, sha256(path), sha256(path.with_suffix(".yaml"))])
    write_csv(project.records / "index.csv", ["record", "rows", "table_sha256", "schema_sha256"], rows)


def index_problems(project: Project) -> Iterator[str]:
    """What in data/records is not as data/records/index.csv says; each a sentence that names the file."""
    if not (project.records / "index.csv").is_file():
        yield "data/records/index.csv is missing. Restore it from git"
        return
    index = pl.read_csv(project.records / "index.csv")
    listed = {row["record"]: row for row in index.iter_rows(named=True)}
    for name in sorted(listed.keys() | set(record_names(project))):
        if name not in listed:
            yield f"data/records/{name} is not in data/records/index.csv"
            continue
        for suffix, column in ((".csv", "table_sha256"), (".yaml", "schema_sha256")):
            path = project.records / f"{name}{suffix}"
            if not path.is_file():
                yield f"data/records/{name}{suffix} is missing"
            elif sha256(path) != listed[name][column]:
                yield f"data/records/{name}{suffix} is not the file that data/records/index.csv lists"
    for kind in KINDS:
        for path in sorted((project.records / kind).glob("*.csv")):
            if not path.with_suffix(".yaml").is_file():
                yield f"data/records/{kind}/{path.name} has no schema"


def _unsourced(project: Project, name: str) -> str:
    """Transcribed rows cannot be rebuilt; each must say from which document and where in it."""
    rows = read_table(project.records / f"{name}.csv", load_schema(project, name))
    if name == "transcribed/origins":
        return ""
    origins = read_table(project.records / "transcribed" / "origins.csv", load_schema(project, "transcribed/origins"))
    place = "line" if "line" in rows.columns else "where"
    unknown = set(rows["origin"]) - set(origins["origin"])
    if unknown:
        return f"origin {sorted(unknown)[0]} is not in transcribed/origins.csv"
    empty = rows.filter(pl.col(place).cast(pl.String).fill_null("").is_in(["", "0"])).height
    return f"{empty} rows do not say where in the origin they stand" if empty else ""


def _first_difference(made: str, committed: str) -> str:
    if made == committed:
        return ""
    pairs = zip(made.splitlines(), committed.splitlines(), strict=False)
    for number, (new, old) in enumerate(pairs, start=1):
        if new != old:
            return f"line {number} is '{old}'; the raw files give '{new}'"
    if made.splitlines() == committed.splitlines():
        return "the line ends are not those of the raw files' table"
    return f"{len(committed.splitlines())} lines; the raw files give {len(made.splitlines())}"
