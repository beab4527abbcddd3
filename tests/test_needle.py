"""Needle in a haystack: what was read off the pictures, and how far the models read."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lucie.evaluation.needle import FOUND, PARTS, fewest_parts, reach
from lucie.project import Project
from lucie.records import load_record

TRAINED = {"main": 4096, "extension": 32_000, "annealing": 32_000}


@pytest.fixture
def haystack(project: Project) -> pl.DataFrame:
    return load_record(project, "transcribed/needle")


def test_every_picture_has_ten_depths_by_twenty_lengths_and_is_read_once(haystack: pl.DataFrame) -> None:
    for phase in TRAINED:
        cells = haystack.filter(phase=phase)
        assert cells.height == cells.select("depth_percent", "context_tokens").n_unique() == 200
        assert (cells["depth_percent"].n_unique(), cells["context_tokens"].n_unique()) == (10, 20)
        assert cells["where"].n_unique() == 200


def test_every_printed_score_is_its_number_of_elevenths(haystack: pl.DataFrame) -> None:
    assert [f"{parts / PARTS:.2g}" for parts in haystack["elevenths"]] == haystack["printed"].to_list()
    assert fewest_parts(haystack["printed"]) == PARTS


def test_the_needle_is_found_as_far_as_the_pictures_show(haystack: pl.DataFrame) -> None:
    found = reach(haystack, TRAINED).select("phase", "found_up_to", "next").rows()
    assert found == [("main", 4256, 7513), ("extension", 30_308, 33_564), ("annealing", 33_564, 36_821)]


def test_one_depth_that_fails_ends_the_reach() -> None:
    cells = pl.DataFrame(
        {
            "phase": "main",
            "context_tokens": [10, 10, 20, 20, 30, 30],
            "elevenths": [PARTS, FOUND, PARTS, FOUND - 1, PARTS, PARTS],
        }
    )
    assert reach(cells, {"main": 15}).row(0) == ("main", 15, 10, 20)


@given(st.integers(1, 40), st.data())
def test_the_fewest_parts_fit_and_no_fewer_do(parts: int, data: st.DataObject) -> None:
    counts = data.draw(st.lists(st.integers(0, parts), min_size=1, max_size=6))
    printed = pl.Series([f"{count / parts:.2g}" for count in counts])
    fewest = fewest_parts(printed)
    assert fewest <= parts
    assert set(printed) <= {f"{count / fewest:.2g}" for count in range(fewest + 1)}


def test_shares_that_fit_no_number_of_parts_are_an_error() -> None:
    with pytest.raises(ValueError, match="No number of parts up to 5"):
        fewest_parts(pl.Series(["0.123"]), limit=5)
