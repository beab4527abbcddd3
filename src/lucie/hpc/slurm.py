"""Jobs on Slurm: batch scripts that are written, shown or submitted."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lucie.errors import StageError, UsageError
from lucie.files import write_atomic


@dataclass(frozen=True)
class ArrayJob:
    """An array of ``elements`` jobs. In ``command`` the shell replaces $SLURM_ARRAY_TASK_ID."""

    name: str
    elements: int
    options: list[str]
    command: list[str]
    folder: Path  # of the project, where the command runs
    setup: tuple[str, ...] = ()  # shell commands before anything else

    def script(self, logs: Path) -> str:
        """The batch script."""
        lines = [
            "#!/bin/bash -l",
            f"#SBATCH --job-name={self.name}",
            f"#SBATCH --array=0-{self.elements - 1}",
            f'#SBATCH --output="{logs}/%x-%A_%a.out"',
            *(f"#SBATCH {option}" for option in self.options),
            *self.setup,
            "set -eu",
            "export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK POLARS_MAX_THREADS=$SLURM_CPUS_PER_TASK",
            f"cd {shlex.quote(str(self.folder))}",
            "exec " + " ".join(_quoted(word) for word in self.command),
        ]
        return "\n".join(lines) + "\n"


def _quoted(word: str) -> str:
    return f'"{word}"' if word.startswith("$") else shlex.quote(word)


class Job(Protocol):
    """Anything that has a batch script."""

    @property
    def name(self) -> str: ...

    def script(self, logs: Path) -> str: ...


def require_slurm() -> None:
    """Raises UsageError where there is no Slurm to submit to."""
    if not shutil.which("sbatch"):
        raise UsageError("There is no Slurm here (no sbatch). Run this on the cluster's login node.")


def submit(job: Job, logs: Path, after: str | None) -> str:
    """Submit a job that waits until job ``after`` has ended well; returns its id.

    Raises UsageError where there is no Slurm, StageError with Slurm's own words when it refuses.
    """
    require_slurm()
    logs.mkdir(parents=True, exist_ok=True)
    script = logs / f"{job.name}.sbatch"
    write_atomic(script, job.script(logs))
    wait = [f"--dependency=afterok:{after}", "--kill-on-invalid-dep=yes"] if after else []
    command = ["sbatch", "--parsable", *wait, str(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StageError(f"Slurm refused job {job.name}: {done.stderr.strip()} (its script: {script})")
    return done.stdout.strip().partition(";")[0]
