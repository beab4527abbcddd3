"""The composition of the Lucie Training Dataset: subsets, totals, ratios and shares, from integer counts.

The published totals are sums of rounded rows, so everything here comes in two ways: from the integers, and with
every row rounded as it is printed before rows are added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from operator import attrgetter
from typing import TypeVar

import polars as pl

K = TypeVar("K")
MEASURES = {"documents": 10**6, "words": 10**9, "tokens": 10**9, "characters": 10**9}  # printed per this many
RATIOS = {  # name: numerator, denominator, printed decimals
    "words_per_document": ("words", "documents", 0),
    "characters_per_document": ("characters", "documents", 0),
    "tokens_per_document": ("tokens", "documents", 0),
    "characters_per_word": ("characters", "words", 1),
    "tokens_per_word": ("tokens", "words", 2),
}
LEAST_DECIMALS = LEAST_DIGITS = 3

# The sources that the authors' tables count part by part (year, sub-corpus, programming language) and round so.
COUNTED_BY_PART = ("Claire", "FineWebEdu", "OtherFr", "Pile", "RedPajama", "TheStack", "Wikiother")

_PRINTED_NAMES = {
    "amendements_parlement": "AmendementsParlement",
    "interventions_parlement": "InterventionsParlement",
    "questions_ecrites_parlement": "QuestionsEcritesParlement",
    "ValidatedYouTube": "YouTube",
}


@dataclass(frozen=True)
class Part:
    """What is counted as one row before anything is added up. Counts are integers."""

    source: str  # as printed
    language: str  # as printed: a programming language in capitals for code
    group: str  # the language it is totalled under
    category: str
    documents: int
    words: int
    tokens: int
    characters: int


def parts(documents: pl.DataFrame, tokens: pl.DataFrame) -> list[Part]:
    """Join the records input/document_counts and input/token_counts, part by part.

    Every training token file is in exactly one part; raises ValueError where one has no document counts.
    """
    key = ["source", "language", "part"]
    by_part = pl.col("source").is_in(COUNTED_BY_PART)
    tokenised = (
        tokens.filter(split="train")
        .with_columns(part=pl.when(by_part).then("part").otherwise(pl.lit("")))
        .group_by(*key, "category", maintain_order=True)
        .agg(pl.sum("tokens"))
    )
    counted = documents.select(*key, "documents", "words", "characters")
    joined = tokenised.join(counted, on=key, how="left", validate="1:1").sort(key)
    if joined["documents"].has_nulls():
        lost = joined.filter(pl.col("documents").is_null()).row(0, named=True)
        raise ValueError(f"No document counts for {lost['source']} {lost['language']} {lost['part']}.")
    return [_part(row) for row in joined.iter_rows(named=True)]


def _part(row: dict[str, str | int]) -> Part:
    source, part, language = str(row["source"]), str(row["part"]), str(row["language"])
    name = {"Pile": f"Pile ({part})", "OtherFr": part, "Wikiother": part}.get(source, source)
    return Part(
        source=_PRINTED_NAMES.get(name, name),
        language=part.upper() if language == "code" else language,
        group=language,
        category=str(row["category"]),
        **{measure: int(row[measure]) for measure in MEASURES},
    )


def printed(number: Decimal) -> Decimal:
    """Round to at least three decimals and at least three significant digits, as the authors print quantities."""
    decimals = LEAST_DECIMALS
    least = Decimal(10) ** (LEAST_DIGITS - 1)
    while number and round(number, decimals) < least.scaleb(-decimals):
        decimals += 1
    return number.quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_HALF_EVEN)


def composition(all_parts: list[Part]) -> pl.DataFrame:
    """The quantities of the published table: (source, language, quantity), each summed both ways.

    ``exact`` is the sum of the integers in the table's unit (million documents, else billion);
    ``rounded_parts`` the sum of printed parts, printed. Both are decimal numbers as text.
    """
    rows = [
        {
            "source": source,
            "language": language,
            "level": "total" if source == "TOTAL" else "subset",
            "quantity": measure,
            "exact": f"{_add(_in_unit(part, measure) for part in members):f}",
            "rounded_parts": f"{printed(_add(printed(_in_unit(part, measure)) for part in members)):f}",
        }
        for (source, language), members in _rows(all_parts)
        for measure in MEASURES
    ]
    return pl.DataFrame(rows)


def _in_unit(part: Part, measure: str) -> Decimal:
    return Decimal(getattr(part, measure)) / MEASURES[measure]


def _add(numbers: Iterable[Decimal]) -> Decimal:
    return sum(numbers, Decimal(0))


def totals(table: pl.DataFrame) -> pl.DataFrame:
    """The published totals, one row a language, largest first after the grand total."""
    wide = table.filter(level="total").pivot("quantity", index="language", values="rounded_parts")
    named = wide.with_columns(language=pl.col("language").replace("", "all"))
    return named.sort(pl.col("tokens").cast(pl.Float64), descending=True, maintain_order=True)


def disagreements(table: pl.DataFrame) -> pl.DataFrame:
    """The cells of `composition` whose printed digits depend on when they were rounded."""
    rounded = [str(printed(Decimal(number))) for number in table["exact"]]
    return table.with_columns(exact_rounded=pl.Series(rounded)).filter(
        pl.col("exact_rounded") != pl.col("rounded_parts")
    )


def ratios(table: pl.DataFrame) -> pl.DataFrame:
    """The ratio columns of the published table, from its printed quantities, as the authors compute them."""
    rows = []
    for (source, language, level), cells in table.group_by("source", "language", "level", maintain_order=True):
        quantity = {row["quantity"]: Decimal(row["rounded_parts"]) for row in cells.iter_rows(named=True)}
        for name, (over, under, decimals) in RATIOS.items():
            ratio = quantity[over] * MEASURES[over] / (quantity[under] * MEASURES[under])
            digits = str(ratio.quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_HALF_EVEN))
            rows.append({"source": source, "language": language, "level": level, "quantity": name, "ratio": digits})
    return pl.DataFrame(rows)


def _rows(all_parts: list[Part]) -> Iterator[tuple[tuple[str, str], list[Part]]]:
    """The printed rows: totals, then subsets, each with its parts."""
    yield ("TOTAL", ""), all_parts
    yield from ((("TOTAL", group), members) for group, members in _grouped(all_parts, lambda part: part.group).items())
    yield from _grouped(all_parts, lambda part: (part.source, part.language)).items()


def _grouped(all_parts: Iterable[Part], key: Callable[[Part], K]) -> dict[K, list[Part]]:
    groups: dict[K, list[Part]] = {}
    for part in all_parts:
        groups.setdefault(key(part), []).append(part)
    return groups


def shares(all_parts: list[Part], tokens: Callable[[Part], float] = attrgetter("tokens")) -> pl.DataFrame:
    """Tokens and their share of the corpus for each language, category and wedge of the published pie.

    ``tokens`` says how many a part counts for: its own, or as many as the training sees.
    The pie calls aligned text 'parallel', puts the three legislative categories together and shows code and
    parallel text among the languages only.
    """
    total = sum(map(tokens, all_parts))
    languages = _grouped(all_parts, lambda part: "parallel" if part.category == "aligned" else part.group)
    text = [part for part in all_parts if part.category not in ("aligned", "programming")]
    categories = _grouped(text, lambda part: "legislative" if part.category.startswith("legi") else part.category)
    wedges = _grouped(all_parts, _wedge)
    labelled = {f"language:{name}": members for name, members in languages.items()}
    labelled |= {f"category:{name}": members for name, members in categories.items()}
    labelled |= {f"wedge:{name}": members for name, members in wedges.items()}
    rows = [
        {"label": label, "tokens": (counted := sum(map(tokens, members))), "percent": 100 * counted / total}
        for label, members in labelled.items()
    ]
    return pl.DataFrame(rows)


def released(all_parts: list[Part]) -> list[Part]:
    """The parts in the published dataset: all that were trained on but Persée, which could not be redistributed."""
    return [part for part in all_parts if part.source != "Persee"]


def _wedge(part: Part) -> str:
    if part.group == "code":
        return part.language
    name = part.source.replace(" ", "")  # bold labels are set as formulas, which have no blanks
    return f"{name}-{part.language}" if name == "RedPajama" else name
