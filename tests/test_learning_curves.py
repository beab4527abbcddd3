"""Learning curves: places of checkpoints in training, number of test items, standard errors."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lucie.evaluation import learning_curves
from lucie.evaluation.learning_curves import LARGEST_TEST, count_items, standard_error
from lucie.project import Project
from lucie.records import load_record
from lucie.training.schedule import Phase

CHECKPOINT = ["phase", "experiment", "steps_in_phase"]
PLACE = ["steps", "tokens", "tokens_in_phase"]
ITEMS = {
    "arc_challenge": 1172,
    "arc_de": 1169,
    "arc_es": 1170,
    "arc_fr": 1169,
    "arc_it": 1169,
    "gsm8k": 1319,
    "hellaswag": 10_042,
    "winogrande": 1267,
    "french_bench_arc_challenge": 1169,
    "french_bench_grammar": 119,
    "french_bench_hellaswag": 9338,
    "french_bench_vocab": 119,
}


@st.composite
def taken_tests(draw: st.DrawFn) -> tuple[int, list[int]]:
    """The items of a test and the right answers of several models."""
    items = draw(st.integers(1, LARGEST_TEST))
    return items, draw(st.lists(st.integers(0, items), min_size=1, max_size=8))


@pytest.fixture(scope="module")
def phases() -> dict[str, Phase]:
    scripts = load_record(Project.find(), "transcribed/launch_scripts")
    return {name: Phase.from_record(scripts, name) for name in learning_curves.PHASES}


@pytest.fixture
def runs(project: Project) -> pl.DataFrame:
    return load_record(project, "input/evaluation_runs")


@pytest.fixture
def progress(project: Project) -> pl.DataFrame:
    """Where both versions of the authors' table place the checkpoints."""
    return load_record(project, "published/evaluation_progress")


@given(taken_tests())
def test_scores_give_the_number_of_items_when_no_factor_of_it_divides_all_of_them(
    taken: tuple[int, list[int]],
) -> None:
    items, right = taken
    assume(math.gcd(items, *right) == 1)
    assert count_items(pl.Series([count / items for count in right])) == items


@given(taken_tests())
def test_scores_that_share_a_factor_give_the_least_number_of_items_they_fit(taken: tuple[int, list[int]]) -> None:
    items, right = taken
    assert count_items(pl.Series([count / items for count in right])) == items // math.gcd(items, *right)


@given(st.lists(st.booleans(), min_size=2, max_size=300))
def test_the_standard_error_is_that_of_a_mean_of_rights_and_wrongs(answers: list[bool]) -> None:
    expected = np.std(answers, ddof=1) / math.sqrt(len(answers))
    assert standard_error(sum(answers) / len(answers), len(answers)) == pytest.approx(expected, rel=1e-9, abs=1e-15)


def test_checkpoints_of_the_main_phase_and_the_extension_stand_where_both_tables_say(
    runs: pl.DataFrame, phases: dict[str, Phase], progress: pl.DataFrame
) -> None:
    ours = learning_curves.place(runs, phases).filter(pl.col("phase").is_in(["main", "extension"]))
    for version in learning_curves.VERSIONS:
        both = ours.join(progress.filter(version=version), on=CHECKPOINT, suffix="_published", validate="1:1")
        assert both.height == ours.height == 33
        for column in PLACE:
            assert both[column].equals(both[f"{column}_published"], check_names=False), (version, column)


def test_the_defects_give_every_published_place_after_the_extension(
    runs: pl.DataFrame, phases: dict[str, Phase], progress: pl.DataFrame
) -> None:
    columns = ["version", *CHECKPOINT, *PLACE]
    published = progress.filter(pl.col("phase").is_in(["annealing", "instruct_full"]))
    ours = learning_curves.place_with_defects(runs, phases)
    assert published.height == 25
    assert ours.select(columns).sort(columns).equals(published.select(columns).sort(columns))


def test_without_the_defects_tokens_after_the_extension_are_others(
    runs: pl.DataFrame, phases: dict[str, Phase], progress: pl.DataFrame
) -> None:
    ours = learning_curves.place(runs, phases)
    later = progress.filter(pl.col("phase").is_in(["annealing", "instruct_full"]), version="current")
    both = ours.join(later, on=CHECKPOINT, suffix="_published", validate="1:1")
    assert both.height == 15
    assert not both.filter(pl.col("tokens") == pl.col("tokens_published")).height
    # Steps and tokens of annealing add up to those of the released model.
    final = ours.filter(phase="annealing", experiment="5B_tokens-mix6")
    assert final.select("steps", "tokens").row(0) == (756_291, 3_131_736_326_144)


def test_baselines_and_phases_without_hyperparameters_are_not_placed(
    runs: pl.DataFrame, phases: dict[str, Phase]
) -> None:
    placed = learning_curves.place(runs, phases)
    assert set(placed["phase"]) == set(learning_curves.PHASES)
    assert placed.select(CHECKPOINT).is_unique().all()
    assert placed.height == 48


def test_items_and_standard_errors_of_the_record_are_those_published(
    project: Project, runs: pl.DataFrame, phases: dict[str, Phase]
) -> None:
    scores = load_record(project, "input/evaluation_scores")
    scored = learning_curves.with_errors(scores, list(ITEMS))
    curve = learning_curves.curve(scored, runs, learning_curves.place(runs, phases))
    assert dict(curve.select("task", "items").unique().iter_rows()) == ITEMS
    published = load_record(project, "published/evaluation_stderr").with_columns(pl.col("stderr").cast(pl.Float64))
    both = curve.join(published, on=["run", "task"], suffix="_published", validate="1:1")
    assert both.height == curve.height == published.height == 772
    assert both["stderr"].to_list() == pytest.approx(both["stderr_published"].to_list(), rel=1e-12, abs=0)


