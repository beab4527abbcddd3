"""A training as a chain of real Slurm jobs on two nodes, with accounts: refused, cut off, and whole in the end."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster import RefusedError, Slurm, with_accounts
from conftest import ROOT, edit
from toy_training import make_tokens, same_weights

from lucie.errors import MismatchError, StageError, UsageError
from lucie.hpc import doctor, job
from lucie.hpc.chain import Chain, LegJob, legs
from lucie.hpc.container import Image, check
from lucie.hpc.job import launcher
from lucie.hpc.scheduler import Association, Scheduler
from lucie.hpc.sites import Site
from lucie.project import Project
from lucie.training.recipe import Recipe
from lucie.training.run import STOP, Outcome

pytest.importorskip("torch", reason="training needs torch, which group 'train' installs")
pytest.importorskip("nanotron", reason="training needs nanotron, which group 'train' installs")

STEPS, MAIN = 212, 202  # of the recipe below, and of its first leg
PATIENCE = 240  # seconds; Slurm looks every 30 who is beyond his time
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
    yield from with_accounts(*ADMINISTRATION)


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


def lucie(slurm: Slurm, project: Project, *arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lucie", *map(str, arguments)],
        env={**slurm.environment, "LUCIE_ROOT": str(project.root), "OMP_NUM_THREADS": "1", **variables},
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


def test_the_published_training_is_two_legs_with_the_authors_header() -> None:
    """As many nodes as in their launch scripts, and their options."""
    recipe, site = Recipe.load(Project(ROOT), "full"), Site.load(Project(ROOT), "jean-zay")
    chain = Chain.plan(recipe, 42, Path("tokens"), Path("run"), site, "h100", "abc")
    assert [(leg.nodes, leg.phases) for leg in chain.legs] == [(128, ["main"]), (32, ["extension", "annealing"])]
    assert chain.legs[0].last_step + 1 == chain.legs[1].first_step and chain.legs[1].last_step == recipe.steps
    options = dict(re.findall(r"^#SBATCH --(\S+?)=(.*)", LegJob(chain, chain.legs[0], ROOT).script(Path("logs")), re.M))
    expected = {"nodes": "128", "ntasks-per-node": "1", "gres": "gpu:4", "cpus-per-task": "96", "hint": "nomultithread",
                "constraint": "h100", "account": "abc@h100", "time": "20:00:00"}  # fmt: skip
    assert expected.items() <= options.items()
    assert chain.minutes - chain.ending_minutes == 1190, "as they did, it stops itself"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"qos": "qos_gpu_h100-t5"}, "lists no QoS 'qos_gpu_h100-t5'"),
        ({"qos": "qos_gpu_h100-dev", "minutes": 121}, "may take 2 h"),
        ({"qos": "qos_gpu_h100-t4"}, "may have 64 GPUs"),
        ({"minutes": 1201}, "may take 20 h"),
        ({"charged": ""}, "Name yours with: --project"),
        ({"kind": "v100"}, "There is no kind of job at site 'jean-zay' 'v100'"),
    ],
)
def test_what_the_site_s_file_forbids_is_refused_without_slurm(changes: dict[str, Any], says: str) -> None:
    recipe, site = Recipe.load(Project(ROOT), "full"), Site.load(Project(ROOT), "jean-zay")
    with pytest.raises(UsageError, match=re.escape(says)):
        Chain.plan(recipe, 42, Path("t"), Path("r"), site, **({"kind": "h100", "charged": "abc"} | changes))


@pytest.mark.parametrize("name", ["jean-zay", "slurm"])
def test_every_rule_of_a_site_has_its_source(name: str) -> None:
    """By the letters that the file's head explains, or as the rule's own field."""
    lines = (ROOT / f"config/sites/{name}.yaml").read_text("utf-8").splitlines()
    said = re.compile(r"#|says| +(says|value|unit):")
    rules = [line for line in lines if re.search(r": *[^ #]", line) and not said.match(line)]
    assert [line for line in rules if not re.search(r"# .*\b(L|LU|I|2|D|A)\b|source: ", line)] == []


def test_processes_that_fill_no_whole_nodes_are_refused(project: Project) -> None:
    with pytest.raises(UsageError, match="divides its work among 512 processes, which do not fill nodes of 3"):
        list(legs(Recipe.load(project, "full"), 3))


def test_in_a_container_the_launch_is_srun_container_torchrun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what each node's torchrun needs, under the names that Apptainer and Singularity hand on."""
    recipe, site = Recipe.load(Project(ROOT), "full"), Site.load(Project(ROOT), "jean-zay")
    image = Image(name="lucie-train", path=tmp_path / "lucie-train.sif", sha256="0" * 64, program="singularity")
    chain = Chain.plan(recipe, 42, tmp_path / "tokens", tmp_path / "run", site, "h100", "abc", image=image)
    for name, value in {"JOB_ID": "7", "JOB_NODELIST": "n[1-128]", "CPUS_PER_TASK": "96"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.setattr("lucie.hpc.job.first_host", lambda nodes: nodes.replace("[1-128]", "1"))
    words = launcher(chain, chain.legs[0], 60.0)(512, ["-m", "lucie.training.worker", "FOLDER"])
    order = [words.index(word) for word in ("timeout", "srun", "sh", "singularity", "torch.distributed.run", "FOLDER")]
    assert order == sorted(order) and words[0] == "timeout"
    assert {"--nnodes=128", "--nproc-per-node=4", "--master-addr=n1", "--max-restarts=0"} <= set(words)
    assert f"{chain.tokens}:{chain.tokens}:ro" in words and f"{chain.folder}:{chain.folder}" in words
    assert f"LUCIE_CONTAINER_DIGEST={image.sha256}" in words and "NCCL_NVLS_ENABLE=0" in words
    shell = words[words.index("-c") + 1].replace('exec "$@"', "env")
    told = {"SLURM_PROCID": "3", "CUDA_VISIBLE_DEVICES": "0,1", "PATH": os.environ["PATH"]}
    shown = subprocess.run(["sh", "-c", shell], env=told, capture_output=True, text=True, check=True).stdout.split()
    for prefix in ("", "APPTAINERENV_", "SINGULARITYENV_"):
        assert f"{prefix}PET_NODE_RANK=3" in shown and f"{prefix}CUDA_VISIBLE_DEVICES=0,1" in shown
    with pytest.raises(MismatchError, match="Nothing was started"):
        check(image)


def test_a_job_that_fails_is_queued_again_unless_it_is_no_accident(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three times without a new checkpoint is none; a checkpoint between them starts the count anew."""
    recipe, site = Recipe.load(Project(ROOT), "toy"), Site.load(Project(ROOT), "slurm")
    chain = Chain.plan(recipe, 1, tmp_path / "tokens", tmp_path, site, "cpu")
    chain.write()
    for name, value in {"JOB_ID": "7", "JOB_NODELIST": "n1"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    queued: list[str] = []
    monkeypatch.setattr(Scheduler, "requeue", lambda self, job: queued.append(job))

    def fails(reached: int) -> None:
        def train(*_: Any) -> Any:
            (tmp_path / "checkpoints" / str(reached)).mkdir(parents=True, exist_ok=True)
            raise StageError("NCCL watchdog")

        monkeypatch.setattr(job, "_train", train)
        job.run_leg(tmp_path, 0, Scheduler())

    for reached in (5, 5, 5, 10, 10, 10):  # the first and the fourth made a checkpoint
        fails(reached)
    assert queued == ["7"] * 6
    with pytest.raises(StageError, match="NCCL watchdog"):
        fails(10)
    assert [attempt.to_step for attempt in job.attempts(tmp_path)] == [5, 5, 5, 10, 10, 10, 10]
    (tmp_path / STOP).write_text(job.ENDED)
    monkeypatch.setattr(job, "_train", lambda *_: Outcome(12, False, job.ENDED))
    with pytest.raises(StageError, match="told to end"):
        job.run_leg(tmp_path, 0, Scheduler())
    monkeypatch.setattr(Scheduler, "is_over_time", lambda self, job: True)
    assert "queued again" in job.run_leg(tmp_path, 0, Scheduler()), "it was Slurm, at its limit"
    (tmp_path / STOP).unlink()
    monkeypatch.setattr(job, "_train", lambda *_: Outcome(12, False, "the time given is over"))
    assert "queued again" in job.run_leg(tmp_path, 0, Scheduler()) and len(queued) == 8


def test_a_warning_that_comes_before_the_training_listens_ends_nothing(tmp_path: Path) -> None:
    """As in a job that begins with less time than Slurm warns before its end."""
    recipe, site = Recipe.load(Project(ROOT), "toy"), Site.load(Project(ROOT), "slurm")
    chain = Chain.plan(recipe, 1, tmp_path / "tokens", tmp_path, site, "cpu")
    script = LegJob(chain, chain.legs[0], ROOT).script(tmp_path)
    assert script.count("\nexec ") == 1
    warned = script.replace("\nexec ", '\nkill -USR1 "$$"\nexec echo ')
    done = subprocess.run(["bash", "-c", warned], capture_output=True, text=True)
    assert done.returncode == 0 and f"lucie job {tmp_path} 0" in done.stdout


def test_the_doctor_says_what_to_do(jean_zay: Slurm, project: Project, tokens: Path, tmp_path: Path) -> None:
    def lines(*more: str) -> dict[str, tuple[str, str]]:
        words = ("doctor", "--site", "jean-zay", "--recipe", "chained", "--folder", tmp_path, "--tokens", tokens)
        done = lucie(jean_zay, project, *words, *more, WORK=str(tmp_path), SCRATCH=str(tmp_path.parent))
        found = re.findall(r"^(ok|warn|fail) +(\S+(?: \S+)*) {2,}(.*)", done.stdout, re.M)
        assert done.returncode == (3 if any(state == "fail" for state, _, _ in found) else 0), done.stderr
        return {name: (state, says) for state, name, says in found}

    found = lines("--project", "abc")
    good = ("rules", "partition", "constraint", "walltime", "account", "work", "checkpoints", "token files")
    assert [name for name in good if found.get(name, ("",))[0] != "ok"] == [], found
    assert "not checked here: there is no nvidia-smi" in found["GPU"][1] or found["GPU"][0] == "ok"
    assert found["folder"][0] == "warn", "it lies where files are purged"
    assert found["quota"] == ("warn", "not checked here: there is no idr_quota_project")
    assert found["store"] == ("warn", "not checked here: $STORE is no folder")
    assert found["mirror full"][0] == "warn" and "lucie fetch full" in found["mirror full"][1]
    found = lines("--project", "xyz", "--qos", "qos_gpu_h100-t3")
    assert found["account"][0] == "fail" and "you may charge: abc@h100" in found["account"][1]
    found = lines("--project", "abc", "--qos", "qos_gpu_h100-dev")
    assert found["QoS"] == ("ok", "qos_gpu_h100-dev") and found["walltime"] == ("ok", "120 minutes a job")
    found = lines("--project", "abc", "--minutes", "30", "--data", str(tmp_path))
    assert found["walltime"] == ("ok", "30 minutes a job")
    assert found["mirror full"][1].startswith(f"{tmp_path} is not a finished"), "the line may end there"
    assert found["cpu partition"][1].startswith("cpu_p1: ") and found["cpu walltime"] == ("ok", "300 minutes a job")
    assert found["cpu account"][0] == "fail" and "charge 'abc@cpu'; you may charge: abc@h100" in found["cpu account"][1]


def test_the_doctor_knows_the_rules_that_submit_knows() -> None:
    """Of the largest leg, and of what was asked for."""
    recipe, site = Recipe.load(Project(ROOT), "full"), Site.load(Project(ROOT), "jean-zay")

    def rules(**asked: Any) -> tuple[str, str]:
        wanted = doctor.Wanted("h100", recipe, Path("r"), Path("t"), "abc", **asked)
        first = next(doctor.training_checks(site, wanted, Scheduler()))
        return first.state, first.says

    assert rules() == ("ok", "config/sites/jean-zay.yaml allows h100 jobs of 128 nodes")
    state, says = rules(qos="qos_gpu_h100-dev")
    assert state == "fail" and "may have 32 GPUs" in says and "needs 512" in says
    state, says = rules(minutes=1201)
    assert state == "fail" and "may take 20 h" in says


def test_an_account_that_is_listed_once_a_partition_has_the_qos_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [("abc@h100", {"qos_gpu_h100-dev", "qos_gpu_h100-t3"}), ("abc@h100", {"qos_gpu_h100-dev"})]
    held = [Association(account, frozenset(qos)) for account, qos in rows]
    monkeypatch.setattr(Scheduler, "associations", lambda self: held)
    monkeypatch.setattr(Scheduler, "longest", lambda self, qos: None)
    site = Site.load(Project(ROOT), "jean-zay")
    for qos, state in {"qos_gpu_h100-dev": "ok", "qos_gpu_h100-t3": "ok", "qos_gpu_h100-t4": "fail"}.items():
        checks = doctor.job_checks(site, "h100", "abc", qos, 60, 1, Scheduler())
        assert [check.state for check in checks if check.name == "QoS"] == [state]


@pytest.fixture(scope="module")
def script(jean_zay: Slurm, project: Project, tokens: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The batch script of the first leg, as --dry-run shows it."""
    folder = tmp_path_factory.mktemp("script")
    shown = submit(jean_zay, project, tokens, folder / "run", "--dry-run").stdout
    path = folder / "leg.sbatch"
    path.write_text(shown[shown.index("#!") : shown.index("lucie-chained-1-1")])
    return path


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
    script: Path,
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
    finally:
        site.write_text(kept)
    assert done.returncode == 3 and not (tmp_path / "run").exists(), done.stderr
    assert options[-1].split("=")[1] in done.stderr, "what is wrong is named"
    with pytest.raises(RefusedError, match=says):
        jean_zay.submit(script, *options, folder=tmp_path)


def test_a_chain_that_is_cut_off_ends_with_the_weights_of_one_that_is_not(
    jean_zay: Slurm, project: Project, tokens: Path, tmp_path: Path
) -> None:
    """A node fails, the job is cancelled, then it hangs until it is warned, and until Slurm kills it at its limit."""
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
    log = folder / "jobs" / f"lucie-chained-1-0-{first}.out"
    held = hanging(jean_zay, folder, stopped + 30)
    jean_zay.ask("scontrol", "update", f"JobId={first}", "EndTime=now+85")
    arguments = ("train", "chained", "--folder", whole, "--tokens", tokens)
    uninterrupted = lucie(jean_zay, project, *arguments)
    assert uninterrupted.returncode == 0, uninterrupted.stderr
    jean_zay.until(lambda: (folder / "stop").is_file(), bool, "the warning", PATIENCE)
    for pid in held:
        os.kill(pid, signal.SIGCONT)
    jean_zay.wait_for(first, "JobState", "PENDING")
    warned = latest(folder)
    assert stopped + 30 <= warned < MAIN
    assert "the job is queued again" in log.read_text() and "TIME LIMIT" not in log.read_text()

    start_again(jean_zay, first)
    hanging(jean_zay, folder, warned + 30)
    jean_zay.ask("scontrol", "update", f"JobId={first}", "EndTime=now+1")
    jean_zay.wait_for(first, "JobState", "PENDING", PATIENCE)
    assert "DUE TO TIME LIMIT" in log.read_text() and warned <= latest(folder) < MAIN
    start_again(jean_zay, first)

    assert jean_zay.wait(first, PATIENCE) == ["COMPLETED"], log.read_text()
    assert jean_zay.wait(second, PATIENCE) == ["COMPLETED"]
    assert same_weights(*(run / "checkpoints" / str(STEPS) for run in (folder, whole)))
    table = lucie(jean_zay, project, "status", folder).stdout
    assert table.count("done") == 2 and f"{MAIN} of {MAIN}" in table and f"{STEPS} of {STEPS}" in table
    assert "Nothing is left to submit" in submit(jean_zay, project, tokens, folder).stdout


def latest(folder: Path) -> int:
    return max((int(path.name) for path in (folder / "checkpoints").glob("[0-9]*")), default=0)


def reach(slurm: Slurm, folder: Path, step: int) -> None:
    """Until the metrics of a step are written."""
    path = folder / "metrics.jsonl"
    late = time.monotonic() + PATIENCE
    while not path.is_file() or path.read_text("utf-8").count("\n") < step:
        if time.monotonic() > late:
            said = [log.read_text("utf-8") for log in [*(folder / "jobs").glob("*.out"), *folder.glob("*.log")]]
            raise AssertionError("\n".join([*said, slurm.ask("squeue", "-a"), slurm.log()]))
        time.sleep(0.02)


def start_again(slurm: Slurm, job: int) -> None:
    """Slurm waits two minutes before it starts a job that was queued again; in the same second nodes refuse it.

    The limit that it was given to end it would stay: a minute, of which a slow machine needs more.
    """
    time.sleep(3)
    slurm.ask("scontrol", "update", f"JobId={job}", "StartTime=now", "TimeLimit=20:00:00")


def hanging(slurm: Slurm, folder: Path, step: int) -> list[int]:
    """The processes of both nodes, stopped once the metrics of a step are written: tests do not wait for hours."""
    reach(slurm, folder, step)
    held = workers(folder)
    assert len(held) == 2, "one process on each node"
    for pid in held:
        os.kill(pid, signal.SIGSTOP)
    return held


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
