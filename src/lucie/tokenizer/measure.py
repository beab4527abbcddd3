"""How many tokens a corpus takes: documents, words, characters, bytes and tokens by language, category and source.

Read are Parquet files of clean documents (`lucie corpus build` makes them: work.kept). They are streamed, so memory
depends on the size of a batch. A word is what stands between white space, as the authors counted
(tokenization/tokenizer_eval.py). Tokens are those of the text: the special token that starts it is not counted, while
the authors' script counted it (their tokens are ours plus documents).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from lucie.corpus.words import count_words
from lucie.errors import UsageError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

GROUPS = ("language", "category", "source")
MEASURES = ("documents", "words", "characters", "bytes", "tokens")
COLUMNS = ("source", "language", "category", "text")
ROWS_AT_ONCE = 1024
CHARACTERS_AT_ONCE = 1 << 20  # of a batch to encode; a longer document is a batch by itself

Progress = Callable[[int], None]  # told how many documents were done since the last time


def count(tokenizer: Tokenizer, shards: Iterable[Path], progress: Progress = lambda _: None) -> pl.DataFrame:
    """The counts of all documents, one row a group, sorted. Raises UsageError for a file without the columns."""
    parts = [_summed(_no_counts())]
    for shard in shards:
        for documents in _batches(shard):
            parts = [_summed(pl.concat([*parts, measure(tokenizer, documents)]))]
            progress(documents.height)
    return parts[0]


def measure(tokenizer: Tokenizer, documents: pl.DataFrame) -> pl.DataFrame:
    """The counts of some documents by group; an unknown group is ''."""
    text = pl.col("text").fill_null("")
    tokens = pl.Series("tokens", list(map(len, ids(tokenizer, documents["text"].fill_null("").to_list()))), pl.Int64)
    counted = documents.select(
        pl.col(GROUPS).cast(pl.String).fill_null(""),
        pl.lit(1, pl.Int64).alias("documents"),
        count_words(documents["text"]).alias("words"),
        text.str.len_chars().alias("characters"),
        text.str.len_bytes().alias("bytes"),
        tokens,
    )
    return _summed(counted)


def ids(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    """The ids of each text, without the special token that starts it."""
    return [encoding.ids for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]


def by(counts: pl.DataFrame, *groups: str) -> pl.DataFrame:
    """The counts by fewer groups (none: in all), with the ratios of `with_ratios`."""
    if not groups:
        return with_ratios(counts.select(pl.col(MEASURES).sum()))
    return with_ratios(
        counts.group_by(*groups, maintain_order=True).agg(pl.col(MEASURES).sum()).sort(*groups, maintain_order=True)
    )


def with_ratios(counts: pl.DataFrame) -> pl.DataFrame:
    """The counts with tokens per word (fertility), characters per token, bytes per token; null where none is."""
    return counts.with_columns(
        fertility=_ratio("tokens", "words"),
        characters_per_token=_ratio("characters", "tokens"),
        bytes_per_token=_ratio("bytes", "tokens"),
    )


def _ratio(measure: str, of: str) -> pl.Expr:
    return pl.when(pl.col(of) > 0).then(pl.col(measure) / pl.col(of))


def _no_counts() -> pl.DataFrame:
    return pl.DataFrame(schema={**dict.fromkeys(GROUPS, pl.String()), **dict.fromkeys(MEASURES, pl.Int64())})


def _summed(counts: pl.DataFrame) -> pl.DataFrame:
    return (
        counts.group_by(*GROUPS, maintain_order=True)
        .agg(pl.col(MEASURES).cast(pl.Int64).sum())
        .sort(*GROUPS, maintain_order=True)
    )


def _batches(shard: Path) -> Iterator[pl.DataFrame]:
    """The shard's documents, some at a time: as many as fit into a batch to encode."""
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(shard) as file:
            missing = sorted(set(COLUMNS) - set(file.schema_arrow.names))
            if missing:
                raise UsageError(f"{shard} has no column {', '.join(missing)}. Give clean shards: lucie corpus build")
            for rows in file.iter_batches(batch_size=ROWS_AT_ONCE, columns=list(COLUMNS)):
                yield from _cut(pl.DataFrame(pl.from_arrow(rows)))
    except (OSError, pyarrow.ArrowInvalid) as error:
        raise UsageError(f"{shard} is not a Parquet file that can be read: {error}. Make it again.") from error


def _cut(documents: pl.DataFrame) -> Iterator[pl.DataFrame]:
    start, held = 0, 0
    for row, length in enumerate(documents["text"].str.len_chars().fill_null(0)):
        if held and held + length > CHARACTERS_AT_ONCE:
            yield documents[start:row]
            start, held = row, 0
        held += length
    if start < documents.height:
        yield documents[start:]
