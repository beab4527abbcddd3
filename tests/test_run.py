"""Running a stage: what it may read, what it must leave, and that nothing half-made counts."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import Lucie, edit, toy_cells, write_notebook

from lucie.errors import Exit
from lucie.manifest import Manifest, load_values
from lucie.project import Project


def last_line(text: str) -> str:
    return " ".join(text.split())


def test_a_run_leaves_values_with_their_cells_and_a_manifest(toy: Project, lucie: Lucie) -> None:
    done = lucie(toy, "run", "second")
    assert done.returncode == 0, done.stderr
    folder = toy.build / "record"
    assert load_values(folder)["second.sum"] == {"value": 12, "unit": "apples", "stage": "second", "cell": "cell-2"}
    entry = Manifest.load(folder).stages["second"]
    assert entry.reads == ["data/records/input/numbers.csv", "data/records/input/numbers.yaml"]
    assert "src/lucie/toy.py" in entry.ingredients.code
    assert "src/lucie/cli.py" not in entry.ingredients.code
    assert set(entry.outputs) == {"notebooks/second.ipynb", "tables/second.table.csv", "logs/second.log"}
    assert not list(folder.glob(".running/*"))


def test_the_executed_notebook_shows_the_stamp_and_no_path_of_this_machine(toy: Project, lucie: Lucie) -> None:
    lucie(toy, "run", "first")
    text = (toy.build / "record" / "notebooks" / "first.ipynb").read_text()
    key = Manifest.load(toy.build / "record").stages["first"].key
    assert key[:16] in text
    assert str(toy.root) not in text


def test_two_runs_leave_the_same_bytes(toy: Project, lucie: Lucie) -> None:
    outputs = []
    for _ in range(2):
        lucie(toy, "run", "first")
        entry = Manifest.load(toy.build / "record").stages["first"]
        outputs.append({name: sha for name, sha in entry.outputs.items() if not name.startswith("logs/")})
    assert outputs[0] == outputs[1]


READERS = {
    "python": 'open("../data/records/published/answer.csv").read()',
    "polars": 'import polars as pl\npl.read_csv("../data/records/published/answer.csv")',
    "polars, lazily": 'import polars as pl\npl.scan_csv("../data/records/published/answer.csv").collect()',
    "pandas": 'import pandas as pd\npd.read_csv("../data/records/published/answer.csv")',
    "records": 'records.load("published/answer")',
}


@pytest.mark.parametrize("reader", READERS)
def test_a_stage_that_opens_a_published_record_fails(toy: Project, lucie: Lucie, reader: str) -> None:
    cells = toy_cells("first", "input/numbers")
    write_notebook(toy.root, "first", [*cells[:3], READERS[reader], cells[3]])
    done = lucie(toy, "run", "first")
    assert done.returncode == Exit.STAGE_FAILED
    assert "read data/records/published/answer" in last_line(done.stderr)
    assert not (toy.build / "record" / "manifest.json").exists()


def test_a_stage_that_opens_what_it_does_not_list_fails(toy: Project, lucie: Lucie) -> None:
    write_notebook(toy.root, "first", toy_cells("first", "input/others"))
    done = lucie(toy, "run", "first")
    assert done.returncode == Exit.STAGE_FAILED
    assert "which config/stages.yaml does not list" in last_line(done.stderr)


def test_a_stage_that_lists_what_it_is_judged_against_is_refused(toy: Project, lucie: Lucie) -> None:
    edit(
        toy.root / "config" / "stages.yaml",
        '"reads": ["input/numbers"], "needs"',
        '"reads": ["published/answer"], "needs"',
    )
    done = lucie(toy, "run", "second")
    assert done.returncode == Exit.USAGE
    assert "a tautology" in last_line(done.stderr)


def test_no_stage_of_this_project_lists_what_it_is_judged_against(project: Project) -> None:
    from lucie.claims import judged_in
    from lucie.stages import Stages

    for stage in Stages.load(project).in_tier("record"):
        reads = stage.run("record").reads
        assert not [read for read in reads if read.startswith("published/")], stage.id
        for claim in judged_in(project, stage.id, "record"):
            assert not set(claim.records) & set(reads), claim.id


BROKEN = {
    "raises": ("1 / 0", "cell 'cell-3' of first.ipynb: ZeroDivisionError"),
    "gives a value twice": ('results.value("first.sum", 1)', "'first.sum' was already given out"),
    "gives no number": ('results.value("first.more", None)', "is a NoneType; give a number"),
    "gives infinity": ('results.value("first.more", float("inf"))', "is inf"),
    "misnames a value": ('results.value("First Sum", 1)', "is not a result's name"),
    "gives out too late": ('results.close()\nresults.value("first.more", 1)', "The results are closed"),
    "shows a path": ('import os\nprint(os.environ["LUCIE_ROOT"])', "shows this machine's path"),
    "kills its kernel": ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "was cut off"),
}


@pytest.mark.parametrize("way", BROKEN)
def test_a_broken_notebook_says_why_and_leaves_nothing(toy: Project, lucie: Lucie, way: str) -> None:
    cells = toy_cells("first", "input/numbers")
    source, message = BROKEN[way]
    write_notebook(toy.root, "first", [*cells[:3], source, cells[3]])
    done = lucie(toy, "run", "first")
    assert done.returncode == Exit.STAGE_FAILED, done.stderr
    assert message in last_line(done.stderr)
    assert "Traceback" not in done.stderr
    assert not (toy.build / "record" / "values.json").exists()


def test_a_notebook_that_does_not_close_its_results_is_refused(toy: Project, lucie: Lucie) -> None:
    write_notebook(toy.root, "first", toy_cells("first", "input/numbers")[:3])
    done = lucie(toy, "run", "first")
    assert done.returncode == Exit.STAGE_FAILED
    assert "must end with results.close()" in last_line(done.stderr)


def test_a_failed_run_leaves_the_results_of_the_last_good_one(toy: Project, lucie: Lucie) -> None:
    lucie(toy, "run", "first")
    before = (toy.build / "record" / "manifest.json").read_bytes()
    write_notebook(toy.root, "first", [*toy_cells("first", "input/numbers")[:3], "1 / 0"])
    lucie(toy, "run", "first")
    assert (toy.build / "record" / "manifest.json").read_bytes() == before
    assert (toy.build / "record" / "failed" / "first.ipynb").is_file()


def test_a_value_of_another_stage_cannot_be_taken(toy: Project, lucie: Lucie) -> None:
    lucie(toy, "run", "first")
    cells = toy_cells("alone", "input/others")
    write_notebook(toy.root, "alone", [*cells[:3], 'results.value("first.sum", 1)', cells[3]])
    done = lucie(toy, "run", "alone")
    assert done.returncode == Exit.STAGE_FAILED
    assert "'first.sum' of stage 'alone' is already given out by stage 'first'" in last_line(done.stderr)
    assert load_values(toy.build / "record")["first.sum"]["value"] == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "frist"], "There is no stage 'frist'. Did you mean 'first'?"),
        (["run", "first", "--tier", "recrod"], "There is no tier 'recrod'. Did you mean 'record'?"),
        (["run", "first", "--set", "teir=mini"], "'teir'. Did you mean 'tier'?"),
        (["why", "toy.anser"], "There is no claim 'toy.anser'. Did you mean 'toy.answer'?"),
        (["verfy"], "verify"),
        (["verify", "--tear", "record"], "--tear"),
        (["publish"], "lacks stage 'first'"),
        (["records", "check", "--upstream", "nowhere"], "There is no folder nowhere"),
    ],
)
def test_wrong_use_names_the_nearest_right_one(toy: Project, lucie: Lucie, arguments: list[str], message: str) -> None:
    done = lucie(toy, *arguments)
    assert done.returncode == Exit.USAGE, done.stderr
    assert message in last_line(done.stderr)
    assert "Traceback" not in done.stderr


def test_what_strace_sees_is_what_the_trace_says(toy: Project, lucie: Lucie, tmp_path: Path) -> None:
    """The trace knows Python's own opens and polars; strace knows all of them."""
    strace = shutil.which("strace")
    if not strace or subprocess.run([strace, "-o", "/dev/null", "true"], capture_output=True).returncode:
        pytest.skip("strace is not here or may not trace: apt-get install strace")
    log = tmp_path / "strace.log"
    prefix = (strace, "-f", "-qq", "-e", "trace=open,openat", "-o", str(log))
    done = lucie(toy, "run", "second", prefix=prefix)
    assert done.returncode == 0, done.stderr
    reads = set(Manifest.load(toy.build / "record").stages["second"].reads)
    records = f"{toy.root}/data/records/"
    opened = {
        line.split('"')[1].removeprefix(f"{toy.root}/")
        for line in log.read_text().splitlines()
        if f'"{records}' in line and "ENOENT" not in line and "O_DIRECTORY" not in line
    }
    # The runner itself hashes the inputs, so strace sees at least these; nothing else may be opened.
    assert opened == reads


def test_the_manifest_is_plain_json(toy: Project, lucie: Lucie) -> None:
    lucie(toy, "run", "first")
    entry = json.loads((toy.build / "record" / "manifest.json").read_text())["stages"]["first"]
    assert {"key", "ingredients", "reads", "outputs", "values", "commit", "dirty", "environment"} <= entry.keys()
    assert entry["environment"]["packages"]["polars"]
