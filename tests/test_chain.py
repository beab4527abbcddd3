"""A training as a chain of real Slurm jobs on two nodes, with accounts: refused, cut off, and whole in the end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from cluster import RefusedError, Slurm, UnavailableError, borrowed
from conftest import ROOT, edit
from toy_training import make_tokens, same_weights

from lucie.project import Project

pytest.importorskip("torch", reason="training needs torch, which group 'train' installs")
pytest.importorskip("nanotron", reason="training needs nanotron, which group 'train' installs")

STEPS, MAIN = 212, 202  # of the recipe below, and of its first leg
LOOK = 30  # Slurm looks so often, in seconds, who is beyond his time
ADMINISTRATION = (
    "add qos qos_gpu_h100-t3 MaxWall=20:00:00 Flags=DenyOnLimit",
    "add qos qos_gpu_h100-dev MaxWall=02:00:00 Flags=DenyOnLimit",
    "add qos qos_gpu_h100-t4 MaxWall=100:00:00 Flags=DenyOnLimit",
    "add account abc@h100",
    "add account abc@cpu",
    "add user root Account=abc@h100 QOS=qos_gpu_h100-t3,qos_gpu_h100-dev DefaultQOS=qos_gpu_h100-t3",
)


@pytest.fixture(scope="module")
def jean_zay() -> Iterator[Slurm]:
    """Two nodes as Jean Zay's, with the accounts and QoS of a project named abc."""
    try:
        with borrowed(accounting=True) as slurm:
            for line in ADMINISTRATION:
                slurm.ask("sacctmgr", "--immediate", *line.split())
            yield slurm
    except UnavailableError as why:
        pytest.skip(str(why))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Our configuration, with a toy on two nodes, then on one, and as many processes on a node as it has."""
    root = tmp_path_factory.mktemp("chain")
    shutil.copytree(ROOT / "config", root / "config")
    recipe = yaml.safe_load((root / "config/recipes/toy.yaml").read_text("utf-8"))
    recipe |= {"mix": "chained", "most_epochs": 1000.0}
    recipe["phases"]["main"] |= {"micro_batch": 1, "checkpoint_every": 25, "parallelism": {"data": 2}}
    (root / "config/recipes/chained.yaml").write_text(yaml.safe_dump(recipe))
    mix = yaml.safe_load((root / "config/mixes/toy.yaml").read_text("utf-8"))
    mix["phases"]["main"]["tokens"] = 51_200
    (root / "config/mixes/chained.yaml").write_text(yaml.safe_dump(mix))
    edit(root / "config/sites/jean-zay.yaml", "processes: 4 ", "processes: 1 ")
    edit(root / "config/sites/jean-zay.yaml", "module purge, module load arch/h100, module load singularity", "")
    return Project(root)


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tokens(tmp_path_factory.mktemp("tokens"))


def lucie(slurm: Slurm, project: Project, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lucie", *map(str, arguments)],
        env={**slurm.environment, "LUCIE_ROOT": str(project.root), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )


def submit(slurm: Slurm, project: Project, tokens: Path, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    words = ("--tier", "mini", "--recipe", "chained", "--site", "jean-zay", "--tokens", tokens, "--folder", folder)
    return lucie(slurm, project, "submit", "pretraining", *words, "--project", "abc", *more)


def jobs(done: subprocess.CompletedProcess[str]) -> list[int]:
    assert done.returncode == 0, done.stderr
    return [int(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("job ")]


@pytest.mark.parametrize(
    ("before", "options", "says"),
    [
        (["--project", "xyz"], ["--account=xyz@h100"], "Invalid account"),
        (["--qos", "qos_gpu_h100-t4"], ["--qos=qos_gpu_h100-t4"], "Invalid qos"),
        (["--minutes", "1201"], ["--time=1201"], "Job violates accounting/QOS policy"),
        (["--qos", "qos_gpu_h100-dev", "--minutes", "121"], ["--qos=qos_gpu_h100-dev", "--time=121"], "QOS policy"),
        ([("--constraint=h100", "--constraint=a100")], ["--constraint=a100"], "Invalid feature specification"),
        ([("--hint=nomultithread", "--partition=gpu_p7")], ["--partition=gpu_p7"], "invalid partition"),
    ],
    ids=["account", "QoS", "walltime", "walltime of the QoS", "constraint", "partition"],
)
def test_what_slurm_refuses_is_refused_before(
    jean_zay: Slurm,
    project: Project,
    tokens: Path,
    tmp_path: Path,
    before: list[str | tuple[str, str]],
    options: list[str],
    says: str,
) -> None:
    """The words that are wrong, or a site's file that is; and the same said to sbatch itself."""
    site = project.root / "config/sites/jean-zay.yaml"
    kept, words = site.read_text("utf-8"), []
    for change in before:
        if isinstance(change, tuple):
            at = kept.index("  h100:\n")
            site.write_text(kept[:at] + kept[at:].replace(*change, 1))
        else:
            words.append(change)
    try:
        done = submit(jean_zay, project, tokens, tmp_path / "run", *words)
        shown = submit(jean_zay, project, tokens, tmp_path / "run", "--dry-run")
    finally:
        site.write_text(kept)
    assert done.returncode == 3 and not (tmp_path / "run").exists(), done.stderr
    assert options[-1].split("=")[1] in done.stderr, "what is wrong is named"
    script = tmp_path / "leg.sbatch"
    script.write_text(shown.stdout[shown.stdout.index("#!") : shown.stdout.index("lucie-chained-1-1")])
    with pytest.raises(RefusedError, match=says):
        jean_zay.submit(script, *options, folder=tmp_path)