def small_curve() -> pl.DataFrame:
    """A placed checkpoint, one without a place and a baseline, on one task of 8 items."""
    runs = pl.DataFrame(
        {
            "run": ["placed", "lost", "other"],
            "model": ["Lucie", "Lucie", "Another"],
            "baseline": [False, False, True],
            "phase": ["main", "lora", "main"],
            "experiment": ["pretraining", "", ""],
            "steps_in_phase": [5, 0, None],
            "stated_training_tokens": [None, None, 70],
        }
    )
    scores = pl.DataFrame({"run": runs["run"], "score": [0.5, 0.25, 0.375]}).with_columns(
        task=pl.lit("quiz"), metric=pl.lit("acc"), shots=5
    )
    placed = pl.DataFrame({"phase": ["main"], "experiment": ["pretraining"], "steps_in_phase": [5], "tokens": [90]})
    scored = learning_curves.with_errors(scores.with_columns(stderr=pl.lit(None, pl.Float64)), ["quiz"])
    return learning_curves.curve(scored, runs, placed)


def test_a_curve_takes_tokens_from_the_place_or_else_from_what_is_stated() -> None:
    curve = small_curve()
    assert dict(curve.select("run", "tokens").iter_rows()) == {"placed": 90, "lost": None, "other": 70}
    assert curve["items"].unique().to_list() == [8]
    assert curve.filter(run="placed")["stderr"].item() == pytest.approx(0.5 / math.sqrt(7))


def test_a_printed_score_has_its_standard_error_in_brackets_and_baselines_come_last() -> None:
    table = learning_curves.side_by_side(small_curve(), {"quiz": "Quiz"})
    assert table.columns == ["model", "phase", "tokens", "Quiz"]
    assert table.rows()[-2:] == [("Lucie", "main", 90, "0.500 (189)"), ("Another", "", 70, "0.375 (183)")]


def test_a_standard_error_needs_two_answers() -> None:
    with pytest.raises(ValueError, match="two answers or more, not 1"):
        standard_error(0.0, 1)


def test_averages_over_subjects_and_their_pooled_errors_are_those_published(project: Project) -> None:
    ours = learning_curves.aggregate(load_record(project, "input/evaluation_subjects"))
    published = load_record(project, "published/evaluation_aggregates")
    both = ours.join(
        published.cast({"score": pl.Float64, "stderr": pl.Float64}), on=["run", "task"], suffix="_published"
    )
    assert both.height == ours.height == published.height == 143
    assert set(ours["items"]) == {14_042}
    for column in ("score", "stderr"):
        assert both[column].to_list() == pytest.approx(both[f"{column}_published"].to_list(), rel=1e-12, abs=0)


@given(st.lists(st.lists(st.booleans(), min_size=2, max_size=40), min_size=1, max_size=6))
def test_an_average_counts_every_question_the_same(answers: list[list[bool]]) -> None:
    subjects = pl.DataFrame(
        {
            "run": "r",
            "task": "all",
            "subject": [str(number) for number in range(len(answers))],
            "shots": 5,
            "accuracy": [sum(given) / len(given) for given in answers],
        }
    )
    # Another run with a single right answer fix the number of questions of each subject.
    one = subjects.with_columns(run=pl.lit("one"), accuracy=pl.Series([1 / len(given) for given in answers]))
    row = learning_curves.aggregate(pl.concat([subjects, one])).filter(run="r").row(0, named=True)
    everything = [answer for given in answers for answer in given]
    assert row["items"] == len(everything)
    assert row["score"] == pytest.approx(np.mean(everything))
    within = sum(np.var(given) * len(given) for given in answers) / (len(everything) - len(answers))
    assert row["stderr"] == pytest.approx(math.sqrt(within / len(everything)), abs=1e-12)


def test_a_score_that_is_no_share_of_right_answers_keeps_the_error_of_the_record() -> None:
    scores = pl.DataFrame(
        {
            "run": ["a", "a"],
            "task": ["truthfulqa_mc2", "french_bench_trivia"],
            "metric": ["acc", "rouge1"],
            "shots": [0, 5],
            "score": [0.41, 0.7],
            "stderr": [0.014, None],
        }
    )
    scored = learning_curves.with_errors(scores, ["truthfulqa_mc2", "french_bench_trivia"])
    assert scored["items"].to_list() == [None, None]
    assert scored["stderr"].to_list() == [0.014, None]


def test_figures_show_released_checkpoints_prompted_with_the_begin_token_and_baselines(
    runs: pl.DataFrame, phases: dict[str, Phase], project: Project
) -> None:
    scored = learning_curves.with_errors(load_record(project, "input/evaluation_scores"), ["arc_challenge"])
    curve = learning_curves.curve(scored, runs, learning_curves.place(runs, phases))
    shown = set(learning_curves.shown_in_figures(curve, runs)["run"])
    assert {"Lucie-7B/main/pretraining/753851", "Lucie-7B/annealing/5B_tokens-mix6/1220", "falcon-7b"} <= shown
    assert not {run for run in shown if "no-bos" in run or "rope500k" in run or "instruct" in run}
