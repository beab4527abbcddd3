"""Token files: held-out documents, overlap with tests, the files, the mix as data, the order, the step's documents."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from conftest import ROOT, Lucie, edit, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lucie.errors import Exit, MismatchError, UsageError
from lucie.files import sha256
from lucie.mixture import later
from lucie.mixture.main import weigh
from lucie.mixture.plan import PHASES, Mix, plan
from lucie.project import Project
from lucie.records import load_record
from lucie.tokenizer.bpe import load
from lucie.tokens.files import kind_of, write_tokens
from lucie.tokens.folder import TokenFolder
from lucie.tokens.heldout import is_held_out
from lucie.tokens.interleave import BITS, Interleaving, point, points_below
from lucie.tokens.order import OrderedTokens
from lucie.tokens.overlap import grams, overlap

WORDS = [*"abcdefg", "the", "cat", "sat", "mat", "chat", "noir", "table", "bleue"]
PER_MILLE = 200
Made = tuple[Path, Path, list[Path]]  # token files, tokenizer, shards


def documents(count: int, language: str, category: str, words: int, seed: int = 0) -> list[dict[str, str]]:
    """Made-up documents of about so many words; every other one is three times as long."""
    chance = np.random.default_rng([seed, count, words])
    sizes = [words * (3 if number % 2 else 1) for number in range(count)]
    return [
        {
            "source": f"{category}-{language}",
            "id": f"{language}{number}",
            "language": language,
            "category": category,
            "text": " ".join([f"document {number}", *chance.choice(WORDS, size)]),
        }
        for number, size in enumerate(sizes)
    ]


def shard(path: Path, *groups: list[dict[str, str]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame([row for group in groups for row in group]).write_parquet(path)
    return path


def train_tokenizer(folder: Path, size: int = 300) -> Path:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<s>", "</s>", "<unk>", "<pad>"]
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator([" ".join(WORDS), "document 0 1 2 3 4 5 6 7 8 9"] * 3, trainer)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def make_shards(folder: Path) -> list[Path]:
    return [
        shard(folder / "0.parquet", documents(60, "fr", "Web", 30), documents(6, "code:c", "programming", 20)),
        shard(folder / "1.parquet", documents(40, "en", "book", 60), documents(5, "code:sql", "programming", 20)),
        shard(folder / "2.parquet", documents(50, "fr", "Web", 25, seed=1), documents(9, "fr,en", "parallel", 10)),
    ]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Token files of four kinds of text; tests only look at them."""
    folder = tmp_path_factory.mktemp("tokens")
    tokenizer, shards = train_tokenizer(folder / "tiny"), make_shards(folder / "shards")
    write_tokens(shards, tokenizer, folder / "tokens", PER_MILLE)
    return folder / "tokens", tokenizer, shards


@pytest.fixture
def spoiled(made: Made, tmp_path: Path) -> Path:
    """A copy of the token files that a test may spoil."""
    return Path(shutil.copytree(made[0], tmp_path / "tokens"))


def mix_of(**changes: Any) -> Mix:
    """A mix of the kinds of text in `made`; changes by name, epochs or a phase."""
    phase = {"sequence_length": 64, "sequences_per_batch": 4, "tokens": 64 * 4 * 25}
    content: dict[str, Any] = {
        "name": "toy",
        "says": "toy",
        "seed": 1,
        "epochs": {"code": {"programming": 2}, "en": {"book": 3}, "fr": {"web": 1}, "fr-en": {"parallel": 1.5}},
    }
    phases: dict[str, Any] = {"main": phase, "extension": {**phase, "favour_longer_than": 64}, "annealing": {**phase}}
    phases["annealing"]["shares"] = {"en": {"book": 3}, "fr": {"web": 1}}
    for name, change in changes.items():
        if name in phases:
            phases[name] |= change
        else:
            content[name] = change
    return Mix.model_validate({**content, "phases": phases})


def digests(folder: Path) -> dict[str, str]:
    """The sha256 of every file under a folder, the hidden ones too."""
    return {p.relative_to(folder).as_posix(): sha256(p) for p in sorted(folder.rglob("*")) if p.is_file()}


# Held-out documents


@given(st.text(max_size=60), st.integers(0, 1000), st.integers(0, 1000))
def test_what_fewer_hold_out_more_do_too(text: str, one: int, other: int) -> None:
    fewer, more = sorted((one, other))
    assert not is_held_out(text, 0) and is_held_out(text, 1000)
    assert is_held_out(text, more) or not is_held_out(text, fewer)


@given(st.text(alphabet="abé ÀB\n", max_size=30))
def test_copies_are_on_the_same_side(text: str) -> None:
    assert is_held_out(text, 300) == is_held_out(f"  {text.upper()}\n", 300)


