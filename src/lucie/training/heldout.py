"""Loss on the held-out documents, by language: of an exported model, and of a unigram model to compare it with.

    losses(Path("run/exported/280"), Path("build/mini/work/tokens"))  # language, documents, ..., loss, bits_per_byte
    unigram(Path("build/mini/work/tokens"))

The documents of a language are laid end to end as in training, an end-of-document token before the first, and cut into
windows of the model's context. Each token, the ends of documents included, is predicted once, from those before it in
its window: the first of a window from one token, which makes losses of short contexts a little higher.

Bytes are those of the text that the tokenizer gives back for a document's tokens (UTF-8, without special tokens). Its
normaliser has changed some characters of the document by then, so bits per byte are of the normalised text.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from lucie.errors import UsageError
from lucie.tokenizer.bpe import load
from lucie.tokens.folder import HELD_OUT, TokenFolder
from lucie.training.model import load as load_model

LOSSES = {
    "language": pl.String, "documents": pl.Int64, "tokens": pl.Int64, "bytes": pl.Int64, "loss": pl.Float64,
    "bits_per_byte": pl.Float64,
}  # fmt: skip
TOKENS_AT_ONCE = 4096  # of windows computed together: their logits are this many times the vocabulary, 4 bytes each

Tokens = np.ndarray[Any, np.dtype[np.int64]]


def losses(model: Path, tokens: Path) -> pl.DataFrame:
    """Of a folder as `lucie.training.export` writes it, on token files as `lucie.tokens.files` does.

    Returns language, documents, tokens, bytes, loss (nats per token), bits_per_byte, by language. Computed in single
    precision. Raises UsageError without held-out documents, MismatchError for token files of another tokenizer.
    """
    folder = _held_out(tokens)
    folder.check_tokenizer(model)
    network, tokenizer = _load(model), load(model)
    folder.check_vocabulary(network.config.vocab_size)
    rows = []
    for language, names in _languages(folder).items():
        stream = _stream(folder, names)
        nats = _nats(network, stream)
        documents = [document for name in names for document in folder.split(name)]
        size = sum(len(text.encode()) for text in tokenizer.decode_batch(documents))
        rows.append(
            {
                "language": language,
                "documents": len(documents),
                "tokens": len(stream) - 1,
                "bytes": size,
                "loss": nats / (len(stream) - 1),
                "bits_per_byte": nats / math.log(2) / size,
            }
        )
    return pl.DataFrame(rows, LOSSES)


def unigram(tokens: Path) -> pl.DataFrame:
    """The loss on the same tokens of a model that knows only how often each token occurs in the training text.

    Every count has one added. Returns language, documents, tokens, loss (nats per token; counts of all the training
    text) and loss_within (counts of the training text of that language alone: the harder one to beat).
    """
    folder, trained = _held_out(tokens), TokenFolder(tokens)
    counts = {language: _counts(trained, names) for language, names in _languages(trained).items()}
    everything = sum(counts.values(), start=np.zeros(trained.listing.vocabulary, np.int64))
    rows = []
    for language, names in _languages(folder).items():
        seen = _counts(folder, names)
        rows.append(
            {
                "language": language,
                "documents": sum(folder.get(name).documents for name in names),
                "tokens": int(seen.sum()),
                "loss": _cross_entropy(seen, everything),
                "loss_within": _cross_entropy(seen, counts.get(language, np.zeros_like(everything))),
            }
        )
    return pl.DataFrame(rows)


def _held_out(tokens: Path) -> TokenFolder:
    folder = TokenFolder(tokens / HELD_OUT)
    if not any(file.documents for file in folder.files.values()):
        raise UsageError(f"No documents are held out in {folder.path}. Write the token files with some held out.")
    return folder


def _languages(folder: TokenFolder) -> dict[str, list[str]]:
    """The token files of each language that has tokens, by name."""
    found: dict[str, list[str]] = {}
    for name, file in sorted(folder.files.items()):
        if file.tokens:
            found.setdefault(file.language, []).append(name)
    return found


def _stream(folder: TokenFolder, names: list[str]) -> Tokens:
    """All tokens of the files after an end-of-document token, shape (tokens + 1,)."""
    end = folder.get(names[0]).end_of_document
    return np.concatenate([[end], *(folder.tokens(name) for name in names)]).astype(np.int64)


def _counts(folder: TokenFolder, names: list[str]) -> Tokens:
    """How often each token occurs, shape (vocabulary,)."""
    size = folder.listing.vocabulary
    return sum((np.bincount(folder.tokens(name), minlength=size) for name in names), start=np.zeros(size, np.int64))


def _cross_entropy(seen: Tokens, counts: Tokens) -> float:
    """Nats per token of tokens seen so often, for a model of counts."""
    logarithms = np.log(counts + 1) - math.log(counts.sum() + len(counts))
    return float(-(seen * logarithms).sum() / seen.sum())


def _load(folder: Path) -> Any:
    """The model, where there is a GPU on it."""
    import torch

    return load_model(folder).to("cuda" if torch.cuda.is_available() else "cpu")


def _nats(model: Any, stream: Tokens) -> float:
    """The loss of all tokens but the first, summed."""
    import torch

    total = 0.0
    with torch.inference_mode():
        for batch in windows(stream, model.config.max_position_embeddings):
            ids = torch.from_numpy(batch).to(model.device)
            logits = model(input_ids=ids[:, :-1], use_cache=False).logits
            nats = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
            total += float(nats.double().sum())
    return total


def windows(stream: Tokens, context: int) -> Iterator[Tokens]:
    """Batches of windows of context + 1 tokens that overlap by one, shape (windows, context + 1); the last is shorter.

    So each token but the first is the target of one prediction.
    """
    whole = (len(stream) - 1) // context
    starts = np.arange(whole)[:, None] * context + np.arange(context + 1)
    at_once = max(1, TOKENS_AT_ONCE // context)
    for first in range(0, whole, at_once):
        yield stream[starts[first : first + at_once]]
    if len(stream) - 1 > whole * context:
        yield stream[None, whole * context :]
