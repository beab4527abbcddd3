"""The text that the tokenizer was trained on, added up as the authors' table does."""

from __future__ import annotations

import polars as pl

COUNTS = ["pages", "words", "characters"]


def summary(files: pl.DataFrame) -> pl.DataFrame:
    """Counts of input/tokenizer_training_data: the grand total, each language, each file, in this order.

    Totals have an empty ``source``, the grand one an empty ``language``. All counts are integers.
    """
    sums = [pl.sum(count) for count in COUNTS]
    by_language = files.group_by("language", maintain_order=True).agg(sums).with_columns(source=pl.lit(""))
    grand = files.select(sums).with_columns(source=pl.lit(""), language=pl.lit(""))
    columns = ["source", "language", *COUNTS]
    return pl.concat([grand.select(columns), by_language.select(columns), files.select(columns)])


def printed_quantities(table: pl.DataFrame) -> pl.DataFrame:
    """The cells of the published table, one row each: million pages, billion words and characters, and two ratios."""
    wide = table.select(
        "source",
        "language",
        pages=pl.col("pages") / 1e6,
        words=pl.col("words") / 1e9,
        characters=pl.col("characters") / 1e9,
        words_per_page=pl.col("words") / pl.col("pages"),
        characters_per_word=pl.col("characters") / pl.col("words"),
    )
    return wide.unpivot(index=["source", "language"], variable_name="quantity", value_name="number")
