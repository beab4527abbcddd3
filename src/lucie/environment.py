"""What a stage ran in: Python, packages, container and machine. Recorded beside its results, never in its key."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

from lucie.files import sha256
from lucie.machine import cores
from lucie.manifest import container
from lucie.project import Project

CPU_INFO = Path("/proc/cpuinfo")


def environment(project: Project, packages: dict[str, str]) -> dict[str, Any]:
    """The environment for the manifest. ``packages`` are those that the stage imported, with their versions."""
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "lock": lock_digest(project),
        "container": container(),
        "cpu": cpu(),
        "cores": cores(),
        "blas": blas(),
        "packages": packages,
    }


def lock_digest(project: Project) -> str:
    """The sha256 of requirements.lock."""
    path = project.root / "requirements.lock"
    return sha256(path) if path.is_file() else "missing"


def cpu() -> str:
    """The model of the processor, as it calls itself."""
    if CPU_INFO.is_file():
        for line in CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def blas() -> str:
    """The library of linear algebra that numpy was built with, and its version."""
    import numpy

    config: dict[str, Any] = {**numpy.show_config(mode="dicts")}
    built = config["Build Dependencies"]["blas"]
    return f"{built['name']} {built['version']}"
