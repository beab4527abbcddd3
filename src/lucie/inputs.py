"""What a stage may read, by the names in config/stages.yaml.

    input/NAME, transcribed/NAME   a record: its table and its schema
    corpus/NAME                    a corpus: its recipe, the lists of its rules and its documents
    product/NAME                   big files that a stage of the same tier made
    tokenizer/NAME                 what a tokenizer is trained with: config/tokenizers
    mix/NAME, recipe/NAME          what a training reads, and how it trains: config/mixes, config/recipes
    site/NAME                      where it runs: config/sites
    suite/NAME                     which tests a model is given: config/suites, config/tasks
    items/NAME                     test items: data/NAME/items
    fetched/tokenizers             tokenizers of others, where they were fetched

The files named by `input_files` decide whether a stage is out of date. Documents that are not in git, and products, are
too big for that: the list of their sha256 stands for them, and `folders` says where they are.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from lucie.corpus.recipe import Recipe
from lucie.errors import UsageError
from lucie.project import Project

CONFIGURED = {"tokenizer": "tokenizers", "mix": "mixes", "recipe": "recipes", "site": "sites"}


def work_folder(project: Project, tier: str) -> Path:
    """Where the stages of a tier keep what is too big for git."""
    return project.build / tier / "work"


def input_files(project: Project, folder: Path, name: str) -> dict[str, Path]:
    """The files whose content stands for the input ``name``, by what manifests call them.

    ``folder`` holds the tier's results: in build/ for a run, in results/ for what was published. Raises UsageError
    where a file is missing.
    """
    if name.startswith("product/"):
        path = _product(folder, name.partition("/")[2])
        return {path.relative_to(folder).as_posix(): path}
    return {project.relative(path): path for path in _files(project, name)}


def input_file(project: Project, folder: Path, called: str) -> Path:
    """The file that the manifest in ``folder`` calls so."""
    return (folder if called.startswith("products/") else project.root) / called


def _files(project: Project, name: str) -> list[Path]:
    kind, _, rest = name.partition("/")
    if kind == "corpus":
        return Recipe.load(project, rest).input_files(project)
    if kind in CONFIGURED:
        return [_there(project.root / "config" / CONFIGURED[kind] / f"{rest}.yaml", f"There is no {kind} '{rest}'")]
    if kind == "suite":
        suite = _there(project.root / "config" / "suites" / f"{rest}.yaml", f"There is no suite '{rest}'")
        return [suite, *sorted((project.root / "config" / "tasks" / rest).glob("*"))]
    if kind == "items":
        return sorted((project.root / "data" / rest / "items").glob("*.jsonl"))
    if kind == "fetched":
        return sorted((project.root / "data" / rest).glob("*/*.json"))
    return [_there(project.records / f"{name}{suffix}", f"Record '{name}' is missing") for suffix in (".csv", ".yaml")]


def product_files(project: Project, tier: str, name: str, pattern: str = "*") -> list[Path]:
    """The files of a product that a stage of the tier made, in order. Raises UsageError where it was not made."""
    listed = json.loads(_product(project.build / tier, name).read_text("utf-8"))
    return [work_folder(project, tier) / name / path for path in sorted(listed) if Path(path).match(pattern)]


def _product(folder: Path, name: str) -> Path:
    return _there(folder / "products" / f"{name}.json", f"Product '{name}' was not made")


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
