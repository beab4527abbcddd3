"""Stages as batch jobs of a real Slurm, submitted and watched by Snakemake."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster import Slurm, with_accounts
from conftest import ROOT, edit, write_notebook

from lucie.cli import INTERRUPTED
from lucie.errors import Exit, MismatchError, StageError, UsageError
from lucie.files import sha256
from lucie.hpc import container, images, scheduler
from lucie.hpc.scheduler import Scheduler
from lucie.hpc.sites import Site
from lucie.hpc.stages import place, ready
from lucie.project import Project

ADMINISTRATION = (
    "add account abc@cpu",
    "add user root Account=abc@cpu",
)
SUBMIT = ("submit", "second", "alone", "--tier", "record", "--site", "jean-zay", "--project", "abc")
SETUP = "setup: [module purge, module load singularity]   "  # of Jean Zay's CPU jobs
PATIENCE = 240  # seconds, on a machine that has other things to do
# A stage that waits until it is told to go on; it says that it began.
WAITING = "import pathlib, time\npathlib.Path('began').touch()\nwhile not pathlib.Path('go').exists(): time.sleep(0.1)"


@pytest.fixture(scope="module")
def jean_zay() -> Iterator[Slurm]:
    """Two nodes as Jean Zay's, and the hours of a project named abc."""
    yield from with_accounts(*ADMINISTRATION)


@pytest.fixture
def toys(toy: Project) -> Project:
    """The toy stages, at sites that we know: one whose set-up is not written for strict shells."""
    shutil.copytree(ROOT / "config" / "sites", toy.root / "config" / "sites")
    shutil.copytree(ROOT / "containers", toy.root / "containers")
    edit(toy.root / "config/sites/jean-zay.yaml", SETUP, "setup: [module purge, ': $NOT_SET']")
    return toy


def variables(slurm: Slurm, project: Project) -> dict[str, str]:
    """What the command needs on the login node. Snakemake's srun, inside a job, is not told where the cluster is."""
    bin = project.root / "bin"
    bin.mkdir(exist_ok=True)
    (bin / "srun").write_text(f'#!/bin/sh\nSLURM_CONF={slurm.conf} exec {shutil.which("srun")} "$@"\n')
    (bin / "srun").chmod(0o755)
    return {
        **slurm.environment,
        "PYTHONPATH": str(project.root / "src"),
        "LUCIE_ROOT": str(project.root),
        "PATH": f"{bin}:{os.environ['PATH']}",
    }