def test_so_many_in_a_thousand_are_held_out() -> None:
    assert sum(is_held_out(f"text {number}", 50) for number in range(20_000)) == pytest.approx(1000, rel=0.1)
    # A published split must not move: these are this function's answers for good.
    assert [number for number in range(40) if is_held_out(f"text {number}", 50)] == [9, 27, 29]


def test_no_other_number_can_be_held_out() -> None:
    with pytest.raises(UsageError, match="1001 in a thousand"):
        is_held_out("a", 1001)


def test_documents_added_later_move_none_to_the_other_side(made: Made, tmp_path: Path) -> None:
    folder, tokenizer, shards = made
    more = shard(tmp_path / "3.parquet", documents(30, "fr", "web", 12, seed=2))
    write_tokens([more, *shards], tokenizer, tmp_path / "tokens", PER_MILLE)
    for place in ("", "heldout"):
        before, after = (
            pl.read_parquet(f / place / "fr--web.documents.parquet") for f in (folder, tmp_path / "tokens")
        )
        assert after.tail(before.height).equals(before)


# Overlap with test items


def test_items_that_share_eight_words_are_found(tmp_path: Path) -> None:
    text = "Once upon a time, the small red fox ran far away."
    rows = [
        {"source": "s", "id": "clean", "text": "Nothing of the kind stands in this text, not at all, I say."},
        {"source": "s", "id": "copy", "text": f"He said: {text.upper()} And then?"},
        {"source": "s", "id": "part", "text": "a time the small red fox ran far and wide"},
    ]
    shards = [shard(tmp_path / "a.parquet", rows[:2]), shard(tmp_path / "b.parquet", rows[2:])]
    found = overlap(shards, {"fox": text, "short": "too short", "other": "one two three four five six seven eight"})
    assert found.documents == 3
    assert found.too_short == ["short"]
    assert found.shared.select("item", "source", "id", "shared").rows() == [
        ("fox", "s", "copy", 4),
        ("fox", "s", "part", 1),
    ]
    assert found.shared["part"].to_list() == [1, 0.25]
    assert found.shared["example"].to_list() == [
        "once upon a time the small red fox",
        "a time the small red fox ran far",
    ]


WORD_LISTS = st.lists(st.sampled_from("abc"), max_size=14).map(" ".join)


@given(st.lists(WORD_LISTS, min_size=1, max_size=4), st.lists(WORD_LISTS, min_size=1, max_size=3))
@settings(max_examples=25)
def test_overlap_is_that_of_sets_of_grams(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], items: list[str]
) -> None:
    rows = [{"source": "s", "id": str(number), "text": text} for number, text in enumerate(texts)]
    path = shard(tmp_path_factory.mktemp("overlap") / "a.parquet", rows)
    found = overlap([path], {str(number): item for number, item in enumerate(items)}, words=3)
    expected = {
        (str(i), str(d)): len(common)
        for i, item in enumerate(items)
        for d, text in enumerate(texts)
        if (common := set(grams(item, 3)) & set(grams(text, 3)))
    }
    assert {(row[0], row[1]): row[2] for row in found.shared.select("item", "id", "shared").rows()} == expected


# Token files


def test_a_file_a_kind_of_text(made: Made) -> None:
    folder = TokenFolder(made[0])
    assert list(folder.files) == ["code--programming", "en--book", "fr--web", "fr-en--parallel"]
    assert kind_of("code:python", "Programming") == ("code", "programming")
    apart = TokenFolder(made[0] / "heldout")
    both = {name: folder.get(name).documents + apart.get(name).documents for name in folder.files}
    assert both == {"code--programming": 11, "en--book": 40, "fr--web": 110, "fr-en--parallel": 9}
    assert sum(file.documents for file in apart.files.values()) == pytest.approx(0.2 * 170, rel=0.5)


def test_every_document_is_there_in_order_with_its_end(made: Made) -> None:
    path, tokenizer_folder, shards = made
    tokenizer = load(tokenizer_folder)
    rows = [row for s in shards for row in pl.read_parquet(s).iter_rows(named=True)]
    for side, place in enumerate((path, path / "heldout")):
        folder = TokenFolder(place)
        for name, file in folder.files.items():
            mine = [
                row
                for row in rows
                if kind_of(row["language"], row["category"]) == (file.language, file.category)
                and is_held_out(row["text"], PER_MILLE) == bool(side)
            ]
            expected = [[*tokenizer.encode(row["text"]).ids, file.end_of_document] for row in mine]
            assert folder.tokens(name).tolist() == [token for tokens in expected for token in tokens]
            assert folder.lengths(name).tolist() == [len(tokens) for tokens in expected]
            named = folder.documents(name, list(range(file.documents)))
            assert named.select("source", "id").rows() == [(row["source"], row["id"]) for row in mine]


