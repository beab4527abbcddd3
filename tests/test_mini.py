"""Our own corpus: what it holds, what was planted in it, and how well the rules find that."""

from __future__ import annotations

import gzip
import json
import os
from collections import Counter
from typing import Any

import polars as pl
import pytest
from conftest import ROOT
from filelock import FileLock

from lucie.corpus import planted, work
from lucie.corpus.clean import Cleaning
from lucie.corpus.documents import COLUMNS
from lucie.corpus.language import SINGLE
from lucie.corpus.licences import rights
from lucie.corpus.pii import EMAIL, IP, replaced
from lucie.corpus.recipe import Recipe
from lucie.corpus.signals import normalised
from lucie.corpus.web import host, is_covered
from lucie.project import Project

pytestmark = pytest.mark.filterwarnings("ignore:.*registered_domain:DeprecationWarning")  # datatrove's

MINI = ROOT / "data" / "mini"
CODE = "programming"
CATEGORIES = {
    "web", "newspaper", "book", "technical", "legislative_texts", "legislative_transcripts", "wiki", "math", "forum",
    "dialogue", "programming", "parallel",
}  # fmt: skip


def load() -> pl.DataFrame:
    rows: list[dict[str, Any]] = []
    for path in sorted((MINI / "documents").glob("*.jsonl")):
        rows += [
            {**json.loads(line), "file": path.name} for line in path.read_text(encoding="utf-8").split("\n") if line
        ]
    return pl.DataFrame(rows, infer_schema_length=None)


@pytest.fixture(scope="module")
def documents() -> pl.DataFrame:
    return load()


@pytest.fixture(scope="module")
def faults() -> pl.DataFrame:
    return planted.load(MINI / "planted.csv")


@pytest.fixture(scope="module")
def sound(documents: pl.DataFrame, faults: pl.DataFrame) -> pl.DataFrame:
    """Prose and dialogue in which nothing was planted."""
    kept = documents.join(faults, on=["source", "id"], how="anti", maintain_order="left")
    return kept.filter(pl.col("category") != CODE)


# What it holds


def test_it_holds_some_hundred_documents_of_every_wanted_category(documents: pl.DataFrame) -> None:
    assert 300 <= documents.height < 1000
    assert set(documents["category"]) == CATEGORIES


def test_it_holds_250_kb_of_prose_and_dialogue_before_anything_was_planted(sound: pl.DataFrame) -> None:
    assert sound["text"].str.len_bytes().sum() >= 250_000
    assert sound.height >= 300


def test_it_holds_the_five_languages_most_of_it_french_and_pairs_of_them(sound: pl.DataFrame) -> None:
    sizes = dict(sound.group_by("language", maintain_order=True).agg(pl.col("text").str.len_bytes().sum()).iter_rows())
    assert {name for name in sizes if "," not in name} == set(SINGLE)
    assert max(sizes, key=lambda name: sizes[name]) == "fr"
    assert all(sizes[name] > 20_000 for name in SINGLE)
    pairs = sound.filter(category="parallel")
    assert {frozenset(name.split(",")) for name in pairs["language"]} == {
        frozenset(pair) for pair in (("fr", "en"), ("de", "fr"), ("es", "en"), ("it", "en"))
    }
    assert pairs.height >= 16
    assert all(len(text.splitlines()) > 1 for text in pairs["text"])


def test_it_holds_30_kb_of_code_in_several_languages(documents: pl.DataFrame) -> None:
    code = documents.filter(category=CODE)
    assert code["text"].str.len_bytes().sum() >= 30_000
    assert len({name for name in code["language"] if name.startswith("code:")}) >= 4
    assert all(name.startswith("code:") for name in code["language"])
    for text in code.filter(language="code:python")["text"]:
        compile(text, "mini", "exec")