def lucie(slurm: Slurm, project: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lucie", *arguments]
    given = variables(slurm, project)
    return subprocess.run(command, env=given, capture_output=True, text=True, stdin=subprocess.DEVNULL)


def started(slurm: Slurm, project: Project) -> subprocess.Popen[str]:
    """The submitting command, once a stage waits to be told to go on."""
    write_notebook(project.root, "alone", waiting(project, "alone"))
    command = [sys.executable, "-m", "lucie", *SUBMIT]
    pipe = subprocess.PIPE
    running = subprocess.Popen(command, env=variables(slurm, project), stdout=pipe, stderr=pipe, text=True)
    late = time.monotonic() + PATIENCE
    while not (project.notebooks / "began").exists():
        assert time.monotonic() < late and running.poll() is None, running.communicate()
        time.sleep(0.1)
    return running


def waiting(project: Project, stage: str) -> list[str]:
    cells = json.loads((project.notebooks / f"{stage}.ipynb").read_text("utf-8"))["cells"]
    sources: list[str] = [cell["source"] for cell in cells]
    return [*sources[:2], WAITING, *sources[2:]]


def values(project: Project) -> dict[str, Any]:
    return {
        name: entry["value"] for name, entry in json.loads((project.build / "record/values.json").read_text()).items()
    }


def accounted(slurm: Slurm) -> list[list[str]]:
    """Of each job so far: the account, the partition, the cores, the time, and how it ended."""
    asked = "--format=account,partition,ncpus,timelimit,state"
    rows = slurm.ask("sacct", "--noheader", "--parsable2", "--allocations", asked).splitlines()
    return [row.split("|") for row in rows]


def test_stages_are_jobs_each_after_those_that_it_needs(jean_zay: Slurm, toys: Project) -> None:
    running = started(jean_zay, toys)
    said = lucie(jean_zay, toys, "status")
    assert "tier record" in said.stdout and "alone" in said.stdout and "running" in said.stdout, said.stderr
    assert "rule_alone" in lucie(jean_zay, toys, "logs").stdout
    twice = lucie(jean_zay, toys, *SUBMIT)
    assert twice.returncode == Exit.USAGE and "are in the queue" in " ".join(twice.stderr.split())
    (toys.notebooks / "go").touch()
    out, complaint = running.communicate(timeout=PATIENCE)
    assert running.returncode == Exit.HELD, complaint
    assert [line.split()[0] for line in out.splitlines() if " done " in line][-1] in ("second", "alone")
    assert values(toys) == {"first.sum": 6, "second.sum": 12, "alone.sum": 7}
    asked = ["abc@cpu", "cpu_p1", "4", "05:00:00", "COMPLETED"]  # two cores: a job has whole ones, with both threads
    assert accounted(jean_zay)[-3:] == [asked] * 3
    assert "nothing is out of date" in lucie(jean_zay, toys, *SUBMIT).stdout
    assert not list(toys.build.glob("record/.engine-*"))


def test_ctrl_c_cancels_the_jobs_and_what_is_left_is_submitted_again(jean_zay: Slurm, toys: Project) -> None:
    running = started(jean_zay, toys)
    jean_zay.until(
        lambda: values(toys) if (toys.build / "record/values.json").exists() else {}, len, "a stage", PATIENCE
    )
    running.send_signal(signal.SIGINT)
    assert running.wait(timeout=PATIENCE) == INTERRUPTED
    assert not list(toys.build.glob("record/.engine-*"))
    jean_zay.until(lambda: jean_zay.ask("squeue", "--noheader"), lambda rows: not rows, "the queue", PATIENCE)
    (toys.notebooks / "go").touch()
    again = lucie(jean_zay, toys, *SUBMIT)
    assert again.returncode == Exit.HELD, again.stderr
    assert "first " not in again.stdout and values(toys) == {"first.sum": 6, "second.sum": 12, "alone.sum": 7}


def test_what_is_submitted_can_be_cancelled_from_elsewhere(jean_zay: Slurm, toys: Project) -> None:
    running = started(jean_zay, toys)
    assert "cancelled: " in lucie(jean_zay, toys, "cancel").stdout
    _, complaint = running.communicate(timeout=PATIENCE)
    assert running.returncode == Exit.STAGE_FAILED and "Cancelled. Submit again" in complaint
    jean_zay.until(lambda: jean_zay.ask("squeue", "--noheader"), lambda rows: not rows, "the queue", PATIENCE)


def test_a_stage_that_fails_says_why_and_one_whose_job_was_killed_that_it_was(jean_zay: Slurm, toys: Project) -> None:
    """The job is killed from outside, as an administrator does."""
    edit(toys.notebooks / "first.ipynb", 'records.load(\\"input/numbers\\")', "1 / 0")
    running = started(jean_zay, toys)
    (mark,) = toys.build.glob("record/.engine-*/alone.running")
    jean_zay.cancel(int(mark.read_text()))
    _, complaint = running.communicate(timeout=PATIENCE)
    assert running.returncode == Exit.STAGE_FAILED
    said = " ".join(complaint.split())
    assert "'alone' ended without a word. Was it killed? The log of its job: " in said
    assert "Stage 'first' failed in cell" in said and "ZeroDivisionError" in said
    assert "Stage 'second' did not run, because it needs first." in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_submits_on_after_the_command_was_killed(jean_zay: Slurm, toys: Project, number: int) -> None:
    running = started(jean_zay, toys)
    (engine,) = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
    running.send_signal(number)
    _, complaint = running.communicate(timeout=PATIENCE)
    jean_zay.until(lambda: alive(engine), lambda found: not found, "Snakemake", PATIENCE)
    if number == signal.SIGTERM:
        assert running.returncode == Exit.STAGE_FAILED and "Ended by SIGTERM. Submit again" in complaint
    else:
        assert lucie(jean_zay, toys, *SUBMIT).returncode == Exit.USAGE, "what was submitted runs on"
        assert "cancelled: " in lucie(jean_zay, toys, "cancel").stdout
    jean_zay.until(lambda: jean_zay.ask("squeue", "--noheader"), lambda rows: not rows, "the queue", PATIENCE)


def alive(pid: str) -> bool:
    """Whether a process is there, and no zombie that nobody has asked for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_slurm_is_asked_again_where_no_answer_would_end_a_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "PAUSES", (0, 0))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    for name in ("sbatch", "scontrol", "squeue"):
        (tmp_path / name).write_text(
            '#!/bin/sh\necho "$0" >> asked; [ "$(grep -c "$0" asked)" = 3 ] && echo TimeLimit\n'
        )
        (tmp_path / name).chmod(0o755)
    monkeypatch.chdir(tmp_path)
    assert Scheduler().is_over_time("7")
    Scheduler().requeue("7")
    with pytest.raises(StageError, match="does not queue job 7 again"):
        Scheduler().requeue("7")
    with pytest.raises(StageError, match="squeue: it failed"):
        Scheduler().queued(["7"])


def test_what_slurm_would_refuse_is_refused_before(jean_zay: Slurm, toys: Project) -> None:
    wrong = lucie(jean_zay, toys, *SUBMIT[:-1], "xyz")
    assert wrong.returncode == Exit.USAGE and "You may not charge 'xyz@cpu'" in " ".join(wrong.stderr.split())
    long = lucie(jean_zay, toys, *SUBMIT, "--minutes", "600000")
    assert long.returncode == Exit.USAGE and "walltime: 600000 minutes" in " ".join(long.stderr.split())
    typo = lucie(jean_zay, toys, *SUBMIT, "--dry-run", "--image", "lucy")
    assert typo.returncode == Exit.USAGE and "There is no image 'lucy'" in " ".join(typo.stderr.split())
    assert "slurm_account=PROJECT@cpu" in lucie(jean_zay, toys, *SUBMIT[:-2], "--dry-run").stdout
    assert not (toys.build / "record").exists()


# In an image

# As Apptainer: what is inside sees our variables only by --env, and our folders as bound.
PROGRAM = """#!/bin/bash
shift
while [ "${1%.sif}" = "$1" ]; do
    case $1 in --env) export "$2"; shift;; esac
    shift
