"""Runs the stages of a tier that are out of date, side by side where they can be: here, or as batch jobs.

What is out of date is decided here, by content (lucie.manifest). Snakemake executes: it gets just those stages as a
plan, in a folder of its own that starts empty, so that it never decides anything. When nothing is out of date it is
not started.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from lucie.errors import StageError
from lucie.files import write_json
from lucie.manifest import Manifest, why_stale
from lucie.project import Project
from lucie.stages import Stage, Stages

POLL_SECONDS = 0.1
LOG_LINES = 12  # of the engine's own log, shown when it fails
FOLDER = ".engine-"  # in build/TIER, with the plan and the marks, as long as it runs
PLAN = "plan.json"
CANCELLED = "cancelled"  # a mark that another command sets
PR_SET_PDEATHSIG = 1  # of Linux' prctl


@dataclass(frozen=True)
class Stale:
    """A stage that must run, and why."""

    stage: Stage
    reason: str


@dataclass(frozen=True)
class Progress:
    """A stage that started or ended; ``seconds`` since the engine started."""

    stage: str
    state: str  # running, done or failed
    seconds: float


@dataclass(frozen=True)
class Place:
    """Where stages run, and how the command `lucie` is called there."""

    profile: str  # of workflow/profiles
    arguments: list[str]  # for Snakemake
    command: list[str] = field(default_factory=lambda: [sys.executable, "-m", "lucie"])
    setup: list[str] = field(default_factory=list)  # shell commands before it
    resources: dict[str, Any] = field(default_factory=dict)  # of each stage, as Snakemake calls them
    logs: Path | None = None  # of its jobs, where they are jobs
    cancel: Callable[[Path], object] = lambda folder: None  # what a run of the engine in a folder has submitted


def here(jobs: int) -> Place:
    """This machine, so many stages at a time."""
    return Place("local", ["--cores", str(jobs)])


def plan(project: Project, tier: str, wanted: Sequence[str] = ()) -> list[Stale]:
    """The stages of ``tier`` whose results in build/ are out of date, in order, with those that need them.

    Of ``wanted`` stages, only they and what they need; without them, all.
    """
    manifest = Manifest.load(project.build / tier)
    stale: dict[str, Stale] = {}
    for stage in _in_order(Stages.load(project), tier, wanted):
        needed = [need for need in stage.run(tier).needs if need in stale]
        reason = f"needs {needed[0]}" if needed else why_stale(project, stage, tier, manifest)
        if reason:
            stale[stage.id] = Stale(stage, reason)
    return list(stale.values())


def _in_order(stages: Stages, tier: str, wanted: Sequence[str]) -> list[Stage]:
    ordered: dict[str, Stage] = {}

    def add(stage: Stage) -> None:
        for need in stage.run(tier).needs:
            if need not in ordered:
                add(stages.get(need))
        ordered[stage.id] = stage

    for stage in map(stages.get, wanted) if wanted else stages.in_tier(tier):
        if stage.id not in ordered:
            add(stage)
    return list(ordered.values())


def execute(project: Project, tier: str, stale: list[Stale], place: Place, watch: Callable[[Progress], None]) -> None:
    """Run the stages through Snakemake.

    Raises StageError with what each failed stage said; stages that do not need a failed one still run.
    """
    if not stale:
        return
    (project.build / tier).mkdir(parents=True, exist_ok=True)
    folder = Path(mkdtemp(prefix=FOLDER, dir=project.build / tier))
    names = {entry.stage.id for entry in stale}
    stages = {e.stage.id: [need for need in e.stage.run(tier).needs if need in names] for e in stale}
    write_json(
        folder / PLAN,
        {
            "tier": tier,
            "command": place.command,
            "setup": place.setup,
            "resources": place.resources,
            "stages": stages,
            "jobs": place.logs is not None,
        },
    )
    try:
        with _ended_by_signals() if place.logs else nullcontext():
            _snakemake(project, folder, place, watch)
        failed = [name for name in stages if not (folder / f"{name}.done").exists()]
        if failed and not list(folder.glob("*.running")):
            raise StageError(_engine_said(folder, stages, place.logs))
        if failed:
            raise StageError("\n".join(_said(folder, name, stages[name], place.logs) for name in failed))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _snakemake(project: Project, folder: Path, place: Place, watch: Callable[[Progress], None]) -> None:
    command = [
        *(sys.executable, "-m", "snakemake"),
        *("--snakefile", str(project.root / "workflow" / "Snakefile")),
        *("--profile", str(project.root / "workflow" / "profiles" / place.profile)),
        *("--directory", str(folder)),
        *place.arguments,
    ]
    if place.logs:
        command += ["--slurm-logdir", str(place.logs), "--slurm-jobname-prefix", jobs_name(folder)]
    environment = {**os.environ, "LUCIE_ROOT": str(project.root), "XDG_CACHE_HOME": str(project.build / ".cache")}
    started, seen = time.monotonic(), set[Path]()
    with (folder / "engine.log").open("w", encoding="utf-8") as log:
        # Snakemake may miss a Ctrl-C between two looks at its jobs: so the terminal's is for us alone.
        engine = subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=bool(place.logs),
            preexec_fn=_end_with_parent if place.logs else None,
        )
        try:
            while True:
                ended = engine.poll() is not None
                for mark in sorted(set(folder.glob("*.*")) - seen, key=lambda path: path.stat().st_mtime):
                    seen.add(mark)
                    if mark.suffix in (".running", ".done", ".failed"):
                        watch(Progress(mark.stem, mark.suffix[1:], time.monotonic() - started))
                if ended:
                    return
                if (folder / CANCELLED).exists():
                    raise StageError("Cancelled. Submit again: what is done stays done.")
                time.sleep(POLL_SECONDS)
        finally:
            if engine.poll() is None and place.logs:
                os.killpg(engine.pid, signal.SIGKILL)  # it submits no more; then what it has submitted is cancelled
                engine.wait()
                place.cancel(folder)
            elif engine.poll() is None:
                engine.terminate()
                engine.wait()


def jobs_name(folder: Path) -> str:
    """What the names of the batch jobs of a run of the engine begin with."""
    return f"lucie-{folder.name.removeprefix(FOLDER)}"


def _end_with_parent() -> None:
    """Have the kernel kill this process once the one that started it is gone, even by SIGKILL: it would submit on."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """A lost terminal and SIGTERM end the run as Ctrl-C does."""

    def end(number: int, _: Any) -> None:
        raise StageError(f"Ended by {signal.Signals(number).name}. Submit again: what is done stays done.")

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _said(folder: Path, stage: str, needs: list[str], logs: Path | None) -> str:
    """What a failed stage said, or why it never started."""
    said, where = folder / f"{stage}.said", _where(folder, stage, logs)
    if said.is_file():
        return (
            said.read_text("utf-8").strip().removeprefix("error: ")
            or f"Stage '{stage}' ended without a word. Was it killed?{where}"
        )
    failed = [need for need in needs if not (folder / f"{need}.done").exists()]
    if failed:
        return f"Stage '{stage}' did not run, because it needs {failed[0]}."
    return f"Stage '{stage}' did not run: its job ended before it began.{where}"


def _where(folder: Path, stage: str, logs: Path | None) -> str:
    """Where the log of a stage's job is, as a sentence; empty where there are no jobs."""
    if not logs:
        return ""
    latest = job_log(folder, stage, logs)
    return f" The log of its job: {latest}" if latest else f" Logs of jobs are in {logs}"


def job_log(folder: Path, stage: str, logs: Path) -> Path | None:
    """The latest log of a stage's job since a run of the engine began."""
    written = {path: path.stat().st_mtime for path in logs.glob(f"rule_{stage}/**/*.log")}
    began = (folder / PLAN).stat().st_mtime
    return max((path for path, time in written.items() if time >= began), key=written.__getitem__, default=None)


def _engine_said(folder: Path, stages: Iterable[str], logs: Path | None) -> str:
    lines = (folder / "engine.log").read_text(encoding="utf-8").strip().splitlines()
    where = dict.fromkeys(_where(folder, stage, logs).strip() for stage in stages)
    said = ["The engine ended without running a stage. It said:", *lines[-LOG_LINES:], *filter(None, where)]
    return "\n".join(said)
