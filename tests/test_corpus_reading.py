"""Reading documents: every kind of file and of damage, each line accounted for, the same in every packing."""

from __future__ import annotations

import gzip
import io
import json
import sys
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from lucie.corpus import blocks, work
from lucie.corpus.blocks import Block
from lucie.corpus.clean import Cleaning
from lucie.corpus.parsing import Layout, parse
from lucie.corpus.recipe import Recipe
from lucie.corpus.sources import Folder, OnBadInput
from lucie.corpus.statistics import count
from lucie.errors import Exit, LucieError, UsageError
from lucie.project import Project

GOOD = [{"text": "One."}, {"text": "Two."}]


def lines(documents: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(document, ensure_ascii=False).encode() + b"\n" for document in documents)


def packed(content: bytes, codec: str) -> bytes:
    return gzip.compress(content) if codec == "gz" else pa.compress(content, codec="zstd", asbytes=True)


def parquet(table: dict[str, Any], **options: Any) -> bytes:
    held = io.BytesIO()
    pq.write_table(pa.table(table), held, **options)
    return held.getvalue()


def folder(path: Path, how: str = "refuse", columns: dict[str, str] | None = None) -> Folder:
    return Folder(path, columns or {}, OnBadInput(how))


def read(source: Folder) -> tuple[list[dict[str, Any]], list[str]]:
    """All documents and all problems of a source."""
    batches = [batch for shard in source.shards() for batch in source.read(shard)]
    rows = [row for batch in batches for row in batch.documents.iter_rows(named=True)]
    return rows, [str(problem) for batch in batches for problem in batch.problems]


def texts(source: Folder) -> list[str]:
    return [row["text"] for row in read(source)[0]]


