"""A small corpus of openly licensed real text, made from pinned files of public git repositories.

A subset's raw files become one JSON Lines file, ``SUBSET/SUBSET.jsonl``, that is pinned too: it is the same wherever
and whenever it is made, or it is not kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lucie.corpus.sample_readers import (
    UNREADABLE,
    conllu,
    dialogue_pairs,
    grouped_sentences,
    gsm8k,
    plain,
    tei,
    wikitext,
)
from lucie.errors import MismatchError, UsageError, unknown
from lucie.files import sha256, write_atomic
from lucie.pinned import RAW_URL, Pin, Progress, fetch
from lucie.project import Project
from lucie.rows import read_rows, write_csv

RAW = ".raw"  # the raw files, beside the subsets: what arrived is not asked for again
SHORTEST_DOCUMENT = 30  # characters; what is shorter (a bare heading, an interjection) is left out

READERS: dict[str, Callable[[bytes], list[str]]] = {
    **dict.fromkeys(("eltec-de", "eltec-en", "eltec-es", "eltec-fr", "eltec-it", "gerdracor"), tei),
    **dict.fromkeys(("fredsum", "gesetze"), plain),
    **dict.fromkeys(("ud-de-gsd", "ud-es-gsd", "ud-fr-gsd", "ud-fr-sequoia"), partial(grouped_sentences, size=10)),
    "ud-fr-parisstories": partial(grouped_sentences, size=1),
    "ud-en-ewt": conllu,
    "wikitext2": wikitext,
    "gsm8k-train": partial(gsm8k, first=3000),
    "diabla": dialogue_pairs,
}


@dataclass(frozen=True)
class RawFile:
    """A row of config/corpora/sample.csv: a file of a repository, and what its documents are."""

    subset: str
    language: str
    category: str
    repository: str
    commit: str
    path: str
    licence: str
    sha256: str
    bytes: int

    @property
    def pin(self) -> Pin:
        """The same for a download; its place says where the file comes from, as in a mirror."""
        place = f"{self.repository}/{self.commit}/{self.path}"
        return Pin(place, self.repository, self.commit, self.path, self.sha256, self.licence, self.bytes)


@dataclass(frozen=True)
class FinishedFile:
    """A row of config/corpora/sample_files.csv: what a subset's raw files make."""

    subset: str
    documents: int
    bytes: int
    sha256: str

    @property
    def path(self) -> str:
        return f"{self.subset}/{self.subset}.jsonl"


@dataclass(frozen=True)
class Subset:
    """A subset of the sample: its raw files, in the order of their documents, and what they make."""

    files: list[RawFile]
    finished: FinishedFile

    @property
    def pins(self) -> dict[str, Pin]:
        return {file.pin.path: file.pin for file in self.files}


def load_subsets(project: Project) -> list[Subset]:
    """The subsets that are pinned, from config/corpora/."""
    folder = project.root / "config" / "corpora"
    finished = read_rows(folder / "sample_files.csv", FinishedFile)
    subsets = {row.subset: Subset([], row) for row in finished}
    for file in read_rows(folder / "sample.csv", RawFile):
        if file.subset not in subsets:
            raise unknown("subset of config/corpora/sample_files.csv", file.subset, subsets)
        subsets[file.subset].files.append(file)
    for name, subset in subsets.items():
        if name not in READERS:
            raise unknown("reader for a subset", name, READERS)
        if not subset.files:
            raise UsageError(f"config/corpora/sample.csv has no raw file of {name}, which sample_files.csv names.")
    return list(subsets.values())


def fetch_sample(
    project: Project, into: Path, mirror: Path | None, progress: Progress, url: str = RAW_URL
) -> list[Subset]:
    """Make the sample in ``into``; returns the subsets that were not there yet.

    Raw files come from the network or from ``mirror``, which may hold finished files instead. A finished file that is
    there and right needs no raw files. Raises MismatchError for content that is not the pinned one and LucieError
    where a file cannot be had; what arrived before stays.
    """
    subsets = load_subsets(project)
    missing = [subset for subset in subsets if not _is_there(subset.finished, into)]
    _write_licences(subsets, into)
    for subset in subsets:
        if subset not in missing or (mirror and _copy(subset.finished, into, mirror)):
            for pin in subset.pins.values():
                progress(pin)
        else:
            _make(subset, into, mirror, progress, url)
    return missing


def _is_there(finished: FinishedFile, into: Path) -> bool:
    target = into / finished.path
    return target.is_file() and sha256(target) == finished.sha256


def _copy(finished: FinishedFile, into: Path, mirror: Path) -> bool:
    """Whether the mirror has the finished file; then it is here too."""
    source = mirror / finished.path
    if not source.is_file():
        return False
    _keep(source.read_bytes(), finished, into, f"Replace {source}, or leave --mirror out to use the network.")
    return True


def _make(subset: Subset, into: Path, mirror: Path | None, progress: Progress, url: str) -> None:
    """Make the finished file from its raw files."""
    if mirror and not any((place / path).is_file() for place in (mirror, into / RAW) for path in subset.pins):
        raise UsageError(
            f"The mirror {mirror} has neither {subset.finished.path} nor its raw files, such as "
            f"{next(iter(subset.pins))}. Add one or the other, or leave --mirror out to use the network."
        )
    fetch(subset.pins, into / RAW, mirror, progress, url)
    content = "".join(line for file in subset.files for line in _lines(file, into / RAW)).encode()
    _keep(content, subset.finished, into, "Its raw files are as pinned, so its reader or its pin must have changed.")


def _keep(content: bytes, finished: FinishedFile, into: Path, otherwise: str) -> None:
    """Write the finished file if it is the pinned one; ``otherwise`` ends the error if not."""
    if hashlib.sha256(content).hexdigest() != finished.sha256:
        raise MismatchError(
            f"{finished.path} would not be the file pinned in config/corpora/sample_files.csv (its sha256 differs), "
            f"so it was not kept. {otherwise}"
        )
    write_atomic(into / finished.path, content)


def _lines(file: RawFile, raw: Path) -> Iterator[str]:
    """The documents of a raw file as lines of JSON.

    An id has the file's name and the document's number, which counts those left out. It is unique where names are:
    not in gesetze, whose files are all called index.md.
    """
    meta = {
        "lang": file.language,
        "category": file.category,
        "source": f"github.com/{file.repository}",
        "path": file.path,
        "licence": file.licence,
    }
    name = file.path.rpartition("/")[2]
    for number, text in enumerate(map(str.strip, _documents(file, raw / file.pin.path))):
        if len(text) >= SHORTEST_DOCUMENT:
            document = {"id": f"{file.subset}/{name}/{number}", "text": text, "meta": meta}
            yield json.dumps(document, ensure_ascii=False) + "\n"


def _documents(file: RawFile, path: Path) -> list[str]:
    try:
        return READERS[file.subset](path.read_bytes())
    except UNREADABLE as error:
        raise UsageError(
            f"{path} is the pinned file, but cannot be read as a file of {file.subset}: {error!r}. "
            "Check its row in config/corpora/sample.csv and the reader of its subset."
        ) from error


def _write_licences(subsets: list[Subset], into: Path) -> None:
    """Who the texts are from, and under which licence: it goes with them wherever they go."""
    rows = {(file.subset, file.licence, file.repository, file.commit) for subset in subsets for file in subset.files}
    write_csv(into / "LICENCES.csv", ["subset", "licence", "repository", "commit"], sorted(rows))
