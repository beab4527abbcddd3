"""What single languages and sources are made of: the shares behind the published pies and histograms."""

from __future__ import annotations

from decimal import Decimal

import polars as pl

from lucie.corpus.composition import MEASURES, Part, printed

LANGUAGES = {"fr": "french", "en": "english", "de": "german", "es": "spanish", "it": "italian", "fr-en": "fr-en"}
SOURCES = {  # figure: source, language
    "claire_fr": ("Claire", "fr"),
    "claire_en": ("Claire", "en"),
    "redpajama_fr": ("RedPajama", "fr"),
    "redpajama_de": ("RedPajama", "de"),
    "redpajama_es": ("RedPajama", "es"),
    "redpajama_it": ("RedPajama", "it"),
    "finewebedu": ("FineWebEdu", "en"),
}
YEAR = r"((?:1[789]|20)\d\d)$"


def languages(parts: list[Part]) -> pl.DataFrame:
    """What each language, and code, is made of, in tokens: (figure, label, tokens, rounded, percent, ...).

    ``percent`` is that of the integers, ``percent_of_rounded`` that of parts rounded as they are printed.
    """
    rows = [(LANGUAGES[part.group], part.source, part.tokens) for part in parts if part.group in LANGUAGES]
    rows += [("code", part.language, part.tokens) for part in parts if part.group == "code"]
    return _shares(rows)


def sources(tokens: pl.DataFrame) -> pl.DataFrame:
    """What `SOURCES` are made of, in tokens, by year of the crawl or by sub-corpus, from input/token_counts."""
    rows = []
    for figure, (source, language) in SOURCES.items():
        files = tokens.filter(split="train", source=source, language=language)
        label = pl.coalesce(pl.col("part").str.extract(YEAR), "part")
        rows += [(figure, *row) for row in files.select(label, "tokens").iter_rows()]
    return _shares(rows)


def _shares(rows: list[tuple[str, str, int]]) -> pl.DataFrame:
    """Percents within each figure, largest first."""
    rounded = [float(printed(Decimal(row[2]) / MEASURES["tokens"])) for row in rows]
    frame = pl.DataFrame(rows, schema=["figure", "label", "tokens"], orient="row")
    summed = frame.with_columns(rounded=pl.Series(rounded)).group_by("figure", "label", maintain_order=True).sum()
    return summed.with_columns(
        percent=100 * pl.col("tokens") / pl.col("tokens").sum().over("figure"),
        percent_of_rounded=100 * pl.col("rounded") / pl.col("rounded").sum().over("figure"),
    ).sort(pl.col("figure"), pl.col("tokens"), descending=[False, True], maintain_order=True)


def american_stories(documents: pl.DataFrame) -> pl.DataFrame:
    """Percent of the documents, words and characters of AmericanStories by year of the newspaper.

    Its tokens were counted in one file, so there are none by year. Columns figure, label (the year), and a percent for
    each measure; from input/document_counts.
    """
    years = documents.filter((pl.col("source") == "AmericanStories") & pl.col("part").str.contains(YEAR))
    measures = {name: 100 * pl.col(name) / pl.col(name).sum() for name in ("documents", "words", "characters")}
    return years.select(figure=pl.lit("americanstories"), label="part", **measures).sort("label", maintain_order=True)


def counted_twice(documents: pl.DataFrame, tokens: pl.DataFrame) -> pl.DataFrame:
    """The sources whose documents before tokenisation are not as many as the training files have.

    Columns source, language, before, after (both documents) and validation (documents set apart from training); from
    input/document_counts and input/token_counts, for sources counted as a whole.
    """
    key = ["source", "language"]
    whole = documents.filter(part="").select(*key, before="documents")
    in_split = {
        name: pl.col("documents").filter(split=split).sum()
        for name, split in {"after": "train", "validation": "validation"}.items()
    }
    both = whole.join(tokens.group_by(key, maintain_order=True).agg(**in_split), on=key, validate="1:1")
    return both.filter(pl.col("before") != pl.col("after")).sort("source", maintain_order=True)


def summed_by_source(documents: pl.DataFrame) -> pl.DataFrame:
    """Documents, words and characters of each source over its languages; in ``spanish_...`` those of Spanish alone.

    From input/document_counts.
    """
    whole = documents.filter(part="")
    measures = ("documents", "words", "characters")
    spanish = [pl.col(name).filter(pl.col("language").str.contains("^es$")).sum() for name in measures]
    return (
        whole.group_by("source", maintain_order=True)
        .agg(pl.sum(*measures), *(column.name.prefix("spanish_") for column in spanish), languages=pl.len())
        .filter(pl.col("languages") > 1)
        .sort("source", maintain_order=True)
    )
