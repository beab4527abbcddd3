"""Where documents come from: one small interface over our own corpus, any folder of files, and a mirror of the hub.

    for batch in Folder(Path("texts")).read():
        batch.documents   # a polars frame of strings: id, text, source, language, ...

The hub is reached only by `lucie fetch`; what it brought is read here as a folder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Protocol, TypeVar

import polars as pl

from lucie.corpus.blocks import SUFFIXES, Block, Problem, UnreadableError, blocks, is_documents
from lucie.corpus.documents import COLUMNS
from lucie.corpus.parsing import Layout, Parsed, parse
from lucie.errors import UsageError

Piece = TypeVar("Piece")
Result = TypeVar("Result")
BLOCKS_AHEAD = 2  # a thread parses while the others wait for at most so many blocks each


class OnBadInput(StrEnum):
    """What happens to a line or a file that cannot be read."""

    REFUSE = "refuse"  # stop at the first, name it
    SKIP = "skip"  # count it, list it, go on


@dataclass(frozen=True)
class Shard:
    """A file of documents: what one worker does at a time."""

    name: str  # relative to the source's folder
    path: Path
    bytes: int

    @property
    def stem(self) -> str:
        """The name without what says how it is packed."""
        return next((self.name.removesuffix(end) for end in SUFFIXES if self.name.endswith(end)), self.name)


@dataclass(frozen=True)
class Batch:
    """Some documents of a shard, the problems met among them, and how far into the file this reaches."""

    shard: Shard
    documents: pl.DataFrame
    problems: tuple[Problem, ...]
    end: int


class Source(Protocol):
    """A corpus: shards, each of which can be read by itself."""

    def shards(self) -> list[Shard]:
        """The shards in a fixed order."""

    def read(self, shard: Shard, wanted: tuple[str, ...] = COLUMNS) -> Iterator[Batch]:
        """A shard's documents, in order."""


@dataclass(frozen=True)
class Folder:
    """Files of documents under a folder: .jsonl, .jsonl.gz, .jsonl.zst, .parquet.

    ``columns`` says where ours are among theirs (`language: meta.lang`). A document without a source gets its file's
    name up to the first dot, one without id the file's name and folder and its line, whatever the file is packed with.
    """

    path: Path
    columns: Mapping[str, str] = field(default_factory=dict)
    on_bad_input: OnBadInput = OnBadInput.REFUSE

    def shards(self) -> list[Shard]:
        if not self.path.is_dir():
            raise UsageError(f"There is no folder {self.path}.")
        files = sorted(path for path in self.path.rglob("*") if path.is_file() and is_documents(path, self.path))
        if not files:
            raise UsageError(f"{self.path} holds no file of documents. Those are named *{', *'.join(SUFFIXES)}.")
        return [Shard(path.relative_to(self.path).as_posix(), path, path.stat().st_size) for path in files]

    def read(self, shard: Shard, wanted: tuple[str, ...] = COLUMNS) -> Iterator[Batch]:
        yield from self.map([shard], wanted, lambda batch: batch, threads=1)

    def map(
        self, shards: Iterable[Shard], wanted: tuple[str, ...], function: Callable[[Batch], Result], threads: int
    ) -> Iterator[Result]:
        """``function`` of each batch of the shards, in order, parsed by ``threads`` threads side by side."""
        layout = Layout(self.columns, {}, wanted)

        def work(piece: tuple[Shard, Block]) -> Result:
            shard, block = piece
            parsed = parse(block, layout)
            problems = tuple(replace(problem, file=shard.name) for problem in parsed.problems)
            self._refuse(shard, problems)
            return function(Batch(shard, _named(parsed, shard), problems, block.end))

        pieces = ((shard, block) for shard in shards for block in self._blocks(shard))
        yield from in_order(work, pieces, threads)

    def _blocks(self, shard: Shard) -> Iterator[Block]:
        if not shard.bytes:
            yield self._whole_file(shard, "the file is empty")
            return
        try:
            yield from blocks(shard.path)
        except UnreadableError as error:
            yield self._whole_file(shard, str(error))

    def _whole_file(self, shard: Shard, says: str) -> Block:
        return Block(shard.path, 1, b"", shard.bytes, (Problem(shard.path.name, None, says),))

    def _refuse(self, shard: Shard, problems: Iterable[Problem]) -> None:
        if self.on_bad_input is OnBadInput.REFUSE:
            for problem in problems:
                raise UsageError(
                    f"{replace(problem, file=str(shard.path))}. Mend it, or let such lines and files be counted, "
                    "listed and left out with: --set on_bad_input=skip"
                )


def _named(parsed: Parsed, shard: Shard) -> pl.DataFrame:
    documents = parsed.documents
    fill: list[pl.Expr] = []
    if "source" in documents.columns:
        fill.append(pl.col("source").fill_null(shard.path.name.split(".")[0]))
    if "id" in documents.columns:
        places = pl.Series("place", parsed.lines, pl.Int64()).cast(pl.String())
        fill.append(pl.col("id").fill_null(f"{shard.stem}:" + places))
    return documents.with_columns(fill)


def in_order(function: Callable[[Piece], Result], pieces: Iterable[Piece], threads: int) -> Iterator[Result]:
    """``function`` of each piece, computed side by side, given out in order, few at a time."""
    if threads == 1:
        yield from map(function, pieces)
        return
    with ThreadPoolExecutor(threads) as pool:
        waiting: list[Future[Result]] = []
        for piece in pieces:
            waiting.append(pool.submit(function, piece))
            if len(waiting) > BLOCKS_AHEAD * threads:
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()
