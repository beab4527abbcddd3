"""Verdicts: what each tolerance lets through, and that an explanation must be computed."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import edit, write, write_record
from hypothesis import given
from hypothesis import strategies as st

from lucie.claims import Exact, Precision, Rounding, load_all
from lucie.errors import MismatchError, UsageError
from lucie.files import write_json
from lucie.judge import Judge
from lucie.project import Project
from lucie.tolerance import compare

EXACT, ROUNDING = Exact(kind="exact"), Rounding(kind="rounding")
PRECISION = Precision(kind="precision", relative=1e-6)


@pytest.mark.parametrize(
    ("published", "ours", "tolerance", "verdict"),
    [
        ("6706958336", "6706958336", EXACT, "reproduced"),
        ("1e-5", "1e-05", EXACT, "reproduced"),
        ("1.5", "1.50", EXACT, "reproduced"),
        ("cosine", "cosine", EXACT, "reproduced"),
        ("cosine", "linear", EXACT, "differs"),
        ("2320.616", "2320.617", EXACT, "differs"),
        ("2320.616", "2320.61640", ROUNDING, "reproduced"),
        ("2320.616", "2320.6165", ROUNDING, "reproduced"),
        ("2320.616", "2320.61651", ROUNDING, "differs"),
        ("40.3", "40.25", ROUNDING, "reproduced"),
        ("0.0908", "0.09085001", ROUNDING, "differs"),
        ("3e-4", "0.00030000029", PRECISION, "within tolerance"),
        ("3e-4", "0.0003000004", PRECISION, "differs"),
        ("0", "1e-12", Precision(kind="precision", absolute=1e-11), "within tolerance"),
        ("0", "1e-12", PRECISION, "differs"),
    ],
)
def test_a_tolerance_lets_through_what_it_says(
    published: str, ours: str, tolerance: Exact | Rounding | Precision, verdict: str
) -> None:
    assert compare("", published, ours, 1, tolerance).verdict == verdict


@given(st.integers(0, 10**15), st.integers(0, 9))
def test_a_number_rounded_to_the_printed_digits_is_reproduced(number: int, digits: int) -> None:
    published = f"{number / 10**9:.{digits}f}"
    assert compare("", published, str(number), 1e9, ROUNDING).verdict == "reproduced"


@given(st.decimals(-1000, 1000, places=6, allow_nan=False), st.integers(1, 1000))
def test_one_unit_of_the_last_printed_digit_is_too_much(number: object, units: int) -> None:
    published = f"{number:.3f}"
    moved = f"{float(published) + units / 1000:.3f}"
    assert compare("", published, moved, 1, ROUNDING).verdict == "differs"


@pytest.fixture
def judged(toy: Project) -> Project:
    """The toy project with results written as if its stages had run."""
    values = {"second.sum": {"value": 13, "unit": "", "stage": "second", "cell": "cell-2"}}
    values["second.quirk"] = {"value": 12, "unit": "", "stage": "second", "cell": "cell-2"}
    write_json(toy.build / "record" / "values.json", values)
    return toy


def verdict(project: Project) -> str:
    judge = Judge(project, project.build / "record")
    return judge.verdict(load_all(project)[0]).verdict


def explain(project: Project, alternative: str) -> None:
    explanation = f"  explanation: {{alternative: {{value: {alternative}}}, tolerance: {{kind: exact}}, because: x}}\n"
    path = project.paper / "claims" / "toy.yaml"
    write(path, path.read_text() + explanation)


def test_an_explanation_holds_only_when_it_gives_the_published_number(judged: Project) -> None:
    assert verdict(judged) == "differs"
    explain(judged, "second.quirk")
    assert verdict(judged) == "differs, explained"
    edit(judged.records / "published" / "answer.csv", "12", "11")
    assert verdict(judged) == "differs", "the quirk gives 12, so prose alone is left"


def test_a_claim_without_its_value_names_both(judged: Project) -> None:
    edit(judged.paper / "claims" / "toy.yaml", "second.sum", "second.total")
    with pytest.raises(MismatchError, match=r"'toy.answer' needs value 'second.total' of stage 'second'"):
        verdict(judged)


def test_what_was_said_in_advance_holds_or_differs(judged: Project) -> None:
    claim = """