def test_the_files_are_those_that_datatrove_writes(made: Made, tmp_path: Path) -> None:
    """Byte for byte: tokens, index and metadata."""
    from datatrove.data import Document
    from datatrove.pipeline.tokens import DocumentTokenizer

    folder, tokenizer, shards = made
    frame = pl.concat(pl.read_parquet(path) for path in shards).filter(pl.col("category") == "book")
    texts = [text for text in frame["text"] if not is_held_out(text, PER_MILLE)]
    step = DocumentTokenizer(
        str(tmp_path), str(tokenizer / "tokenizer.json"), eos_token="</s>", shuffle_documents=False, save_filename="x"
    )
    step.run(Document(text=text, id=str(number)) for number, text in enumerate(texts))
    theirs = {path.name.partition(".ds")[2]: path for path in tmp_path.glob("*.ds*")}
    for suffix in ("", ".index"):
        assert (folder / f"en--book.ds{suffix}").read_bytes() == theirs[suffix].read_bytes()
    ours, his = (p.read_text().splitlines() for p in (folder / "en--book.ds.metadata", theirs[".metadata"]))
    assert ours == [f"tiny|{his[0].partition('|')[2]}", *his[1:]]


def test_datatrove_reads_the_files(made: Made) -> None:
    """By its merger's readers, and where torch is installed by the data set that nanotron trains from."""
    from datatrove.pipeline.tokens.merger import get_data_reader, load_doc_ends

    path, name = made[0], "fr--web"
    folder = TokenFolder(path)
    ends = load_doc_ends((path / f"{name}.ds.index").open("rb"))
    assert ends.tolist() == folder.ends(name).tolist()
    read = [np.frombuffer(part, "<u2") for part in get_data_reader((path / f"{name}.ds").open("rb"), ends, 2)]
    assert [len(tokens) for tokens in read] == folder.lengths(name).tolist()
    assert np.concatenate(read).tolist() == folder.tokens(name).tolist()


def test_the_data_set_of_nanotron_reads_the_files(made: Made) -> None:
    pytest.importorskip("torch", reason="datatrove's data set needs torch, which group 'train' installs")
    from datatrove.utils.dataset import DatatroveFolderDataset

    folder = TokenFolder(made[0])
    found = DatatroveFolderDataset(str(made[0]), 31, "fr--web.ds", recursive=False, return_positions=False)
    tokens = folder.tokens("fr--web")
    assert len(found) == len(tokens) // 32
    assert found[3]["input_ids"].tolist() == tokens[96:128].tolist()


