"""Training a tokenizer, what it does to a text, its options, and counting with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import polars as pl
import pytest
import tokenizers
from conftest import ROOT, Lucie
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lucie.errors import Exit, MismatchError, UsageError
from lucie.project import Project
from lucie.records import load_record
from lucie.tokenizer import bpe, measure, options, others, vocabulary
from lucie.tokenizer.normalisation import Rules, composed, merges, normalised, spaced_signs, stated

SMALL = bpe.Options(vocabulary=3000)
SAMPLED = 20  # documents of each subset of the sample; all were tried by hand


def documents(folder: Path, most: int | None = None) -> list[dict[str, str]]:
    """The documents of a folder, at most so many of a file."""
    files = sorted(folder.rglob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text("utf-8").split("\n")[:most] if line]


TEXTS = [document["text"] for document in documents(ROOT / "data" / "mini" / "documents")]
OURS = bpe.train(TEXTS, SMALL)
RULES = Rules.of(OURS)


@pytest.fixture(scope="module")
def released_folder() -> Path:
    """The tokenizer that was released with the model, where this machine has it."""
    folder = ROOT.parent / "shared" / "upstream" / "lucie" / "tokenizers" / "hugging_face" / "tokenizer_pretrained"
    if not folder.is_dir():
        pytest.skip("the authors' tokenizers are not here: no shared/upstream beside the repository")
    return folder


@pytest.fixture(scope="module")
def released(released_folder: Path) -> tokenizers.Tokenizer:
    return bpe.load(released_folder)


@pytest.fixture(scope="module")
def sample() -> list[dict[str, str]]:
    """A few hundred documents of real text."""
    folder = ROOT.parent / "shared" / "corpora" / "open-sample"
    if not folder.is_dir():
        pytest.skip("the sample is not here: no shared/corpora/open-sample beside the repository")
    return documents(folder, SAMPLED)


# What is given back

ODD = [*bpe.SPACED, *bpe.SPECIALS, *" \u00a0▁\r\x00\u0301\u0323e²Ⓐあ😀|_'-.", "  ", "▁▁", " d", "\u212b", "<0x41>"]
PIECE = st.sampled_from(ODD) | st.characters(exclude_categories=["Cs"])
ANY_TEXT = st.lists(PIECE, max_size=30).map("".join)


def given_back(tokenizer: tokenizers.Tokenizer, text: str) -> str:
    shown: str = tokenizer.decode(tokenizer.encode(text).ids)
    return shown


@settings(max_examples=400)
@given(ANY_TEXT, st.integers(0, 20))
@example("", 9)
def test_decoding_gives_back_what_is_stated(text: str, blanks: int) -> None:
    text = " " * blanks + text
    assert given_back(OURS, text) == stated(text, RULES)


def test_the_released_tokenizer_gives_back_what_is_stated(released: tokenizers.Tokenizer) -> None:
    rules = Rules.of(released)
    assert rules.signs == bpe.SPACED

    @settings(max_examples=400)
    @given(ANY_TEXT, st.integers(0, 20))
    def holds(text: str, blanks: int) -> None:
        text = " " * blanks + text
        assert given_back(released, text) == stated(text, rules)

    holds()


@settings(max_examples=200)
@given(ANY_TEXT)
def test_every_id_is_an_entry_and_none_is_unknown(text: str) -> None:
    ids = OURS.encode(text.replace("<unk>", "")).ids
    assert all(0 <= number < OURS.get_vocab_size() for number in ids)
    assert "<unk>" in text or bpe.SPECIALS.index("<unk>") not in ids


@pytest.mark.parametrize(
    ("text", "back"),
    [
        ("L'été (oui) : «Non» — 'a'.", "L'été (oui) : «Non» — 'a'."),
        ("ligne\n  deux\n\n\ttrois", "ligne\n  deux\n\n\ttrois"),
        ("e\u0301", "é"),  # composed
        ("\u212b", "Å"),
        ("e\r\u0301", "e\u0301"),  # composed before the \r is gone
        ("a\r\nb\x00c", "a\nbc"),
        ("10\u00a0000", "10 000"),
        ("a▁b", "a b"),
        ("«\u00a0oui\u00a0»", "«oui »"),  # no space was put before the no-break space
        ("'\u00a0x", "'x"),
        ("' x", "' x"),
        ("(▁x", "(x"),
        ("\n  x", "\n  x"),
        ("a<s>b</s>", "a b"),  # special tokens are not shown; a piece starts with a space
        ("'<s>b", "'b"),
        ("<s>", ""),
        (" de", " de"),
        ("  de", " de"),  # blanks of a token of their own
        ("        de", " de"),
        ("         de", "  de"),  # nine and the one put before: eight to a token, and the last two
        ("  あ", ""),  # see below: no word here takes the last one
        (" ", ""),
        ("", ""),
        ("\r", ""),
        ("<0x41>", "<0x41>"),
        ("😀 あ", "😀 あ"),
    ],
)
def test_quirks_of_the_way_back(text: str, back: str) -> None:
    expected = "あ" if text == "  あ" else back
    assert given_back(OURS, text) == stated(text, RULES) == expected


def test_the_normaliser_is_known_for_every_code_point() -> None:
    points = [chr(point) for point in range(0x110000) if not 0xD800 <= point < 0xE000]
    for start in range(0, len(points), 100_000):
        text = ".".join(f"'{sign}" for sign in points[start : start + 100_000])
        assert OURS.normalizer.normalize_str(text) == normalised(text, bpe.SPACED)


def test_composing_is_known_for_every_mark_and_pair() -> None:
    compose = tokenizers.normalizers.NFC().normalize_str
    points = [chr(point) for point in range(0x110000) if not 0xD800 <= point < 0xE000]
    marks = [sign for sign in points if unicodedata.combining(sign)]
    pairs = [unicodedata.normalize("NFD", sign) for sign in points if not unicodedata.is_normalized("NFD", sign)]
    text = "".join(f"x{mark}\u0301x\u0323{mark}x\u0334{mark}\u0345" for mark in marks) + "|".join(pairs)
    assert compose(text) == composed(text)
    assert unicodedata.normalize("NFC", text) != composed(text), "tokenizers knows the later marks by now"


# Training


def test_the_entries_are_the_fixed_ones_then_the_alphabet_then_merges() -> None:
    entries = options.entries(json.loads(OURS.to_str()))
    fixed, alphabet = SMALL.fixed, bpe.choose_alphabet(TEXTS, SMALL)
    assert [entries[number] for number in range(len(fixed))] == fixed
    assert [entries[len(fixed) + number] for number in range(len(alphabet))] == alphabet
    assert sorted(entries) == list(range(3000))
    assert len(bpe.Options().fixed) == 4 + 256 + 40 + 8 + 4 + 2 + 10


def test_merges_follow_from_entries_as_in_the_authors_files() -> None:
    content = json.loads(OURS.to_str())
    counted: dict[str, int] = {}
    for entry in options.entries(content).values():
        counted[options.kind(entry)] = counted.get(options.kind(entry), 0) + 1
    assert vocabulary.merges(counted) == len(merges(content))


def test_the_alphabet_is_the_most_frequent_characters_of_scripts_with_case() -> None:
    texts = ["zzz yyy xx ww éé", "אאאאあああ\u200b\u200b", "e\u0301 7 é ▁"]
    assert bpe.choose_alphabet(texts, bpe.Options(limit_alphabet=4)) == [" ", "y", "z", "é"]
    assert bpe.choose_alphabet(texts, bpe.Options(limit_alphabet=0)) == []


SCRIPT = """
import hashlib, json, sys
from lucie.tokenizer.bpe import Options, train
texts = json.loads(sys.stdin.read())
print(hashlib.sha256(train(texts, Options(vocabulary=3000)).to_str(pretty=True).encode()).hexdigest())
"""


def test_the_same_text_gives_the_same_bytes_with_any_number_of_threads() -> None:
    def train(threads: str) -> str:
        environment = {**os.environ, "RAYON_NUM_THREADS": threads, "PYTHONPATH": str(ROOT / "src")}
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT], input=json.dumps(TEXTS), env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert train("1") == train("2") == train("2")
    assert bpe.train(iter(TEXTS), SMALL).to_str() == OURS.to_str()


def test_what_cannot_be_trained_is_refused() -> None:
    with pytest.raises(UsageError, match="no text to train"):
        bpe.train(["", ""], SMALL)
    with pytest.raises(UsageError, match="no text to train"):
        bpe.train([], SMALL)
    with pytest.raises(UsageError, match=r"vocabulary of 300 has no room for 324 fixed entries and \d+ characters"):
        bpe.train(TEXTS, bpe.Options(vocabulary=300))
    least = len(SMALL.fixed) + len(bpe.choose_alphabet(TEXTS[:5], SMALL))
    assert bpe.train(TEXTS[:5], bpe.Options(vocabulary=least)).get_vocab_size() == least
    with pytest.raises(UsageError, match=str(least)):
        bpe.train(TEXTS[:5], bpe.Options(vocabulary=least - 1))


@pytest.mark.parametrize(
    "wrong", [{"spaces": 0}, {"tabs": 0}, {"linebreaks": 0}, {"unused": -1}, {"limit_alphabet": -1}, {"signs": "(("}]
)
def test_an_option_that_makes_no_sense_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=f"option {next(iter(wrong))}"):
        bpe.Options(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("other", [{"spaces": 1, "tabs": 1, "linebreaks": 1}, {"unused": 0, "signs": "(", "spaces": 3}])
def test_other_options_keep_the_way_back(other: dict[str, int]) -> None:
    tokenizer = bpe.train(TEXTS, bpe.Options(vocabulary=1000, **other))  # type: ignore[arg-type]
    rules = Rules.of(tokenizer)
    for text in ["    de\n\n\n\t\t(x) 'a'", "  x", "   あ", *TEXTS[:50]]:
        assert given_back(tokenizer, text) == stated(text, rules)


# Files


def test_it_is_the_same_in_transformers_and_after_save_and_load(tmp_path: Path) -> None:
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    bpe.save(OURS, tmp_path / "new")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(bpe.FILES)
    loaded = bpe.load(tmp_path / "new")
    assert loaded.to_str() == OURS.to_str()
    plain = AutoTokenizer.from_pretrained(tmp_path / "new")
    plain.save_pretrained(tmp_path / "again")
    again = PreTrainedTokenizerFast.from_pretrained(tmp_path / "again")
    texts = [*TEXTS[:200], "    de «\u00a0oui\u00a0»\r\n<s>\t\tあ"]
    ids = [OURS.encode(text).ids for text in texts]
    assert plain(texts)["input_ids"] == again(texts)["input_ids"] == ids
    assert [plain.decode(one, skip_special_tokens=True) for one in ids] == [stated(text, RULES) for text in texts]
    assert (plain.bos_token_id, plain.eos_token_id, plain.unk_token_id, plain.pad_token_id) == (0, 1, 2, 3)


def test_a_folder_without_a_readable_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no tokenizer\.json in"):
        bpe.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UsageError, match="not a tokenizer that can be read"):
        bpe.load(tmp_path)
    with pytest.raises(UsageError, match=r"not a tokenizer\.json that can be read"):
        options.read(tmp_path)


# Options


def test_a_tokenizer_has_its_own_options() -> None:
    table = options.compare(json.loads(OURS.to_str()), json.loads(OURS.to_str()))
    assert table["same"].all()
    assert table.columns == ["option", "ours", "theirs", "same"]


def test_ours_has_the_options_of_the_released_but_for_size_and_renamed_slots(released_folder: Path) -> None:
    table = options.compare(json.loads(OURS.to_str()), options.read(released_folder))
    assert table.filter(~pl.col("same"))["option"].to_list() == [
        "entries",
        "entries, unused",
        "entries, character",
        "entries, merged",
        "merges",
    ]


def test_the_authors_files_differ_in_what_the_record_says(project: Project, released_folder: Path) -> None:
    counting, instruct = (
        options.read(released_folder.parent.parent / name)
        for name in ("stats_tokens/tokenizer", "hugging_face/tokenizer_instruct")
    )
    released = options.read(released_folder)
    record = load_record(project, "input/tokenizer_entries").filter(tokenizer="released")
    read = options.options(released)
    assert {kind: read[f"entries, {kind}"] for kind in record["kind"]} == {
        kind: str(entries) for kind, entries in record.select("kind", "entries").iter_rows()
    }
    assert options.in_common(counting, released)["entries with the same number"] == 65_019
    differing = options.compare(released, instruct).filter(~pl.col("same"))["option"].to_list()
    assert differing == ["entries, special", "entries, unused", "special tokens", "decoder"]
    assert set(spaced_signs(released)) - set(spaced_signs(counting)) == set("{/<")


# Counting


def shard(path: Path, rows: list[dict[str, str | None]]) -> Path:
    schema = dict.fromkeys(("source", "id", "language", "category", "text"), pl.String())
    pl.DataFrame(rows, schema=schema).write_parquet(path)
    return path


def row(text: str, language: str | None = "fr", source: str = "a") -> dict[str, str | None]:
    return {"source": source, "id": "1", "language": language, "category": "web", "text": text}


def test_counts_are_those_of_each_text(tmp_path: Path) -> None:
    texts = ["Où  ça ?", "", "Un\u00a0mot\u2003de <s> plus.\n"]
    rows = [*map(row, texts), row("one two", "en"), row("x", None)]
    counts = measure.count(OURS, [shard(tmp_path / "a.parquet", rows[:2]), shard(tmp_path / "b.parquet", rows[2:])])
    assert counts["language"].to_list() == ["", "en", "fr"]
    french = counts.row(2, named=True)
    assert french["documents"] == 3
    assert french["words"] == sum(len(text.split()) for text in texts)
    assert french["characters"] == sum(map(len, texts))
    assert french["bytes"] == sum(len(text.encode()) for text in texts)
    assert french["tokens"] == sum(len(OURS.encode(text).ids) - 1 for text in texts)
    whole = measure.by(counts).row(0, named=True)
    assert whole["fertility"] == whole["tokens"] / whole["words"]
    assert whole["characters_per_token"] == whole["characters"] / whole["tokens"]
    assert whole["bytes_per_token"] == whole["bytes"] / whole["tokens"]
    assert measure.by(counts, "source")["documents"].to_list() == [5]


def test_shards_and_batches_change_no_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row(text, source=f"source {place % 3}") for place, text in enumerate(TEXTS)]
    whole = measure.count(OURS, [shard(tmp_path / "whole.parquet", rows)])
    parts = [shard(tmp_path / f"{start}.parquet", rows[start::5]) for start in range(5)]
    monkeypatch.setattr(measure, "CHARACTERS_AT_ONCE", 3000)
    monkeypatch.setattr(measure, "ROWS_AT_ONCE", 7)
    done: list[int] = []
    assert measure.count(OURS, parts, done.append).equals(whole)
    assert sum(done) == len(TEXTS) == whole["documents"].sum()


def test_an_empty_corpus_counts_nothing(tmp_path: Path) -> None:
    counts = measure.count(OURS, [shard(tmp_path / "a.parquet", [])])
    assert counts.is_empty()
    assert measure.by(counts).row(0, named=True)["fertility"] is None


def test_a_shard_that_cannot_be_counted_is_named(tmp_path: Path) -> None:
    pl.DataFrame({"text": ["a"]}).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(UsageError, match=r"a\.parquet has no column category, language, source"):
        measure.count(OURS, [tmp_path / "a.parquet"])
    (tmp_path / "b.parquet").write_text("no")
    with pytest.raises(UsageError, match=r"b\.parquet is not a Parquet file"):
        measure.count(OURS, [tmp_path / "b.parquet"])


def test_our_ids_are_those_of_plain_transformers(
    released: tokenizers.Tokenizer, released_folder: Path, sample: list[dict[str, str]]
) -> None:
    from transformers import PreTrainedTokenizerFast

    texts = [document["text"] for document in sample]
    plain = PreTrainedTokenizerFast.from_pretrained(released_folder)
    assert len(texts) > 250
    assert measure.ids(released, texts) == plain(texts, add_special_tokens=False)["input_ids"]
    rules = Rules.of(released)
    assert [text for text in texts if given_back(released, text) != stated(text, rules)] == []


def test_transformers_5_reads_the_authors_files_otherwise_than_they_are(
    released: tokenizers.Tokenizer, released_folder: Path
) -> None:
    """Why ours name another class: for theirs, transformers 5 builds a normaliser of its own."""
    from transformers import AutoTokenizer

    assert AutoTokenizer.from_pretrained(released_folder)("L'été")["input_ids"] != released.encode("L'été").ids


# Those of others


def test_tokenizers_are_found_in_a_folder_of_folders(tmp_path: Path) -> None:
    assert others.found(tmp_path / "none") == {}
    bpe.save(OURS, tmp_path / "one")
    (tmp_path / "two").mkdir()
    assert others.found(tmp_path) == {"one": tmp_path / "one"}


def test_the_authors_tokenizers_come_and_the_others_are_named_as_missing(
    project: Project, upstream: Path, tmp_path: Path, lucie: Lucie
) -> None:
    done = lucie(project, "fetch", "tokenizers", "--into", str(tmp_path / "in"), "--mirror", str(upstream))
    assert done.returncode == Exit.HELD, done.stderr
    assert sorted(others.found(tmp_path / "in")) == ["counting", "instruct", "released"]
    lacking = others.missing(project, tmp_path / "in")
    compared = set(load_record(project, "input/tokenizer_measurements")["tokenizer"]) - {"Lucie2.9", "Lucie2.10"}
    assert {row.name for row in lacking} == compared
    assert all(f"{row.name} " in done.stdout and row.reason for row in lacking)
    assert others.fetch(project, tmp_path / "in", None, lambda _: None) == 0, "what is there is kept"
    assert others.fetch(project, tmp_path / "again", tmp_path / "in", lambda _: None) == 9
    bpe.save(OURS, tmp_path / "in" / "Bloom")
    assert "Bloom" not in {row.name for row in others.missing(project, tmp_path / "in")}
    (tmp_path / "in" / "released" / "tokenizer.json").write_text("{}")
    with pytest.raises(MismatchError, match="not the pinned file"):
        others.fetch(project, tmp_path / "third", tmp_path / "in", lambda _: None)
