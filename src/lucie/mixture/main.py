"""The mix of the main phase: how many tokens of each file the pretraining sees."""

from __future__ import annotations

import math
from decimal import Decimal

import polars as pl

from lucie.corpus.composition import MEASURES, Part, printed, shares

LAUNCHED_DECIMALS = 9  # of the weights in the trainer's option
SPARE = Decimal("1.005")  # Megatron lays out half a percent more samples than a data set's share, to be safe


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
    ).sort("name", maintain_order=True)


def by_language(mix: pl.DataFrame) -> pl.DataFrame:
    """Tokens and weighted tokens by language, with percents of either; text in two languages is 'parallel'."""
    return _grouped(mix, pl.when(pl.col("category") == "aligned").then(pl.lit("parallel")).otherwise("language"))


def by_category(mix: pl.DataFrame) -> pl.DataFrame:
    """Tokens and weighted tokens by category of text, with percents of either and the mean epochs."""
    return _grouped(mix, pl.col("category")).with_columns(epochs=pl.col("weighted_tokens") / pl.col("tokens"))


def _grouped(mix: pl.DataFrame, key: pl.Expr) -> pl.DataFrame:
    return (
        mix.group_by(parameter=key, maintain_order=True)
        .agg(pl.sum("tokens"), pl.sum("weighted_tokens"))
        .with_columns(
            percent_before=100 * pl.col("tokens") / pl.col("tokens").sum(),
            percent=100 * pl.col("weighted_tokens") / pl.col("weighted_tokens").sum(),
        )
        .sort("percent", descending=True, maintain_order=True)
    )


def page(languages: pl.DataFrame) -> pl.DataFrame:
    """`by_language` as the authors' page on the mix lists it: (parameter, value), in percent and billion tokens."""
    names = pl.col("parameter").replace("parallel", "aligned")
    listed = {
        "share_before": pl.col("percent_before"),
        "share_after": pl.col("percent"),
        "tokens_after": pl.col("weighted_tokens") / 10**9,
    }
    return pl.concat(
        languages.select(parameter=pl.lit(f"{kind}:") + names, value=number) for kind, number in listed.items()
    )


def blend(mix: pl.DataFrame, samples: int, sequence_length: int) -> pl.DataFrame:
    """Samples that the trainer draws from each file for a run of that many samples, and passes that these take.

    The weights passed to the trainer had nine decimals, whose sum is not quite one; the trainer divides by it, adds
    half a percent and rounds up. Decimal numbers keep a float's last bit from deciding which integer comes next.
    """
    weights = [Decimal(f"{weight:.{LAUNCHED_DECIMALS}f}") for weight in mix["weight"]]
    drawn = [math.ceil(weight / sum(weights) * samples * SPARE) for weight in weights]
    # A sample needs one token more than its length: the target of its last position.
    passes = [
        math.ceil((number * sequence_length + 1) / tokens) for number, tokens in zip(drawn, mix["tokens"], strict=True)
    ]
    return mix.select("name", samples=pl.Series(drawn), epochs=pl.Series(passes))


def pie(parts: list[Part], epochs: pl.DataFrame) -> pl.DataFrame:
    """`lucie.corpus.composition.shares` of the weighted corpus."""
    passes = _by_kind(epochs)
    return shares(parts, lambda part: part.tokens * passes[part.group, part.category])


def tokens_of_rounded_parts(parts: list[Part], epochs: pl.DataFrame) -> int:
    """All weighted tokens, with the tokens of each part rounded as they are printed before they are weighted."""
    passes, billion = _by_kind(epochs), MEASURES["tokens"]
    total = sum(printed(Decimal(p.tokens) / billion) * Decimal(str(passes[p.group, p.category])) for p in parts)
    return round(total * billion)


def _by_kind(epochs: pl.DataFrame) -> dict[tuple[str, str], float]:
    return {(language, category): number for language, category, number in epochs.iter_rows()}
