"""What makes a stage run again, and what does not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import Lucie, edit, toy_cells, write_notebook

from lucie.engine import plan
from lucie.errors import Exit
from lucie.manifest import CONTAINER_VARIABLE, Manifest
from lucie.project import Project


def stale(project: Project) -> dict[str, str]:
    return {entry.stage.id: entry.reason for entry in plan(project, "record")}


@pytest.fixture
def built(toy: Project, lucie: Lucie) -> Project:
    """The toy project with all its stages run."""
    done = lucie(toy, "reproduce")
    assert done.returncode == Exit.HELD, done.stderr
    assert stale(toy) == {}
    return toy


def test_nothing_reruns_until_content_changes_and_then_just_what_depends_on_it(built: Project) -> None:
    """One built project serves all probes: each changes something, looks at the plan and changes it back."""
    for path in built.root.rglob("*"):
        os.utime(path)
    assert stale(built) == {}, "touching files"

    toy = built.root / "src" / "lucie" / "toy.py"
    edit(toy, "2", "3")
    assert stale(built) == {"second": "changed: src/lucie/toy.py"}, "a module that one stage imports"
    edit(toy, "3", "2")

    trace = built.root / "src" / "lucie" / "trace.py"
    edit(trace, "WATCHED = (", "WATCHED = ( ")
    assert set(stale(built)) == {"first", "second", "alone"}, "a module that all import through another"
    edit(trace, "WATCHED = ( ", "WATCHED = (")

    edit(built.root / "src" / "lucie" / "paper" / "tables.py", "booktabs", "Booktabs")
    assert stale(built) == {}, "a module that no stage imports"

    edit(built.records / "input" / "others.csv", "7", "8")
    assert stale(built) == {"alone": "changed: data/records/input/others.csv"}, "an input"
    edit(built.records / "input" / "others.csv", "8", "7")

    notebook = built.notebooks / "first.ipynb"
    edit(notebook, "apples", "pears")
    assert stale(built) == {"first": "changed: notebooks/first.ipynb", "second": "needs first"}, "a needed stage"
    edit(notebook, "pears", "apples")

    stages = built.root / "config" / "stages.yaml"
    edit(stages, '"title": "alone"', '"title": "on its own"')
    assert stale(built) == {}, "a title"
    edit(stages, '"reads": ["input/others"]', '"reads": ["input/others"], "parameters": {"tier": "record", "more": 1}')
    assert stale(built) == {"alone": "changed: more"}, "a parameter"
    edit(stages, ', "parameters": {"tier": "record", "more": 1}', "")

    edit(built.root / "workflow" / "profiles" / "local" / "config.yaml", "nolock", "cores: 7\nnolock")
    assert stale(built) == {}, "cores and other resources"

    subprocess.run("git init -q && git add -A && git -c user.name=a -c user.email=a@b commit -qm x", shell=True,
                   cwd=built.root, check=True)  # fmt: skip
    assert stale(Project(built.root)) == {}, "a commit"


def test_an_output_edited_by_hand_is_found_and_made_again(built: Project, lucie: Lucie) -> None:
    edit(built.build / "record" / "tables" / "first.table.csv", "3", "4")
    assert stale(built) == {
        "first": "output edited or missing: tables/first.table.csv",
        "second": "needs first",
    }
    done = lucie(built, "reproduce")
    assert done.returncode == Exit.HELD
    assert stale(built) == {}
    edit(built.build / "record" / "values.json", '"value": 12', '"value": 13')
    assert stale(built) == {"second": "output edited or missing: values.json, second.sum"}


def test_a_new_image_reruns_the_cheap_stages_and_keeps_the_dear_ones(
    built: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(built.root / "config" / "stages.yaml", '"reads": ["input/others"]', '"reads": ["input/others"], '
         '"keep_on_new_image": true')  # fmt: skip
    monkeypatch.setenv(CONTAINER_VARIABLE, "sha256:new")
    assert stale(built) == {"first": "new container image", "second": "needs first"}


def test_an_unchanged_second_run_does_nothing_and_starts_no_engine(
    built: Project, lucie: Lucie, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.stat().st_mtime_ns for path in built.build.rglob("*") if path.is_file()}
    (built.root / "workflow" / "Snakefile").write_text("this is no Snakefile")
    done = lucie(built, "reproduce")
    assert done.returncode == Exit.HELD, done.stderr
    assert "nothing was out of date" in done.stdout
    assert before == {path: path.stat().st_mtime_ns for path in built.build.rglob("*") if path.is_file()}


def test_a_failed_stage_stops_those_that_need_it_and_no_others(toy: Project, lucie: Lucie) -> None:
    cells = toy_cells("first", "input/numbers")
    write_notebook(toy.root, "first", [*cells[:3], "1 / 0", cells[3]])
    done = lucie(toy, "reproduce")
    assert done.returncode == Exit.STAGE_FAILED
    assert "ZeroDivisionError" in done.stderr
    assert "'second' did not run, because it needs first" in done.stderr and "error: error" not in done.stderr
    assert set(Manifest.load(toy.build / "record").stages) == {"alone"}


def test_an_engine_that_cannot_start_says_so(toy: Project, lucie: Lucie) -> None:
    (toy.root / "workflow" / "Snakefile").write_text("this is no Snakefile")
    done = lucie(toy, "reproduce")
    assert done.returncode == Exit.STAGE_FAILED
    assert "The engine ended without running a stage" in done.stderr


def test_a_run_killed_midway_is_taken_up_again(toy: Project, lucie: Lucie) -> None:
    cells = toy_cells("alone", "input/others")
    write_notebook(toy.root, "alone", [*cells[:2], "import time\n\ntime.sleep(20)", *cells[2:]])
    environment = {**os.environ, "PYTHONPATH": str(toy.root / "src"), "LUCIE_ROOT": str(toy.root)}
    running = subprocess.Popen(
        [sys.executable, "-m", "lucie", "run", "alone"], cwd=toy.root, env=environment, start_new_session=True
    )
    _wait_for(toy.build / "record" / ".running")
    time.sleep(2)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    assert not (toy.build / "record" / "manifest.json").exists()
    write_notebook(toy.root, "alone", cells)
    assert lucie(toy, "reproduce").returncode == Exit.HELD
    assert not list((toy.build / "record" / ".running").glob("*")), "leftovers of the killed run"


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} never came"
        time.sleep(0.05)


def test_the_plan_says_what_would_run_without_running_it(toy: Project, lucie: Lucie) -> None:
    done = lucie(toy, "reproduce", "--dry-run")
    assert done.returncode == Exit.HELD
    assert "3 stages would run" in done.stdout
    assert not (toy.build / "record").exists()
