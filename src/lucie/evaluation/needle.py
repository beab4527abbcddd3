"""Needle in a haystack: how long a text may be for a model to still find one sentence in it."""

from __future__ import annotations

import polars as pl

PARTS = 11  # of a score; see fewest_parts
FOUND = 10  # parts from which on the needle counts as found


def reach(needle: pl.DataFrame, trained: dict[str, int]) -> pl.DataFrame:
    """How far each phase's model reads, from transcribed/needle, one row a phase.

    Its context length in training (``trained``, tokens), the longest tested text up to which the needle is found at
    every depth, and the next longer text that was tested.
    """
    rows = []
    for phase, context in trained.items():
        worst = (
            needle.filter(phase=phase)
            .group_by("context_tokens", maintain_order=True)
            .agg(pl.col("elevenths").min())
            .sort("context_tokens", maintain_order=True)
        )
        lengths, found = worst["context_tokens"].to_list(), (worst["elevenths"] >= FOUND).to_list()
        end = found.index(False)
        rows.append({"phase": phase, "trained": context, "found_up_to": lengths[end - 1], "next": lengths[end]})
    return pl.DataFrame(rows)


def fewest_parts(printed: pl.Series, limit: int = 50) -> int:
    """The smallest number of equal parts of which every printed share, at two digits, is so many.

    Raises ValueError when no number up to ``limit`` fits.
    """
    for parts in range(1, limit + 1):
        shares = {f"{count / parts:.2g}" for count in range(parts + 1)}
        if set(printed) <= shares:
            return parts
    raise ValueError(f"No number of parts up to {limit} fits the printed shares.")
