"""The vocabulary of the authors' tokenizer files: which entries it holds, and how many merges follow from them."""

from __future__ import annotations

import polars as pl

RUNS = ("spaces", "tabs", "linebreaks")


def entries(table: pl.DataFrame) -> dict[str, int]:
    """Entries by kind of one tokenizer of input/tokenizer_entries, and under ``vocabulary`` all of them."""
    kinds: dict[str, int] = dict(table.select("kind", "entries").iter_rows())
    return {**kinds, "vocabulary": sum(kinds.values())}


def merges(kinds: dict[str, int]) -> int:
    """How many merges a vocabulary takes: one for each merged entry, and one for each way to cut a run in two.

    A run of k blanks can be put together from shorter ones in k - 1 ways, and all of them are listed.
    """
    return kinds["merged"] + sum(longest * (longest - 1) // 2 for longest in (kinds[run] for run in RUNS))


def signs(table: pl.DataFrame, tokenizer: str) -> str:
    """The code points of input/tokenizer_spaced_signs of one tokenizer, in the order of its rules."""
    return " ".join(table.filter(tokenizer=tokenizer)["sign"])


def shown(code_points: list[str]) -> pl.DataFrame:
    """Code points with their signs, to be read."""
    characters = [chr(int(point.removeprefix("U+"), 16)) for point in code_points]
    return pl.DataFrame({"code point": code_points, "sign": [repr(sign)[1:-1] for sign in characters]})
