"""Which test items share text with the training: word 8-grams in lower case, as is usual for contamination."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from lucie.tokens.shards import read_documents

WORDS = 8
SCHEMA = {
    "item": pl.String(),
    "source": pl.String(),
    "id": pl.String(),
    "shared": pl.Int64(),
    "part": pl.Float64(),
    "example": pl.String(),
}
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Overlap:
    """What items share with documents.

    ``shared`` has one row an item and document that have an 8-gram in common: item, source, id (of the document),
    shared (distinct 8-grams), part (of the item's distinct 8-grams), example (the item's first that is shared).
    """

    shared: pl.DataFrame
    documents: int
    too_short: list[str]  # items of fewer than 8 words: nothing can be said of them


def grams(text: str, words: int = WORDS) -> Iterator[str]:
    """The runs of so many words of a text, in lower case, without what stands between words."""
    found = _WORD.findall(text.lower())
    return (" ".join(found[start : start + words]) for start in range(len(found) - words + 1))


def overlap(shards: Iterable[Path], items: Mapping[str, str], words: int = WORDS) -> Overlap:
    """Find what items (text by name) share with the documents of Parquet shards, which are read a part at a time.

    Only the items' n-grams are held in memory.
    """
    of_item = {name: list(dict.fromkeys(grams(text, words))) for name, text in items.items()}
    holders: dict[str, list[str]] = {}
    for name, listed in of_item.items():
        for gram in listed:
            holders.setdefault(gram, []).append(name)
    rows, documents = [], 0
    for document in read_documents(shards, ("source", "id", "text")):
        documents += 1
        common = {gram for gram in grams(document["text"], words) if gram in holders}
        for name in sorted({name for gram in common for name in holders[gram]}):
            shared = [gram for gram in of_item[name] if gram in common]
            part = len(shared) / len(of_item[name])
            rows.append((name, document["source"], document["id"], len(shared), part, shared[0]))
    return Overlap(
        pl.DataFrame(rows, schema=SCHEMA, orient="row").sort("item", maintain_order=True),
        documents,
        [name for name, listed in of_item.items() if not listed],
    )
