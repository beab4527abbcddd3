"""Documents, words, characters and bytes of a corpus, by source, language, category and year.

The corpus is streamed: memory depends on the size of a block and the number of groups, not on the corpus. A word is
what stands between white space, as the authors counted: `len(text.split())`. To Python the four separators U+001C to
U+001F are white space too, which they are not to the regular expression `\\s`. They never counted bytes (UTF-8).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import polars as pl

from lucie.corpus.blocks import Problem
from lucie.corpus.documents import TEXT
from lucie.corpus.sources import Batch, Folder
from lucie.corpus.words import count_words

GROUPS = ("source", "language", "category", "year")
MEASURES = ("documents", "words", "characters", "bytes")
WANTED = (TEXT, "source", "language", "category", "date")
GROUPS_HELD = 10_000  # partial sums are added up when there are more

Progress = Callable[[int], None]


@dataclass
class Statistics:
    """What was counted, one row a group, and what could not be read."""

    counts: pl.DataFrame
    problems: list[Problem] = field(default_factory=list)

    def by(self, *groups: str) -> pl.DataFrame:
        """The counts by fewer groups, the largest first."""
        return (
            self.counts.group_by(*groups, maintain_order=True)
            .agg(pl.col(MEASURES).sum())
            .sort("bytes", *groups, descending=[True, *[False] * len(groups)], maintain_order=True)
        )

    def total(self, measure: str) -> int:
        return int(self.counts[measure].sum())

    def to_json(self) -> dict[str, Any]:
        totals = {measure: self.total(measure) for measure in MEASURES}
        return {"total": totals, "groups": self.counts.to_dicts(), "unreadable": list(map(str, self.problems))}


def count(corpus: Folder, threads: int, progress: Progress = lambda _: None) -> Statistics:
    """Count a corpus. ``progress`` is told how many bytes of its files were done since the last time."""
    problems: list[Problem] = []
    partial: list[pl.DataFrame] = []

    def measured(batch: Batch) -> tuple[pl.DataFrame, Batch]:
        return measure(batch.documents), batch

    shards = corpus.shards()
    *starts, total = accumulate((shard.bytes for shard in shards), initial=0)
    start, done = dict(zip(shards, starts, strict=True)), 0
    for counts, batch in corpus.map(shards, WANTED, measured, threads):
        partial.append(counts)
        problems += batch.problems
        reached = start[batch.shard] + batch.end
        progress(reached - done)
        done = reached
        if sum(map(len, partial)) > GROUPS_HELD:
            partial = [_summed(partial)]
    progress(total - done)
    return Statistics(_summed(partial), problems)


def measure(documents: pl.DataFrame) -> pl.DataFrame:
    """The counts of some documents by group; documents without a value of a group count under ''."""
    text = pl.col(TEXT)
    return (
        documents.select(
            *GROUPS[:3],
            pl.col("date").str.extract(r"(?:^|\D)(\d{4})(?:\D|$)").alias("year"),
            pl.lit(1).alias("documents"),
            count_words(documents[TEXT]).alias("words"),
            text.str.len_chars().alias("characters"),
            text.str.len_bytes().alias("bytes"),
        )
        .group_by(*GROUPS, maintain_order=True)
        .agg(pl.col(MEASURES).cast(pl.Int64).sum())
        .with_columns(pl.col(GROUPS).fill_null(""))
    )


def _summed(partial: list[pl.DataFrame]) -> pl.DataFrame:
    if not partial:
        partial = [measure(pl.DataFrame(schema={name: pl.String() for name in WANTED}))]
    return (
        pl.concat(partial)
        .group_by(*GROUPS, maintain_order=True)
        .agg(pl.col(MEASURES).sum())
        .sort(*GROUPS, maintain_order=True)
    )