- id: toy.enough
  item: mini
  says: The sum is large.
  stage: second
  tier: record
  ours: {value: second.sum}
  at_least: 13
  reason: It was said before the sum was known.
"""
    path = judged.paper / "claims" / "toy.yaml"
    write(path, path.read_text() + claim)
    judge = Judge(judged, judged.build / "record")
    found = judge.verdict(load_all(judged)[1])
    assert (found.verdict, found.published, found.value, found.cell) == (
        "reproduced",
        "at least 13",
        "13",
        "second#cell-2",
    )
    edit(path, "at_least: 13", "at_least: 13.5")
    assert judge.verdict(load_all(judged)[1]).verdict == "differs"
    edit(path, "ours: {value: second.sum}\n  at_least", "ours: {table: second.table, column: n}\n  at_least")
    with pytest.raises(UsageError, match="'ours' must name a value"):
        load_all(judged)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("published/answer", "published/anser", "Did you mean 'published/answer'"),
        ("column: number", "column: numbr", "Did you mean 'number'"),
        ("kind: exact", "kind: near", "tolerance"),
        ("reason: Integers add up exactly, so there is no room.", "reason: ok", "reason"),
        ("ours: {value: second.sum}", "ours: {table: second.table}", "give either 'value', or 'table' and 'column'"),
        ("item: T1", "itm: T1", "item"),
    ],
)
def test_a_malformed_claim_is_named(judged: Project, old: str, new: str, message: str) -> None:
    edit(judged.paper / "claims" / "toy.yaml", old, new)
    with pytest.raises(UsageError, match=message):
        verdict(judged)


def test_a_claim_name_is_taken_once(judged: Project) -> None:
    path: Path = judged.paper / "claims" / "toy.yaml"
    write(judged.paper / "claims" / "more.yaml", path.read_text())
    with pytest.raises(UsageError, match=r"'toy.answer' is in both more.yaml and toy.yaml"):
        load_all(judged)


CONTRADICTION = """
- id: ledger.sum
  item: T1
  says: Two sources give two sums.
  stage: second
  statements:
    - {{label: card, record: published/answer, column: number}}
    - {{label: slide, record: published/slide, column: number{explained}}}
  ours: {{value: {ours}}}
  tolerance: {{kind: rounding}}
  reason: Integers add up exactly, so there is no room.
"""


@pytest.mark.parametrize(
    ("slide", "ours", "explained", "found", "finding"),
    [
        (12, "second.quirk", "", "reproduced", "slide: 12, as computed."),
        (15, "second.quirk", "", "differs, explained", "card: 12, as computed. slide: 15 (ours is 20.0% less)."),
        (15, "second.quirk", "", "differs, explained", "what is computed agrees with 1 of the 2 statements"),
        (15, "second.sum", "", "differs", "card: 12 (ours is 8.3% more). slide: 15 (ours is 13.3% less)."),
        (12, "second.sum", "", "differs", "card: 12 (ours is 8.3% more). slide: 12 (ours is 8.3% more)."),
        (13, "second.quirk", "second.sum", "differs, explained", "slide: 13, which is the sum with a bite"),
    ],
)
def test_contradictory_statements_are_held_against_each_other_and_ours(
    judged: Project, slide: int, ours: str, explained: str, found: str, finding: str
) -> None:
    write_record(judged.root, "published/slide", f"number\n{slide}\n")
    extra = f", explained: {{value: {explained}}}, because: the sum with a bite" if explained else ""
    write(judged.paper / "claims" / "toy.yaml", CONTRADICTION.format(ours=ours, explained=extra))
    judge = Judge(judged, judged.build / "record")
    verdict = judge.verdict(load_all(judged)[0])
    assert verdict.verdict == found
    assert finding in verdict.explanation


def test_statements_without_a_result_of_ours_are_quoted(judged: Project) -> None:
    write_record(judged.root, "published/slide", "number\n15\n")
    text = (
        CONTRADICTION.format(ours="x", explained="")
        .replace("  stage: second\n", "")
        .replace("  ours: {value: x}\n", "")
    )
    write(judged.paper / "claims" / "toy.yaml", text)
    verdict = Judge(judged, judged.build / "record").verdict(load_all(judged)[0])
    assert (verdict.verdict, verdict.explanation) == ("quoted", "card: 12. slide: 15.")
