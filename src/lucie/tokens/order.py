"""The data order of a phase: the tokens of every sequence, and the documents that they are from.

Which source a sequence comes from is `lucie.tokens.interleave`. A source's documents are shuffled anew for each epoch
by the mix's seed and laid end to end, epoch after epoch; its k-th sequence is the L + 1 tokens from position k x L. So
a sequence has the L inputs and, shifted by one, the L targets that nanotron's collator cuts out of L + 1 tokens; its
last token is the first of the source's next sequence, and each token is a target once an epoch. (nanotron's own data
set steps by L + 1 and never predicts one token in L + 1. The authors' Megatron steps by L, as here.)

Each phase shuffles anew, and starts at the beginning of its own order.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from lucie.errors import MismatchError, UsageError
from lucie.files import sha256_of, write_json
from lucie.mixture.plan import Mix, plan
from lucie.tokens.folder import TokenFolder, by_length
from lucie.tokens.interleave import Interleaving

EPOCHS_HELD = 4  # orders of one source that are kept in memory; 16 bytes a document each

Tokens = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Piece:
    """A run of tokens of one document in a sequence."""

    position: int  # in the sequence
    tokens: int
    document: int  # its number in the token file
    offset: int  # of the run's first token in the document
    epoch: int  # of the source, from 0


@dataclass(frozen=True)
class Epoch:
    """The order of a source's documents in one epoch: shape (documents,) both."""

    documents: Tokens
    ends: Tokens  # in tokens from the epoch's start


class Source:
    """The documents of one token file, or its short or its long ones, as an endless stream of shuffled epochs."""

    def __init__(self, folder: TokenFolder, name: str, length: str, longer_than: int, key: str) -> None:
        self.name, self.length = name, length
        self._key = key
        self._tokens, self._lengths = folder.tokens(name), folder.lengths(name)
        self._ends = np.cumsum(self._lengths)
        self._documents = by_length(self._lengths, longer_than)[length]
        self.size = int(self._lengths[self._documents].sum())  # tokens of an epoch
        self._epoch = lru_cache(EPOCHS_HELD)(self._shuffle)

    def _shuffle(self, number: int) -> Epoch:
        """Documents sorted by random numbers: the bits of Philox are the same in every version of numpy."""
        digest = hashlib.sha256(f"{self._key}/{self.name}/{self.length}/{number}".encode()).digest()
        bits = np.random.Philox(key=int.from_bytes(digest[:16], "big")).random_raw(len(self._documents))
        documents = self._documents[np.argsort(bits, kind="stable")]
        return Epoch(documents, np.cumsum(self._lengths[documents]))

    def pieces(self, start: int, tokens: int) -> Iterator[Piece]:
        """The documents under a run of tokens of the stream."""
        position = 0
        while position < tokens:
            number, within = divmod(start + position, self.size)
            epoch = self._epoch(number)
            at = int(np.searchsorted(epoch.ends, within, side="right"))
            document = int(epoch.documents[at])
            offset = within - int(epoch.ends[at]) + int(self._lengths[document])
            taken = min(tokens - position, int(epoch.ends[at]) - within)
            yield Piece(position, taken, document, offset, number)
            position += taken

    def read(self, start: int, tokens: int) -> Tokens:
        """A run of tokens of the stream, shape (tokens,)."""
        found = np.empty(tokens, np.int64)
        for piece in self.pieces(start, tokens):
            first = int(self._ends[piece.document] - self._lengths[piece.document]) + piece.offset
            found[piece.position : piece.position + piece.tokens] = self._tokens[first : first + piece.tokens]
        return found


