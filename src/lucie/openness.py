"""Openness: rating models by three conditions, and the licences of what Lucie-7B was trained on."""

from __future__ import annotations

import polars as pl

from lucie.corpus.composition import Part

# What the terms allow, from the most free. The names are those that the dataset card uses.
CLASSES = {
    "public domain": ("Public domain",),
    "attribution": (
        "CC BY 4.0",
        "CC BY-4.0",
        "ODC-BY",
        "ODC BY-v1.0",
        "ETALAB-Licence-Ouverte-v2.0",
        "Licence Ouverte / Open Licence version 2.0",
        "MIT",
    ),
    "share-alike": ("CC BY-SA", "CC BY-SA 4.0", "GFDL/CC BY-SA", "EUPL 1.1"),
    "called open": ("Open", "Open access", "permissive licenses"),
    "own or mixed terms": ("Other", "Mixed licenses", "Roots dataset", "Open Edition Books"),
    "none stated": ("not specified", "Not specified", ""),
    "non-commercial": ("CC BY-NC-SA 4.0", "CC BY-SA-NC 4.0"),
    "not released": ("could not be released",),
}
OPEN = ("public domain", "attribution", "share-alike", "called open")  # free to use, change and pass on
ROLES = ("data set", "extracted from")  # the first that states a licence counts
READINGS = {"strict": ["yes"], "lenient": ["yes", "partly"]}  # which answers meet a condition


def rate(groups: pl.DataFrame, answers: pl.DataFrame, rule: pl.DataFrame) -> pl.DataFrame:
    """The colour of each model, from transcribed/model_groups, openness_answers and openness_rule.

    A model has the answers of its group. Two readings: an answer with a reserve meets the condition (lenient), or
    does not (strict). One row a model and reading, with the number of conditions met.
    """
    tables = []
    for reading, met in READINGS.items():
        counted = answers.group_by("group", maintain_order=True).agg(
            conditions=pl.col("met").is_in(met).sum().cast(pl.Int64)
        )
        rated = groups.join(counted, on="group", how="left", maintain_order="left")
        rated = rated.join(rule.select("conditions", "colour"), on="conditions", how="left", maintain_order="left")
        tables.append(rated.select("model", "group", "conditions", "colour", reading=pl.lit(reading)))
    return pl.concat(tables)


def licence_class(printed: str) -> str:
    """The class of a licence as printed. Raises ValueError for one that is in none."""
    for name, licences in CLASSES.items():
        if printed in licences:
            return name
    raise ValueError(f"'{printed}' is in no class of licences.")


def licences_by_source(licences: pl.DataFrame) -> pl.DataFrame:
    """One licence a source, from transcribed/licences: that of the data set, else of what it was extracted from."""
    order = {role: place for place, role in enumerate(ROLES)}
    first = licences.sort(pl.col("role").replace_strict(order), maintain_order=True).unique("source", keep="first")
    named = first.select("source", licence=pl.col("printed")).sort("source", maintain_order=True)
    return named.with_columns(pl.Series("class", [licence_class(name) for name in named["licence"]]))


def cells(parts: list[Part], by_source: pl.DataFrame) -> pl.DataFrame:
    """Tokens and licence of each source and language. Raises ValueError for a source without a licence."""
    rows = [(part.source.partition(" (")[0], part.source, part.language, part.tokens) for part in parts]
    tokens = pl.DataFrame(rows, schema=["key", "source", "language", "tokens"], orient="row")
    summed = tokens.group_by("key", "source", "language", maintain_order=True).agg(pl.sum("tokens"))
    joined = summed.join(by_source, left_on="key", right_on="source", how="left", maintain_order="left").drop("key")
    if joined["class"].has_nulls():
        lost = joined.filter(pl.col("class").is_null())["source"][0]
        raise ValueError(f"No licence is stated for {lost}.")
    return joined


def by_class(table: pl.DataFrame) -> pl.DataFrame:
    """Cells, tokens and their share in percent of each class of licences, from the most free."""
    summed = table.group_by("class", maintain_order=True).agg(cells=pl.len(), tokens=pl.sum("tokens"))
    order = {name: place for place, name in enumerate(CLASSES)}
    ordered = summed.sort(pl.col("class").replace_strict(order), maintain_order=True)
    return ordered.with_columns(percent=100 * pl.col("tokens") / pl.col("tokens").sum())


def weighted(tokens: pl.DataFrame, weights: pl.DataFrame) -> pl.DataFrame:
    """input/token_counts with the tokens that the training sees; ``weights`` is that of `lucie.mixture.main.weigh`."""
    seen = weights.select("name", seen=pl.col("weighted_tokens").round().cast(pl.Int64))
    return tokens.join(seen, on="name").with_columns(tokens=pl.col("seen")).drop("seen")


def share(parts: list[Part], source: str) -> float:
    """Tokens of a source in percent of all."""
    return 100 * sum(part.tokens for part in parts if part.source == source) / sum(part.tokens for part in parts)


def beside_llama(llama: pl.DataFrame, parts: list[Part], languages: tuple[str, ...]) -> pl.DataFrame:
    """Percent of each language in the pretraining of LLaMA 2, as quoted, and in that of Lucie."""
    total = sum(part.tokens for part in parts)
    lucie = [100 * sum(part.tokens for part in parts if part.group == name) / total for name in languages]
    ours = pl.DataFrame({"language": languages, "lucie": lucie})
    return ours.join(llama.select("language", llama="percent"), on="language", how="left", maintain_order="left")
