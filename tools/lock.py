"""Writes requirements.lock and environment.yml: the versions that resolve together, for pip and for conda users.

    python3.11 tools/lock.py        # makes a fresh environment with every group, some 3 GB, and freezes it

Only the standard library is used: this runs before anything is installed.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GROUPS = ("corpus", "train", "eval", "dev")
HELD_BACK = ["soupsieve<3"]  # later ones refuse Python 3.11.2, which Debian 12 has
LOCK_HEAD = """\
# Every package of every group, pinned: pip installs a group with this file as its constraints.
# Written by tools/lock.py. torch's CUDA pins live in containers/train.lock only.
"""
CONDA_HEAD = """\
# For conda users: the direct dependencies at the versions of requirements.lock, which pins the rest.
# Written by tools/lock.py.
#   conda env create -f environment.yml && conda activate lucie && lucie verify
"""


def direct() -> list[str]:
    """The packages that pyproject.toml names, all groups, by their plain names."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = project["dependencies"] + [name for group in project["optional-dependencies"].values() for name in group]
    return sorted({plain(name) for name in named})


def plain(requirement: str) -> str:
    """``lm-eval[hf]>=1`` is lm-eval."""
    return re.split(r"[\[<>=!~; ]", requirement)[0].lower().replace("_", "-")


def read_lock() -> dict[str, str]:
    """The locked version of each package."""
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pins = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {plain(name): version for name, version in pins}


def environment(lock: dict[str, str]) -> str:
    """The text of environment.yml."""
    pins = "\n".join(f"      - {name}=={lock[name]}" for name in direct())
    return (
        f"{CONDA_HEAD}name: lucie\nchannels:\n  - conda-forge\ndependencies:\n  - python=3.11\n  - pip\n  - git\n"
        f"  - make\n  - pip:\n      - --constraint requirements.lock\n{pins}\n      - --editable .\n"
    )


def freeze() -> str:
    """What a fresh environment with every group holds."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        python = Path(folder) / "bin" / "python"
        subprocess.run([python, "-m", "pip", "install", f"{ROOT}[{','.join(GROUPS)}]", *HELD_BACK], check=True)
        frozen = subprocess.run([python, "-m", "pip", "freeze"], check=True, capture_output=True, text=True).stdout
    lines = [line.split("+")[0] for line in frozen.splitlines() if "==" in line]
    return LOCK_HEAD + "\n".join(sorted(lines, key=str.lower)) + "\n"


if __name__ == "__main__":
    (ROOT / "requirements.lock").write_text(freeze(), encoding="utf-8")
    (ROOT / "environment.yml").write_text(environment(read_lock()), encoding="utf-8")