def test_a_chain_that_is_cut_off_ends_with_the_weights_of_one_that_is_not(
    jean_zay: Slurm, project: Project, tokens: Path, tmp_path: Path
) -> None:
    """A node fails, the job is cancelled, another one reaches its limit; then it goes on to its end."""
    tmp_path.chmod(0o755)
    folder, whole = tmp_path / "run", tmp_path / "whole"
    first, second = jobs(submit(jean_zay, project, tokens, folder))
    shown = jean_zay.show(first)
    assert shown["Account"] == "abc@h100" and shown["Features"] == "h100" and shown["NumNodes"].startswith("2")
    assert shown["QOS"] == "qos_gpu_h100-t3" and shown["TimeLimit"] == "20:00:00" and shown["Requeue"] == "1"
    assert jean_zay.show(second)["Dependency"].startswith(f"afterok:{first}")
    again = submit(jean_zay, project, tokens, folder)
    assert again.returncode == 3 and "jobs in the queue" in again.stderr

    reach(jean_zay, folder, 30)
    jean_zay.fail("n2")
    jean_zay.wait_for(first, "JobState", "PENDING")
    jean_zay.repair("n2")
    assert f"cancelled: {first}, {second}" in lucie(jean_zay, project, "cancel", folder).stdout
    assert jean_zay.wait(first) == ["CANCELLED"] and jean_zay.wait(second) == ["CANCELLED"]
    stopped = latest(folder)
    assert 0 < stopped < MAIN, "what was made stays"
    assert "cancelled" in lucie(jean_zay, project, "status", folder).stdout

    first, second = jobs(submit(jean_zay, project, tokens, folder))
    reach(jean_zay, folder, stopped + 60)
    held = workers(folder)
    assert len(held) == 2, "one process on each node"
    for pid in held:
        os.kill(pid, signal.SIGSTOP)  # until its time is over, which tests do not wait for
    jean_zay.ask("scontrol", "update", f"JobId={first}", "EndTime=now+85")
    arguments = ("train", "chained", "--folder", whole, "--tokens", tokens)
    uninterrupted = lucie(jean_zay, project, *arguments)
    assert uninterrupted.returncode == 0, uninterrupted.stderr
    jean_zay.until(lambda: (folder / "stop").is_file(), bool, "the warning", 2 * LOOK)
    for pid in held:
        os.kill(pid, signal.SIGCONT)
    jean_zay.wait_for(first, "JobState", "PENDING")
    assert stopped + 60 <= latest(folder) < MAIN
    assert "the job is queued again" in (folder / "jobs" / f"lucie-chained-1-0-{first}.out").read_text()
    jean_zay.ask("scontrol", "update", f"JobId={first}", "StartTime=now")  # not in two minutes

    assert jean_zay.wait(first, 120) == ["COMPLETED"], jean_zay.show(first)
    assert jean_zay.wait(second, 90) == ["COMPLETED"]
    assert same_weights(*(run / "checkpoints" / str(STEPS) for run in (folder, whole)))
    table = lucie(jean_zay, project, "status", folder).stdout
    assert table.count("done") == 2 and f"{MAIN} of {MAIN}" in table and f"{STEPS} of {STEPS}" in table
    assert "Nothing is left to submit" in submit(jean_zay, project, tokens, folder).stdout


def latest(folder: Path) -> int:
    return max((int(path.name) for path in (folder / "checkpoints").glob("[0-9]*")), default=0)


def reach(slurm: Slurm, folder: Path, step: int) -> None:
    """Until the metrics of a step are written."""
    path = folder / "metrics.jsonl"
    late = time.monotonic() + 90
    while not path.is_file() or path.read_text("utf-8").count("\n") < step:
        if time.monotonic() > late:
            said = [log.read_text("utf-8") for log in [*(folder / "jobs").glob("*.out"), *folder.glob("*.log")]]
            raise AssertionError("\n".join([*said, slurm.ask("squeue", "-a")]))
        time.sleep(0.02)


def workers(folder: Path) -> list[int]:
    """The processes that train there, on whatever node."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if (
            b"lucie.training.worker" in words
            and str(folder).encode() in words
            and b"torch.distributed.run" not in words
        ):
            found.append(int(path.parent.name))
    return found
