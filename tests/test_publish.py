"""`lucie publish`: what was run replaces what is committed, after showing what changes."""

from __future__ import annotations

import json

from conftest import Lucie, edit

from lucie.errors import Exit
from lucie.project import Project
from lucie.verify import verify


def test_publishing_makes_results_that_verify(toy: Project, lucie: Lucie) -> None:
    from lucie.records.build import write_index

    write_index(toy)
    lucie(toy, "reproduce")
    done = lucie(toy, "publish")
    assert done.returncode == Exit.USAGE, "without a terminal it asks for --yes"
    assert not (toy.results / "record").exists()

    done = lucie(toy, "publish", "--yes")
    assert done.returncode == Exit.HELD, done.stderr
    assert "second.sum: none → 12" in done.stdout
    report = verify(toy, "record")
    assert (report.mismatches, report.counts["reproduced"]) == ([], 1)

    edit(toy.records / "input" / "numbers.csv", "3", "4")
    write_index(toy)
    done = lucie(toy, "reproduce")
    assert done.returncode == Exit.DIFFERS, "14 is not the published 12"
    assert "second.sum: 12 → 14" in done.stdout
    lucie(toy, "publish", "--yes")
    verdict = json.loads((toy.results / "record" / "verdicts.json").read_text())["verdicts"][0]
    assert (verdict["verdict"], verdict["published"], verdict["value"]) == ("differs", "12", "14")
    assert lucie(toy, "verify").returncode == Exit.DIFFERS


def test_an_output_edited_after_the_run_is_not_published(toy: Project, lucie: Lucie) -> None:
    lucie(toy, "reproduce")
    edit(toy.build / "record" / "tables" / "first.table.csv", "3", "4")
    done = lucie(toy, "publish", "--yes")
    assert done.returncode == Exit.MISMATCH
    assert "first.table.csv was changed after" in " ".join(done.stderr.split())
    assert not (toy.results / "record").exists()


def test_why_shows_the_chain_to_the_raw_files(project: Project, lucie: Lucie) -> None:
    done = lucie(project, "why", "evaluation.tokens.annealing.current")
    text = " ".join(done.stdout.split())
    assert done.returncode == Exit.HELD, done.stderr
    for link in (
        "differs, explained",
        "6215152533504",
        "3131736326144",
        "placed of notebooks/07_evaluation.ipynb",
        "data/records/input/evaluation_runs.csv",
        "chronicles/pretrain/evaluation_learning_curve_lucie.csv at c3b8b3a013a3",
        "training/slurm/1_pretraining.slurm",
    ):
        assert link in text, link


def test_why_says_what_is_quoted_and_from_where(project: Project, lucie: Lucie) -> None:
    text = " ".join(lucie(project, "why", "claire.card.bounds").stdout.split())
    assert "printed <0.5%" in text and "claire_card.csv" in text
    assert "Claire-Falcon-7B-0.1/README.md at 82d0f690a2b9" in text
    talk = " ".join(lucie(project, "why", "openness.llama2").stdout.split())
    assert "talk S1" in talk and "at sha256" not in talk
