"""A real Slurm for tests: brought up by tools/slurm.sh, spoken to by Slurm's own commands."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

T = TypeVar("T")

SCRIPT = Path(__file__).resolve().parent.parent / "tools" / "slurm.sh"
CANNOT = 3  # the script's exit code where Slurm cannot be had
OVER = {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "TIMEOUT"}

Shown = Mapping[str, str]


class UnavailableError(Exception):
    """There is no Slurm here, and none can be had; says why."""


class RefusedError(Exception):
    """sbatch did not take a job; says what it said."""


class Slurm:
    """One cluster. Without accounts ``sacct`` fails; a job that ended can be seen for an hour nevertheless."""

    nodes = ("n1", "n2")

    def __init__(self, conf: Path) -> None:
        self.conf = conf

    @property
    def environment(self) -> dict[str, str]:
        """What a command needs to speak to this cluster, even if the tests themselves run in a job of another."""
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_"))}
        return {**ours, "SLURM_CONF": str(self.conf)}

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """A command that may fail."""
        return subprocess.run(
            command,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def ask(self, *command: str | Path) -> str:
        """What a command prints that must not fail."""
        done = self.run(*command)
        if done.returncode:
            raise AssertionError(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
        return done.stdout

    def submit(self, script: str | Path, *options: str, folder: Path) -> int:
        """The number of a new job: shell commands, or a file with #SBATCH lines. It runs in the folder."""
        what = [str(script)] if isinstance(script, Path) else ["--wrap", script]
        done = self.run("sbatch", "--parsable", "--chdir", str(folder), *options, *what)
        if done.returncode:
            raise RefusedError(done.stderr.strip())
        return int(done.stdout.partition(";")[0])

    def states(self, job: int) -> list[str]:
        """The state of a job, or of each task of an array, in order."""
        listed = self.ask("squeue", "--noheader", "--array", "--states=all", f"--jobs={job}", "--format=%i %T")
        rows = [line.split() for line in listed.splitlines()]
        return [state for _, state in sorted(rows, key=lambda row: [int(part) for part in row[0].split("_")])]

    def state(self, job: int) -> str:
        """The state of a job that is no array."""
        (state,) = self.states(job)
        return state

    def show(self, job: int) -> Shown:
        """All that is known of a job, or of the first that is listed of an array."""
        first = self.ask("scontrol", "--oneliner", "show", "job", str(job)).splitlines()[0]
        return dict(re.findall(r"(\S+?)=(\S*)", first))

    def wait(self, job: int, timeout: float = 90) -> list[str]:
        """The states once all of the job is over."""
        return self.until(lambda: self.states(job), lambda states: set(states) <= OVER, f"job {job}", timeout)

    def wait_for(self, job: int, field: str, value: str, timeout: float = 90) -> None:
        """Waits until ``show`` has the value in the field."""
        self.until(lambda: self.show(job).get(field), lambda shown: shown == value, f"{field} of job {job}", timeout)

    def until(self, look: Callable[[], T], enough: Callable[[T], bool], what: str, timeout: float) -> T:
        late = time.monotonic() + timeout
        while not enough(seen := look()):
            if time.monotonic() > late:
                raise AssertionError(f"after {timeout} s: {what} is {seen}\n{self.ask('squeue', '-a')}\n{self.log()}")
            time.sleep(0.1)
        return seen

    def cancel(self, job: int) -> None:
        self.ask("scancel", str(job))

    def fail(self, node: str) -> None:
        """The node is down until it is repaired. Its jobs fail, or wait again if sbatch was not told --no-requeue."""
        self.ask("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")

    def repair(self, node: str) -> None:
        self.ask("scontrol", "update", f"NodeName={node}", "State=RESUME")
        self.until(lambda: self.node(node), lambda state: state == "idle", node, 30)

    def node(self, name: str) -> str:
        """A node's state; with a star, Slurm has not heard of it for a while."""
        return self.ask("sinfo", "--noheader", f"--nodes={name}", "--partition=gpu_p6", "--format=%T").strip()

    def log(self) -> str:
        """The end of what the controller wrote: for messages."""
        return "\n".join((self.conf.parent.parent / "log" / "slurmctld.log").read_text().splitlines()[-20:])


@contextmanager
def borrowed(accounting: bool = False) -> Iterator[Slurm]:
    """A cluster for as long as this process lives, and not longer even if it is killed: then a pipe of ours ends.

    With accounting it enforces accounts and QoS, and none exists but what sacctmgr is told.
    """
    # Not pytest's own folder, which no other user may enter: munge is one. And sockets need a short path.
    folder = Path(tempfile.mkdtemp(prefix="lucie-slurm-", dir="/tmp"))
    folder.chmod(0o755)
    holder = subprocess.Popen(
        [SCRIPT, "hold", folder, *(["accounting"] if accounting else [])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # the terminal's Ctrl-C is for pytest
    )
    assert holder.stdin and holder.stdout and holder.stderr
    with holder:
        try:
            said = holder.stdout.readline().strip()
            if said:
                yield Slurm(Path(said.partition("=")[2]))
        finally:
            holder.stdin.close()
            complaint = holder.stderr.read().strip()
            code = holder.wait()
            if folder.is_dir():
                folder.rmdir()
    if code == CANNOT:
        raise UnavailableError(complaint)
    assert code == 0, complaint


def with_accounts(*administration: str) -> Iterator[Slurm]:
    """For a fixture: a cluster that enforces accounts and QoS, after these words to sacctmgr; skips where none is."""
    try:
        with borrowed(accounting=True) as slurm:
            for line in administration:
                slurm.ask("sacctmgr", "--immediate", *line.split())
            yield slurm
    except UnavailableError as why:
        pytest.skip(str(why))
