"""Records of the tokenizer comparison: what was measured, and the ratios that were printed from it."""

from __future__ import annotations

import polars as pl

from lucie.records.upstream import Upstream

MEASURED = "lucie/tokenization/tokenizers_performances.csv"


def _rows(upstream: Upstream) -> list[dict[str, str]]:
    """The measurements; the authors' file repeats some rows, with other processing times."""
    rows = {}
    for row in upstream.rows(MEASURED):
        rows[row["tokenizer"], row["language"], row["dataset"]] = row
    return list(rows.values())


def tokenizer_measurements(upstream: Upstream) -> pl.DataFrame:
    return pl.DataFrame(
        [
            {
                "tokenizer": row["tokenizer"],
                "vocabulary": int(row["vocabulary size (tokens)"]),
                "language": row["language"],
                "dataset": row["dataset"],
                "characters": int(row["# characters"]),
                "words": int(row["# words"]),
                "tokens": int(row["# tokens"]),
            }
            for row in _rows(upstream)
        ]
    )


def tokenizer_ratios(upstream: Upstream) -> pl.DataFrame:
    return pl.DataFrame(
        [
            {
                "tokenizer": row["tokenizer"],
                "language": row["language"],
                "dataset": row["dataset"],
                "tokens_per_word": row["fertility"],
                "characters_per_token": row["average token length"],
            }
            for row in _rows(upstream)
        ]
    )


BUILDERS = {
    "input/tokenizer_measurements": tokenizer_measurements,
    "published/tokenizer_ratios": tokenizer_ratios,
}
