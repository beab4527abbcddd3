"""The composition of the corpus: rounding as printed, totals, ratios and shares."""

from __future__ import annotations

from decimal import Decimal

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lucie.corpus import composition
from lucie.corpus.composition import MEASURES, Part, printed
from lucie.project import Project
from lucie.records import load_record

CELL = ["source", "language", "quantity"]
QUANTITIES = st.decimals(min_value=0, max_value=10_000, places=12)
COUNTS = st.integers(1, 10**12)
PARTS = st.lists(
    st.builds(
        Part,
        source=st.sampled_from(["Books", "Web", "RedPajama"]),
        language=st.sampled_from(["fr", "en", "PYTHON"]),
        group=st.sampled_from(["fr", "en", "code", "fr-en"]),
        category=st.sampled_from(["book", "web", "legi_written", "legi_spoken", "aligned", "programming"]),
        documents=COUNTS,
        words=COUNTS,
        tokens=COUNTS,
        characters=COUNTS,
    ),
    min_size=1,
    max_size=12,
)


@pytest.fixture
def parts(project: Project) -> list[Part]:
    """The parts of the committed records."""
    return composition.parts(*(load_record(project, f"input/{name}_counts") for name in ("document", "token")))


@pytest.fixture
def published(project: Project) -> pl.DataFrame:
    return load_record(project, "published/composition").select(*CELL, "printed")


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("0.0908", "0.0908"),
        ("100.0", "100.000"),
        ("0.000735", "0.000735"),
        ("0", "0.000"),
        ("0.0999", "0.100"),
        ("2187.65649", "2187.656"),
        ("0.1235", "0.124"),
        ("0.1245", "0.124"),  # half to even
    ],
)
def test_a_quantity_is_printed_as_the_authors_print_it(number: str, text: str) -> None:
    assert str(printed(Decimal(number))) == text


@given(QUANTITIES)
def test_at_least_three_decimals_and_three_digits_are_printed_and_no_more_than_needed(number: Decimal) -> None:
    result = printed(number)
    decimals = -int(result.as_tuple().exponent)
    assert decimals >= 3
    if number:
        assert len(result.as_tuple().digits) >= 3
    if decimals > 3:
        assert len(round(number, decimals - 1).as_tuple().digits) < 3


@given(QUANTITIES)
def test_printing_is_off_by_at_most_half_a_unit_of_the_last_digit(number: Decimal) -> None:
    result = printed(number)
    assert abs(result - number) <= Decimal(1).scaleb(int(result.as_tuple().exponent)) / 2


@given(QUANTITIES)
@example(Decimal("0.09946"))
def test_printing_twice_changes_nothing_but_a_995(number: Decimal) -> None:
    # 0.09946 is 0.0995 with three digits, and 0.0995 is 0.100 with three decimals: rounding twice is not rounding.
    once = printed(number)
    again = printed(once)
    assert str(again) == str(once) or (once.as_tuple().digits == (9, 9, 5) and again > once)


