"""What languages and sources are made of, and the counts that disagree."""

from __future__ import annotations

import polars as pl
import pytest

from lucie.corpus import composition, distribution
from lucie.corpus.composition import Part
from lucie.project import Project
from lucie.records import load_record


@pytest.fixture
def documents(project: Project) -> pl.DataFrame:
    return load_record(project, "input/document_counts")


@pytest.fixture
def tokens(project: Project) -> pl.DataFrame:
    return load_record(project, "input/token_counts")


@pytest.fixture
def parts(documents: pl.DataFrame, tokens: pl.DataFrame) -> list[Part]:
    return composition.parts(documents, tokens)


@pytest.fixture
def labels(project: Project) -> pl.DataFrame:
    """The printed percentages, as numbers."""
    return load_record(project, "transcribed/distribution_labels").with_columns(pl.col("value").cast(float))


def off(labels: pl.DataFrame, ours: pl.DataFrame, percent: str) -> list[tuple[str, str]]:
    """The printed labels that one of our columns does not round to."""
    both = labels.join(ours, on=["figure", "label"], how="inner")
    assert not both.is_empty()
    return both.filter((pl.col("value") - pl.col(percent)).abs() > 0.05).select("figure", "label").rows()


def test_percents_of_each_figure_add_to_a_hundred(parts: list[Part], tokens: pl.DataFrame) -> None:
    shown = pl.concat([distribution.languages(parts), distribution.sources(tokens)])
    for column in ("percent", "percent_of_rounded"):
        assert shown.group_by("figure").agg(pl.sum(column))[column].to_list() == pytest.approx([100] * 14)


def test_every_printed_label_is_one_of_ours(parts: list[Part], tokens: pl.DataFrame, labels: pl.DataFrame) -> None:
    shown = pl.concat([distribution.languages(composition.released(parts)), distribution.sources(tokens)])
    pies = labels.filter(pl.col("figure") != "americanstories")
    assert pies.height == 64
    assert pies.join(shown, on=["figure", "label"], how="anti").is_empty()


def test_the_french_pie_has_persee_in_it_and_no_other_language_is_moved(
    parts: list[Part], labels: pl.DataFrame
) -> None:
    without = distribution.languages(composition.released(parts))
    assert off(labels, without, "percent") == [("french", "RedPajama"), ("french", "GallicaPress")]
    assert off(labels, distribution.languages(parts), "percent") == []


def test_one_share_of_claire_needs_rounded_tokens(tokens: pl.DataFrame, labels: pl.DataFrame) -> None:
    sources = distribution.sources(tokens)
    assert off(labels, sources, "percent") == [("claire_en", "DialogStudio")]
    assert off(labels, sources, "percent_of_rounded") == []


def test_the_histogram_of_newspapers_shows_characters(documents: pl.DataFrame, labels: pl.DataFrame) -> None:
    ours = distribution.american_stories(documents)
    both = labels.filter(figure="americanstories").join(ours, on=["figure", "label"], validate="1:1")
    assert both.height == 124
    pixel = 0.016  # percent: a row of the picture, and half a digit of the reading
    apart = {name: (both["value"] - both[name]).abs() for name in ("documents", "words", "characters")}
    assert apart["characters"].max() <= pixel  # type: ignore[operator]
    assert (apart["words"] > pixel).sum() > 15
    assert (apart["documents"] > pixel).sum() > 60


def test_three_sources_have_other_documents_after_tokenisation(documents: pl.DataFrame, tokens: pl.DataFrame) -> None:
    twice = distribution.counted_twice(documents, tokens)
    more = dict(twice.select("source", pl.col("after") - pl.col("before")).iter_rows())
    assert more == {"Claire": 733, "GallicaPress": 3483, "MathPile": -7356}
    mathpile = twice.filter(source="MathPile").row(0, named=True)
    assert mathpile["after"] + mathpile["validation"] == mathpile["before"]


def test_two_stored_totals_are_spanish_alone(project: Project, documents: pl.DataFrame) -> None:
    stored = load_record(project, "published/source_totals")
    both = stored.join(distribution.summed_by_source(documents), on="source", suffix="_summed", validate="1:1")
    right = both.filter(pl.col("documents") == pl.col("documents_summed"))["source"].to_list()
    spanish = both.filter(pl.col("words") == pl.col("spanish_words"))["source"].to_list()
    assert (right, sorted(spanish)) == (["EuroparlAligned"], ["Europarl", "Wikipedia"])
