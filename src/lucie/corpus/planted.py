"""How well do the rules find the faults that were planted in a corpus?

The list of planted faults is a CSV: source, id, kind, detail (of a copy, its original as source/id), emails, ips.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from lucie.corpus.pii import EMAIL, IP

REPETITION = (*(f"top {n}gram too high" for n in (2, 3, 4)), *(f"repeated {n}grams too high" for n in range(5, 11)))
# The kinds of faults, and the rules that should find each.
EXPECTED: dict[str, tuple[str, ...]] = {
    "ocr": ("perplexity too high",),
    "wrong_language": ("language score too low",),
    "curly_brackets": ("curly brackets too high",),
    "lorem_ipsum": ("lorem ipsum too high",),
    "bullets": ("bullet lines too high",),
    "ellipsis": ("ellipsis lines too high",),
    "short": ("words too low",),
    "few_sentences": ("sentences too low",),
    "numbers": ("words without letter too high",),
    "hashtags": ("symbols per word too high",),
    "long_words": ("mean word length too high",),
    "spam": REPETITION,
    "repeated_paragraph": REPETITION,
    "listed_word": ("listed words too high",),
    "blocked_site": ("address blocked",),
    "robots_forbid": ("robots forbid",),
    "robots_unknown": ("robots unknown",),
    "covered": ("address covered",),
    "licence_nc": ("licence noncommercial",),
    "licence_closed": ("licence closed",),
    "licence_unknown": ("licence unknown",),
    "recent_author": ("years since death too low",),
    "exact_duplicate": ("exact duplicate",),
    "near_duplicate": ("near duplicate",),
}
HARMLESS = ("pii", "half_shared")  # kinds that no rule should drop
COPIES = ("exact_duplicate", "near_duplicate")


def load(path: Path) -> pl.DataFrame:
    """The list of planted faults."""
    return pl.read_csv(path, schema_overrides={"emails": pl.Int64(), "ips": pl.Int64()})


def rules(decisions: pl.DataFrame, planted: pl.DataFrame) -> pl.DataFrame:
    """Per rule, or family of rules: documents planted for it, found among these, caught in all; precision and recall.

    A document counts as caught by every rule that it breaks, not only by the first, which dropped it. What one rule
    catches of another's plants is no error of it when the text is at fault: `others` says how many such there are.
    """
    joined = _joined(decisions, planted)
    rows = []
    families = _families()
    expected = {name for names in families for name in names}
    met = joined.explode("broken")["broken"].drop_nulls().unique(maintain_order=True)
    for names, kinds in {**families, **{(name,): [] for name in sorted(met) if name not in expected}}.items():
        caught = joined.filter(pl.col("broken").list.set_intersection(list(names)).list.len() > 0)
        meant = joined.filter(pl.col("kind").is_in(kinds))
        found = _found(caught, meant, joined, kinds)
        others = caught.filter(pl.col("kind").is_not_null() & ~pl.col("kind").is_in([*kinds, *HARMLESS])).height
        wrong = caught.height - found - others
        rows.append(
            {
                "rule": names[0] if len(names) == 1 else "repetition",
                "planted": meant.height,
                "found": found,
                "others": others,
                "wrong": wrong,
                "precision": found / (found + wrong) if found + wrong else None,
                "recall": found / meant.height if meant.height else None,
            }
        )
    return pl.DataFrame(rows)


def whole(decisions: pl.DataFrame, planted: pl.DataFrame) -> dict[str, int]:
    """Of all documents: those with a fault and dropped, dropped without a fault, with a fault and kept."""
    joined = _judged(decisions, planted)
    faulty, dropped = pl.col("faulty"), pl.col("dropped")
    return {
        "faulty_dropped": joined.filter(faulty & dropped).height,
        "sound_dropped": joined.filter(~faulty & dropped).height,
        "faulty_kept": joined.filter(faulty & ~dropped).height,
    }


def addresses(clean: pl.DataFrame, planted: pl.DataFrame) -> pl.DataFrame:
    """Addresses planted, and marks left in their place, by kind: e-mail, IP."""
    texts = clean.join(planted.filter(kind="pii"), on=["source", "id"], how="inner")
    rows: list[dict[str, Any]] = []
    for what, mark, column in (("e-mail", EMAIL, "emails"), ("IP", IP, "ips")):
        everywhere = clean["text"].str.count_matches(mark, literal=True).sum()
        found = texts.select(pl.min_horizontal(pl.col("text").str.count_matches(mark, literal=True), column).sum())
        rows.append(
            {
                "address": what,
                "planted": int(planted[column].sum()),
                "found": int(found.item()),
                "wrong": int(everywhere) - int(found.item()),
            }
        )
    return pl.DataFrame(rows)


def missed(decisions: pl.DataFrame, planted: pl.DataFrame) -> pl.DataFrame:
    """The documents where the rules and the list do not agree: dropped without a fault, or kept with one."""
    joined = _judged(decisions, planted)
    return joined.filter(pl.col("faulty") != pl.col("dropped")).select("source", "id", "kind", "reason")


def _judged(decisions: pl.DataFrame, planted: pl.DataFrame) -> pl.DataFrame:
    """What became of each document, and whether it is faulty and dropped.

    Of a pair of copies either may be dropped: where it is the original, it counts as the copy, and the copy as sound.
    """
    joined = _joined(decisions, planted).with_columns(
        dropped=pl.col("reason") != "",
        faulty=pl.col("kind").is_not_null() & ~pl.col("kind").is_in(HARMLESS),
    )
    swapped = joined.filter(pl.col("kind").is_in(COPIES) & ~pl.col("dropped")).join(
        joined.filter("dropped", ~pl.col("faulty")).select(detail="name"), on="detail", how="semi"
    )
    originals, copies = (swapped[name].to_list() for name in ("detail", "name"))
    name = pl.col("name")
    return joined.with_columns(faulty=(pl.col("faulty") | name.is_in(originals)) & ~name.is_in(copies))


def _joined(decisions: pl.DataFrame, planted: pl.DataFrame) -> pl.DataFrame:
    kinds = planted.select("source", "id", "kind", "detail")
    named = decisions.with_columns(name=pl.concat_str("source", pl.lit("/"), "id"))
    return named.join(kinds, on=["source", "id"], how="left", maintain_order="left")


def _families() -> dict[tuple[str, ...], list[str]]:
    found: dict[tuple[str, ...], list[str]] = {}
    for kind, names in EXPECTED.items():
        found.setdefault(names, []).append(kind)
    return found


def _found(caught: pl.DataFrame, meant: pl.DataFrame, joined: pl.DataFrame, kinds: list[str]) -> int:
    """Of a pair of copies either may be dropped: the first in the order of the corpus is kept."""
    if not set(kinds) & set(COPIES):
        return caught.filter(pl.col("kind").is_in(kinds)).height
    names = set(caught["name"])
    return sum(name in names or twin in names for name, twin in meant.select("name", "detail").iter_rows())