def test_a_vocabulary_beyond_16_bits_takes_32(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = {"</s>": 0, "<unk>": 1, **{f"w{number}": number for number in range(2, 65_537)}}
    for size, dtype in ((65_536, "uint16"), (65_537, "uint32")):
        kept = {word: number for word, number in words.items() if number < size}
        tokenizer = Tokenizer(models.WordLevel(kept, unk_token="<unk>"))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        place = tmp_path / dtype
        place.mkdir()
        tokenizer.save(str(place / "tokenizer.json"))
        row = {"source": "s", "id": "1", "language": "fr", "category": "web", "text": f"w2 w{size - 1}"}
        folder = write_tokens([shard(place / "a.parquet", [row])], place, place / "tokens")
        assert folder.get("fr--web").dtype == dtype
        assert folder.tokens("fr--web").tolist() == [2, size - 1, 0]
        assert (
            (place / "tokens" / "fr--web.ds.metadata").read_text().startswith(f"{dtype}|{2 if size == 65_536 else 4}\n")
        )


def test_two_workers_write_the_same_bytes(made: Made, tmp_path: Path) -> None:
    folder, tokenizer, shards = made
    write_tokens(shards, tokenizer, tmp_path / "tokens", PER_MILLE, jobs=2)
    assert digests(tmp_path / "tokens") == digests(folder)


def test_what_is_finished_is_left_alone_and_what_changed_is_not(made: Made, tmp_path: Path) -> None:
    _, tokenizer, _ = made
    shards, folder = make_shards(tmp_path / "shards"), tmp_path / "tokens"
    write_tokens(shards, tokenizer, folder)

    def times() -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.ds")}

    before = times()
    write_tokens(shards, tokenizer, folder)
    assert times() == before
    shard(shards[1], documents(40, "en", "book", 61))  # the programs of this shard are gone, the books are others
    write_tokens(shards, tokenizer, folder)
    assert {name for name, when in times().items() if when != before[name]} == {"code--programming.ds", "en--book.ds"}
    write_tokens(shards[1:2], tokenizer, folder)
    assert {path.name for path in folder.glob("*.ds")} == {"en--book.ds"}
    assert list(TokenFolder(folder).files) == ["en--book"]
    fresh = write_tokens(shards[1:2], tokenizer, tmp_path / "fresh").path
    assert digests(fresh) == digests(folder)


KILLED = """
import sys
from pathlib import Path
from lucie.tokens import files
def slowly(batches):
    import time
    for number, item in enumerate(batches):
        yield item
        if number == 20:
            print("half", flush=True)
            time.sleep(60)
plain = files._encoded
files._encoded = lambda task, tokenizer: slowly(plain(task, tokenizer))
shards, tokenizer, folder = sorted(Path(sys.argv[1]).glob("*.parquet")), Path(sys.argv[2]), Path(sys.argv[3])
files.write_tokens(shards, tokenizer, folder, int(sys.argv[4]))
"""


def test_killed_and_started_again_gives_the_same_bytes(made: Made, tmp_path: Path) -> None:
    folder, tokenizer, shards = made
    arguments = [str(shards[0].parent), str(tokenizer), str(tmp_path), str(PER_MILLE)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-c", KILLED, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout and process.stdout.readline() == "half\n"
        time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    assert list(tmp_path.glob(".*.tmp")) and (tmp_path / "code--programming.json").is_file()
    with pytest.raises(UsageError, match="no finished token files"):
        _ = TokenFolder(tmp_path).files
    write_tokens(shards, tokenizer, tmp_path, PER_MILLE)
    assert digests(tmp_path) == digests(folder)


def test_a_tokenizer_that_cannot_serve_is_refused(made: Made, tmp_path: Path) -> None:
    _, tokenizer, shards = made
    with pytest.raises(UsageError, match=r"no tokenizer.json"):
        write_tokens(shards, tmp_path, tmp_path / "tokens")
    write(tmp_path / "tokenizer.json", "{")
    with pytest.raises(UsageError, match="is not a tokenizer that can be read"):
        write_tokens(shards, tmp_path, tmp_path / "tokens")
    with pytest.raises(UsageError, match="no token '<eod>'"):
        write_tokens(shards, tokenizer, tmp_path / "tokens", end="<eod>")


def test_shards_that_cannot_serve_are_refused(made: Made, tmp_path: Path) -> None:
    _, tokenizer, _ = made
    bad = documents(3, "fr", "web", 5)
    cases: list[tuple[Callable[[], Path], str]] = [
        (lambda: write(tmp_path / "a.parquet", "no parquet"), "cannot be read as Parquet"),
        (lambda: shard(tmp_path / "b.parquet", [{"text": "a"}]), "no column 'language'"),
        (
            lambda: shard(tmp_path / "c.parquet", bad[:2], [{**bad[2], "text": None}]),
            r"row 2: the document has no text",
        ),  # type: ignore[dict-item]
    ]
    for make, message in cases:
        with pytest.raises(UsageError, match=message):
            write_tokens([make()], tokenizer, tmp_path / "tokens")
    with pytest.raises(UsageError, match="no documents to write"):
        write_tokens([], tokenizer, tmp_path / "tokens")


def test_token_files_that_changed_are_named(spoiled: Path, made: Made, tmp_path: Path) -> None:
    path = spoiled / "fr--web.ds"
    content = path.read_bytes()
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    with pytest.raises(MismatchError, match=r"fr--web\.ds is not what was written"):
        OrderedTokens(spoiled, mix_of(), "main")
    path.write_bytes(content[:-2])
    with pytest.raises(MismatchError, match=r"fr--web\.ds has \d+ bytes instead of \d+"):
        OrderedTokens(spoiled, mix_of(), "main", check=False)
    path.unlink()
    with pytest.raises(MismatchError, match=r"fr--web\.ds is missing\. Remove that file's \.json and write"):
        OrderedTokens(spoiled, mix_of(), "main", check=False)
    # Written again, they are whole.
    _, tokenizer, shards = made
    write_tokens(shards, tokenizer, spoiled, PER_MILLE)
    assert digests(spoiled) == digests(made[0])


def test_damaged_lists_are_named(spoiled: Path) -> None:
    edit(spoiled / "en--book.json", '"documents"', '"dokuments"')
    with pytest.raises(MismatchError, match=r"en--book\.json is damaged"):
        TokenFolder(spoiled).check()
    (spoiled / "en--book.json").unlink()
    with pytest.raises(MismatchError, match=r"en--book\.json is missing"):
        TokenFolder(spoiled).check()
    write(spoiled / "tokens.json", "{")
    with pytest.raises(MismatchError, match=r"tokens\.json is damaged"):
        TokenFolder(spoiled).check()


def test_a_changed_description_is_named(spoiled: Path) -> None:
    edit(spoiled / "en--book.json", '"end_of_document": 1', '"end_of_document": 2')
    with pytest.raises(MismatchError, match=r"en--book\.json is not the one that tokens\.json lists"):
        TokenFolder(spoiled).check()


def test_another_vocabulary_is_refused(made: Made, tmp_path: Path) -> None:
    folder = TokenFolder(made[0])
    folder.check_tokenizer(made[1])
    with pytest.raises(MismatchError, match="made with another tokenizer"):
        folder.check_tokenizer(train_tokenizer(tmp_path, 40))
    with pytest.raises(UsageError, match="no tokenizer"):
        folder.check_tokenizer(tmp_path / "none")
    size = folder.listing.vocabulary
    folder.check_vocabulary(size)
    with pytest.raises(MismatchError, match=f"a vocabulary of {size}, the model has {size - 1}"):
        folder.check_vocabulary(size - 1)


# The mix


def test_the_weights_are_tokens_by_epochs(made: Made) -> None:
    counts = TokenFolder(made[0]).counts()
    planned = plan(mix_of(), "main", counts)
    epochs = {"code--programming": 2, "en--book": 3, "fr--web": 1, "fr-en--parallel": 1.5}
    weighted = [row["tokens"] * epochs[row["name"]] for row in planned.iter_rows(named=True)]
    assert planned["weight"].to_list() == pytest.approx([w / sum(weighted) for w in weighted], rel=1e-12)
    assert planned["drawn"].sum() == pytest.approx(64 * 4 * 25)
    ratios = [row["epochs"] / epochs[row["name"]] for row in planned.iter_rows(named=True)]
    assert ratios == pytest.approx([ratios[0]] * 4)


def test_the_published_weights_follow_when_the_mix_is_the_published_one(project: Project) -> None:
    """By language and category, from the record's counts: the main phase and the extension."""
    epochs = load_record(project, "input/sampling_epochs")
    nested: dict[str, dict[str, float]] = {}
    for language, category, number in epochs.iter_rows():
        nested.setdefault(language, {})[category] = number
    phase = {"sequence_length": 4096, "sequences_per_batch": 1024, "tokens": 3_121_744_220_736}
    long = {"sequence_length": 32_000, "sequences_per_batch": 128, "tokens": 5 * 10**9, "favour_longer_than": 4096}
    mix = mix_of(epochs=nested, main=phase, extension=long)
    tokens, split = (load_record(project, f"input/{name}_counts") for name in ("token", "length_split"))
    record = weigh(tokens, epochs)
    name = pl.concat_str("language", pl.lit("--"), "category")
    ours = tokens.filter(split="train").with_columns(name=name, length=pl.lit("all"))
    ours = ours.group_by("name", "length", "language", "category", maintain_order=True).agg(
        pl.sum("documents", "tokens")
    )
    planned = plan(mix, "main", ours)
    kinds = record.group_by(name=name, maintain_order=True).agg(pl.sum("weight")).sort("name", maintain_order=True)
    assert planned["weight"].to_list() == pytest.approx(kinds["weight"].to_list(), rel=1e-12)
    assert mix.phase("extension").steps == 1220
    # The extension, file by file: of files that were neither filtered again nor stand for older crawls.
    published = later.extend(record, split)
    ratio = published.join(split, on=["name", "length"]).filter(pl.col("name") == "Wikipedia--fr")
    counts = split.filter(pl.col("name") == "Wikipedia--fr")
    alone = mix_of(epochs={"fr": {"wiki": 3}}, extension=long)
    share = plan(alone, "extension", counts)
    assert share["weight"].to_list() == pytest.approx((ratio["weight"] / ratio["weight"].sum()).to_list(), rel=1e-12)


def test_the_extension_favours_long_documents_and_keeps_the_mix(made: Made) -> None:
    counts = TokenFolder(made[0]).counts(64)
    mix = mix_of()
    planned = plan(mix, "extension", counts)
    main = plan(mix, "main", TokenFolder(made[0]).counts())
    both = planned.group_by("name", maintain_order=True).agg(pl.sum("weight"))
    assert both["weight"].to_list() == pytest.approx(main["weight"].to_list(), rel=1e-12)
    rows = {(row["name"], row["length"]): row for row in planned.iter_rows(named=True)}
    short, long = rows["fr--web", "short"], rows["fr--web", "long"]
    assert long["weight"] / short["weight"] == pytest.approx(10 * long["tokens"] / short["tokens"])
    lengths = TokenFolder(made[0]).lengths("fr--web")
    assert (short["documents"], long["documents"]) == (int((lengths <= 64).sum()), int((lengths > 64).sum()))


def test_annealing_has_shares_of_its_own(made: Made) -> None:
    planned = plan(mix_of(), "annealing", TokenFolder(made[0]).counts())
    assert dict(planned.select("name", "weight").iter_rows()) == pytest.approx(
        {"code--programming": 0, "en--book": 0.75, "fr--web": 0.25, "fr-en--parallel": 0}
    )


COUNTS = pl.DataFrame(
    {
        "name": ["en--book", "fr--web"],
        "length": "all",
        "language": ["en", "fr"],
        "category": ["book", "web"],
        "documents": [3, 0],
        "tokens": [900, 0],
    }
)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": {"en": {"book": 1}, "fr": {"web": 1}}}, "fr--web has a weight, but its token file is empty"),
        ({"epochs": {"en": {"book": 1}, "ffr": {"web": 1}}}, r"no token file of the language 'ffr'. Did you mean 'fr'"),
        ({"epochs": {"en": {"books": 1}, "fr": {"web": 0}}}, r"category 'books'. Did you mean 'book'"),
        ({"epochs": {"en": {"book": 0}, "fr": {"web": 0}}}, "weights sum to zero"),
        ({"epochs": {"en": {"book": 1}}}, "no epochs for web in fr, which fr--web needs"),
        (
            {"main": {"tokens": 255}, "epochs": {"en": {"book": 1}, "fr": {"web": 0}}},
            "255 tokens, fewer than one batch",
        ),
        (
            {"main": {"sequence_length": 900, "tokens": 9000}, "epochs": {"en": {"book": 1}, "fr": {"web": 0}}},
            r"900 tokens in all, fewer than one sequence \(901\)",
        ),
    ],
)
def test_a_mix_that_cannot_be_met_says_why(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plan(mix_of(**changes), "main", COUNTS)


def test_a_mix_file_is_typed(tmp_path: Path, project: Project) -> None:
    content = mix_of().model_dump(exclude={"name"})
    path = tmp_path / "mine.yaml"
    assert Mix.read(write(path, yaml.safe_dump(content))).name == "mine"
    content["epochs"]["fr"]["web"] = -1
    with pytest.raises(UsageError, match=r"mine\.yaml: epochs\.fr\.web: Input should be greater"):
        Mix.read(write(path, yaml.safe_dump(content)))
    with pytest.raises(UsageError, match=r"no mix 'minni'\. Did you mean 'mini'"):
        Mix.load(project, "minni")
    with pytest.raises(UsageError, match=r"no phase 'anealing'\. Did you mean 'annealing'"):
        mix_of().phase("anealing")


def test_the_mixes_of_the_tiers_can_be_read(project: Project) -> None:
    for name in ("mini", "sample"):
        mix = Mix.load(project, name)
        assert mix.name == name
        assert all(mix.phase(phase).steps * mix.phase(phase).sequences_per_batch > 0 for phase in PHASES)
        assert mix.phases.extension.favour_longer_than == mix.phases.main.sequence_length
        shares = mix.phases.annealing.shares.values()
        assert sum(share for language in shares for share in language.values()) == pytest.approx(1)


def test_the_mix_of_mini_names_the_kinds_of_text_that_mini_has(project: Project) -> None:
    kinds = set()
    for path in (project.root / "data" / "mini" / "documents").glob("*.jsonl"):
        for text in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(text)
            kinds.add(kind_of(row["language"], row["category"]))
    listed = {
        (language, category) for language, numbers in Mix.load(project, "mini").epochs.items() for category in numbers
    }
    assert listed == kinds


# The order


@given(st.integers(0, 2**20))
def test_a_point_mirrors_the_digits(number: int) -> None:
    assert point(number) / 2**BITS == sum((number >> bit & 1) / 2 ** (bit + 1) for bit in range(21))


@given(st.integers(0, 2**BITS), st.integers(0, 300))
def test_points_are_counted_as_if_one_by_one(bound: int, count: int) -> None:
    assert points_below(bound, count) == sum(point(number) < bound for number in range(count))


WEIGHTS = st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=40)


