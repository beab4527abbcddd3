"""`lucie verify`: what is committed holds, and one digit changed by hand anywhere is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from conftest import Lucie, edit

from lucie.claims import get_claim
from lucie.errors import Exit, LucieError
from lucie.judge import Judge
from lucie.project import Project
from lucie.system import system_error
from lucie.verify import verify

VERDICT_FIELDS = {"claim", "verdict", "published", "value", "tolerance", "reason", "explanation", "source", "cell"}


def test_the_committed_results_hold(project: Project) -> None:
    report = verify(project, "record")
    assert report.mismatches == []
    assert report.exit_code == Exit.HELD
    assert report.behind == {}, "publish again: the committed results are behind the code"
    assert report.counts["differs"] == 0
    assert report.counts["reproduced"] >= 20


def test_exact_sums_list_just_the_cells_that_differ(project: Project) -> None:
    verdicts = {verdict.claim: verdict for verdict in verify(project, "record").verdicts}
    subsets, totals = (verdicts[f"corpus.composition.{kind}.exact"] for kind in ("subsets", "totals"))
    assert (len(subsets.differing), len(totals.differing)) == (11, 16)
    assert {cell["verdict"] for cell in subsets.differing + totals.differing} == {"differs, explained"}
    words = next(cell for cell in totals.differing if cell["key"] == "TOTAL, words")
    assert (words["published"], words["ours"][:8]) == ("1359.271", "1359.265")


def test_the_defects_of_the_evaluation_tables_are_shown_with_the_printed_values(project: Project) -> None:
    verdicts = {verdict.claim: verdict for verdict in verify(project, "record").verdicts}
    final = verdicts["evaluation.tokens.annealing.current"].differing[-1]
    assert (final["key"], final["published"], final["ours"]) == (
        "annealing, 5B_tokens-mix6, 1220, current",
        "6215152533504",
        "3131736326144",
    )


EDITS = {
    "data/records/input/training_losses.csv": ("1.59394", "1.69394"),
    "data/records/published/composition.csv": ("2187.656", "2187.657"),
    "data/records/transcribed/model_card.csv": ("753851", "753852"),
    "data/records/input/token_counts.yaml": ("tokens", "token"),
    "paper/claims/pretraining.yaml": ("relative: 1.0e-6", "relative: 2.0e-6"),
    "results/record/values.json": ("6706958336", "6706958337"),
    "results/record/tables/corpus.ratios.csv": ("621", "622"),
    "results/record/notebooks/05_pretraining.ipynb": ("753 851", "753 852"),
    "results/record/verdicts.json": ("6706958336", "6706958337"),
}


@pytest.mark.parametrize("path", EDITS)
def test_one_changed_digit_is_named(copy: Project, lucie: Lucie, path: str) -> None:
    edit(copy.root / path, *EDITS[path])
    done = lucie(copy, "verify", "--json")
    assert done.returncode == Exit.MISMATCH, done.stderr
    assert any(path in problem for problem in json.loads(done.stdout)["mismatches"])


def test_a_wrong_published_number_differs_and_exits_1(copy: Project) -> None:
    """Edits that pass through `publish` are no mismatch any more; then the verdict itself must tell."""
    record = copy.records / "transcribed" / "model_card.csv"
    edit(record, "6706958336", "6706958337")
    claim = get_claim(copy, "pretraining.parameters")
    assert Judge(copy, copy.results / "record").verdict(claim).verdict == "differs"


@pytest.mark.parametrize("name", ["figures/corpus.rings.pdf", "tables/corpus.ratios.csv"])
def test_a_missing_file_is_named(copy: Project, name: str) -> None:
    (copy.results / "record" / name).unlink()
    report = verify(copy, "record")
    assert report.exit_code == Exit.MISMATCH
    assert any(Path(name).name in problem for problem in report.mismatches)


@pytest.mark.parametrize("gone", ["results/mini/manifest.json", "results/record/manifest.json", "results/mini"])
def test_a_tier_that_is_not_there_is_no_success(copy: Project, lucie: Lucie, gone: str) -> None:
    path = copy.root / gone
    path.unlink() if path.is_file() else shutil.rmtree(path)
    done = lucie(copy, "verify")
    assert done.returncode == Exit.MISMATCH
    tier = gone.split("/")[1]
    assert f"results/{tier}/manifest.json is missing" in " ".join(done.stdout.split())
    assert "1 mismatch" in done.stdout.splitlines()[-1], "at the end, after the long lists"


SPOILED = {
    ("results/record/values.json", "[]"): "does not hold values (it is no JSON object)",
    ("results/record/values.json", '{"x": 1}'): "does not hold values (x: it is no JSON object)",
    ("results/record/values.json", '{"x": {"value": 1}}'): "does not hold values (x.unit: Field required)",
    ("results/record/values.json", "{"): "does not hold values (Expecting property name",
    ("results/record/values.json", None): "is missing, and the manifest lists values",
    ("results/record/manifest.json", "[]"): "is not a manifest (it is no JSON object)",
    ("results/record/manifest.json", '{"stages": 3}'): "is not a manifest ('stages' is missing or no JSON object)",
    ("results/record/manifest.json", '{"stages": {"x": {}}}'): "is not a manifest (ingredients: Field required)",
    ("notebooks/05_pretraining.ipynb", "{}"): "is not a notebook (cells: Field required)",
    ("notebooks/05_pretraining.ipynb", "x"): "is not a notebook (Expecting value",
    ("results/record/tables/corpus.ratios.csv", ""): "is not a table (empty CSV)",
}


@pytest.mark.parametrize(("path", "content"), SPOILED)
def test_a_spoiled_file_is_named_in_one_sentence(copy: Project, path: str, content: str | None) -> None:
    spoiled = copy.root / path
    spoiled.unlink()
    if content is not None:
        spoiled.write_text(content, encoding="utf-8")
    try:
        said = [problem for problem in verify(copy, "record").mismatches if "is not what" not in problem]
    except LucieError as error:
        said = [str(error)]
    assert len(said) == 1 and path in said[0] and SPOILED[path, content] in said[0], said


@pytest.mark.parametrize(
    "verb", [("verify",), ("book",), ("certificate", "--published"), ("compare", *2 * ["results"])]
)
def test_missing_values_are_said_once(copy: Project, lucie: Lucie, verb: tuple[str, ...]) -> None:
    (copy.results / "record" / "values.json").unlink()
    done = lucie(copy, *verb)
    assert done.returncode == Exit.MISMATCH
    assert (done.stdout + done.stderr).count("values.json is missing") == 1
    assert len(done.stdout + done.stderr) < 400


def test_what_the_system_refuses_is_a_sentence_and_no_traceback(copy: Project, lucie: Lucie) -> None:
    copy.build.write_text("a file")
    done = lucie(copy, "reproduce", "--tier", "record")
    assert done.returncode == Exit.STAGE_FAILED
    assert done.stderr.strip() == f"error: '{copy.build / 'record'}' could not be read or written: Not a directory."


def test_what_the_system_says_is_kept() -> None:
    assert system_error(OSError(28, "No space left on device")) == "The system said: No space left on device."
    copying = shutil.Error([("a", "b", "Permission denied")])
    assert system_error(copying) == "'a' could not be copied to 'b': Permission denied"


def test_help_offers_no_tier_that_does_not_exist(project: Project, lucie: Lucie) -> None:
    assert "a tier of config/tiers/" in lucie(project, "verify", "--help").stdout


def test_a_file_that_no_stage_made_is_named(copy: Project) -> None:
    (copy.results / "record" / "figures" / "extra.png").write_bytes(b"")
    assert "results/record/figures/extra.png is in no manifest" in verify(copy, "record").mismatches


def test_code_that_moved_on_is_behind_and_still_holds(copy: Project, lucie: Lucie) -> None:
    edit(copy.root / "src" / "lucie" / "corpus" / "composition.py", "LEAST_DECIMALS", "LEAST_DECIMALS_PRINTED")
    report = verify(copy, "record")
    assert report.behind["corpus_statistics"] == ["src/lucie/corpus/composition.py"]
    assert "luciole" not in report.behind, "it does not use that module"
    assert report.exit_code == Exit.HELD


def test_json_has_what_was_promised(project: Project, lucie: Lucie) -> None:
    done = lucie(project, "verify", "--tier", "record", "--json")
    content = json.loads(done.stdout)
    assert done.returncode == Exit.HELD
    assert content["tier"] == "record"
    assert sum(content["counts"].values()) == len(content["verdicts"])
    assert all(verdict.keys() >= VERDICT_FIELDS for verdict in content["verdicts"])
    assert all("#" in verdict["cell"] for verdict in content["verdicts"] if verdict["value"])
