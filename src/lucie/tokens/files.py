"""Writes token files: Parquet shards of clean documents become numbers, one file a language and category.

The layout is datatrove's, so that its readers and nanotron's can take the files; `lucie.tokens.folder` describes it.
Tokens of a document are what the tokenizer gives, with the end-of-document token after them. What comes out depends on
neither the number of workers nor on interruptions: a file is finished when its NAME.json is there, which says what it
was made from; files are written under a hidden name and renamed.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl
from filelock import FileLock

from lucie.corpus.shards import ShardWriter
from lucie.errors import LucieError, UsageError
from lucie.files import sha256, sha256_of, write_json
from lucie.machine import cores
from lucie.tokenizer.bpe import load
from lucie.tokens.folder import HELD_OUT, LIST, Content, TokenFile, TokenFolder, read_token_file
from lucie.tokens.heldout import is_held_out
from lucie.tokens.shards import Document, read_batches, read_documents

if TYPE_CHECKING:
    from tokenizers import Tokenizer

END_OF_DOCUMENT = "</s>"
FITS_16_BITS = 2**16  # entries of a vocabulary; Lucie's has 65,024
CODE = ("files", "heldout", "shards")  # modules that decide what is written
DOCUMENTS = {"source": pl.String(), "id": pl.String(), "language": pl.String()}

Watch = Callable[[TokenFile], None]


def kind_of(language: str, category: str) -> tuple[str, str]:
    """Language and category as weights are given for them: all programming languages are 'code', pairs are 'fr-en'."""
    return language.partition(":")[0].replace(",", "-"), category.lower()


@dataclass(frozen=True)
class Task:
    """One kind of text, and all that its token file is made from."""

    language: str
    category: str
    shards: tuple[Path, ...]
    digests: tuple[str, ...]
    tokenizer: Path
    end: str
    held_out_per_mille: int
    folder: Path

    @property
    def kind(self) -> tuple[str, str]:
        return self.language, self.category

    @property
    def name(self) -> str:
        return f"{self.language}--{self.category}"

    @property
    def key(self) -> str:
        """Changes with the documents, the tokenizer, the settings and this code; not with where the files lie."""
        settings = [self.language, self.category, self.end, self.held_out_per_mille]
        code = [sha256(Path(__file__).with_name(f"{module}.py")) for module in CODE]
        return sha256_of([settings, code, list(self.digests), sha256(self.tokenizer / "tokenizer.json")])

    @property
    def folders(self) -> tuple[Path, Path]:
        """Of the documents to train on, and of those held out."""
        return self.folder, self.folder / HELD_OUT

    def is_done(self) -> bool:
        """Whether both files were finished, from the same things."""
        try:
            files = [read_token_file(folder / f"{self.name}.json") for folder in self.folders]
        except LucieError:
            return False
        there = all(
            (folder / name).is_file() and (folder / name).stat().st_size == content.bytes
            for folder, file in zip(self.folders, files, strict=True)
            for name, content in file.files.items()
        )
        return there and all(file.key == self.key for file in files)


def write_tokens(
    shards: Sequence[Path],
    tokenizer: Path,
    folder: Path,
    held_out_per_mille: int = 0,
    end: str = END_OF_DOCUMENT,
    jobs: int = 1,
    watch: Watch = lambda _: None,
) -> TokenFolder:
    """Write the token files of shards (columns source, id, language, category, text) into a folder; returns it.

    ``tokenizer`` is a folder with tokenizer.json, ``end`` its end-of-document token; documents are held out by
    `lucie.tokens.heldout`. Files that are finished and made from the same things are left alone; a kind of text that
    is in no shard any more goes. ``watch`` is told of every file. Raises UsageError for input that cannot be used.
    """
    is_held_out("", held_out_per_mille)  # refuses a wrong number before any work
    _end_of_document(load(tokenizer), end, tokenizer)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        tasks = _tasks(shards, tokenizer, folder, held_out_per_mille, end)
        pending = [task for task in tasks if not task.is_done()]
        if pending:
            for place in (folder, folder / HELD_OUT):
                (place / LIST).unlink(missing_ok=True)
        _do(pending, jobs)
        for place in (folder, folder / HELD_OUT):
            _remove_others(place, {task.name for task in tasks})
            _write_list(place, tasks)
    found = TokenFolder(folder)
    for file in found.files.values():
        watch(file)
    return found


def _end_of_document(tokenizer: Tokenizer, end: str, folder: Path) -> int:
    number = tokenizer.token_to_id(end)
    if number is None:
        raise UsageError(f"The tokenizer in {folder} has no token '{end}' to end documents with. Name one that it has.")
    return int(number)


def _tasks(shards: Sequence[Path], tokenizer: Path, folder: Path, held_out_per_mille: int, end: str) -> list[Task]:
    digests, holding = {path: sha256(path) for path in shards}, dict[tuple[str, str], list[Path]]()
    for path in shards:
        for kind in _kinds(path):
            holding.setdefault(kind, []).append(path)
    if not holding:
        raise UsageError(f"There are no documents to write as tokens: {len(shards)} shards, all empty.")
    return [
        Task(*kind, tuple(paths), tuple(digests[path] for path in paths), tokenizer, end, held_out_per_mille, folder)
        for kind, paths in sorted(holding.items())
    ]


def _kinds(shard: Path) -> list[tuple[str, str]]:
    rows = read_documents([shard], ("language", "category"))
    return sorted({kind_of(row["language"], row["category"]) for row in rows})


def _do(tasks: list[Task], jobs: int) -> None:
    if jobs == 1 or len(tasks) < 2:
        for task in tasks:
            write_kind(task)
        return
    workers = min(jobs, len(tasks))
    context = multiprocessing.get_context("spawn")  # the tokenizer's threads do not survive a fork
    with ProcessPoolExecutor(workers, context, _share_cores, (workers,)) as pool:
        futures = [pool.submit(write_kind, task) for task in tasks]
    for future in futures:
        future.result()


def _share_cores(workers: int) -> None:
    os.environ["RAYON_NUM_THREADS"] = str(max(1, cores() // workers))  # the tokenizer's


def write_kind(task: Task) -> None:
    """Write the two token files of one kind of text."""
    tokenizer = load(task.tokenizer)
    number = _end_of_document(tokenizer, task.end, task.tokenizer)
    for folder in task.folders:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{task.name}.json").unlink(missing_ok=True)
    with ExitStack() as stack:
        writers = [stack.enter_context(_Writer(folder, task, tokenizer)) for folder in task.folders]
        for document, tokens in _encoded(task, tokenizer):
            side = is_held_out(document["text"], task.held_out_per_mille)
            writers[side].add(document, tokens if tokens[-1:] == [number] else [*tokens, number])
    for folder, writer in zip(task.folders, writers, strict=True):
        write_json(folder / f"{task.name}.json", writer.describe(number).model_dump())


def _encoded(task: Task, tokenizer: Tokenizer) -> Iterator[tuple[Document, list[int]]]:
    for path in task.shards:
        for batch in read_batches(path, (*DOCUMENTS, "category", "text")):
            chosen = [row for row in batch if kind_of(row["language"], row["category"]) == task.kind]
            encoded = tokenizer.encode_batch([row["text"] for row in chosen])
            yield from ((row, encoding.ids) for row, encoding in zip(chosen, encoded, strict=True))


class _Writer:
    """Writes one token file and what belongs to it; they get their names together, when all is written."""

    def __init__(self, folder: Path, task: Task, tokenizer: Tokenizer) -> None:
        self._folder, self._task = folder, task
        self._vocabulary = tokenizer.get_vocab_size()
        self._dtype: Literal["uint16", "uint32"] = "uint16" if self._vocabulary <= FITS_16_BITS else "uint32"
        self._names = [f"{task.name}.ds{suffix}" for suffix in ("", ".index", ".metadata")]
        self._documents = ShardWriter(folder / f"{task.name}.documents.parquet", DOCUMENTS)
        self._tokens, self._ends = (self._hidden(name).open("wb") for name in self._names[:2])
        self.end = 0

    def _hidden(self, name: str) -> Path:
        return self._folder / f".{name}.tmp"

    def add(self, document: Document, tokens: list[int]) -> None:
        self.end += len(tokens)
        self._tokens.write(np.asarray(tokens, np.dtype(self._dtype).newbyteorder("<")).tobytes())
        self._ends.write(np.asarray([self.end], "<u8").tobytes())
        self._documents.add({name: document[name] for name in DOCUMENTS})

    def __enter__(self) -> _Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tokens.close()
        self._ends.close()
        self._documents.__exit__(kind, error, trace)
        if kind is None:
            self._hidden(self._names[2]).write_text(self._metadata(), encoding="utf-8")
        for name in self._names:
            if kind is None:
                self._hidden(name).replace(self._folder / name)
            else:
                self._hidden(name).unlink(missing_ok=True)

    def _metadata(self) -> str:
        """As datatrove writes it; the tokenizer by its folder's name, since a path would differ between machines."""
        import humanize

        size = np.dtype(self._dtype).itemsize
        return f"{self._task.tokenizer.resolve().name}|{size}\n{self.end}\n{humanize.metric(self.end, unit='T')}"

    def describe(self, end_of_document: int) -> TokenFile:
        task = self._task
        paths = [self._folder / name for name in (*self._names, f"{task.name}.documents.parquet")]
        return TokenFile(
            name=task.name,
            language=task.language,
            category=task.category,
            documents=self._documents.rows,
            tokens=self.end,
            dtype=self._dtype,
            tokenizer=sha256(task.tokenizer / "tokenizer.json"),
            vocabulary=self._vocabulary,
            end_of_document=end_of_document,
            held_out_per_mille=task.held_out_per_mille,
            key=task.key,
            files={path.name: Content(bytes=path.stat().st_size, sha256=sha256(path)) for path in paths},
        )


def _remove_others(folder: Path, names: set[str]) -> None:
    """Remove what an earlier run wrote of kinds of text that are gone, and what a killed one left half written."""
    for path in folder.glob(".*--*.tmp"):
        path.unlink()
    for path in folder.glob("*--*.json"):
        if path.stem not in names:
            for name in read_token_file(path).files:
                (folder / name).unlink(missing_ok=True)
            path.unlink()


def _write_list(folder: Path, tasks: list[Task]) -> None:
    digests = {task.name: sha256(folder / f"{task.name}.json") for task in tasks}
    first = read_token_file(folder / f"{tasks[0].name}.json")
    content: dict[str, Any] = {"tokenizer": first.tokenizer, "vocabulary": first.vocabulary, "files": digests}
    write_json(folder / LIST, content)
