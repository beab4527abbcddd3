"""What a toy is trained on, and what came of it: token files of the books in data/mini; weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
from conftest import ROOT


def make_tokens(folder: Path) -> Path:
    """The folder of the token files; they take a second."""
    from lucie.tokenizer import bpe
    from lucie.tokens.files import write_tokens

    rows = [
        {"source": "books", "language": language, "category": "book", **json.loads(line)}
        for language in ("de", "en", "fr")
        for line in (ROOT / f"data/mini/documents/book.{language}.jsonl").read_text("utf-8").splitlines()
    ]
    columns = ("source", "id", "language", "category", "text")
    frame = pl.DataFrame([{name: row[name] for name in columns} for row in rows])
    frame.write_parquet(folder / "books.parquet")
    bpe.save(bpe.train(frame["text"].to_list(), bpe.Options(vocabulary=1000)), folder / "tokenizer")
    return write_tokens([folder / "books.parquet"], folder / "tokenizer", folder / "tokens").path


def weights(checkpoint: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    root = checkpoint / "model" / "model"
    return {path.parent.relative_to(root).as_posix(): load_file(path)["data"] for path in root.rglob("*.safetensors")}


def same_weights(one: Path, other: Path) -> bool:
    from torch import equal

    left, right = weights(one), weights(other)
    return left.keys() == right.keys() and all(equal(left[name], right[name]) for name in left)
