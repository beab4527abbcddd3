"""Filtering: kept parts, what became of them in the released dataset, duplicates by MinHash."""

from __future__ import annotations

from decimal import Decimal

import polars as pl
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lucie.corpus import filtering
from lucie.project import Project
from lucie.records import load_record

PRINTED = st.integers(min_value=1, max_value=10**6).map(lambda thousandths: Decimal(thousandths) / 1000)


def cell(before: str, after: str, source: str = "HAL", quantity: str = "documents") -> pl.DataFrame:
    """One cell of input/perplexity_filtering."""
    return pl.DataFrame(
        {
            "source": [source],
            "language": ["fr"],
            "quantity": [quantity],
            "unit": ["million"],
            "before": [before],
            "after": [after],
        }
    )


@pytest.fixture
def counts(project: Project) -> pl.DataFrame:
    return load_record(project, "input/perplexity_filtering")


@pytest.fixture
def final(project: Project, counts: pl.DataFrame) -> pl.DataFrame:
    return filtering.in_final_dataset(filtering.kept(counts), load_record(project, "input/document_counts"))


@given(PRINTED, PRINTED)
def test_a_kept_part_is_a_quotient_within_half_a_cent(before: Decimal, after: Decimal) -> None:
    row = filtering.kept(cell(str(before), str(after))).row(0, named=True)
    assert row["ratio"] == pytest.approx(float(after / before))
    assert abs(row["kept"] - row["ratio"]) <= 0.005 * (1 + 1e-9)


@given(PRINTED, PRINTED, st.integers(-5, 5), st.integers(-5, 5))
def test_a_determined_part_is_that_of_all_counts_that_print_alike(
    before: Decimal, after: Decimal, more_before: int, more_after: int
) -> None:
    row = filtering.kept(cell(str(before), str(after))).row(0, named=True)
    assume(row["determined"])
    exact = [before + Decimal(more_before) / 10**4, after + Decimal(more_after) / 10**4]
    assert filtering.kept(cell(*map(str, exact)))["kept"].item() == row["kept"]


def test_small_counts_leave_the_part_open() -> None:
    assert not filtering.kept(cell("0.106", "0.103"))["determined"].item()
    assert filtering.kept(cell("106.000", "103.000"))["determined"].item()


def test_the_parts_of_the_record_are_those_published(project: Project, counts: pl.DataFrame) -> None:
    kept = filtering.kept(counts)
    published = load_record(project, "published/perplexity_kept")
    both = kept.join(published, on=filtering.KEY, suffix="_published", validate="1:1")
    assert both.height == kept.height == published.height == 27
    assert both["kept"].to_list() == [float(text) for text in both["kept_published"]]
    assert kept["determined"].sum() == 20


def test_only_american_stories_is_still_as_the_table_says(final: pl.DataFrame) -> None:
    changed = filtering.changed_since(final)
    assert changed.height == 24
    unchanged = final.join(changed, on=filtering.KEY, how="anti")
    assert set(unchanged["source"]) == {"AmericanStories"}


def test_the_released_dataset_has_more_of_gallica_and_less_of_theses(final: pl.DataFrame) -> None:
    part = {(row["source"], row["quantity"]): row["final_ratio"] for row in final.iter_rows(named=True)}
    assert part["GallicaPress", "documents"] == pytest.approx(3.204809 / 3.277)
    assert part["Theses", "words"] == pytest.approx(7.546699381 / 8.536)


def test_a_source_that_the_released_dataset_lacks_is_named(project: Project) -> None:
    with pytest.raises(ValueError, match=r"no Nowhere \(fr\)"):
        filtering.in_final_dataset(cell("1", "1", source="Nowhere"), load_record(project, "input/document_counts"))


@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 20), st.integers(1, 20))
def test_more_alike_pages_are_more_often_duplicates(one: float, other: float, buckets: int, hashes: int) -> None:
    less, more = sorted([one, other])
    probabilities = [filtering.collision_probability(similarity, buckets, hashes) for similarity in (less, more)]
    assert 0 <= probabilities[0] <= probabilities[1] <= 1


@given(st.integers(1, 50), st.integers(1, 50))
def test_at_the_even_similarity_it_is_one_half(buckets: int, hashes: int) -> None:
    even = filtering.even_similarity(buckets, hashes)
    assert filtering.collision_probability(even, buckets, hashes) == pytest.approx(0.5)


def test_thresholds_have_names_of_their_own_and_numbers(project: Project) -> None:
    thresholds = load_record(project, "transcribed/filter_thresholds")
    assert thresholds.select("corpora", "rule", "drops").is_unique().all()
    assert thresholds["value"].cast(pl.Float64).min() == 0
    assert set(thresholds["drops"]) == {"above", "below", "both above", "parameter"}
    card = load_record(project, "transcribed/card_thresholds")
    assert card.join(thresholds, on=["corpora", "rule", "drops", "value"], how="semi").height == card.height == 14
