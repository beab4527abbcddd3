"""Held-out losses, the unigram model, and what a run has read of each source."""

from __future__ import annotations

import math
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import small_model
from hypothesis import given
from hypothesis import strategies as st
from small_model import SHAPE, VOCABULARY

from lucie.errors import MismatchError, UsageError
from lucie.mixture.plan import PHASES, Mix
from lucie.tokenizer import bpe
from lucie.tokens.folder import HELD_OUT, TokenFolder
from lucie.tokens.order import OrderedTokens
from lucie.training import heldout
from lucie.training.consumption import consumption
from lucie.training.heldout import losses, unigram, windows

CONTEXT = SHAPE["max_position_embeddings"]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    with small_model.one_thread():
        yield


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_model.write_tokenizer(tmp_path_factory.mktemp("made") / "tokenizer")


@pytest.fixture(scope="module")
def tokens(tokenizer: Path) -> Path:
    return small_model.write_token_files(tokenizer.parent / "files", tokenizer)


@pytest.fixture(scope="module")
def model(tokenizer: Path) -> Path:
    """A folder with a random model, as an export has it."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(1)
    folder = tokenizer.parent / "model"
    LlamaForCausalLM(LlamaConfig(**SHAPE, initializer_range=0.3)).save_pretrained(folder)
    for name in bpe.FILES:
        shutil.copyfile(tokenizer / name, folder / name)
    return folder


def one_by_one(model: Path, tokens: Path, language: str) -> tuple[float, int]:
    """Nats of a language's held-out tokens, each from a forward pass of its own; and how many they are."""
    import torch
    from transformers import AutoModelForCausalLM

    network: Any = AutoModelForCausalLM.from_pretrained(model)
    stream = [1, *TokenFolder(tokens / HELD_OUT).tokens(f"{language}--web").tolist()]
    nats = 0.0
    with torch.no_grad():
        for place in range(1, len(stream)):
            start = (place - 1) // CONTEXT * CONTEXT
            logits = network(torch.tensor([stream[start:place]])).logits[0, -1]
            nats -= float(torch.log_softmax(logits, -1)[stream[place]])
    return nats, len(stream) - 1


# Losses


@given(st.integers(1, 700), st.integers(1, 40), st.integers(1, 200))
def test_every_token_but_the_first_is_predicted_once(length: int, context: int, at_once: int) -> None:
    before, heldout.TOKENS_AT_ONCE = heldout.TOKENS_AT_ONCE, at_once
    try:
        batches = list(windows(np.arange(length), context))
    finally:
        heldout.TOKENS_AT_ONCE = before
    assert [target for batch in batches for target in batch[:, 1:].flatten()] == list(range(1, length))
    assert all((np.diff(batch, axis=1) == 1).all() and batch.shape[1] <= context + 1 for batch in batches)


def test_the_loss_is_that_of_tokens_predicted_one_by_one(model: Path, tokens: Path) -> None:
    found = losses(model, tokens)
    assert found["language"].to_list() == ["en", "fr"]
    for row in found.iter_rows(named=True):
        nats, count = one_by_one(model, tokens, row["language"])
        assert row["tokens"] == count and row["documents"] > 5
        assert row["loss"] == pytest.approx(nats / count, rel=1e-5)
        assert row["bits_per_byte"] == pytest.approx(nats / math.log(2) / row["bytes"], rel=1e-5)
    assert losses(model, tokens).equals(found)


def test_bytes_are_those_of_the_documents_as_the_tokenizer_gives_them_back(model: Path, tokens: Path) -> None:
    rows = pl.read_parquet(tokens.parent / "documents.parquet")
    folder, words = TokenFolder(tokens / HELD_OUT), bpe.load(model)
    size = 0
    for name in folder.documents("en--web", list(range(folder.get("en--web").documents)))["id"]:
        text = rows.filter(id=name)["text"].item()
        size += len(words.decode(words.encode(text, add_special_tokens=False).ids).encode())
    assert losses(model, tokens)["bytes"][0] == size


