"""What Slurm says of itself: its partitions, whom it charges, and the jobs that are queued."""

from __future__ import annotations

import getpass
import shutil
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass

from lucie.errors import StageError

LIMIT = 30  # seconds that an answer may take
PAUSES = (1, 5, 15)  # seconds before asking again what must not fail


class UnavailableError(StageError):
    """A command of Slurm is not here, or does not answer; says which."""


@dataclass(frozen=True)
class Partition:
    """A partition: the longest job it takes, in minutes (None: any), and what its nodes are and have."""

    name: str
    minutes: int | None
    features: frozenset[str]
    nodes: int


@dataclass(frozen=True)
class Association:
    """An account that the user may charge, with the QoS that go with it."""

    account: str
    qos: frozenset[str]


@dataclass(frozen=True)
class Queued:
    """A job in the queue: its state, why it waits, and the time that it may still run, as Slurm writes it."""

    state: str
    reason: str
    left: str

    @property
    def words(self) -> str:
        return self.state.lower() + (f" ({self.reason})" if self.state == "PENDING" else f", {self.left} left")


class Scheduler:
    """The Slurm of this machine."""

    @property
    def is_here(self) -> bool:
        return shutil.which("sbatch") is not None

    def partitions(self) -> dict[str, Partition]:
        """By name; nodes of one partition may differ, so their features are put together."""
        found: dict[str, Partition] = {}
        for name, limit, features, nodes in _rows("sinfo", "--noheader", "--format=%R|%l|%f|%D"):
            known = found.get(name, Partition(name, _minutes(limit), frozenset(), 0))
            has = frozenset(features.split(",")) - {"(null)", ""}
            found[name] = Partition(name, known.minutes, known.features | has, known.nodes + int(nodes))
        return found

    def associations(self) -> list[Association]:
        """Of the user. Raises UnavailableError where Slurm keeps no accounts."""
        rows = _rows(
            "sacctmgr", "--noheader", "--parsable2", "show", "assoc",
            f"user={getpass.getuser()}", "format=account,qos",
        )  # fmt: skip
        return [Association(account, frozenset(filter(None, qos.split(",")))) for account, qos in rows]

    def longest(self, qos: str) -> int | None:
        """The minutes that a QoS allows a job; None for no limit, or no such QoS."""
        rows = _rows("sacctmgr", "--noheader", "--parsable2", "show", "qos", qos, "format=name,maxwall")
        return next((_minutes(limit) for name, limit in rows if name == qos and limit), None)

    def queued(self, jobs: Iterable[str]) -> dict[str, Queued]:
        """Those of the jobs that wait or run, by number."""
        wanted = set(jobs)
        if not wanted or not self.is_here:
            return {}
        rows = _rows("squeue", "--noheader", "--me", "--format=%A|%T|%r|%L")
        return {job: Queued(state, reason, left) for job, state, reason, left in rows if job in wanted}

    def named(self, prefix: str) -> dict[str, tuple[str, Queued]]:
        """The jobs whose names begin so and that wait or run, with their numbers, by the rule in their comments."""
        if not self.is_here:
            return {}
        listed = ask("squeue", "--noheader", "--me", "--format=%A|%T|%r|%L|%k|%j")
        rows = [line.strip().split("|", 5) for line in listed.splitlines() if line.strip()]  # others may have | in %k
        return {
            comment.removeprefix("rule_"): (job, Queued(state, reason, left))
            for job, state, reason, left, comment, name in rows
            if name.startswith(prefix)
        }

    def ended(self, jobs: Iterable[str]) -> dict[str, str]:
        """How jobs ended, by number, as far as Slurm still knows or keeps accounts."""
        wanted = sorted(set(jobs))
        if not wanted or not self.is_here:
            return {}
        try:
            rows = _rows(
                "sacct", "--noheader", "--parsable2", "--allocations", f"--jobs={','.join(wanted)}",
                "--format=jobid,state",
            )  # fmt: skip
        except UnavailableError:
            return {}
        return {job: state.split()[0] for job, state in rows if state}

    def is_over_time(self, job: str) -> bool:
        """Whether Slurm is ending a job because its time is over; no, where it does not answer in several tries."""
        try:
            asked = _patiently("squeue", "--noheader", "--states=all", f"--jobs={job}", "--format=%r")
        except UnavailableError:
            return False
        return asked.strip() == "TimeLimit"

    def requeue(self, job: str) -> None:
        """Put a job back into the queue, even the one that asks. Raises StageError where Slurm never does."""
        try:
            _patiently("scontrol", "requeue", job)
        except UnavailableError as error:
            raise StageError(f"Slurm does not queue job {job} again: {error}. Submit the training again.") from error

    def cancel(self, jobs: Iterable[str]) -> None:
        """Cancel jobs. Raises StageError where Slurm does not."""
        done = subprocess.run(["scancel", *jobs], capture_output=True, text=True, check=False)
        if done.returncode:
            raise StageError(f"Slurm does not cancel: {done.stderr.strip()}.")


def first_host(nodes: str) -> str:
    """The first host of a job's list of nodes, in Slurm's notation."""
    return ask("scontrol", "show", "hostnames", nodes).split()[0]


def ask(*command: str) -> str:
    """What a command prints. Raises UnavailableError where it is missing or fails."""
    if not shutil.which(command[0]):
        raise UnavailableError(f"there is no {command[0]}")
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT)
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(f"{command[0]} does not answer within {LIMIT} s") from error
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["it failed"])[-1]
        raise UnavailableError(f"{command[0]}: {said}")
    return done.stdout


def _patiently(*command: str) -> str:
    """As `ask`, but a long training does not end because Slurm was busy once."""
    for pause in PAUSES:
        try:
            return ask(*command)
        except UnavailableError:
            time.sleep(pause)
    return ask(*command)


def _rows(*command: str) -> list[list[str]]:
    return [line.strip().split("|") for line in ask(*command).splitlines() if line.strip()]


def _minutes(text: str) -> int | None:
    """Slurm's D-HH:MM:SS, HH:MM:SS or MM:SS; None for no limit."""
    if text.strip().lower() in ("infinite", "unlimited", "n/a", ""):
        return None
    days, _, clock = text.strip().rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    hours, minutes, _ = [0] * (3 - len(parts)) + parts
    return int(days or 0) * 24 * 60 + hours * 60 + minutes
