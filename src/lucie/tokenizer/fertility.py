"""How many tokens a tokenizer needs: fertility (tokens per word) and characters per token."""

from __future__ import annotations

import polars as pl

DECIMALS = 3  # the authors print the ratios so, without final zeros
KEY = ["tokenizer", "language", "dataset"]


def ratios(measurements: pl.DataFrame) -> pl.DataFrame:
    """Fertility and characters per token of input/tokenizer_measurements, exact and rounded to three decimals."""
    fertility = pl.col("tokens") / pl.col("words")
    length = pl.col("characters") / pl.col("tokens")
    return measurements.select(
        *KEY,
        "vocabulary",
        "words",
        "tokens",
        fertility=fertility,
        length=length,
        tokens_per_word=fertility.round(DECIMALS, mode="half_to_even"),
        characters_per_token=length.round(DECIMALS, mode="half_to_even"),
    )


def ranked(table: pl.DataFrame) -> pl.DataFrame:
    """The table of `ratios` with each tokenizer's ``rank`` by fertility on its corpus: 1 needs the fewest tokens."""
    return table.with_columns(rank=pl.col("fertility").rank("min").over("language", "dataset").cast(pl.Int64))


def by_language(table: pl.DataFrame) -> pl.DataFrame:
    """Tokens per word by tokenizer over all corpora of a language: tokens of all by words of all."""
    whole = table.group_by("tokenizer", "vocabulary", "language", maintain_order=True).agg(
        fertility=pl.sum("tokens") / pl.sum("words")
    )
    wide = whole.pivot("language", index=["tokenizer", "vocabulary"], values="fertility", maintain_order=True)
    return wide.sort("French", maintain_order=True)


def more_tokens(table: pl.DataFrame, other: str, reference: str, language: str) -> float:
    """How many more tokens ``other`` needs a word than ``reference`` over the corpora of a language, of one."""
    fertility: dict[str, float] = dict(by_language(table).select("tokenizer", language).iter_rows())
    return fertility[other] / fertility[reference] - 1


def several_texts(measurements: pl.DataFrame) -> pl.DataFrame:
    """The corpora that were measured in several texts: words, characters and tokenizers of each text."""
    texts = measurements.group_by("dataset", "characters", "words", maintain_order=True).agg("tokenizer")
    return texts.filter(pl.col("dataset").is_duplicated()).sort("dataset", "characters", maintain_order=True)
