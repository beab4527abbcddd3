"""A folder of token files, as `lucie.tokens.files` writes it: what it holds, and whether that is what was written.

    tokens.json                    the list: tokenizer, and the sha256 of each NAME.json
    NAME.json                      one kind of text: documents, tokens, sizes and sha256 of its files
    NAME.ds                        the tokens of all documents, one after the other (little endian, datatrove's layout)
    NAME.ds.index                  where each document ends, in tokens (uint64)
    NAME.ds.metadata               datatrove's: tokenizer|bytes a token, tokens
    NAME.documents.parquet         source and id of each document, in the same order
    heldout/                       the same of the documents that are kept out of the training

NAME is LANGUAGE--CATEGORY, as the authors' list of weights calls them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict, ValidationError

from lucie.errors import MismatchError, UsageError, unknown
from lucie.files import sha256, sha256_of

LIST = "tokens.json"
HELD_OUT = "heldout"
_Model = TypeVar("_Model", bound=BaseModel)
AGAIN = "Remove that file's .json and write the token files again."


class Content(BaseModel):
    """A file's size and digest."""

    model_config = ConfigDict(extra="forbid")

    bytes: int
    sha256: str


class TokenFile(BaseModel):
    """What NAME.json says of the token file of one kind of text."""

    model_config = ConfigDict(extra="forbid")

    name: str
    language: str
    category: str
    documents: int
    tokens: int
    dtype: Literal["uint16", "uint32"]
    tokenizer: str  # sha256 of its tokenizer.json
    vocabulary: int
    end_of_document: int
    held_out_per_mille: int
    key: str  # what it was made from
    files: dict[str, Content]


class TokenList(BaseModel):
    """What tokens.json says."""

    model_config = ConfigDict(extra="forbid")

    tokenizer: str
    vocabulary: int
    files: dict[str, str]  # NAME: sha256 of NAME.json


def read_token_file(path: Path) -> TokenFile:
    """NAME.json. Raises MismatchError where it is missing or was damaged."""
    return _read(TokenFile, path)