done
shift
exec PYTHON -m "$@"
"""


@pytest.fixture
def listed(toys: Project) -> Project:
    """The lock lists an image of this commit, which is where the site has it."""
    edit(toys.root / "config/sites/jean-zay.yaml", "setup: [module purge, ': $NOT_SET']", "setup: []")
    (toys.root / "requirements.lock").touch()
    for words in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message=toys"]):
        who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        subprocess.run(["git", *who, *words], cwd=toys.root, check=True)
    project = Project(toys.root)
    image = project.build / "images" / "lucie.sif"
    image.parent.mkdir(parents=True)
    image.write_bytes(b"an image")
    entry = container.Locked(sha256=sha256(image), base="", definition="", lock="", commit=project.commit.id)
    images.write_lock(project, {"lucie": entry})
    return project


def test_a_stage_runs_in_the_image_of_the_lock_and_shows_it(jean_zay: Slurm, listed: Project) -> None:
    """By a stand-in for the program; tests/test_images.py has the real one."""
    given = variables(jean_zay, listed)
    program = listed.root / "bin" / "singularity"
    program.write_text(PROGRAM.replace("PYTHON", sys.executable))
    program.chmod(0o755)
    given["SINGULARITY_ALLOWED_DIR"] = str(listed.build / "images")
    command = [sys.executable, "-m", "lucie", "submit", "alone", *SUBMIT[3:]]
    done = subprocess.run(command, env=given, capture_output=True, text=True)
    assert done.returncode == Exit.HELD, done.stderr
    digest = sha256(listed.build / "images/lucie.sif")
    assert digest in (listed.build / "record/notebooks/alone.ipynb").read_text("utf-8")
    manifest = json.loads((listed.build / "record/manifest.json").read_text("utf-8"))
    assert manifest["stages"]["alone"]["environment"]["container"] == digest


def test_an_image_of_another_commit_or_that_was_changed_is_refused(listed: Project) -> None:
    site = Site.load(listed, "slurm")
    image = container.find(listed, site, "lucie")
    assert image is not None
    inside = place(listed, site, "record", Scheduler(), image=image).command
    assert f"{listed.build}:/opt/lucie/build" in inside and inside[-2:] == [str(image.path), "lucie"]
    image.path.write_bytes(b"an Image")
    with pytest.raises(MismatchError, match="Nothing was started"):
        place(listed, site, "record", Scheduler(), image=image)
    edit(listed.root / "src/lucie/toy.py", "2", "3")
    with pytest.raises(UsageError, match=r"holds commit .* and src/lucie/toy.py is another here"):
        place(listed, site, "record", Scheduler(), image=image)


# Trainings


def test_stages_after_a_training_wait_for_it(copy: Project) -> None:
    with pytest.raises(
        UsageError, match=r"need the training of recipe mini, which is at step 0 of .*submit pretraining"
    ):
        ready(copy, "mini", ["evaluation"])
    stages = [entry.stage.id for entry in ready(copy, "mini", ["training_mix"])]
    assert stages == ["filtering", "tokenizer", "training_mix"]
