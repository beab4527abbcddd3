"""What the filters kept: sizes before and after the first perplexity filter, and in the final dataset."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import ROUND_HALF_EVEN, Decimal

import polars as pl

KEY = ["source", "language", "quantity"]
UNITS = {"million": 10**6, "billion": 10**9}
CENT = Decimal("0.01")  # the kept parts are printed to this
HALF_UNIT = Decimal("0.0005")  # the counts are printed to three decimals: each may be off by so much


def kept(counts: pl.DataFrame) -> pl.DataFrame:
    """The part that the perplexity filter kept, one row a cell of input/perplexity_filtering.

    Adds ``ratio`` (after / before), ``kept`` (to two decimals), both of one, and ``determined``: whether every pair
    of counts that prints as this one gives the same two decimals.
    """
    return counts.with_columns(
        pl.Series("ratio", [float(after / before) for before, after in _pairs(counts)]),
        pl.Series("kept", [float(_cents(after / before)) for before, after in _pairs(counts)]),
        pl.Series("determined", [_determined(*pair) for pair in _pairs(counts)]),
    )


def _pairs(counts: pl.DataFrame) -> Iterator[tuple[Decimal, Decimal]]:
    for before, after in counts.select("before", "after").iter_rows():
        yield Decimal(before), Decimal(after)


def _determined(before: Decimal, after: Decimal) -> bool:
    least = (after - HALF_UNIT) / (before + HALF_UNIT)
    most = (after + HALF_UNIT) / (before - HALF_UNIT)
    return _cents(least) == _cents(most)


def _cents(ratio: Decimal) -> Decimal:
    return ratio.quantize(CENT, rounding=ROUND_HALF_EVEN)


def in_final_dataset(counts: pl.DataFrame, documents: pl.DataFrame) -> pl.DataFrame:
    """The same cells with ``final``, the size in the released dataset (input/document_counts) in the unit of the cell,
    and ``final_ratio``, final / before, and ``final_kept``, to two decimals.

    Raises ValueError for a source that the final dataset lacks.
    """
    whole = documents.filter(part="").unpivot(
        ["documents", "words", "characters"], index=["source", "language"], variable_name="quantity", value_name="count"
    )
    joined = counts.join(whole, on=KEY, how="left", validate="1:1", maintain_order="left")
    if joined["count"].has_nulls():
        lost = joined.filter(pl.col("count").is_null()).row(0, named=True)
        raise ValueError(f"The final dataset has no {lost['source']} ({lost['language']}).")
    final = pl.col("count") / pl.col("unit").replace_strict(UNITS)
    ratio = final / pl.col("before").cast(pl.Float64)
    return joined.select(*counts.columns, final=final, final_ratio=ratio, final_kept=ratio.round(2))


def changed_since(table: pl.DataFrame) -> pl.DataFrame:
    """The cells of `in_final_dataset` whose final size does not print as the size after the filter."""
    return table.filter((pl.col("final") - pl.col("after").cast(pl.Float64)).abs() > float(HALF_UNIT))


def collision_probability(similarity: float, buckets: int, hashes: int) -> float:
    """How likely MinHash takes two documents for duplicates: they share a whole bucket of hashes.

    ``similarity`` is the Jaccard similarity of their shingles; a hash agrees with that probability.
    """
    return float(1 - (1 - similarity**hashes) ** buckets)


def collisions(buckets: int, hashes: int) -> pl.DataFrame:
    """`collision_probability` for similarities from 0.4 to 1."""
    similarities = [step / 20 for step in range(8, 21)]
    probabilities = [collision_probability(similarity, buckets, hashes) for similarity in similarities]
    return pl.DataFrame({"similarity": similarities, "taken_for_duplicates": probabilities})


def even_similarity(buckets: int, hashes: int) -> float:
    """The similarity at which two documents are as likely as not to be taken for duplicates."""
    return float((1 - 0.5 ** (1 / buckets)) ** (1 / hashes))
