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
    return years.select(figure=pl.lit("americanstories"), label="part", **measures).sort("label")


def counted_twice(documents: pl.DataFrame, tokens: pl.DataFrame) -> pl.DataFrame:
    """The sources whose documents before tokenisation are not as many as after it, with both counts.

    From input/document_counts and input/token_counts. Sources counted as a whole in one language are compared as a
    whole, the others by file.
    """
    key = ["source", "language"]
    whole = documents.filter((pl.col("part") == "") & (pl.col("language") != "")).select(*key, before="documents")
    after = tokens.filter(split="train").group_by(key).agg(after=pl.sum("documents"))
    both = whole.join(after, on=key, validate="1:1")
    return both.filter(pl.col("before") != pl.col("after")).with_columns(more=pl.col("after") - pl.col("before"))


def stale_totals(documents: pl.DataFrame) -> pl.DataFrame:
    """The files that hold a source's total over languages, with the sum of what they should hold.

    Columns source, stored and summed (documents); from input/document_counts.
    """
    whole = documents.filter(pl.col("part") == "")
    summed = whole.filter(pl.col("language") != "").group_by("source").agg(summed=pl.sum("documents"))
    return whole.filter(language="").select("source", stored="documents").join(summed, on="source").sort("source")