@given(WEIGHTS, st.integers(11_000, 10**12))
def test_weights_are_met_within_a_thousandth_over_any_long_prefix(weights: list[float], prefix: int) -> None:
    order = Interleaving.of(weights)
    drawn = [order.drawn(source, prefix) for source in range(len(weights))]
    assert sum(drawn) == prefix
    assert np.abs(np.array(drawn) / prefix - np.array(weights) / sum(weights)).max() < 0.001


@given(WEIGHTS, st.integers(1, 3000))
def test_each_source_has_its_share_of_a_phase_but_for_a_sequence(weights: list[float], sequences: int) -> None:
    """Within 0.1 % from a thousand sequences on."""
    order = Interleaving.of(weights, sequences)
    drawn = [order.drawn(source, sequences) for source in range(len(weights))]
    assert sum(drawn) == sequences
    assert np.abs(np.array(drawn) - np.array(weights) / sum(weights) * sequences).max() < 1
    counts = Counter(order.source(number) for number in range(sequences))
    assert [counts[source] for source in range(len(weights))] == drawn


@given(WEIGHTS, st.integers(0, 400))
def test_a_sequence_s_source_is_the_one_that_was_drawn(weights: list[float], prefix: int) -> None:
    order = Interleaving.of(weights)
    counts = Counter(order.source(number) for number in range(prefix))
    assert [counts[source] for source in range(len(weights))] == [
        order.drawn(source, prefix) for source in range(len(weights))
    ]