def test_it_is_real_text_and_repeats_itself_little(sound: pl.DataFrame, documents: pl.DataFrame) -> None:
    whole = "\n".join(sound["text"]).encode()
    assert len(whole) / len(gzip.compress(whole, 9)) < 3.5
    code = "\n".join(documents.filter(category=CODE)["text"]).encode()
    assert len(code) / len(gzip.compress(code, 9)) < 4.5
    counts: Counter[tuple[str, ...]] = Counter()
    for text in sound["text"]:
        words = normalised(text).split()
        counts.update(tuple(words[at : at + 5]) for at in range(len(words) - 4))
    assert len(counts) >= 0.8 * counts.total()
    assert sound["text"].is_unique().all()


def test_it_has_the_columns_of_the_published_dataset_each_used(documents: pl.DataFrame) -> None:
    assert set(documents.columns) == {*COLUMNS, "file"} - ({"quality_signals"} - set(documents.columns))
    for name in set(COLUMNS) - {"quality_signals"}:
        assert documents[name].drop_nulls().str.len_chars().max() > 0, name
    for name in ("id", "text", "source", "language", "category", "licence"):
        assert documents[name].null_count() == 0
        assert documents[name].str.len_chars().min() > 0
    assert documents["date"].drop_nulls().str.contains(r"\d{4}").all()
    assert all(isinstance(json.loads(extra), dict) for extra in documents["extra"].drop_nulls() if extra)


def test_files_are_named_after_category_and_language_and_are_plain_lines(documents: pl.DataFrame) -> None:
    for name, category, spoken in documents.select("file", "category", "language").iter_rows():
        short = "code" if category == CODE else spoken.replace(",", "-")
        assert name == f"{category}.{short}.jsonl"
    for path in (MINI / "documents").iterdir():
        content = path.read_bytes()
        assert content.endswith(b"}\n")
        assert b"\r" not in content
        assert path.stat().st_size < 500_000


def test_ids_are_unique_in_a_source(documents: pl.DataFrame) -> None:
    assert documents.select("source", "id").is_unique().all()


def test_sites_are_invented_and_none_is_real_but_those_that_are_covered(documents: pl.DataFrame) -> None:
    for url, spoken in documents.select("url", "language").iter_rows():
        assert not url or host(url).endswith(".example") or is_covered(url, spoken), url
    listed = [json.loads(line) for line in (MINI / "lists" / "robots.jsonl").read_text("utf-8").split("\n") if line]
    assert all(entry["domain"].endswith(".example") for entry in listed)
    assert len({entry["domain"] for entry in listed}) == len(listed)


# What was planted


def test_every_planted_document_exists_once_and_is_of_a_known_kind(
    documents: pl.DataFrame, faults: pl.DataFrame
) -> None:
    assert faults.select("source", "id").is_unique().all()
    assert faults.join(documents, on=["source", "id"], how="anti").is_empty()
    known = {*planted.EXPECTED, *planted.HARMLESS}
    assert set(faults["kind"]) <= known
    assert known - set(faults["kind"]) == set(), "each kind is planted"


def test_copies_have_an_original_that_is_sound(project: Project, documents: pl.DataFrame, faults: pl.DataFrame) -> None:
    copies = faults.filter(pl.col("kind").is_in(planted.COPIES))
    texts = {f"{source}/{name}": text for source, name, text in documents.select("source", "id", "text").iter_rows()}
    for source, name, kind, original in copies.select("source", "id", "kind", "detail").iter_rows():
        one, other = normalised(texts[f"{source}/{name}"]), normalised(texts[original])
        assert (one == other) == (kind == "exact_duplicate")
        words = set(one.split())
        assert len(words & set(other.split())) > 0.7 * len(words)
    bad = faults.filter(~pl.col("kind").is_in(planted.HARMLESS)).select(pl.concat_str("source", pl.lit("/"), "id"))
    assert not set(copies["detail"]) & set(bad.to_series())


def test_licences_that_are_not_open_are_planted(documents: pl.DataFrame, faults: pl.DataFrame) -> None:
    kinds = {"licence_nc": "noncommercial", "licence_closed": "closed", "licence_unknown": "unknown"}
    joined = documents.join(faults, on=["source", "id"], how="left", maintain_order="left")
    for kind, licence in joined.select("kind", "licence").iter_rows():
        assert rights(licence) == kinds.get(kind, "open")


