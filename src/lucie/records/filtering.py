"""Records of the filtering: sizes of the scanned sources before and after the perplexity filter, and what it kept."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from lucie.records.upstream import Upstream

PRINTED = "lucie/stats_perplexity_filtering.csv"
LANGUAGES = {"AmericanStories": "en"}  # a name without its language is French, but for this one
QUANTITIES = {  # our name: as in the printed columns, unit
    "documents": ("docs", "million"),
    "words": ("words", "billion"),
    "characters": ("chars", "billion"),
}


def _cells(upstream: Upstream) -> Iterator[tuple[dict[str, str], str, dict[str, str]]]:
    """Source, language and quantity of each cell, the unit, and the printed row."""
    for row in upstream.rows(PRINTED):
        source, _, language = row["name"].partition(".")
        for quantity, (_, unit) in QUANTITIES.items():
            cell = {"source": source, "language": language or LANGUAGES.get(source, "fr"), "quantity": quantity}
            yield cell, unit, row


def perplexity_filtering(upstream: Upstream) -> pl.DataFrame:
    rows = []
    for cell, unit, row in _cells(upstream):
        column = f"{unit[0].upper()} {QUANTITIES[cell['quantity']][0]}"
        rows.append({**cell, "unit": unit, "before": row[f"{column} before"], "after": row[f"{column} after"]})
    return pl.DataFrame(rows)


def perplexity_kept(upstream: Upstream) -> pl.DataFrame:
    rows = [{**cell, "kept": row[f"% {QUANTITIES[cell['quantity']][0]} kept"]} for cell, _, row in _cells(upstream)]
    return pl.DataFrame(rows)


BUILDERS = {"input/perplexity_filtering": perplexity_filtering, "published/perplexity_kept": perplexity_kept}
