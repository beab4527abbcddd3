"""The tests' Slurm is a real one: it schedules, refuses, warns and kills as the one of a computing centre does."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from cluster import SCRIPT, RefusedError, Slurm

from lucie.corpus.clean import Cleaning
from lucie.corpus.recipe import Recipe
from lucie.project import Project

# Slurm counts time limits in minutes and looks every 30 s, from its start on, who is beyond his.
LOOKS = 30


@dataclass(frozen=True)
class Limited:
    """Two jobs under a time limit, and where they write."""

    warned: int
    too_long: int
    folder: Path


@pytest.fixture(scope="module", autouse=True)
def limited(slurm: Slurm, tmp_path_factory: pytest.TempPathFactory) -> Limited:
    """Submitted before anything else, as they take longest: their tests are the last ones here."""
    folder = tmp_path_factory.mktemp("limited")
    # Slurm warns at its last look before the time; 30 s before the end of a minute that is any look, so the first.
    warned = slurm.submit(
        "trap 'echo warned > warned; exit 0' USR1; while :; do sleep 0.1; done",
        "--time=1",
        f"--signal=B:USR1@{LOOKS}",
        folder=folder,
    )
    too_long = slurm.submit("echo began > began; sleep 600; echo ended > ended", "--time=1", folder=folder)
    slurm.wait_for(too_long, "JobState", "RUNNING")
    # What is left of its minute would be waiting; this moves only the end that Slurm enforces.
    slurm.ask("scontrol", "update", f"JobId={too_long}", "EndTime=now+2")
    return Limited(warned, too_long, folder)


def test_an_array_runs_on_both_nodes(slurm: Slurm, tmp_path: Path) -> None:
    half_a_node = "--gres=gpu:2"
    job = slurm.submit(
        "echo $SLURMD_NODENAME $(hostname) $CUDA_VISIBLE_DEVICES > $SLURM_ARRAY_TASK_ID; sleep 1",
        "--array=0-3",
        half_a_node,
        "--constraint=h100",
        folder=tmp_path,
    )
    assert slurm.wait(job) == ["COMPLETED"] * 4
    written = sorted((tmp_path / str(task)).read_text().split() for task in range(4))
    assert [name for name, _, _ in written] == ["n1", "n1", "n2", "n2"]
    assert all(name == host for name, host, _ in written)
    assert [gpus for _, _, gpus in written] in (["0,1", "2,3"] * 2, ["0,1", "2,3", "2,3", "0,1"])


def test_tasks_of_one_job_find_each_other_by_name(slurm: Slurm, tmp_path: Path) -> None:
    """As torchrun does: the first host of the job's list is where all meet."""
    script = tmp_path / "two.sbatch"
    script.write_text(
        "#!/bin/sh\n#SBATCH --nodes=2 --ntasks-per-node=1 --partition=gpu_p6 --gres=gpu:4 --output=said\n"
        "export FIRST=$(scontrol show hostnames $SLURM_JOB_NODELIST | head -n 1)\n"
        "srun sh -c 'echo $SLURM_PROCID $(hostname) $FIRST $(getent hosts $FIRST | cut -d\" \" -f1)'\n"
    )
    assert slurm.wait(slurm.submit(script, folder=tmp_path)) == ["COMPLETED"]
    assert sorted((tmp_path / "said").read_text().splitlines()) == ["0 n1 n1 127.0.0.1", "1 n2 n1 127.0.0.1"]


def test_a_job_runs_after_the_one_it_depends_on(slurm: Slurm, tmp_path: Path) -> None:
    first = slurm.submit("sleep 1; date +%s%N > first", folder=tmp_path)
    second = slurm.submit("date +%s%N > second", f"--dependency=afterok:{first}", folder=tmp_path)
    assert slurm.state(second) == "PENDING"
    assert slurm.wait(second) == ["COMPLETED"]
    assert int((tmp_path / "first").read_text()) < int((tmp_path / "second").read_text())


def test_a_job_does_not_run_after_one_that_failed(slurm: Slurm, tmp_path: Path) -> None:
    first = slurm.submit("exit 7", folder=tmp_path)
    second = slurm.submit("touch second", f"--dependency=afterok:{first}", folder=tmp_path)
    assert slurm.wait(first) == ["FAILED"]
    assert slurm.show(first)["ExitCode"] == "7:0"
    slurm.wait_for(second, "Reason", "DependencyNeverSatisfied")
    slurm.cancel(second)
    assert slurm.wait(second) == ["CANCELLED"]
    assert not (tmp_path / "second").exists()


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("--partition=gpu_p7", "invalid partition specified: gpu_p7"),
        ("--constraint=a100", "Invalid feature specification"),
        ("--gres=gpu:8", "Requested node configuration is not available"),
        ("--partition=prepost --time=20:01:00", "Requested time limit is invalid"),
    ],
)
def test_sbatch_refuses_what_the_cluster_has_not(slurm: Slurm, tmp_path: Path, option: str, says: str) -> None:
    with pytest.raises(RefusedError, match=re.escape(says)):
        slurm.submit("true", *option.split(), folder=tmp_path)