def refused(source: Folder) -> str:
    with pytest.raises(UsageError) as caught:
        read(source)
    assert caught.value.code == Exit.USAGE == 3
    return str(caught.value)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes blocks, and with them the longest line, so small that a few documents do not fit."""

    def make(size: int, limit: int = 1 << 20) -> None:
        monkeypatch.setattr(blocks, "BLOCK_BYTES", size)
        monkeypatch.setattr(blocks, "LINE_LIMIT", limit)

    return make


# Lines that are no documents

BAD_LINES = {
    "a broken line": (b'{"text": "Th', "not JSON"),
    "two objects": (b'{"text": "a"}{"text": "b"}', "not JSON"),
    "a list": (b'[{"text": "a"}]', "a JSON list, not an object"),
    "a number": (b"7", "a JSON number, not an object"),
    "null": (b"null", "a JSON null, not an object"),
    "a missing text": (b'{"id": "1", "txt": "a"}', "no field 'text'"),
    "a number for a text": (b'{"text": 17}', "field 'text' is a number, not a text"),
    "a negative number for a text": (b'{"text": -1.5e-7}', "field 'text' is a number, not a text"),
    "an integer beyond 64 bits for a text": (b'{"text": 123456789012345678901234567890}', "is a number, not a text"),
    "an integer of thousands of digits": (b'{"text": ' + b"1" * 5000 + b"}", "not JSON"),
    "a list for a text": (b'{"text": ["a", "b"]}', "field 'text' is a list, not a text"),
    "an object for a text": (b'{"text": {"fr": "a"}}', "field 'text' is a object, not a text"),
    "true for a text": (b'{"text": true}', "field 'text' is a truth value, not a text"),
    "null for a text": (b'{"text": null}', "field 'text' is a null, not a text"),
    "bytes that are not UTF-8": (b'{"text": "caf\xe9"}', "byte 14 is not UTF-8"),
    "half of a surrogate pair": (b'{"text": "a\\ud83d"}', "field 'text' holds half of a surrogate pair"),
    "half of a surrogate pair in a title": (b'{"text": "a", "title": "\\udc00"}', "field 'title' holds half of"),
    "a number that JSON has not": (b'{"text": "a", "date": NaN}', "a number in it"),
    "a number that overflows": (b'{"text": "a", "date": 1e400}', "a number in it"),
    "nesting without end": (b'{"text": "a", "extra": ' + b"[" * 9999 + b"]" * 9999 + b"}", "not JSON"),
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_a_bad_line_is_refused_by_file_and_line_or_left_out_and_listed(tmp_path: Path, name: str) -> None:
    line, says = BAD_LINES[name]
    path = tmp_path / "a.jsonl"
    path.write_bytes(lines(GOOD[:1]) + line + b"\n" + lines(GOOD[1:]))
    message = refused(folder(tmp_path))
    assert message.startswith(f"{path}, line 2: ")
    assert says in message
    assert "--set on_bad_input=skip" in message
    found, problems = read(folder(tmp_path, "skip"))
    assert [(row["text"], row["id"]) for row in found] == [("One.", "a:1"), ("Two.", "a:3")]
    (problem,) = problems
    assert problem.startswith("a.jsonl, line 2: ")
    assert says in problem


@pytest.mark.parametrize("codec", ["gz", "zst"])
def test_a_bad_line_in_a_packed_file_has_the_same_number(tmp_path: Path, codec: str) -> None:
    (tmp_path / f"a.jsonl.{codec}").write_bytes(packed(lines(GOOD) + b"{\n", codec))
    assert f"a.jsonl.{codec}, line 3: not JSON" in refused(folder(tmp_path))


def test_the_file_of_a_bad_line_is_named_with_its_folder(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jsonl").write_bytes(b"{\n" if name == "two" else lines(GOOD))
    assert read(folder(tmp_path, "skip"))[1][0].startswith("two/a.jsonl, line 1: ")
    assert str(tmp_path / "two" / "a.jsonl") in refused(folder(tmp_path))


def test_texts_that_look_like_numbers_lists_and_truth_values_are_texts(tmp_path: Path) -> None:
    odd = ["17", "-1.5e-7", "true", "[1, 2]", '{"a": 1}', "null", "", " ", "\x00", "a\x00b", "\ufeff", "\U0001f600"]
    (tmp_path / "a.jsonl").write_bytes(lines([{"text": text} for text in odd]))
    assert texts(folder(tmp_path)) == odd


BAD = st.sampled_from([line for line, _ in BAD_LINES.values() if len(line) < 1000])
META = st.none() | st.text(max_size=5) | st.integers() | st.booleans() | st.floats(-1e9, 1e9).map(lambda x: round(x, 3))
EXTRA = META | st.lists(META, max_size=3) | st.dictionaries(st.text(max_size=3), META, max_size=3)
DOCUMENT = st.fixed_dictionaries({"text": st.text(max_size=40)}, optional={"date": META, "extra": EXTRA, "title": META})
BLANK = st.sampled_from([b"", b" ", b"\t\r"])


@given(
    st.lists(st.tuples(st.sampled_from(["good", "bad", "blank"]), DOCUMENT, BAD, BLANK, st.booleans()), max_size=12),
    st.integers(16, 400),
    st.sampled_from([1, 3]),
)
def test_every_line_is_a_document_or_a_problem_whatever_the_blocks_and_threads(
    made: list[tuple[str, dict[str, Any], bytes, bytes, bool]], size: int, threads: int
) -> None:
    whole = [
        {"good": json.dumps(document, ensure_ascii=ascii_only).encode(), "bad": bad, "blank": blank}[kind]
        for kind, document, bad, blank, ascii_only in made
    ]
    kinds = [kind for kind, *_ in made]
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK_BYTES", size)
        source = folder(Path(name), "skip")
        (source.path / "a.jsonl").write_bytes(b"\n".join(whole) or b"\n")
        (shard,) = source.shards()
        batches = list(source.map([shard], ("id", "text"), lambda batch: batch, threads))
    found = [row for batch in batches for row in batch.documents.iter_rows()]
    assert found == [(f"a:{n}", made[n - 1][1]["text"]) for n, kind in enumerate(kinds, 1) if kind == "good"]
    problems = [problem.line for batch in batches for problem in batch.problems]
    assert problems == [n for n, kind in enumerate(kinds, 1) if kind == "bad"]


def alone_or_together(raw: list[bytes]) -> None:
    """What becomes of a line must not depend on its neighbours, one of which makes polars refuse the block."""
    layout = Layout({}, {})
    parts = [parse(Block(Path("a.jsonl"), n, line + b"\n", 0), layout) for n, line in enumerate(raw, 1)]
    together = parse(Block(Path("a.jsonl"), 1, b"\n".join(raw), 0), layout)
    assert [row for part in parts for row in part.documents.rows()] == together.documents.rows()
    assert [line for part in parts for line in part.lines] == list(together.lines)
    assert [str(problem) for part in parts for problem in part.problems] == list(map(str, together.problems))


@settings(max_examples=50)
@given(st.lists(DOCUMENT.map(lambda document: json.dumps(document).encode()) | BAD, max_size=6))
def test_a_document_reads_the_same_beside_bad_lines(raw: list[bytes]) -> None:
    alone_or_together([*raw, b'{"text": 1}'])


@settings(max_examples=50)
@given(
    st.lists(st.tuples(DOCUMENT, st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=2)), max_size=5)
)
def test_a_damaged_line_is_judged_by_itself(made: list[tuple[dict[str, Any], list[tuple[int, int]]]]) -> None:
    raw = []
    for document, damages in made:
        line = bytearray(json.dumps(document, ensure_ascii=False).encode())
        for place, byte in damages:
            line[place % len(line)] = byte if byte != 10 else 0
        raw.append(bytes(line))
    alone_or_together([*raw, b"{"])


def test_of_a_field_that_is_there_twice_the_first_counts(tmp_path: Path) -> None:
    twice = b'{"text": "first", "text": "second"}\n'
    (tmp_path / "a.jsonl").write_bytes(twice)
    (tmp_path / "b.jsonl").write_bytes(twice + b"{\n")
    assert texts(folder(tmp_path, "skip")) == ["first", "first"]


# Files that are unusual, and files that are damaged


@pytest.mark.parametrize(
    "content",
    [
        b'{"text": "One."}\n{"text": "Two."}',
        b'{"text": "One."}\r\n{"text": "Two."}\r\n',
        b'\xef\xbb\xbf{"text": "One."}\n{"text": "Two."}\n',
        b'\n\n{"text": "One."}\n \n{"text": "Two."}\n\n',
        b'\x0c\n{"text": "One."}\n\r\n{"text": "Two."}\n\t',
        b'{"text": "On\\u0065."}\n{"te\\u0078t": "Two."}\n',
    ],
    ids=["no final newline", "CRLF", "byte order mark", "blank lines", "white space for lines", "escapes"],
)
def test_an_unusual_file_is_read_as_it_is_meant(
    tmp_path: Path, small_blocks: Callable[..., None], content: bytes
) -> None:
    (tmp_path / "a.jsonl").write_bytes(content)
    assert read(folder(tmp_path))[1] == []
    assert texts(folder(tmp_path)) == ["One.", "Two."]
    numbers = [n for n, line in enumerate(content.split(b"\n"), 1) if line.strip()]
    for size in (7, 20, 1000):
        small_blocks(size)
        assert [row["id"] for row in read(folder(tmp_path))[0]] == [f"a:{n}" for n in numbers]


def test_files_that_were_joined_are_read_to_the_end(tmp_path: Path) -> None:
    for codec in ("gz", "zst"):
        (tmp_path / f"{codec}.jsonl.{codec}").write_bytes(packed(lines(GOOD[:1]), codec) + packed(lines(GOOD), codec))
    assert texts(folder(tmp_path)) == ["One.", "One.", "Two."] * 2


def test_a_file_without_documents_has_none(tmp_path: Path) -> None:
    (tmp_path / "blank.jsonl").write_bytes(b"\n \n")
    (tmp_path / "nothing.jsonl.gz").write_bytes(gzip.compress(b""))
    (tmp_path / "rows.parquet").write_bytes(parquet({"text": pa.array([], pa.string())}))
    assert read(folder(tmp_path)) == ([], [])


WHOLE = parquet({"text": [f"Text {n}." for n in range(100)]})
DAMAGED = {
    "empty.jsonl": (b"", "the file is empty"),
    "empty.parquet": (b"", "the file is empty"),
    "cut.jsonl.gz": (packed(lines(GOOD * 50), "gz")[:-5], "breaks off or is damaged"),
    "start.jsonl.gz": (packed(lines(GOOD * 50), "gz")[:4], "breaks off or is damaged"),
    "other.jsonl.gz": (lines(GOOD), "breaks off or is damaged"),
    "cut.jsonl.zst": (packed(lines(GOOD * 50), "zst")[:-5], "breaks off or is damaged"),
    "other.jsonl.zst": (lines(GOOD), "breaks off or is damaged"),
    "cut.parquet": (WHOLE[:-20], "not a whole Parquet file"),
    "start.parquet": (WHOLE[:50], "not a whole Parquet file"),
    "other.parquet": (lines(GOOD), "not a whole Parquet file"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_refused_by_name_or_left_out_and_listed(tmp_path: Path, name: str) -> None:
    content, says = DAMAGED[name]
    (tmp_path / name).write_bytes(content)
    (tmp_path / "whole.jsonl").write_bytes(lines(GOOD))
    message = refused(folder(tmp_path))
    assert name in message
    assert says in message
    assert "on_bad_input=skip" in message
    found, problems = read(folder(tmp_path, "skip"))
    assert [row["text"] for row in found] == ["One.", "Two."]
    (problem,) = problems
    assert problem.startswith(f"{name}: ")
    assert says in problem


def test_of_a_file_that_breaks_off_the_documents_before_are_kept(
    tmp_path: Path, small_blocks: Callable[..., None]
) -> None:
    many = [{"text": f"{n * 7919 % 10007}"} for n in range(5000)]
    whole = packed(lines(many), "gz")
    (tmp_path / "a.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    small_blocks(1000)
    found, problems = read(folder(tmp_path, "skip"))
    assert 0 < len(found) < len(many)
    assert [row["text"] for row in found] == [document["text"] for document in many[: len(found)]]
    assert len(problems) == 1


BAD_TABLES = {
    "no column 'text'": {"body": ["a", "b"], "id": ["1", "2"]},
    "column 'text' holds int64": {"text": [1, 2]},
    "column 'text' holds binary": {"text": [b"a", b"b"]},
    "column 'text' holds list": {"text": [["a"], ["b"]]},
    "column 'text' holds null": {"text": pa.nulls(2)},
}


@pytest.mark.parametrize("says", BAD_TABLES)
def test_a_table_without_texts_is_refused_or_each_row_is_left_out(tmp_path: Path, says: str) -> None:
    (tmp_path / "a.parquet").write_bytes(parquet(BAD_TABLES[says]))
    assert says in refused(folder(tmp_path))
    found, problems = read(folder(tmp_path, "skip"))
    assert found == []
    assert [problem.split(": ")[0] for problem in problems] == ["a.parquet, line 1", "a.parquet, line 2"]


def test_a_row_without_text_or_not_of_utf8_is_left_out_alone(tmp_path: Path) -> None:
    broken = pa.array([b"caf\xe9"]).view(pa.string())
    table = {"text": pa.concat_arrays([pa.array(["a", None]), broken, pa.array(["d"])])}
    (tmp_path / "a.parquet").write_bytes(parquet(table))
    assert "a.parquet, line 2: field 'text' is empty" in refused(folder(tmp_path))
    found, problems = read(folder(tmp_path, "skip"))
    assert [(row["id"], row["text"]) for row in found] == [("a:1", "a"), ("a:4", "d")]
    assert problems == ["a.parquet, line 2: field 'text' is empty", "a.parquet, line 3: it holds what is not UTF-8"]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), "str")])
def test_a_column_of_any_kind_of_text_is_text(tmp_path: Path, kind: pa.DataType) -> None:
    table = {"text": pa.array(["a", "é", "a"]).cast(kind), "language": pa.array(["fr", None, "fr"]).cast(kind)}
    (tmp_path / "a.parquet").write_bytes(parquet(table))
    found, _ = read(folder(tmp_path))
    assert [(row["text"], row["language"]) for row in found] == [("a", "fr"), ("é", None), ("a", "fr")]


def test_a_row_group_larger_than_a_block_is_read_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "PARQUET_ROWS", 7)
    (tmp_path / "a.parquet").write_bytes(WHOLE)
    found, _ = read(folder(tmp_path))
    assert [row["id"] for row in found] == [f"a:{n}" for n in range(1, 101)]


# Lines that are too long

LONG = b'{"text": "' + b"x" * 200 + b'"}'


@pytest.mark.parametrize("end", [b"", b"\n"])
@pytest.mark.parametrize("place", range(4))
def test_a_line_that_is_too_long_is_passed_over_and_nothing_after_it_is_lost(
    tmp_path: Path, small_blocks: Callable[..., None], place: int, end: bytes
) -> None:
    short = [json.dumps({"text": f"{n}"}).encode() for n in range(3)]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join([*short[:place], LONG, *short[place:]]) + end)
    lost = LONG + end if place == 3 else LONG + b"\n"
    path = tmp_path / "a.jsonl"
    content = path.read_bytes()
    for size in range(16, 300):  # the long line ends in the middle of a block, at its end, at its start
        small_blocks(size, limit=max(100, size))
        found = list(blocks.blocks(path))
        limit = blocks.LINE_LIMIT
        expected = content if limit >= len(LONG) else content.replace(lost, b"")
        assert b"".join(block.content for block in found) == expected, size
        problems = [problem for block in found for problem in block.problems]
        assert [problem.line for problem in problems] == [place + 1] * (limit < len(LONG)), size
        numbers = [block.first + n for block in found for n in range(len(block.content.splitlines()))]
        assert numbers == [n for n in range(1, 5) if n not in [problem.line for problem in problems]], size
    small_blocks(100, limit=100)
    found, problems = read(folder(tmp_path, "skip"))
    assert [row["text"] for row in found] == ["0", "1", "2"]
    assert problems == [f"a.jsonl, line {place + 1}: the line is longer than 0 MiB"]


def test_whether_a_line_is_too_long_does_not_depend_on_the_blocks(
    tmp_path: Path, small_blocks: Callable[..., None]
) -> None:
    for more, kept in ((0, 2), (1, 1)):
        fits = b'{"text": "' + b"x" * (88 + more) + b'"}'
        (tmp_path / "a.jsonl").write_bytes(fits + b'\n{"text": "y"}\n')
        for size in range(10, 100):
            small_blocks(size, limit=100)
            assert len(texts(folder(tmp_path, "skip"))) == kept, size


def test_a_line_of_100_mb_is_never_in_memory(tmp_path: Path) -> None:
    with (tmp_path / "a.jsonl").open("wb") as file:
        file.write(b'{"text": "One."}\n{"text": "')
        for _ in range(100):
            file.write(b"x" * 1_000_000)
        file.write(b'"}\n{"text": "Two."}\n')
    tracemalloc.start()
    try:
        assert "a.jsonl, line 2: the line is longer than 64 MiB" in refused(folder(tmp_path))
        assert texts(folder(tmp_path, "skip")) == ["One.", "Two."]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100_000_000


# Files and folders that are not there, or change


def test_a_folder_that_does_not_exist_is_named(project: Project, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no corpus or folder 'nowhere'"):
        Recipe.load(project, "nowhere")
    assert f"There is no folder {tmp_path / 'gone'}" in refused(folder(tmp_path / "gone"))


def test_a_folder_without_documents_says_how_they_are_named(tmp_path: Path) -> None:
    for name in ("a.txt", "a.json", ".hidden.jsonl", ".git/a.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text('{"text": "a"}')
    message = refused(folder(tmp_path))
    assert "holds no file of documents" in message
    assert all(suffix in message for suffix in (".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet"))


def test_the_recipe_of_any_folder_is_no_corpus_by_itself(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.root / "docs" if (project.root / "docs").is_dir() else project.root / "tests")
    with pytest.raises(UsageError, match="no corpus or folder 'folder'"):
        Recipe.load(project, "folder")


def test_a_path_is_a_folder_even_where_its_name_is_that_of_a_corpus(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mini").mkdir()
    monkeypatch.chdir(tmp_path)
    assert Recipe.load(project, "./mini").folder == str(tmp_path / "mini")
    assert Recipe.load(project, "mini").folder == "data/mini/documents"


def begun(tmp_path: Path, content: bytes, name: str) -> Iterator[Any]:
    """A source of which one block was read."""
    (tmp_path / name).write_bytes(content)
    source = folder(tmp_path, "skip")
    (shard,) = source.shards()
    reading = source.read(shard)
    next(reading)
    return reading


def test_a_file_that_grows_while_it_is_read_is_refused(tmp_path: Path, small_blocks: Callable[..., None]) -> None:
    small_blocks(10)
    reading = begun(tmp_path, lines(GOOD), "a.jsonl")
    with (tmp_path / "a.jsonl").open("ab") as file:
        file.write(lines(GOOD))
    with pytest.raises(UsageError, match=r"a\.jsonl changed while it was read"):
        list(reading)


def test_a_packed_file_that_changes_while_it_is_read_is_not_called_damaged(
    tmp_path: Path, small_blocks: Callable[..., None]
) -> None:
    small_blocks(1000)
    content = packed(lines([{"text": f"{n * 2654435761 % 2**32:x}"} for n in range(20_000)]), "gz")
    reading = begun(tmp_path, content, "a.jsonl.gz")
    with (tmp_path / "a.jsonl.gz").open("r+b") as file:
        file.truncate(len(content) // 2)
    with pytest.raises(UsageError, match="changed while it was read"):
        list(reading)


def test_a_file_that_vanishes_is_refused_with_what_to_do(tmp_path: Path, small_blocks: Callable[..., None]) -> None:
    small_blocks(10)
    reading = begun(tmp_path, lines(GOOD), "a.jsonl")
    (tmp_path / "a.jsonl").unlink()
    with pytest.raises(UsageError, match=r"a\.jsonl is gone.*bring the file back and start again"):
        list(reading)
    (tmp_path / "a.jsonl").write_bytes(lines(GOOD))
    (shard,) = folder(tmp_path).shards()
    (tmp_path / "a.jsonl").unlink()
    with pytest.raises(UsageError, match=r"a\.jsonl is gone"):
        list(folder(tmp_path).read(shard))


# Columns


def test_metadata_of_any_type_become_text(tmp_path: Path) -> None:
    document = {
        "text": "a",
        "date": 1999,
        "author": ["É. Zola", "?"],
        "extra": {"pages": 3, "open": True, "by": None, "of": {"part": "é"}},
        "title": False,
        "url": None,
    }
    (tmp_path / "a.jsonl").write_bytes(lines([document]))
    (row,), _ = read(folder(tmp_path))
    assert (row["date"], row["title"], row["url"]) == ("1999", "false", None)
    assert json.loads(row["author"]) == document["author"]
    assert json.loads(row["extra"]) == document["extra"]
    assert "É" in row["author"]


def test_columns_of_parquet_of_any_type_become_the_text_that_json_lines_give(tmp_path: Path) -> None:
    documents = [
        {
            "text": "a",
            "date": 1999,
            "author": ["É", "x"],
            "extra": {"a": 1, "b": {"c": "é"}},
            "title": True,
            "url": 2.5,
        },
        {"text": "b", "date": None, "author": None, "extra": {"a": 2, "b": None}, "title": False, "url": 3.0},
        {"text": "c", "date": 7, "author": [], "extra": None, "title": None, "url": None},
    ]
    (tmp_path / "a.jsonl").write_bytes(lines(documents))
    as_json, _ = read(folder(tmp_path))
    (tmp_path / "a.jsonl").unlink()
    pl.DataFrame(documents).with_columns(pl.col("date").cast(pl.Float64)).write_parquet(tmp_path / "a.parquet")
    assert read(folder(tmp_path)) == (as_json, [])


@pytest.mark.parametrize(
    "column",
    [
        pa.array([b"\xff"]),
        pa.array([3], pa.duration("s")),
        pa.array([[("k", "v")]], pa.map_(pa.string(), pa.string())),
        pa.array([[1, 2]], pa.list_(pa.int8(), 2)),
        pa.array([10**9], pa.timestamp("us")),
        pa.nulls(1),
    ],
    ids=lambda column: str(column.type),
)
def test_no_column_of_metadata_keeps_a_text_from_being_read(tmp_path: Path, column: pa.Array) -> None:
    (tmp_path / "a.parquet").write_bytes(parquet({"text": ["a"], "extra": column}))
    assert texts(folder(tmp_path)) == ["a"]


def test_our_columns_are_found_where_the_recipe_says(tmp_path: Path) -> None:
    columns = {"text": "body", "language": "meta.lang", "date": "meta.pub-date", "title": "meta.first line"}
    meta = {"lang": "fr", "pub-date": 1999, "first line": 'He said "é".'}
    (tmp_path / "a.jsonl").write_bytes(
        lines([{"body": "a", "meta": meta}, {"body": "b"}, {"body": "c", "meta": "fr"}, {"body": "d", "meta": {}}])
    )
    found, _ = read(folder(tmp_path, columns=columns))
    assert [row["text"] for row in found] == ["a", "b", "c", "d"]
    assert [found[0][name] for name in ("language", "date", "title")] == ["fr", "1999", 'He said "é".']
    assert {row[name] for row in found[1:] for name in ("language", "date", "title")} == {None}
    assert "line 1: no field 'text'" in refused(folder(tmp_path))


def test_ids_that_are_made_up_are_unique_in_a_folder(tmp_path: Path) -> None:
    for name in ("part.1.jsonl", "part.2.jsonl", "v1.2/part.1.jsonl", "v1.3/part.1.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(lines(GOOD))
    found, _ = read(folder(tmp_path))
    assert len({row["id"] for row in found}) == len(found) == 8
    assert {row["source"] for row in found} == {"part"}
    assert "v1.2/part.1:2" in {row["id"] for row in found}


# The same documents in every packing


@pytest.fixture(scope="module")
def documents() -> list[dict[str, Any]]:
    """Some documents of our own corpus, with metadata that are no texts."""
    found = []
    for name in ("web.es", "wiki.de"):
        path = ROOT / "data" / "mini" / "documents" / f"{name}.jsonl"
        found += [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]
    return [{**document, "date": 1900 + n, "extra": {"n": n, "of": [f"{n}", "é"]}} for n, document in enumerate(found)]


@pytest.fixture
def packings(tmp_path: Path, documents: list[dict[str, Any]]) -> dict[str, Path]:
    content = lines(documents)
    parts = {
        "a.jsonl": content,
        "a.jsonl.gz": packed(content, "gz"),
        "a.jsonl.zst": packed(content, "zst"),
        "a.parquet": parquet(pa.Table.from_pylist(documents).to_pydict(), row_group_size=7),
    }
    for name, held in parts.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_bytes(held)
    return {name: tmp_path / name for name in parts}


def test_statistics_are_the_same_in_every_packing(packings: dict[str, Path], documents: list[dict[str, Any]]) -> None:
    counted = {name: count(folder(path), threads=2).to_json() for name, path in packings.items()}
    assert counted["a.jsonl"]["total"]["documents"] == len(documents)
    assert len(counted["a.jsonl"]["groups"]) > 10
    for found in counted.values():
        assert found == counted["a.jsonl"]


def test_clean_bytes_are_the_same_in_every_packing(
    project: Project, tmp_path: Path, packings: dict[str, Path], documents: list[dict[str, Any]]
) -> None:
    clean = {}
    for name, path in packings.items():
        recipe = Recipe.load(project, str(path), ["deduplicate=false"])
        into = tmp_path / f"clean of {name}"
        _, report = work.clean(project, recipe, into, jobs=1)
        assert report["read"] == len(documents)
        assert 0 < report["kept"] < report["read"]
        clean[name] = (into / "clean" / "00000.parquet").read_bytes()
    assert len(set(clean.values())) == 1


# Cleaning a corpus with all this in it


@pytest.fixture
def wounded(tmp_path: Path) -> Path:
    """A folder of good documents, bad lines and damaged files."""
    path = tmp_path / "wounded"
    path.mkdir()
    (path / "a.jsonl").write_bytes(lines(GOOD) + b"".join(line + b"\n" for line, _ in BAD_LINES.values()))
    for name, (content, _) in DAMAGED.items():
        (path / name).write_bytes(content)
    (path / "b.parquet").write_bytes(parquet({"text": ["Three.", None]}))
    return path


def test_cleaning_counts_and_lists_what_it_could_not_read(project: Project, tmp_path: Path, wounded: Path) -> None:
    settings = ["on_bad_input=skip", "rule_sets={}", "deduplicate=false"]
    into = tmp_path / "into"
    _, report = work.clean(project, Recipe.load(project, str(wounded), settings), into, jobs=1)
    bad = len(BAD_LINES) + len(DAMAGED) + 1
    assert report["dropped"] == {"unreadable": bad}
    assert (report["read"], report["kept"]) == (3 + bad, 3)
    listed = [problem for shard in report["shards"] for problem in shard["problems"]]
    assert len(listed) == bad
    assert all(shard["read"] == shard["kept"] + sum(shard["dropped"].values()) for shard in report["shards"])
    assert sorted(pl.concat(map(pl.read_parquet, work.kept(into)))["text"]) == ["One.", "Three.", "Two."]


def test_cleaning_refuses_a_bad_line_and_keeps_what_was_done(project: Project, tmp_path: Path) -> None:
    path = tmp_path / "texts"
    path.mkdir()
    (path / "a.jsonl").write_bytes(lines(GOOD))
    (path / "b.jsonl").write_bytes(b"[]\n")
    recipe = Recipe.load(project, str(path), ["rule_sets={}", "deduplicate=false"])
    with pytest.raises(UsageError, match=r"b\.jsonl, line 1: a JSON list, not an object"):
        work.clean(project, recipe, tmp_path / "into", jobs=1)
    assert Cleaning(project, recipe, tmp_path / "into").pending("filter") == [1]


SAME_ID = [
    {"id": "1", "source": "s", "text": "Alpha beta gamma delta epsilon zeta."},
    {"id": "1", "source": "s", "text": "Uno due tre quattro cinque sei sette."},
    {"id": "2", "source": "s", "text": "uno due tre quattro cinque sei sette"},
    {"id": "1", "source": "t", "text": "Eins zwei drei vier fünf sechs."},
]


@pytest.fixture
def same_id(tmp_path: Path) -> Path:
    path = tmp_path / "same"
    path.mkdir()
    (path / "a.jsonl").write_bytes(lines(SAME_ID[:1]))
    (path / "b.jsonl").write_bytes(lines(SAME_ID[1:]))
    return path


@pytest.mark.parametrize(
    ("how", "kept", "dropped"),
    [
        ("keep", [0, 1, 3], {"exact duplicate": 1}),
        ("skip", [0, 2, 3], {"id seen before": 1}),  # not its copy as well
    ],
)
def test_an_id_that_was_there_before_is_kept_or_skipped(
    project: Project, tmp_path: Path, same_id: Path, how: str, kept: list[int], dropped: dict[str, int]
) -> None:
    recipe = Recipe.load(project, str(same_id), ["rule_sets={}", f"on_duplicate_ids={how}"])
    _, report = work.clean(project, recipe, tmp_path / "into", jobs=1)
    assert report["dropped"] == dropped
    assert report["ids_seen_before"] == 1
    found = pl.concat(map(pl.read_parquet, work.kept(tmp_path / "into")))
    assert found["text"].to_list() == [SAME_ID[n]["text"] for n in kept]


def test_an_id_that_was_there_before_is_refused_with_its_file(project: Project, tmp_path: Path, same_id: Path) -> None:
    recipe = Recipe.load(project, str(same_id), ["rule_sets={}", "on_duplicate_ids=refuse"])
    with pytest.raises(UsageError, match=r"b\.jsonl holds the id '1' of source 's'.*on_duplicate_ids=keep"):
        work.clean(project, recipe, tmp_path / "into", jobs=1)


# What the command says


def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    from lucie.cli import main

    monkeypatch.setattr(sys, "argv", ["lucie", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    return (int(ended.value.code or 0), *capsys.readouterr())


def test_the_command_ends_with_3_and_a_sentence_for_bad_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], wounded: Path
) -> None:
    for words in (["count"], ["build", "--into", str(wounded.parent / "into")]):
        code, _, said = command(monkeypatch, capsys, "corpus", *words, str(wounded))
        assert code == Exit.USAGE
        assert "error: " in said
        assert "--set on_bad_input=skip" in said
        assert "Traceback" not in said


def test_the_command_lists_what_it_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], wounded: Path
) -> None:
    words = ("corpus", "count", str(wounded), "--set", "on_bad_input=skip")
    code, said, _ = command(monkeypatch, capsys, *words, "--json")
    found = json.loads(said)
    assert code == 0
    assert found["total"]["documents"] == 3
    assert len(found["unreadable"]) == len(BAD_LINES) + len(DAMAGED) + 1
    code, said, _ = command(monkeypatch, capsys, *words)
    assert "in all  3 documents, 3 words" in said
    assert "left out" in said
    assert f"and {len(found['unreadable']) - 10} more" in said


@pytest.mark.parametrize("setting", ["on_bad_input=perhaps", "on_bad_input", "says.more.than=one", "unheard=of"])
def test_a_setting_that_cannot_be_is_a_sentence(project: Project, setting: str) -> None:
    with pytest.raises(LucieError, match=setting.split("=")[0].split(".")[0]):
        Recipe.load(project, "mini", [setting])
