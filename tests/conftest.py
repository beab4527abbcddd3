"""What tests share: this checkout, copies of it that may be spoiled, and a tiny project with toy notebooks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cluster
import pytest
from hypothesis import settings

from lucie.machine import cores
from lucie.project import Project

settings.register_profile("unhurried", deadline=None)  # a busy machine is no defect
settings.load_profile("unhurried")

ROOT = Path(__file__).resolve().parent.parent
COPIED = (
    "CITATION.cff",
    "LICENSE",
    "README.md",
    "book",
    "config",
    "data/records",
    "data/mini",
    "notebooks",
    "paper",
    "results",
    "src",
    "workflow",
    "requirements.lock",
)


Lucie = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def project() -> Project:
    """This checkout."""
    return Project(ROOT)


@pytest.fixture
def upstream() -> Path:
    """The authors' raw files, where this machine has them."""
    folder = ROOT.parent / "shared" / "upstream"
    if not folder.is_dir():
        pytest.skip(f"the authors' raw files are not here: no {folder.name} folder in {folder.parent.name}/ beside us")
    return folder


# Started first: no core waits for them at the end.
LONGEST = (
    "test_offline.py", "test_images.py", "test_training.py", "test_submit.py", "test_chain.py", "test_evaluation.py"
)  # fmt: skip


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One more than there are cores: tests on a cluster wait for it most of the time."""
    return cores() + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


@pytest.fixture
def copy(tmp_path: Path) -> Project:
    """A copy of this checkout, results included, that a test may spoil."""
    return copy_into(tmp_path / "copy")


def copy_into(root: Path) -> Project:
    """A copy of this checkout in a new folder."""
    root.mkdir(parents=True)
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        else:
            shutil.copyfile(source, root / name)
    return Project(root)


@pytest.fixture
def lucie() -> Lucie:
    """Runs the command on a project, with that project's own code."""

    def run(project: Project, *arguments: str, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*prefix, sys.executable, "-m", "lucie", *arguments],
            cwd=project.root,
            env={**os.environ, "PYTHONPATH": str(project.root / "src"), "LUCIE_ROOT": str(project.root)},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )

    return run


@pytest.fixture
def toy(tmp_path: Path) -> Project:
    """A project of three toy stages: 'second' needs 'first' and imports lucie.toy; 'alone' stands apart."""
    root = tmp_path / "toy"
    shutil.copytree(ROOT / "src", root / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    shutil.copytree(ROOT / "workflow", root / "workflow")
    (root / "src" / "lucie" / "toy.py").write_text("FACTOR = 2\n")
    write_record(root, "input/numbers", "number\n1\n2\n3\n")
    write_record(root, "input/others", "number\n7\n")
    write_record(root, "published/answer", "number\n12\n")
    reads = {"first": "input/numbers", "second": "input/numbers", "alone": "input/others"}
    stages = [
        {"id": name, "notebook": f"{name}.ipynb", "title": name, "tiers": {"record": {"reads": [record]}}}
        for name, record in reads.items()
    ]
    stages[1]["tiers"]["record"]["needs"] = ["first"]  # type: ignore[index]
    write(root / "config" / "stages.yaml", json.dumps({"stages": stages}))
    write(root / "config" / "tiers" / "record.yaml", "says: toys\nby_default: true\n")
    write(root / "data" / "records" / "sources.csv", "path,repository,commit,source_path,bytes,sha256,licence\n")
    write(root / "paper" / "claims" / "toy.yaml", TOY_CLAIMS)
    for name, record in reads.items():
        write_notebook(root, name, toy_cells(name, record, "lucie.toy" if name == "second" else ""))
    return Project(root)


@pytest.fixture(scope="session")
def slurm() -> Iterator[cluster.Slurm]:
    """A real Slurm, as long as the worker lives: tests/test_slurm.py holds all that need it."""
    try:
        with cluster.borrowed() as slurm:
            yield slurm
    except cluster.UnavailableError as why:
        pytest.skip(str(why))


TOY_CLAIMS = """
- id: toy.answer
  item: T1
  says: Twice the sum.
  stage: second
  published: {record: published/answer, column: number}
  ours: {value: second.sum}
  tolerance: {kind: exact}
  reason: Integers add up exactly, so there is no room.
"""


def toy_cells(name: str, record: str, module: str = "") -> list[str]:
    """The code cells of a toy notebook that gives out one value and one table."""
    factor = "toy.FACTOR" if module else "1"
    imports = "from lucie import records" + (f", {module.rpartition('.')[2]}" if module else "")
    return [
        'tier: str = "record"',
        f'from lucie.results import Results\n\nresults = Results.begin("{name}", tier=tier)',
        f'{imports}\n\nnumbers = records.load("{record}")\n'
        f'results.value("{name}.sum", numbers["number"].sum() * {factor}, unit="apples")\n'
        f'results.table("{name}.table", numbers)',
        "results.close()",
    ]


def write_notebook(root: Path, name: str, cells: list[str]) -> Path:
    """A notebook whose first code cell holds the parameters."""
    content = {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        "cells": [
            {
                "cell_type": "code",
                "id": f"cell-{number}",
                "metadata": {"tags": ["parameters"]} if number == 0 else {},
                "source": source,
                "outputs": [],
                "execution_count": None,
            }
            for number, source in enumerate(cells)
        ],
    }
    return write(root / "notebooks" / f"{name}.ipynb", json.dumps(content))


def write_record(root: Path, name: str, table: str) -> Path:
    """A record of one integer column."""
    write(
        root / "data" / "records" / f"{name}.yaml",
        "says: toy\nsource: toy\ncolumns: {number: {type: integer, says: toy}}\n",
    )
    return write(root / "data" / "records" / f"{name}.csv", table)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def edit(path: Path, old: str, new: str) -> None:
    """Replace the first ``old``, which must be there."""
    text = path.read_text(encoding="utf-8")
    assert old in text, f"{old!r} is not in {path.name}"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