def counts(sources: list[str], splits: list[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Document and token counts of one French file a source."""
    files = pl.DataFrame({"source": sources, "language": "fr", "part": [f"20{n}" for n, _ in enumerate(sources)]})
    documents = files.with_columns(documents=1, words=10, characters=50)
    return documents, files.with_columns(category=pl.lit("web"), tokens=12, split=pl.Series(splits))


def test_a_token_file_without_document_counts_is_named() -> None:
    documents, tokens = counts(["RedPajama", "Claire"], ["train", "train"])
    with pytest.raises(ValueError, match="RedPajama fr 200"):
        composition.parts(documents.filter(source="Claire"), tokens)


def test_a_source_that_is_not_counted_by_part_needs_counts_of_the_whole() -> None:
    documents, tokens = counts(["Gallica"], ["train"])
    with pytest.raises(ValueError, match="Gallica fr"):
        composition.parts(documents, tokens)
    [part] = composition.parts(documents.with_columns(part=pl.lit("")), tokens)
    assert (part.source, part.tokens, part.characters) == ("Gallica", 12, 50)


def test_validation_files_are_in_no_part() -> None:
    [part] = composition.parts(*counts(["RedPajama", "Claire"], ["validation", "train"]))
    assert part.source == "Claire"


def test_every_training_token_of_the_record_is_in_one_part(project: Project, parts: list[Part]) -> None:
    trained = load_record(project, "input/token_counts").filter(split="train")
    assert sum(part.tokens for part in parts) == trained["tokens"].sum()


@given(PARTS)
def test_totals_by_language_add_up_to_the_grand_total(all_parts: list[Part]) -> None:
    table = composition.composition(all_parts)
    for measure in MEASURES:
        cells = table.filter(level="total", quantity=measure)
        by_language = [Decimal(text) for text in cells.filter(pl.col("language") != "")["exact"]]
        grand = Decimal(cells.filter(language="")["exact"].item())
        counted = sum(getattr(part, measure) for part in all_parts)
        assert sum(by_language) == grand == Decimal(counted) / MEASURES[measure]


@given(PARTS)
def test_subsets_add_up_to_the_grand_total(all_parts: list[Part]) -> None:
    table = composition.composition(all_parts).filter(quantity="tokens")
    subsets = [Decimal(text) for text in table.filter(level="subset")["exact"]]
    assert sum(subsets) == Decimal(table.filter(source="TOTAL", language="")["exact"].item())


@given(PARTS)
def test_rounding_first_moves_a_sum_by_at_most_half_a_unit_for_each_rounding(all_parts: list[Part]) -> None:
    table = composition.composition(all_parts).filter(source="TOTAL", language="")
    for row in table.iter_rows(named=True):
        moved = abs(Decimal(row["exact"]) - Decimal(row["rounded_parts"]))
        assert moved <= Decimal("0.0005") * (len(all_parts) + 1)


def of(kind: str, shares: pl.DataFrame) -> float:
    """Percent of all labels of a kind."""
    return float(shares.filter(pl.col("label").str.starts_with(kind))["percent"].sum())


@given(PARTS)
def test_shares_of_languages_and_of_wedges_add_to_a_hundred(all_parts: list[Part]) -> None:
    shares = composition.shares(all_parts)
    assert of("language:", shares) == pytest.approx(100)
    assert of("wedge:", shares) == pytest.approx(100)


def test_shares_of_categories_code_and_parallel_text_add_to_a_hundred(parts: list[Part]) -> None:
    shares = composition.shares(parts)
    categories, code, parallel = (of(kind, shares) for kind in ("category:", "language:code", "language:parallel"))
    assert min(categories, code, parallel) > 0
    assert categories + code + parallel == pytest.approx(100)
    assert of("category:legi", shares) == of("category:legislative", shares) > 0


def test_all_388_published_quantities_follow_with_parts_rounded_first(
    parts: list[Part], published: pl.DataFrame
) -> None:
    ours = composition.composition(parts).select(*CELL, printed="rounded_parts")
    theirs = published.filter(pl.col("quantity").is_in(list(MEASURES)))
    assert ours.height == 388
    assert ours.sort(CELL).equals(theirs.sort(CELL))


def test_all_485_published_ratios_follow_from_printed_quantities(parts: list[Part], published: pl.DataFrame) -> None:
    ours = composition.ratios(composition.composition(parts)).select(*CELL, printed="ratio")
    theirs = published.filter(pl.col("quantity").is_in(list(composition.RATIOS)))
    both = theirs.join(ours, on=CELL, suffix="_ours", validate="1:1")
    assert both.height == ours.height == theirs.height == 485
    # The authors print 1.50 as 1.5.
    assert both["printed_ours"].cast(pl.Float64).equals(both["printed"].cast(pl.Float64), check_names=False)


def test_eleven_subsets_and_sixteen_totals_depend_on_when_they_were_rounded(parts: list[Part]) -> None:
    differing = composition.disagreements(composition.composition(parts))
    assert differing.height == 27
    assert dict(differing["level"].value_counts().iter_rows()) == {"subset": 11, "total": 16}


def test_the_table_of_totals_begins_with_all_languages_and_falls(parts: list[Part]) -> None:
    totals = composition.totals(composition.composition(parts))
    assert totals["language"].to_list()[:3] == ["all", "fr", "en"]
    assert totals["tokens"].cast(pl.Float64).is_sorted(descending=True)
