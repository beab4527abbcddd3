"""Finds exact and near duplicates: equal normalised texts, and MinHash with the authors' library and settings.

datatrove's MinHash writes its signatures to files, so that shards are signed by themselves and buckets compared by
themselves. Its clusters are kept here by their first document, in the order of shards and rows.
"""

from __future__ import annotations

import shutil
import struct
from collections.abc import Iterable, Iterator
from contextlib import redirect_stderr
from functools import cache
from hashlib import blake2b
from io import StringIO
from pathlib import Path
from typing import Any

import polars as pl

from lucie.corpus.rules import minhash_settings
from lucie.corpus.signals import normalised

EXACT, NEAR = "exact duplicate", "near duplicate"


def digest(text: str) -> bytes:
    """16 bytes that are the same for texts that differ only in case, accents' composition, blanks or punctuation."""
    return blake2b(normalised(text).encode(), digest_size=16).digest()


def sign(texts: Iterable[str], shard: int, folder: Path) -> None:
    """Write the signatures of a shard's texts under ``folder``."""
    from datatrove.data import Document
    from datatrove.pipeline.dedup import MinhashDedupSignature

    documents = (Document(text=text, id=str(row)) for row, text in enumerate(texts))
    MinhashDedupSignature(str(folder), config=_config(), language=_words()).run(documents, shard, 1)


def buckets() -> int:
    """How many buckets there are to compare."""
    return minhash_settings()["buckets"]


def compare_bucket(bucket: int, signatures: Path, pairs: Path) -> None:
    """Write the pairs of documents that share all hashes of one bucket."""
    from datatrove.pipeline.dedup.minhash import MinhashDedupBuckets

    MinhashDedupBuckets(str(signatures), str(pairs), config=_config()).run(None, bucket, buckets())


def later_copies(pairs: Path, clusters: Path, digests: pl.DataFrame) -> pl.DataFrame:
    """The documents to drop: `shard`, `row`, `reason`, and the `twin` (its row in ``digests``) that is kept.

    ``digests`` has one row a document, in order: `shard`, `row`, `digest`.
    """
    numbered = digests.with_row_index("place")
    exact = numbered.with_columns(twin=pl.col("place").min().over("digest")).filter(pl.col("twin") < pl.col("place"))
    near = (
        _clusters(pairs, clusters)
        .join(numbered, on=["shard", "row"], how="left", maintain_order="left")
        .with_columns(twin=pl.col("place").min().over("cluster"))
        .filter(pl.col("twin") < pl.col("place"))
    )
    columns = ["shard", "row", "place", "reason", "twin"]
    both = pl.concat(
        [
            exact.with_columns(reason=pl.lit(EXACT)).select(columns),
            near.with_columns(reason=pl.lit(NEAR)).select(columns),
        ]
    )
    first = both.unique("place", keep="first", maintain_order=True).sort("place", maintain_order=True)
    kept: dict[int, int] = {}  # a twin may be the copy of another one before it
    for place, twin in first.select("place", "twin").iter_rows():
        kept[place] = kept.get(twin, twin)
    return first.with_columns(twin=pl.Series(list(kept.values()), dtype=pl.UInt32())).drop("place")


def _clusters(pairs: Path, folder: Path) -> pl.DataFrame:
    from datatrove.pipeline.dedup import MinhashDedupCluster

    shutil.rmtree(folder, ignore_errors=True)
    with redirect_stderr(StringIO()):  # its progress bar would cover ours
        MinhashDedupCluster(str(pairs), str(folder), config=_config(), save_cluster_id=True).run()
    rows = [(int(path.stem), *entry) for path in sorted(folder.glob("*.clusters")) for entry in _pairs(path)]
    schema = {"shard": pl.Int64(), "row": pl.Int64(), "cluster": pl.Int64()}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _pairs(path: Path) -> Iterator[tuple[int, int]]:
    yield from struct.iter_unpack("<II", path.read_bytes())


@cache
def _config() -> Any:
    from datatrove.pipeline.dedup import MinhashConfig
    from loguru import logger

    logger.disable("datatrove")
    found = minhash_settings()
    return MinhashConfig(
        n_grams=found["words per shingle"],
        num_buckets=found["buckets"],
        hashes_per_bucket=found["hashes per bucket"],
    )


def _words() -> Any:
    """Words between blanks: datatrove has taken punctuation away before it asks for the words."""
    from datatrove.utils.word_tokenizers import WordTokenizer

    class Words(WordTokenizer):  # type: ignore[misc]
        def word_tokenize(self, text: str) -> list[str]:
            return text.split()

        def sent_tokenize(self, text: str) -> list[str]:
            return [text]

        def span_tokenize(self, text: str) -> list[tuple[int, int]]:
            return [(0, len(text))]

    return Words()
