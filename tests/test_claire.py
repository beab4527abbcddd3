"""CLAIRE: which corpora a run has, shares and weights, pairs of preferences."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lucie import claire
from lucie.claire import Run
from lucie.project import Project
from lucie.records import load_record

COLUMNS = ["corpus", "split", "group", "discarded", "spontaneous", *claire.MEASURES]


def counts(rows: list[tuple[str, str, str, bool, int, int]]) -> pl.DataFrame:
    full = [(corpus, split, group, aside, True, 1, turns, words) for corpus, split, group, aside, turns, words in rows]
    return pl.DataFrame(full, schema=COLUMNS, orient="row")


def test_a_corpus_counts_by_its_training_split_or_else_as_a_whole() -> None:
    table = counts(
        [
            ("FR/A", "all", "FR/Meetings", False, 0, 100),
            ("FR/A", "train", "FR/Meetings", False, 0, 80),
            ("FR/A", "test", "FR/Meetings", False, 0, 20),
            ("FR/B", "all", "FR/Meetings", False, 0, 7),
            ("FR/C", "all", "FR/Meetings", True, 0, 1000),
            ("FR/D", "all", "", False, 0, 1000),
        ]
    )
    assert claire.training_parts(table)["words"].to_list() == [80, 7]


@given(st.floats(1, 100), st.floats(1, 100))
def test_a_penalty_divides_the_weight_and_nothing_else(parliament: float, theatre: float) -> None:
    table = counts(
        [
            ("FR/P", "all", "FR/ParliamentaryProceedings_1", False, 10, 90),
            ("FR/T", "all", "FR/Theatre", False, 20, 80),
            ("FR/M", "all", "FR/Meetings", False, 30, 70),
        ]
    )
    composed = Run("r", ("FR/",), parliament, theatre).composition(table)
    weight = dict(composed.select("group", "weight").iter_rows())
    assert sum(weight.values()) == pytest.approx(100)
    assert weight["FR/Meetings"] / weight["FR/Theatre"] == pytest.approx(theatre)
    assert weight["FR/Meetings"] / weight["FR/ParliamentaryProceedings_1"] == pytest.approx(parliament)
    assert composed["words"].sum() == 240


def test_a_run_has_the_corpora_whose_names_begin_as_given() -> None:
    table = counts(
        [("FR/A1", "all", "g", False, 0, 1), ("FR/B", "all", "g", False, 0, 2), ("EN/A", "all", "g", False, 0, 4)]
    )
    assert Run("r", ("FR/A", "EN/"), 1, 1).composition(table)["words"].to_list() == [5]


def test_the_released_run_holds_what_the_notes_say_to_the_word(project: Project) -> None:
    run = Run.from_record(load_record(project, "transcribed/claire_runs"), "v0.1")
    assert (run.parliament_penalty, run.theatre_penalty) == (16, 4)
    composed = run.composition(load_record(project, "input/claire_counts"))
    assert composed.select(pl.sum(*claire.MEASURES)).row(0) == (38_219, 2_933_193, 159_568_634)


def test_corpora_put_aside_are_what_interviews_and_debates_would_have_too_much(project: Project) -> None:
    table = load_record(project, "input/claire_counts")
    aside = table.filter(pl.col("discarded"))
    assert dict(aside.select("corpus", "words").iter_rows()) == {
        "FR/MINEFI": 925_769,
        "FR/Senat": 53_975_061,
        "FR/TCOF_children": 740_778,
    }


def test_every_number_of_the_notes_but_the_bilingual_weights_follows(project: Project) -> None:
    given_runs = load_record(project, "transcribed/claire_runs")
    table = load_record(project, "input/claire_counts")
    runs = [Run.from_record(given_runs, name) for name in given_runs["run"].unique(maintain_order=True)]
    ours = claire.long(pl.concat(run.composition(table) for run in runs))
    notes = load_record(project, "transcribed/claire_notes").filter(
        ~((pl.col("run") == "bilingual") & (pl.col("quantity") == "weight"))
    )
    both = notes.join(ours, on=["run", "group", "quantity"], suffix="_ours", validate="1:1")
    assert both.height == notes.height == 151
    for row in both.iter_rows(named=True):
        assert row["value_ours"] == pytest.approx(float(row["value"]), abs=0.00501), row


def test_only_one_pair_does_not_fill_the_whole(project: Project) -> None:
    pairs = claire.pairs(load_record(project, "transcribed/claire_preferences"))
    assert pairs.height == 6
    assert pairs.filter(pl.col("sum") != 100).select("preferred", "over", "sum").rows() == [
        ("Claire-Falcon", "Claire-Mistral", 97.0)
    ]


def test_genres_that_a_card_puts_together_are_added(project: Project) -> None:
    table = pl.DataFrame({"run": ["r", "r"], "genre": list(claire.PUT_TOGETHER), "words": [3, 4]})
    assert claire.on_cards(table).filter(genre="presentations and free conversations")["words"].to_list() == [7]
