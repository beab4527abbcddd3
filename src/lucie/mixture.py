"""The training mix: how many tokens of each file the pretraining sees."""

from __future__ import annotations

import polars as pl


def weigh(tokens: pl.DataFrame, epochs: pl.DataFrame) -> pl.DataFrame:
    """Weights of the token files, from input/token_counts and input/sampling_epochs.

    Returns one row a training file: name, language, category, tokens, epochs, weighted_tokens (tokens x epochs),
    weight (share of all weighted tokens, sums to 1). Raises ValueError for a file without epochs.
    """
    files = tokens.filter(split="train").join(epochs, on=["language", "category"], how="left", validate="m:1")
    if files["epochs"].has_nulls():
        lost = files.filter(pl.col("epochs").is_null()).row(0, named=True)
        raise ValueError(f"No epochs for {lost['language']} {lost['category']}, which {lost['name']} needs.")
    weighted = files.with_columns(weighted_tokens=pl.col("tokens") * pl.col("epochs"))
    return weighted.select(
        "name",
        "language",
        "category",
        "tokens",
        "epochs",
        "weighted_tokens",
        weight=pl.col("weighted_tokens") / pl.col("weighted_tokens").sum(),
    ).sort("name")