@dataclass(frozen=True)
class TokenFolder:
    """Token files made with one tokenizer. Raises MismatchError for one that is missing, cut or of another."""

    path: Path

    @cached_property
    def listing(self) -> TokenList:
        """The folder's list. Raises UsageError where no token files were finished."""
        if not (self.path / LIST).is_file():
            raise UsageError(
                f"There are no finished token files in {self.path}: no {LIST}. Write them first, or again."
            )
        return _read(TokenList, self.path / LIST)

    @cached_property
    def files(self) -> dict[str, TokenFile]:
        """The token files by name; each file is there and has its size."""
        found = {}
        for name, digest in self.listing.files.items():
            path = self.path / f"{name}.json"
            file = read_token_file(path)
            if sha256(path) != digest:
                raise MismatchError(f"{path} is not the one that {LIST} lists. {AGAIN}")
            if (file.tokenizer, file.vocabulary) != (self.listing.tokenizer, self.listing.vocabulary):
                raise MismatchError(f"{path} is of another tokenizer than the rest of {self.path}. {AGAIN}")
            self._check_sizes(file)
            found[name] = file
        return found

    def _check_sizes(self, file: TokenFile) -> None:
        for name, content in file.files.items():
            path = self.path / name
            if not path.is_file():
                raise MismatchError(f"{path} is missing. {AGAIN}")
            if path.stat().st_size != content.bytes:
                raise MismatchError(f"{path} has {path.stat().st_size} bytes instead of {content.bytes}. {AGAIN}")

    @property
    def digest(self) -> str:
        """Changes with the tokens, the ends of documents and the tokenizer; not with how they were written."""
        read = {
            name: [file.files[f"{name}.ds{suffix}"].sha256 for suffix in ("", ".index")]
            for name, file in self.files.items()
        }
        return sha256_of([self.listing.tokenizer, read])

    def check(self) -> None:
        """Read every file and compare its sha256. Raises MismatchError for one that changed."""
        for file in self.files.values():
            for name, content in file.files.items():
                if sha256(self.path / name) != content.sha256:
                    raise MismatchError(f"{self.path / name} is not what was written: another sha256. {AGAIN}")

    def check_tokenizer(self, tokenizer: Path) -> None:
        """Raises MismatchError unless the files were made with the tokenizer of that folder (tokenizer.json)."""
        path = tokenizer / "tokenizer.json"
        if not path.is_file():
            raise UsageError(f"There is no tokenizer in {tokenizer}: no tokenizer.json.")
        if sha256(path) != self.listing.tokenizer:
            raise MismatchError(
                f"The token files in {self.path} were made with another tokenizer than {path} "
                f"(sha256 {self.listing.tokenizer[:16]}): their numbers mean other tokens. Write them again."
            )

    def check_vocabulary(self, size: int) -> None:
        """Raises MismatchError where a model of that vocabulary size could not read the files."""
        if size < self.listing.vocabulary:
            raise MismatchError(
                f"The token files in {self.path} use a vocabulary of {self.listing.vocabulary}, the model has {size}. "
                "Train with the tokenizer's vocabulary, or write the token files with the model's tokenizer."
            )

    def get(self, name: str) -> TokenFile:
        """One token file by its name."""
        if name not in self.files:
            raise unknown("token file", name, self.files)
        return self.files[name]

    def tokens(self, name: str) -> np.ndarray[Any, np.dtype[Any]]:
        """All tokens of a file, shape (tokens,), mapped: only what is looked at is read."""
        file = self.get(name)
        return _mapped(self.path / f"{name}.ds", file.dtype, file.tokens)

    def ends(self, name: str) -> np.ndarray[Any, np.dtype[Any]]:
        """Where each document ends in the file, in tokens, shape (documents,), mapped."""
        return _mapped(self.path / f"{name}.ds.index", "uint64", self.get(name).documents)

    def lengths(self, name: str) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Tokens of each document, its end included, shape (documents,)."""
        return np.diff(self.ends(name).astype(np.int64), prepend=np.int64(0))

    def split(self, name: str) -> list[list[int]]:
        """The tokens of each document of a file, its end included."""
        return [part.tolist() for part in np.split(self.tokens(name), self.ends(name).astype(np.int64)[:-1])]

    def documents(self, name: str, numbers: list[int]) -> pl.DataFrame:
        """Source, id and language of documents of a file, by their numbers; one row each, in that order."""
        wanted = pl.DataFrame({"document": numbers}, schema={"document": pl.Int64()})
        rows = pl.scan_parquet(self.path / f"{name}.documents.parquet", glob=False).with_row_index("document")
        found = rows.filter(pl.col("document").is_in(sorted(set(numbers)))).with_columns(
            pl.col("document").cast(pl.Int64)
        )
        return wanted.join(found.collect(), on="document", how="left", maintain_order="left")

    def counts(self, longer_than: int = 0) -> pl.DataFrame:
        """Documents and tokens of each file: name, length, language, category, documents, tokens.

        Length is 'all'; with ``longer_than``, a file has two rows, for 'short' documents and for 'long' ones, which
        have more tokens than that.
        """
        rows = []
        for name, file in self.files.items():
            lengths = self.lengths(name)
            for length, chosen in by_length(lengths, longer_than).items():
                numbers = (len(chosen), int(lengths[chosen].sum()))
                rows.append((name, length, file.language, file.category, *numbers))
        names = ["name", "length", "language", "category"]
        schema = {**dict.fromkeys(names, pl.String()), "documents": pl.Int64(), "tokens": pl.Int64()}
        return pl.DataFrame(rows, schema=schema, orient="row")


def by_length(
    lengths: np.ndarray[Any, np.dtype[np.int64]], longer_than: int
) -> dict[str, np.ndarray[Any, np.dtype[np.int64]]]:
    """The numbers of the documents of each length class; without a threshold there is one class, 'all'."""
    if not longer_than:
        return {"all": np.arange(len(lengths))}
    return {"short": np.flatnonzero(lengths <= longer_than), "long": np.flatnonzero(lengths > longer_than)}


def _mapped(path: Path, dtype: str, size: int) -> np.ndarray[Any, np.dtype[Any]]:
    little = np.dtype(dtype).newbyteorder("<")
    return np.memmap(path, little, "r", shape=(size,)) if size else np.empty(0, little)  # nothing cannot be mapped


def _read(model: type[_Model], path: Path) -> _Model:
    try:
        return model.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise MismatchError(f"{path} is missing. Write the token files again.") from error
    except ValidationError as error:
        raise MismatchError(f"{path} is damaged: {error.errors()[0]['msg']}. {AGAIN}") from error
