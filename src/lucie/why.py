"""The chain behind a claim: published number, our value, the cell that made it, what that read, and where from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lucie.claims import Claim, Committed, Contradiction, Expected, Judged, Published, Unjudged, get_claim
from lucie.errors import UsageError
from lucie.judge import Judge
from lucie.manifest import Manifest
from lucie.project import Project
from lucie.quotes import quotes
from lucie.records import load_record, load_schema, pick
from lucie.records.upstream import load_pins

LISTED_CELLS = 12  # of what a claim quotes, on the terminal


def why(project: Project, name: str, folder: Path) -> Iterator[tuple[str, str]]:
    """The links of the chain, as (what it is, text)."""
    claim = get_claim(project, name)
    verdict = Judge(project, folder).verdict(claim)
    yield "claim", f"{claim.id} ({claim.item}): {claim.says}"
    yield "verdict", verdict.verdict + (f". {verdict.explanation}" if verdict.explanation else "")
    if isinstance(claim, Unjudged):
        yield "reason", claim.reason
        yield from _quoted(project, claim)
        return
    yield "tolerance", f"{verdict.tolerance or 'none'}. {claim.reason}"
    kinds: dict[type, str] = {Committed: "committed", Expected: "expected"}
    yield kinds.get(type(claim), "published"), verdict.published
    if isinstance(claim, Committed):
        yield from (
            ("", f"{off['key']}: committed {off['published']}, ours {off['ours']}") for off in verdict.differing
        )
        return
    for said in _published(claim):
        yield from _record(project, said.record, said.where)
    for off in verdict.differing:
        yield "", f"{off['key'] or 'value'}: published {off['published']}, ours {off['ours'] or 'none'}"
    if not claim.ours:
        return
    yield "ours", f"{verdict.value}, from {claim.ours.name}"
    entry = Manifest.load(folder).stages.get(claim.stage)
    if entry is None:
        raise UsageError(f"{project.relative(folder)} lacks stage '{claim.stage}'.")
    notebook = next(iter(entry.ingredients.notebook))
    cell = verdict.cell.partition("#")[2]
    yield "cell", f"{cell} of {notebook}"
    yield from (("", line) for line in _cell_source(folder / "notebooks" / Path(notebook).name, cell))
    for path, digest in entry.ingredients.inputs.items():
        yield "input", f"{path}  sha256 {digest[:16]}"
        if path.startswith("data/records/") and path.endswith(".csv"):
            record = path.removeprefix("data/records/").removesuffix(".csv")
            yield from (("from", text) for text in _sources(project, record))
    yield (
        "made",
        (
            f"commit {entry.commit[:12]}{' with uncommitted changes' if entry.dirty else ''}, "
            f"python {entry.environment['python']}, {entry.environment['platform']}, "
            f"container {entry.environment['container'] or 'none'}"
        ),
    )


def _quoted(project: Project, claim: Unjudged) -> Iterator[tuple[str, str]]:
    """What an unjudged claim speaks of, the first cells of it, with their sources."""
    for found in quotes(project, claim):
        for row in found.rows[:LISTED_CELLS]:
            yield "published", ", ".join(f"{name} {cell}" for name, cell in zip(found.header, row, strict=True))
        if len(found.rows) > LISTED_CELLS:
            yield "", f"and {len(found.rows) - LISTED_CELLS} more in the record"
        yield from _record(project, found.record, found.where)


def _record(project: Project, name: str, where: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "record", f"data/records/{name}.csv"
    yield from (("source", text) for text in _sources(project, name, where))


def _published(claim: Judged) -> Sequence[Published]:
    """The cells of records that judge a claim."""
    if isinstance(claim, Contradiction):
        return claim.statements
    return [claim.published] if isinstance(claim, Claim) else []


@dataclass(frozen=True)
class RawFile:
    """A file of the authors that rows of a record were taken from, by commit and sha256."""

    repository: str
    path: str
    commit: str
    sha256: str
    kind: str = ""  # of what was read by eye, not by a program: script, page, picture, talk, slides or web page

    @property
    def url(self) -> str:
        """Where it can be looked at; empty for one that is in no repository."""
        if "/" not in self.repository:
            return ""
        host = "" if self.repository.startswith("huggingface.co/") else "github.com/"
        place = f"tree/{self.commit}" if self.path == "." else f"blob/{self.commit}/{self.path}"
        return quote(f"https://{host}{self.repository}/{place}", safe=":/")

    @property
    def name(self) -> str:
        """What it is called: its repository and path, or for a talk or slides their short name."""
        if not self.url:
            return f"{self.kind} {Path(self.path).stem} (the records hold neither its title nor its address)"
        return self.repository if self.path == "." else f"{self.repository} · {self.path}"

    @property
    def read_by_eye(self) -> bool:
        return bool(self.kind)

    def __str__(self) -> str:
        at = f" at {self.commit[:12]}" if self.commit else ""
        digest = f"  sha256 {self.sha256[:16]}" if self.sha256 else ""
        return f"{self.name}{at}{digest}{' (transcribed)' if self.kind else ''}"


def raw_files(project: Project, record: str, where: Mapping[str, Any] | None = None) -> list[RawFile]:
    """The raw files behind the rows of a record that ``where`` picks."""
    pins, schema = load_pins(project), load_schema(project, record)
    table = pick(load_record(project, record), where or {})
    if schema.source:
        paths = [path.strip() for path in schema.source.split(",")]
    elif record.startswith("transcribed/"):
        return _origins(project, set(table["origin"]))
    else:
        paths = table["origin"].unique(maintain_order=True).to_list()
    found = [pins[path] for path in paths if path in pins]
    return [RawFile(pin.repository, pin.source_path, pin.commit, pin.sha256) for pin in found]


def _origins(project: Project, names: set[str]) -> list[RawFile]:
    rows = load_record(project, "transcribed/origins").iter_rows(named=True)
    return [
        RawFile(row["repository"], row["path"], row["commit"], row["sha256"], row["kind"])
        for row in rows
        if row["origin"] in names
    ]


def _sources(project: Project, record: str, where: Mapping[str, Any] | None = None) -> list[str]:
    """The raw files of a record's rows; many are counted, not listed."""
    lines = [str(file) for file in raw_files(project, record, where)]
    more = f"and {len(lines) - 2} more raw files"
    return lines if len(lines) <= 4 or record.startswith("transcribed/") else [*lines[:2], more]


def _cell_source(notebook: Path, cell: str) -> list[str]:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return next(("".join(c["source"]).splitlines() for c in cells if c["id"] == cell), [])