@pytest.mark.parametrize("weights", [[], [0.0, 0.0], [1.0, -1.0, 3.0]])
def test_impossible_weights_are_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="cannot be met"):
        Interleaving.of(weights)


@pytest.fixture(scope="module")
def ordered(made: Made) -> OrderedTokens:
    return OrderedTokens(made[0], mix_of(), "main")


def test_a_sequence_has_the_tokens_of_its_documents(ordered: OrderedTokens) -> None:
    folder = ordered.folder
    for index in range(len(ordered)):
        rows = ordered.documents(index)
        assert rows["tokens"].sum() == 65 and rows["position"].to_list() == [0, *rows["tokens"].cum_sum()[:-1]]
        parts = []
        for row in rows.iter_rows(named=True):
            start = int(folder.ends(row["file"])[row["document"]] - folder.lengths(row["file"])[row["document"]])
            parts.append(folder.tokens(row["file"])[start + row["offset"] :][: row["tokens"]])
        assert ordered[index].dtype == np.int64
        assert ordered[index].tolist() == np.concatenate(parts).tolist()


def by_source(ordered: OrderedTokens) -> dict[tuple[str, str], list[int]]:
    found: dict[tuple[str, str], list[int]] = {}
    for index in range(len(ordered)):
        first = ordered.documents(index).row(0, named=True)
        found.setdefault((first["file"], first["length"]), []).append(index)
    return found