def test_a_job_fails_with_its_node(slurm: Slurm, tmp_path: Path) -> None:
    job = slurm.submit("sleep 600", "--nodelist=n2", "--no-requeue", folder=tmp_path)
    slurm.wait_for(job, "JobState", "RUNNING")
    slurm.fail("n2")
    try:
        assert slurm.wait(job) == ["NODE_FAIL"]
    finally:
        slurm.repair("n2")


def test_there_is_no_accounting(slurm: Slurm) -> None:
    assert "accounting storage is disabled" in slurm.run("sacct").stderr


def test_bringing_it_up_again_changes_nothing(slurm: Slurm) -> None:
    again = subprocess.run([SCRIPT, "up", slurm.conf.parent.parent], capture_output=True, text=True, check=True)
    assert again.stdout == f"export SLURM_CONF={slurm.conf}\n"


def test_a_job_is_warned_before_its_limit(slurm: Slurm, limited: Limited) -> None:
    assert slurm.wait(limited.warned, timeout=2 * LOOKS) == ["COMPLETED"]
    assert (limited.folder / "warned").exists()


def test_a_job_that_is_too_long_is_killed(slurm: Slurm, limited: Limited) -> None:
    assert slurm.wait(limited.too_long, timeout=2 * LOOKS) == ["TIMEOUT"]
    assert (limited.folder / "began").exists() and not (limited.folder / "ended").exists()


def lucie(slurm: Slurm, project: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Our command on the cluster's login node."""
    names = {"PYTHONPATH": str(project.root / "src"), "LUCIE_ROOT": str(project.root)}
    return subprocess.run(
        [sys.executable, "-m", "lucie", "corpus", *arguments],
        env={**slurm.environment, **names},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )


def arrays(done: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """The job of each step that was submitted."""
    assert done.returncode == 0, done.stderr
    return {
        line.split()[0]: int(line.rpartition(": ")[2])
        for line in done.stdout.splitlines()
        if line.rpartition(": ")[2].isdigit()
    }


def clean_bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "clean").iterdir())}


def test_a_corpus_is_cleaned_by_job_arrays_and_only_a_failed_shard_is_redone(
    slurm: Slurm, copy: Project, tmp_path: Path
) -> None:
    tmp_path.chmod(0o755)
    texts, work, here = tmp_path / "texts", tmp_path / "work", tmp_path / "here"
    texts.mkdir()
    for name in ("web.fr", "web.en", "newspaper.de"):
        shutil.copy(copy.root / "data" / "mini" / "documents" / f"{name}.jsonl", texts)
    site = copy.root / "config" / "sites" / "slurm.yaml"
    site.write_text(site.read_text().replace("array: 1000", "array: 2"))  # 14 buckets in two jobs: few processes here
    assert arrays(lucie(slurm, copy, "submit", str(texts), "--into", str(work), "--dry-run")) == {}
    assert not work.exists()

    Cleaning(copy, Recipe.load(copy, str(texts)), work).claim_folder()
    in_the_way = work / "filter" / "00001.kept.parquet"  # a file cannot take the place of a folder
    in_the_way.mkdir(parents=True)
    jobs = arrays(lucie(slurm, copy, "submit", str(texts), "--into", str(work)))
    assert list(jobs) == ["model", "filter", "compare", "duplicates", "write"]
    assert slurm.wait(jobs["filter"], 60).count("COMPLETED") == 1  # shards 0 and 1 are one job, 2 another
    assert set(slurm.wait(jobs["write"], 60)) == {"CANCELLED"}
    assert (work / "filter" / "00002.json").is_file() and not (work / "filter" / "00001.json").exists()
    kept = (work / "filter" / "00002.json").stat().st_mtime_ns

    in_the_way.rmdir()
    jobs = arrays(lucie(slurm, copy, "submit", str(texts), "--into", str(work)))
    assert list(jobs) == ["filter", "compare", "duplicates", "write"]
    assert set(slurm.wait(jobs["write"], 90)) == {"COMPLETED"}
    assert (work / "filter" / "00002.json").stat().st_mtime_ns == kept
    assert "every task is done" in lucie(slurm, copy, "submit", str(texts), "--into", str(work)).stdout

    for folder in (work, here):
        assert lucie(slurm, copy, "build", str(texts), "--into", str(folder)).returncode == 0
    assert clean_bytes(work) == clean_bytes(here)
    assert (work / "report.json").read_bytes() == (here / "report.json").read_bytes()