class OrderedTokens:
    """The sequences of a phase in their order, any of them without those before: ``ordered[i]``, from 0.

    ordered = OrderedTokens(folder, Mix.load(project, "mini"), "main")
    ordered[7]  # int64, shape (sequence_length + 1,)

    The token files are compared with their sha256 at once; ``check=False`` leaves it at their sizes. Raises
    MismatchError for files that are not what they were, UsageError for a mix that they cannot meet.
    """

    def __init__(self, folder: Path, mix: Mix, phase: str, check: bool = True) -> None:
        self.mix, self.phase_name, self.phase = mix, phase, mix.phase(phase)
        self.folder = TokenFolder(folder)
        if check:
            self.folder.check()
        counts = self.folder.counts(self.phase.favour_longer_than)
        self.plan = plan(mix, phase, counts)
        self._read = self.plan.filter(pl.col("weight") > 0)
        self._sources: dict[int, Source] = {}
        self.interleaving = Interleaving.of(self._read["weight"].to_list(), len(self))

    def __len__(self) -> int:
        return self.phase.sequences

    def __getitem__(self, index: int) -> Tokens:
        source, start = self._place(index)
        return source.read(start, self.phase.sequence_length + 1)

    def batch(self, step: int) -> Tokens:
        """The sequences of a training step, from 1; shape (size of its batch, sequence_length + 1)."""
        return np.stack([self[index] for index in self.sequences(step)])

    def sequences(self, step: int) -> range:
        """The sequences of a training step. Steps are counted from 1, as training logs do. Raises UsageError."""
        if not 1 <= step <= self.phase.steps:
            raise UsageError(
                f"There is no step {step} in the {self.phase_name} phase of mix '{self.mix.name}': "
                f"it has steps 1 to {self.phase.steps}."
            )
        return self.phase.sequences_of(step)

    def documents(self, index: int) -> pl.DataFrame:
        """The documents of a sequence, in order: one row a run of tokens.

        Columns: position (of the run in the sequence), tokens, offset (of its first token in the document), epoch (of
        the source, from 0), file, length, document (its number in the file), source, id, language. Runs cover all
        L + 1 tokens; a document's last token is its end-of-document token.
        """
        source, start = self._place(index)
        pieces = list(source.pieces(start, self.phase.sequence_length + 1))
        named = self.folder.documents(source.name, [piece.document for piece in pieces])
        runs = pl.DataFrame(pieces, schema=dict.fromkeys(Piece.__dataclass_fields__, pl.Int64()))
        return runs.select(
            "position",
            "tokens",
            "offset",
            "epoch",
            pl.lit(source.name).alias("file"),
            pl.lit(source.length).alias("length"),
            "document",
            *(named[name] for name in ("source", "id", "language")),
        )

    def manifest(self) -> dict[str, Any]:
        """What decides the order: seed, sizes, the grid bounds of each source, and the sha256 of the token files."""
        size, names = self.phase, self._read.select("name", "length", "weight").to_dicts()
        files = {
            name: {path: content.sha256 for path, content in self.folder.get(name).files.items()}
            for name in dict.fromkeys(self._read["name"])
        }
        return {
            "mix": self.mix.name,
            "phase": self.phase_name,
            "seed": self.mix.seed,
            "sequence_length": size.sequence_length,
            "sequences_per_batch": size.sequences_per_batch,
            **({"ramp_up": size.ramp_up.model_dump()} if size.ramp_up else {}),
            "steps": size.steps,
            "favour_longer_than": size.favour_longer_than,
            "sources": [
                {
                    "name": row["name"],
                    "length": row["length"],
                    "weight": float(f"{row['weight']:.12g}"),
                    "bounds": [*bounds],
                }
                for row, *bounds in zip(names, self.interleaving.bounds, self.interleaving.bounds[1:], strict=False)
            ],
            "files": files,
            "tokenizer": self.folder.listing.tokenizer,
        }

    def write_manifest(self) -> Path:
        """Record the order beside the token files; returns the file, order.PHASE.json."""
        write_json(self.manifest_path, self.manifest())
        return self.manifest_path

    def check_manifest(self) -> bool:
        """Whether the order was recorded. Raises MismatchError where another one was than this."""
        if not self.manifest_path.is_file():
            return False
        try:
            recorded = json.loads(self.manifest_path.read_text("utf-8"))
        except ValueError as error:
            raise MismatchError(f"{self.manifest_path} is damaged: {error}. Record the order again.") from error
        ours = self.manifest()
        changed = [name for name in ours if sha256_of(recorded.get(name)) != sha256_of(ours[name])]
        if changed:
            raise MismatchError(
                f"{self.manifest_path} records another order than mix '{self.mix.name}' gives now; changed: "
                f"{', '.join(changed)}. Use the mix and the token files of the training, or record the order again."
            )
        return True

    @property
    def manifest_path(self) -> Path:
        return self.folder.path / f"order.{self.phase_name}.json"

    def _source(self, number: int) -> Source:
        if number not in self._sources:
            name, length = self._read.select("name", "length").row(number)
            key = f"{self.mix.seed}/{self.phase_name}"
            self._sources[number] = Source(self.folder, name, length, self.phase.favour_longer_than, key)
        return self._sources[number]

    def _place(self, index: int) -> tuple[Source, int]:
        """The source of a sequence, and where it starts in the source's stream."""
        if not 0 <= index < len(self):
            raise IndexError(f"There is no sequence {index}: the {self.phase_name} phase has {len(self)}, from 0.")
        number = self.interleaving.source(index)
        return self._source(number), self.interleaving.drawn(number, index) * self.phase.sequence_length

    def __getstate__(self) -> dict[str, Any]:
        """Without what is mapped: a data loader's workers map the files themselves."""
        return {**self.__dict__, "_sources": {}}
