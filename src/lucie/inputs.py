"""What a stage may read, by the names in config/stages.yaml.

    input/NAME, transcribed/NAME   a record: its table and its schema
    corpus/NAME                    a corpus: its recipe, the lists of its rules and its documents
    product/NAME                   big files that a stage of the same tier made

The files named by `input_files` decide whether a stage is out of date. Documents that are not in git, and products, are
too big for that: the list of their sha256 stands for them, and `folders` says where they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lucie.corpus.recipe import Recipe
from lucie.errors import UsageError
from lucie.project import Project


def work_folder(project: Project, tier: str) -> Path:
    """Where the stages of a tier keep what is too big for git."""
    return project.build / tier / "work"


def input_files(project: Project, tier: str, name: str) -> list[Path]:
    """The files whose content stands for the input ``name``. Raises UsageError where one is missing."""
    kind, _, rest = name.partition("/")
    if kind == "corpus":
        return Recipe.load(project, rest).input_files(project)
    if kind == "product":
        return [_there(project.build / tier / "products" / f"{rest}.json", f"Product '{rest}' was not made")]
    return [_there(project.records / f"{name}{suffix}", f"Record '{name}' is missing") for suffix in (".csv", ".yaml")]


def folders(project: Project, tier: str, reads: list[str]) -> Iterator[Path]:
    """The folders of big files that stages with these ``reads`` may read in."""
    for name in reads:
        kind, _, rest = name.partition("/")
        if kind == "corpus":
            yield Recipe.load(project, rest).path(project)
        elif kind == "product":
            yield work_folder(project, tier) / rest


def _there(path: Path, problem: str) -> Path:
    if not path.is_file():
        raise UsageError(f"{problem}: no {path.parent.name}/{path.name}.")
    return path
