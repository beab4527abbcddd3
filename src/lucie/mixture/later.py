"""The mixes of the two short phases: the context extension, which favours long documents, and annealing."""

from __future__ import annotations

import polars as pl

LONG_FAVOURED = 10  # a token of a long document weighs this many times one of a short document
RECENT = {  # older crawls hand their weight to the one that was kept
    r"^(RedPajama--..)--\d{4}$": "${1}--2023",
    r"^(FineWebEdu--cc-main)-\d{4}$": "${1}-2024",
}
KINDS = {  # source of a token file: kind of text, for the annealing mix
    "Aya": "instructions",
    "Flanv2": "instructions",
    "MathPile": "math",
    "OpenWebMath": "math",
    "PeS2o": "technical",
    "StackMathQA": "math",
    "Wikipedia": "wiki",
}


def extend(mix: pl.DataFrame, split: pl.DataFrame) -> pl.DataFrame:
    """The mix of the context extension, from `lucie.mixture.main.weigh` and input/length_split_counts.

    Every file keeps its weight of the main phase, older crawls theirs through the newest one. Within a file the weight
    is divided between short and long documents by tokens, long ones counted `LONG_FAVOURED` times.
    Returns one row a file and length: name, length, language, category, weight (sums to 1). Raises ValueError for a
    file of the main phase that was not split.
    """
    name = pl.col("name")
    for older, kept in RECENT.items():
        name = name.str.replace(older, kept)
    main = mix.group_by(name=name, maintain_order=True).agg(pl.sum("weight"))
    lost = main.join(split, on="name", how="anti").sort("name", maintain_order=True)
    if not lost.is_empty():
        raise ValueError(f"No counts by document length for {lost['name'][0]}.")
    favoured = pl.col("tokens") * pl.when(length="long").then(LONG_FAVOURED).otherwise(1)
    divided = split.with_columns(part=favoured / favoured.sum().over("name")).join(main, on="name", validate="m:1")
    return divided.select("name", "length", "language", "category", weight=pl.col("weight") * pl.col("part")).sort(
        "name", "length"
    )


def share_of_length(split: pl.DataFrame, epochs: pl.DataFrame) -> pl.DataFrame:
    """The share of each file among the long documents and among the short ones, weighted by epochs."""
    weighted = split.join(epochs, on=["language", "category"], how="left", validate="m:1").with_columns(
        weighted=pl.col("tokens") * pl.col("epochs")
    )
    return weighted.select("name", "length", weight=pl.col("weighted") / pl.col("weighted").sum().over("length"))


def refiltered(mix: pl.DataFrame, tokens: pl.DataFrame, split: pl.DataFrame) -> pl.DataFrame:
    """The files whose documents, long and short together, are not those of the main phase: it was filtered again.

    Returns name, tokens and documents before and after, and epochs_factor: a file that lost tokens but kept its weight
    is read that many times more often, for each token left.
    """
    after = split.group_by("name", maintain_order=True).agg(
        tokens_after=pl.sum("tokens"), documents_after=pl.sum("documents")
    )
    before = tokens.filter(split="train").select("name", "tokens", "documents")
    return (
        before.join(after, on="name")
        .filter(pl.col("tokens") != pl.col("tokens_after"))
        .join(mix.select("name", "weight"), on="name")
        .with_columns(epochs_factor=pl.col("tokens") / pl.col("tokens_after"))
        .sort("name", maintain_order=True)
    )


def version_notes(changed: pl.DataFrame) -> pl.DataFrame:
    """`refiltered` as (name, quantity, value), for the sizes that the dataset card states."""
    columns = {
        "documents": "documents:before",
        "tokens": "tokens:before",
        "documents_after": "documents:after",
        "tokens_after": "tokens:after",
    }
    return changed.rename(columns).unpivot(
        list(columns.values()), index="name", variable_name="quantity", value_name="value"
    )


def annealing_kinds(mix: pl.DataFrame) -> pl.DataFrame:
    """Percent of the annealing mix by kind of text, from input/annealing_mix, largest first.

    Raises ValueError for a file whose source has no kind.
    """
    source = pl.col("name").str.extract(r"^([A-Za-z0-9]+)")
    unknown = mix.filter(~source.is_in(list(KINDS)))
    if not unknown.is_empty():
        raise ValueError(f"No kind of text for the annealing file {unknown['name'][0]}.")
    kinds = mix.group_by(kind=source.replace_strict(KINDS), maintain_order=True).agg(percent=100 * pl.sum("weight"))
    return kinds.sort("percent", descending=True, maintain_order=True)


def annealing_languages(mix: pl.DataFrame) -> pl.DataFrame:
    """Percent of the annealing mix by the language in a file's name; papers and MathPile are English."""
    language = pl.col("name").str.extract(r"--(..)$").fill_null("en")
    return (
        mix.group_by(language=language, maintain_order=True)
        .agg(percent=100 * pl.sum("weight"))
        .sort("percent", descending=True, maintain_order=True)
    )
