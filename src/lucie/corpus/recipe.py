"""How a corpus is read and cleaned: one YAML file a corpus, config/corpora/NAME.yaml.

Any other folder of documents gets the recipe `folder`, with the folder in the place of its source.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field

from lucie.config import Strict, checked, find, read_mapping
from lucie.corpus.licences import Rights
from lucie.corpus.sources import Folder, OnBadInput
from lucie.errors import MismatchError, UsageError
from lucie.files import sha256
from lucie.hub.mirror import MANIFEST, Hub, check_mirror
from lucie.project import Project

ANY_FOLDER = "folder"


class Lists(Strict):
    """What some rules look things up in; a rule without its list is not applied, and the report says so."""

    words: str = Field(default="", description="a file of words, one a line: a web page may hold none of them")
    domains: str = Field(default="", description="a file of blocked domains, one a line")
    integrated_domains: bool = Field(default=False, description="datatrove's own list of blocked sites")
    robots: str = Field(default="", description="robots.txt files, JSON lines of domain and text")


class Perplexity(Strict):
    """The character model's training, and where its thresholds lie."""

    characters: int = Field(default=20_000_000, description="of a language, at most, for each of the two models")
    spreads: float = Field(default=4.0, description="a text is garbled so many spreads above the usual perplexity")


class Estimate(Strict):
    """What a plan assumes of a corpus that is not here."""

    bytes_per_character: float
    packed: float = Field(description="size of the files by size of the text")
    shard_bytes: int
    bytes_per_core_second: int = Field(description="of text, through all steps")
    measured: str = Field(description="where these numbers come from")


class Recipe(Strict):
    """How a corpus is read and cleaned."""

    name: str
    argument: str = Field(default="", exclude=True, description="what it was asked for by")
    settings: list[str] = Field(default=[], exclude=True, description="what was changed, as NAME=VALUE")
    says: str
    folder: str = Field(description="where the files of documents are, relative to the repository")
    pins: str = Field(default="", description="the sha256 of each file, where they are fetched: CSV of subset, sha256")
    planted: str = Field(default="", description="known faults, which rules are measured on")
    hub: Hub | None = None
    estimate: Estimate | None = None
    columns: dict[str, str] = Field(default={}, description="our columns from theirs: language: meta.lang")
    on_bad_input: OnBadInput = OnBadInput.REFUSE
    on_duplicate_ids: Literal["refuse", "skip", "keep"] = "refuse"
    identify_language: bool = Field(default=False, description="of documents that do not say theirs")
    rule_sets: dict[str, list[str]] = Field(default={}, description="category -> published rule sets")
    web: list[str] = Field(default=[], description="categories of crawled pages: address, robots.txt and PII rules")
    rights: list[Rights] = Field(default=list(Rights), description="classes of licences that are kept")
    lists: Lists = Lists()
    perplexity: Perplexity = Perplexity()
    deduplicate: bool = True
    reference_year: int = Field(default=2024, description="authors' years since death are counted to this one")

    @classmethod
    def load(cls, project: Project, name: str, settings: Sequence[str] = ()) -> Recipe:
        """The recipe of a corpus by its name, or the recipe for any folder, by the folder's path.

        ``settings`` change it: NAME=VALUE, the value as in YAML, the name with a dot for an inner one
        (`columns.language=meta.lang`). Raises UsageError for what there is not or cannot be.
        """
        content: dict[str, Any] = {"name": name, "argument": name, "settings": list(settings)}
        if Path(name).name == name != ANY_FOLDER and (project.root / "config" / "corpora" / f"{name}.yaml").is_file():
            content |= read_mapping(find(project, "corpora", name, "corpus"))
        elif Path(name).is_dir():
            content |= {**read_mapping(find(project, "corpora", ANY_FOLDER, "corpus")), "name": ANY_FOLDER}
            content |= {"folder": str(Path(name).resolve()), "argument": str(Path(name).resolve())}
        else:
            find(project, "corpora", name, "corpus or folder", hidden=[ANY_FOLDER])
        for setting in settings:
            _set(content, setting)
        return checked(cls, content, f"Corpus '{name}'")

    @property
    def name_of_work(self) -> str:
        """What its working folder is called: the corpus, or the folder that was named instead."""
        return Path(self.folder).name if self.name == ANY_FOLDER else self.name

    def work(self, project: Project) -> Path:
        """Where it is cleaned, unless another folder is named."""
        return project.build / "corpora" / self.name_of_work

    def path(self, project: Project) -> Path:
        """The folder of its documents."""
        return project.root / self.folder

    def source(self, project: Project) -> Folder:
        """The documents. Raises UsageError where they are not there or not the pinned ones, saying how to get them."""
        path = self.path(project)
        if not path.is_dir():
            how = f" Get it with: lucie fetch {self.name}" if self.pins or self.hub else ""
            raise UsageError(f"Corpus '{self.name}' is not there: no folder {self.folder}.{how}")
        found = Folder(path, self.columns, self.on_bad_input)
        if self.pins:
            self._check_pins(project, found)
        if self.hub:
            how = f"Get it with: lucie fetch {self.name} --into {self.folder}"
            check_mirror(found, self.hub.repository, self.hub.revision, how)
        return found

    def _check_pins(self, project: Project, found: Folder) -> None:
        with (project.root / self.pins).open(encoding="utf-8", newline="") as file:
            pinned = {f"{row['subset']}/{row['subset']}.jsonl": row["sha256"] for row in csv.DictReader(file)}
        there = {shard.name: shard.path for shard in found.shards()}
        for name in sorted(pinned.keys() | there.keys()):
            if name not in there or name not in pinned or sha256(there[name]) != pinned[name]:
                what = "is missing" if name not in there else "is not the pinned file"
                raise MismatchError(f"{self.folder}/{name} {what}. Get the corpus with: lucie fetch {self.name}")

    def input_files(self, project: Project) -> list[Path]:
        """The files whose content decides what comes of the corpus."""
        listed = [project.root / "config" / "corpora" / f"{self.name}.yaml", *self.list_files(project)]
        listed += [project.root / name for name in (self.planted, self.pins) if name]
        if self.pins:
            return listed
        found = self.source(project)
        return [*listed, found.path / MANIFEST] if self.hub else [*listed, *(shard.path for shard in found.shards())]

    def list_files(self, project: Project) -> list[Path]:
        """The files that its rules look things up in."""
        return [project.root / name for name in (self.lists.words, self.lists.domains, self.lists.robots) if name]


def _set(content: dict[str, Any], setting: str) -> None:
    name, equals, value = setting.partition("=")
    if not equals:
        raise UsageError(f"'--set {setting}' is not NAME=VALUE.")
    *outer, last = name.split(".")
    try:
        for part in outer:
            content = content.setdefault(part, {})
        content[last] = yaml.safe_load(value) if value else ""
    except (yaml.YAMLError, TypeError, AttributeError) as error:
        raise UsageError(f"'--set {setting}' cannot be read: {error}") from error
