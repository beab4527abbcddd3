"""Counting a corpus: the same as plain Python, whatever the blocks and threads."""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

from lucie.corpus import blocks, statistics
from lucie.corpus.documents import SCHEMA
from lucie.corpus.recipe import Recipe
from lucie.corpus.sources import Folder, OnBadInput
from lucie.corpus.statistics import GROUPS, MEASURES, count, measure
from lucie.corpus.words import WORD, count_words
from lucie.project import Project

SPACES = [chr(n) for n in range(sys.maxunicode + 1) if chr(n).isspace()]
TEXT = st.text(st.characters(codec="utf-8") | st.sampled_from([*SPACES, "\u200b", "\u180e", "\ufeff", "\x00"]))
NAME = st.none() | st.sampled_from(["", "a", "b", "é"])
DATE = NAME | st.sampled_from(["1999", "1999-12-31", "31/12/1999", "1er mai 2024", "12345", "v. 50"])
DOCUMENT = st.fixed_dictionaries({"text": TEXT, "source": NAME, "language": NAME, "category": NAME, "date": DATE})


def measured(texts: list[str]) -> tuple[int, ...]:
    counts = measure(pl.DataFrame([{"text": text} for text in texts], schema=SCHEMA))
    return tuple(int(counts[name].sum()) for name in MEASURES)


def plainly(texts: list[str]) -> tuple[int, ...]:
    """Documents, words, characters and bytes as one would count them in Python."""
    words = sum(len(text.split()) for text in texts)
    return len(texts), words, sum(map(len, texts)), sum(len(text.encode()) for text in texts)


def by_hand(documents: list[dict[str, Any]], source: str) -> dict[tuple[str, ...], tuple[int, ...]]:
    """Groups and their counts, one document after the other."""
    groups: dict[tuple[str, ...], Counter[str]] = {}
    for document in documents:
        found = document["source"] if document["source"] is not None else source
        date = document["date"] or ""
        years = "".join(sign if sign.isdecimal() else " " for sign in date).split()
        year = next((digits for digits in years if len(digits) == 4), "")
        key = (found, document["language"] or "", document["category"] or "", year)
        counts = dict(zip(MEASURES, plainly([document["text"]]), strict=True))
        groups.setdefault(key, Counter()).update(counts)
    return {key: tuple(counts[name] for name in MEASURES) for key, counts in groups.items()}


@given(st.lists(TEXT, max_size=8))
def test_counts_are_those_of_plain_python(texts: list[str]) -> None:
    assert measured(texts) == plainly(texts)


def test_no_character_parts_words_for_one_and_not_for_the_other() -> None:
    """Every character there is, U+001C to U+001F among them, which most regular expressions take for no space."""
    every = [f"a{chr(n)}b" for n in range(sys.maxunicode + 1) if not 0xD800 <= n < 0xE000]
    counted = count_words(pl.Series(every)).to_list()
    assert counted == pl.Series(every).str.count_matches(WORD).to_list()
    assert [word for word, words in zip(every, counted, strict=True) if words != len(word.split())] == []
    assert measured(["a\x1cb\x1db\x1ec\x1fd"]) == (1, 5, 9, 9)


def test_a_character_of_two_code_points_is_two() -> None:
    assert measured(["e\u0301", "é", "👩‍🚀"]) == (3, 3, 2 + 1 + 3, 3 + 2 + 11)


def test_documents_without_words_are_documents() -> None:
    assert measured(["", " ", "\n\t"]) == (3, 0, 3, 3)


@given(st.lists(DOCUMENT, max_size=12), st.integers(20, 500), st.integers(1, 3), st.sampled_from([1, 10_000]))
def test_groups_are_those_counted_by_hand_whatever_the_blocks_and_threads(
    documents: list[dict[str, Any]], size: int, threads: int, held: int
) -> None:
    told: list[int] = []
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK_BYTES", size)
        patch.setattr(statistics, "GROUPS_HELD", held)
        content = "".join(json.dumps(document, ensure_ascii=False) + "\n" for document in documents) or "\n"
        (Path(name) / "file.part.jsonl").write_text(content, encoding="utf-8", newline="")
        found = count(Folder(Path(name)), threads, told.append)
    counts = {row[: len(GROUPS)]: row[len(GROUPS) :] for row in found.counts.select(*GROUPS, *MEASURES).iter_rows()}
    assert counts == by_hand(documents, "file")
    assert found.counts.select(GROUPS).rows() == sorted(counts)
    assert tuple(map(found.total, MEASURES)) == plainly([document["text"] for document in documents])
    assert sum(told) == len(content.encode())


@pytest.mark.parametrize(
    ("date", "year"),
    [
        ("1999", "1999"),
        ("1999-12-31", "1999"),
        ("31.12.1999", "1999"),
        ("c. 1850-1860", "1850"),
        ("2024-05-01T10:00:00Z", "2024"),
        ("12345", ""),
        ("99", ""),
        ("19991231", ""),
        ("", ""),
        (None, ""),
        ("unknown", ""),
    ],
)
def test_the_year_is_the_first_number_of_four_digits(date: str | None, year: str) -> None:
    document = pl.DataFrame([{"text": "a", "date": date}], schema=SCHEMA)
    assert measure(document)["year"].to_list() == [year]


def test_counts_by_fewer_groups_add_up_and_begin_with_the_largest() -> None:
    rows = [("s", "fr", "web", "", "a" * 5), ("s", "de", "web", "", "b" * 9), ("t", "fr", "wiki", "2001", "c d")]
    frame = pl.DataFrame(
        [{"source": s, "language": lang, "category": c, "date": d, "text": text} for s, lang, c, d, text in rows],
        schema=SCHEMA,
    )
    found = statistics.Statistics(measure(frame))
    assert found.by("category").select("category", "bytes").rows() == [("web", 14), ("wiki", 3)]
    assert found.by("language").select("language", "documents", "words").rows() == [("de", 1, 1), ("fr", 2, 3)]
    assert found.to_json()["total"] == {"documents": 3, "words": 4, "characters": 17, "bytes": 17}


def test_progress_reaches_the_end_of_empty_and_damaged_files_too(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_bytes(b"")
    (tmp_path / "other.jsonl.gz").write_bytes(b"no gzip")
    (tmp_path / "whole.jsonl").write_bytes(b'{"text": "a b"}\n')
    told: list[int] = []
    found = count(Folder(tmp_path, on_bad_input=OnBadInput.SKIP), 2, told.append)
    assert sum(told) == len(b"no gzip") + len(b'{"text": "a b"}\n')
    assert min(told) >= 0
    assert len(found.problems) == 2
    assert found.total("words") == 2


def test_nothing_counts_as_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"\n")
    found = count(Folder(tmp_path), 1)
    assert found.counts.is_empty()
    assert found.to_json()["total"] == dict.fromkeys(MEASURES, 0)


def test_our_own_corpus_counts_as_in_plain_python(project: Project) -> None:
    found = count(Recipe.load(project, "mini").source(project), threads=2)
    texts = [
        json.loads(line)["text"]
        for path in (ROOT / "data" / "mini" / "documents").glob("*.jsonl")
        for line in path.read_text("utf-8").split("\n")
        if line
    ]
    assert tuple(map(found.total, MEASURES)) == plainly(texts)