@pytest.mark.parametrize("phase", PHASES)
def test_each_epoch_reads_every_document_once_and_shuffles_anew(made: Made, phase: str) -> None:
    ordered = OrderedTokens(made[0], mix_of(**{phase: {"tokens": 64 * 4 * 100}}), phase)
    shuffles = set()
    for (name, length), indices in by_source(ordered).items():
        sequences = [ordered[index] for index in indices]
        assert all(one[-1] == next_[0] for one, next_ in pairwise(sequences)), "overlap of one"
        stream = np.concatenate([sequence[:-1] for sequence in sequences])
        lengths = ordered.folder.lengths(name)
        chosen = {"all": lengths > 0, "short": lengths <= 64, "long": lengths > 64}[length]
        size = int(lengths[chosen].sum())
        for epoch in range(len(stream) // size):
            part = stream[epoch * size : (epoch + 1) * size]
            ends = np.flatnonzero(part == 1) + 1  # </s>
            assert sorted(np.diff(ends, prepend=0)) == sorted(lengths[chosen])
            shuffles.add(part.tobytes())
        runs = pl.concat([ordered.documents(index) for index in indices])
        assert runs["epoch"].is_sorted() and runs["epoch"][0] == 0
    assert len(shuffles) > 3, "no two epochs are alike"


def test_the_order_depends_on_seed_and_phase_and_on_nothing_else(made: Made, ordered: OrderedTokens) -> None:
    everything = np.stack([ordered[index] for index in range(len(ordered))])
    again = OrderedTokens(made[0], mix_of(), "main", check=False)
    backwards = [again[index] for index in reversed(range(len(again)))]
    assert np.array_equal(np.stack(backwards[::-1]), everything)
    assert np.array_equal(pickle.loads(pickle.dumps(again)).batch(3), again.batch(3))
    assert again.batch(3).shape == (4, 65) and np.array_equal(again.batch(3), everything[8:12])
    other = OrderedTokens(made[0], mix_of(seed=2), "main", check=False)
    assert not np.array_equal(np.stack([other[index] for index in range(len(other))]), everything)
    same = mix_of(annealing={"shares": {}})
    annealed = OrderedTokens(made[0], same, "annealing", check=False)
    assert not np.array_equal(np.stack([annealed[index] for index in range(len(annealed))]), everything)


def test_the_order_is_this_one_for_good(tmp_path: Path) -> None:
    """The first documents of a made-up file: another order would be another training."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {"</s>": 0, "<unk>": 1, **{f"w{number}": number + 2 for number in range(20)}}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    rows = [{"source": "s", "id": str(n), "language": "en", "category": "book", "text": f"w{n}"} for n in range(20)]
    write_tokens([shard(tmp_path / "a.parquet", rows)], tmp_path, tmp_path / "tokens")
    mix = mix_of(epochs={"en": {"book": 1}}, main={"sequence_length": 10, "tokens": 160})
    first = OrderedTokens(tmp_path / "tokens", mix, "main")
    assert [" ".join(first.documents(index)["id"]) for index in (0, 1)] == ["13 6 16 8 14 5", "5 19 7 9 11 1"]


@given(seed=st.integers(0, 10**6), length=st.integers(1, 200), index=st.integers(0, 10**4))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_sequences_of_any_length_follow_one_another(made: Made, seed: int, length: int, index: int) -> None:
    main = {"sequence_length": length, "sequences_per_batch": 1, "tokens": length * 20_002}
    mix = mix_of(
        seed=seed,
        main=main,
        epochs={"code": {"programming": 0}, "en": {"book": 1}, "fr": {"web": 0}, "fr-en": {"parallel": 0}},
    )
    ordered = OrderedTokens(made[0], mix, "main", check=False)
    assert len(ordered) == 20_002
    assert ordered[index][-1] == ordered[index + 1][0]
    assert ordered.documents(index)["tokens"].sum() == length + 1


def test_there_are_no_steps_or_sequences_beyond(ordered: OrderedTokens) -> None:
    for step in (0, 26):
        with pytest.raises(UsageError, match=f"no step {step} in the main phase of mix 'toy': it has steps 1 to 25"):
            ordered.batch(step)
    for index in (-1, 100):
        with pytest.raises(IndexError, match="the main phase has 100"):
            _ = ordered[index]


def test_the_order_is_recorded_and_held_against(spoiled: Path) -> None:
    ordered = OrderedTokens(spoiled, mix_of(), "main")
    assert not ordered.check_manifest()
    content = json.loads(ordered.write_manifest().read_text())
    assert content["files"]["fr--web"]["fr--web.ds"] == sha256(spoiled / "fr--web.ds")
    assert content["seed"] == 1 and content["sources"][0]["bounds"][0] == 0
    assert sum(source["weight"] for source in content["sources"]) == pytest.approx(1)
    assert ordered.check_manifest()
    with pytest.raises(MismatchError, match="records another order than mix 'toy' gives now; changed: seed"):
        OrderedTokens(spoiled, mix_of(seed=2), "main").check_manifest()
    ordered.manifest_path.write_text("{")
    with pytest.raises(MismatchError, match="damaged"):
        ordered.check_manifest()


# The documents behind a step


@pytest.fixture
def trained(tmp_path: Path, made: Made) -> Project:
    """A project with token files and the mix 'mini' that goes with them."""
    root = tmp_path / "project"
    write(root / "config" / "stages.yaml", "stages: []\n")
    shutil.copytree(ROOT / "src", root / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    content = mix_of().model_dump(exclude={"name"})
    write(root / "config" / "mixes" / "mini.yaml", yaml.safe_dump(content))
    shutil.copytree(made[0], root / "build" / "mini" / "work" / "tokens")
    return Project(root)


def test_the_command_lists_the_documents_of_a_step(trained: Project, lucie: Lucie) -> None:
    folder = trained.build / "mini" / "work" / "tokens"
    ordered = OrderedTokens(folder, Mix.load(trained, "mini"), "extension")
    ordered.write_manifest()
    done = lucie(trained, "why", "step:3", "--phase", "extension")
    assert done.returncode == Exit.HELD, done.stderr
    assert "3 of 25 in the extension phase of mix 'mini'" in done.stdout
    assert "as recorded in order.extension.json" in done.stdout
    for index in ordered.sequences(3):
        assert f"sequence {index}" in done.stdout
        for row in ordered.documents(index).iter_rows(named=True):
            place = f"tokens {row['offset']:,} to {row['offset'] + row['tokens'] - 1:,}"
            assert f"{row['source']} {row['id']}  {place}" in done.stdout


def test_the_command_says_what_is_wrong(trained: Project, lucie: Lucie) -> None:
    for arguments, code, message in (
        (("step:x",), Exit.USAGE, "names no training step"),
        (("step:26",), Exit.USAGE, "no step 26"),
        (("step:1", "--tier", "record"), Exit.USAGE, "no mix 'record'"),
        (("step:1", "--phase", "later"), Exit.USAGE, "no phase 'later'"),
    ):
        done = lucie(trained, "why", *arguments)
        assert (done.returncode, message in done.stderr) == (code, True), done.stderr
    folder = trained.build / "mini" / "work" / "tokens"
    content = (folder / "fr--web.ds").read_bytes()
    (folder / "fr--web.ds").write_bytes(content[:-1] + b"\xff")
    done = lucie(trained, "why", "step:1")
    assert done.returncode == Exit.MISMATCH and "another sha256" in done.stderr
    shutil.rmtree(folder)
    done = lucie(trained, "why", "step:1")
    assert done.returncode == Exit.USAGE and "no finished token files" in done.stderr