def test_files_of_another_tokenizer_are_refused(model: Path, tokens: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(model, tmp_path / "model"))
    (other / bpe.FILES[0]).write_text((other / bpe.FILES[0]).read_text("utf-8") + "\n")
    with pytest.raises(MismatchError, match="another tokenizer"):
        losses(other, tokens)


def test_there_have_to_be_held_out_documents(tokenizer: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No documents are held out"):
        unigram(small_model.write_token_files(tmp_path / "files", tokenizer, held_out_per_mille=0))


# The unigram model


def test_the_unigram_model_counts(tokens: Path) -> None:
    def nats(names: list[str], tested: str) -> float:
        counts = Counter(token for name in names for token in TokenFolder(tokens).tokens(name).tolist())
        seen = TokenFolder(tokens / HELD_OUT).tokens(tested).tolist()
        total = sum(counts.values()) + VOCABULARY
        return sum(-math.log((counts[token] + 1) / total) for token in seen) / len(seen)

    for row in unigram(tokens).iter_rows(named=True):
        name = f"{row['language']}--web"
        assert row["loss"] == pytest.approx(nats(["en--web", "fr--web"], name))
        assert row["loss_within"] == pytest.approx(nats([name], name)) and row["loss_within"] < row["loss"]


def test_both_tables_are_of_the_same_tokens(model: Path, tokens: Path) -> None:
    columns = ["language", "documents", "tokens"]
    assert losses(model, tokens).select(columns).equals(unigram(tokens).select(columns))


# What was read


def mix() -> Mix:
    main = {
        "sequence_length": 16,
        "sequences_per_batch": 4,
        "tokens": 5000,
        "ramp_up": {"sequences_per_batch": 2, "increment": 2, "sequences": 9},
    }
    later = {"sequence_length": 40, "sequences_per_batch": 2, "tokens": 1600}
    phases = {"main": main, "extension": {**later, "favour_longer_than": 30}, "annealing": later}
    epochs = {"en": {"web": 2}, "fr": {"web": 1}}
    return Mix.model_validate({"name": "small", "says": "", "seed": 1, "epochs": epochs, "phases": phases})


def metrics(tokens: Path, steps: int) -> pl.DataFrame:
    """Of a run: steps and tokens through all phases, ``steps`` of each."""
    rows, step, before = [], 0, 0
    for phase in PHASES:
        ordered = OrderedTokens(tokens, mix(), phase)
        for within in range(1, min(steps, ordered.phase.steps) + 1):
            read = before + ordered.sequences(within).stop * ordered.phase.sequence_length
            rows.append({"phase": phase, "step": (step := step + 1), "tokens": read})
        before = read
    return pl.DataFrame(rows)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("steps", [1, 7, 1000])
def test_what_was_read_is_what_the_sequences_hold(tokens: Path, phase: str, steps: int) -> None:
    ordered = OrderedTokens(tokens, mix(), phase)
    found = consumption(metrics(tokens, steps), ordered)
    counted: Counter[tuple[str, str]] = Counter()
    for step in range(1, min(steps, ordered.phase.steps) + 1):
        for index in ordered.sequences(step):
            first = ordered.documents(index).row(0, named=True)
            counted[first["file"], first["length"]] += len(ordered[index]) - 1
    assert {
        (row["name"], row["length"]): row["consumed"] for row in found.iter_rows(named=True) if row["consumed"]
    } == {**counted}
    assert found["share"].sum() == pytest.approx(1) == found["weight"].sum()
    assert (found["epochs"] * found["tokens"]).to_list() == pytest.approx(found["consumed"].to_list())
    if steps == 1000:
        assert ((found["share"] - found["weight"]).abs() < 0.05).all()


def test_metrics_of_another_mix_are_refused(tokens: Path) -> None:
    ordered, made = OrderedTokens(tokens, mix(), "annealing"), metrics(tokens, 7)
    with pytest.raises(MismatchError, match="The 6 steps of the annealing phase count 480 tokens after the first"):
        consumption(made.filter(pl.col("step") != 16), ordered)
    with pytest.raises(UsageError, match="no step of the annealing phase"):
        consumption(made.filter(pl.col("phase") == "main"), ordered)