def test_addresses_are_planted_as_they_are_counted(documents: pl.DataFrame, faults: pl.DataFrame) -> None:
    joined = documents.join(faults, on=["source", "id"], how="left", maintain_order="left")
    for kind, emails, ips, text in joined.select("kind", "emails", "ips", "text").iter_rows():
        found = replaced(text)[1]
        if kind == "pii":
            assert (found[EMAIL], found[IP]) == (emails, ips)
        elif kind is None:
            assert (found[EMAIL], found[IP]) == (0, 0)
    assert faults["emails"].sum() >= 10
    assert faults["ips"].sum() >= 5


# How well the rules find it


@pytest.fixture(scope="module")
def cleaned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Cleaning, dict[str, Any]]:
    """Cleaned once for all workers of pytest."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "mini cleaned"
    with FileLock(folder.with_suffix(".lock")):
        project = Project(ROOT)
        return work.clean(project, Recipe.load(project, "mini"), folder, jobs=1)


@pytest.fixture(scope="module")
def scores(cleaned: tuple[Cleaning, dict[str, Any]], faults: pl.DataFrame) -> dict[str, dict[str, Any]]:
    found = planted.rules(work.decisions(cleaned[0]), faults)
    return {row["rule"]: row for row in found.iter_rows(named=True)}


# The least precision and recall of each rule. Those that look for a mark find all.
FLOORS = {
    "perplexity too high": (0.9, 0.5),
    "language score too low": (0.9, 0.5),
    "curly brackets too high": (1, 1),
    "lorem ipsum too high": (1, 1),
    "bullet lines too high": (1, 1),
    "ellipsis lines too high": (1, 1),
    "words too low": (1, 1),
    "sentences too low": (0.5, 1),
    "words without letter too high": (1, 1),
    "symbols per word too high": (1, 1),
    "mean word length too high": (1, 1),
    "repetition": (1, 1),
    "listed words too high": (1, 1),
    "address blocked": (1, 1),
    "robots forbid": (1, 1),
    "robots unknown": (1, 1),
    "address covered": (1, 1),
    "licence noncommercial": (1, 1),
    "licence closed": (1, 1),
    "licence unknown": (1, 1),
    "years since death too low": (1, 1),
    "exact duplicate": (1, 1),
    "near duplicate": (0.9, 0.9),
}


def test_every_rule_that_something_was_planted_for_has_its_floors(scores: dict[str, dict[str, Any]]) -> None:
    assert {name for name, row in scores.items() if row["planted"]} == set(FLOORS)


@pytest.mark.parametrize("rule", FLOORS)
def test_a_rule_finds_what_was_planted_for_it(scores: dict[str, dict[str, Any]], rule: str) -> None:
    precision, recall = FLOORS[rule]
    found = scores[rule]
    assert found["planted"] > 0
    assert found["recall"] >= recall, found
    assert found["precision"] >= precision, found


def test_at_most_two_sound_documents_are_lost_and_few_faulty_ones_kept(
    cleaned: tuple[Cleaning, dict[str, Any]], faults: pl.DataFrame
) -> None:
    told = work.decisions(cleaned[0])
    found = planted.whole(told, faults)
    assert found["sound_dropped"] <= 2
    assert found["faulty_kept"] <= 4
    missed = planted.missed(told, faults)
    assert missed.height == found["sound_dropped"] + found["faulty_kept"]


def test_decoys_are_kept(cleaned: tuple[Cleaning, dict[str, Any]], faults: pl.DataFrame) -> None:
    told = work.decisions(cleaned[0]).join(faults, on=["source", "id"], how="inner")
    decoys = told.filter(pl.col("kind").is_in(planted.HARMLESS))
    assert decoys.height == faults.filter(pl.col("kind").is_in(planted.HARMLESS)).height > 0
    assert set(decoys["reason"]) == {""}


def test_every_address_that_was_planted_is_replaced_and_no_other(
    cleaned: tuple[Cleaning, dict[str, Any]], faults: pl.DataFrame
) -> None:
    clean = pl.concat(
        [pl.read_parquet(path, columns=["source", "id", "text"]) for path in work.kept(cleaned[0].folder)]
    )
    for row in planted.addresses(clean, faults).iter_rows(named=True):
        assert (row["found"], row["wrong"]) == (row["planted"], 0), row


def test_documents_in_are_kept_or_dropped(cleaned: tuple[Cleaning, dict[str, Any]], documents: pl.DataFrame) -> None:
    _, report = cleaned
    assert report["read"] == documents.height == report["kept"] + sum(report["dropped"].values())
    assert "unreadable" not in report["dropped"]
    assert report["ids_seen_before"] == 0


# The scores themselves, on an invented list


def decided(*rows: tuple[str, list[str], str | None]) -> pl.DataFrame:
    """What became of documents 1, 2, 3 ...: the rules they break, the twin."""
    return pl.DataFrame(
        [
            {"source": "s", "id": name, "reason": broken[0] if broken else "", "broken": broken, "twin": twin}
            for name, broken, twin in rows
        ],
        schema={"source": pl.String(), "id": pl.String(), "reason": pl.String(), "broken": pl.List(pl.String()),
                "twin": pl.String()},
    )  # fmt: skip


def listed(**kinds: tuple[str, str | None]) -> pl.DataFrame:
    rows = [{"source": "s", "id": name.strip("_"), "kind": kind, "detail": of} for name, (kind, of) in kinds.items()]
    return pl.DataFrame(rows, schema=dict.fromkeys(("source", "id", "kind", "detail"), pl.String()))


def test_precision_and_recall_are_counted_by_rule() -> None:
    told = decided(
        ("1", ["words too low"], None),  # found
        ("2", [], None),  # missed
        ("3", ["words too low"], None),  # sound
        ("4", ["lorem ipsum too high", "words too low"], None),  # another's
        ("5", ["top 2gram too high"], None),
    )
    faults = listed(_1=("short", None), _2=("short", None), _4=("lorem_ipsum", None), _5=("spam", None))
    found = {row["rule"]: row for row in planted.rules(told, faults).iter_rows(named=True)}
    assert found["words too low"] == {"rule": "words too low", "planted": 2, "found": 1, "others": 1, "wrong": 1,
                                      "precision": 0.5, "recall": 0.5}  # fmt: skip
    assert (found["lorem ipsum too high"]["precision"], found["lorem ipsum too high"]["recall"]) == (1, 1)
    assert (found["repetition"]["planted"], found["repetition"]["found"]) == (1, 1)
    assert found["exact duplicate"]["recall"] is None
    assert planted.whole(told, faults) == {"faulty_dropped": 3, "sound_dropped": 1, "faulty_kept": 1}
    assert set(planted.missed(told, faults)["id"]) == {"2", "3"}


@pytest.mark.parametrize("dropped", ["original", "copy"])
def test_of_a_pair_of_copies_either_may_be_dropped(dropped: str) -> None:
    told = decided(*((name, ["exact duplicate"] if name == dropped else [], None) for name in ("original", "copy")))
    faults = listed(copy=("exact_duplicate", "s/original"))
    assert planted.whole(told, faults) == {"faulty_dropped": 1, "sound_dropped": 0, "faulty_kept": 0}
    (found,) = planted.rules(told, faults).filter(rule="exact duplicate").iter_rows(named=True)
    assert (found["found"], found["wrong"], found["precision"], found["recall"]) == (1, 0, 1, 1)
    assert planted.missed(told, faults).is_empty()


def test_a_copy_of_which_both_are_dropped_or_none_is_a_fault() -> None:
    faults = listed(copy=("exact_duplicate", "s/original"))
    both = decided(*((name, ["exact duplicate"], None) for name in ("original", "copy")))
    assert planted.whole(both, faults) == {"faulty_dropped": 1, "sound_dropped": 1, "faulty_kept": 0}
    assert planted.missed(both, faults)["id"].to_list() == ["original"]
    none = decided(*((name, [], None) for name in ("original", "copy")))
    assert planted.whole(none, faults) == {"faulty_dropped": 0, "sound_dropped": 0, "faulty_kept": 1}
    assert planted.missed(none, faults)["id"].to_list() == ["copy"]
