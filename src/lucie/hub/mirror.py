"""A mirror of a dataset or a model of the hub: a folder of its files, and MIRROR.json, their list, written last.

What is here reads such a folder and needs no network; `lucie.hub.fetch` makes it.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from lucie.corpus.sources import Folder
from lucie.errors import MismatchError, UsageError
from lucie.files import write_json

MANIFEST = "MIRROR.json"


class Hub(BaseModel):
    """A dataset or a model on the hub, at a pinned revision; read from the folder that `lucie fetch` mirrored it to."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["dataset", "model"] = "dataset"
    repository: str
    revision: str
    files: list[str] = ["data/**/*.parquet"]


class MirrorFile(BaseModel):
    """One file: the hub names the sha256 of big ones, and of small ones only the id that git gives them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bytes: int
    sha256: str = ""
    blob: str = Field(default="", exclude=True, description="git's id of the content")


class Mirror(BaseModel):
    """The files of a repository at a commit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["dataset", "model"] = "dataset"
    repository: str
    revision: str = Field(description="the tag or branch that was asked for")
    commit: str = Field(description="what it was at the time")
    files: dict[str, MirrorFile]

    @field_validator("files")
    @classmethod
    def _stay_in_the_folder(cls, files: dict[str, MirrorFile]) -> dict[str, MirrorFile]:
        for path in map(PurePosixPath, files):
            if path.is_absolute() or ".." in path.parts:
                raise ValueError(f"{path} lies outside of the folder")
        return files

    @classmethod
    def read(cls, path: Path) -> Mirror:
        """A list that `write` wrote. Raises MismatchError where it is damaged."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "it"
            raise MismatchError(
                f"{path} is not the list of a mirror ({where}: {first['msg']}). Bring back the one that was written, "
                "or remove the folder and fetch it again."
            ) from error

    def write(self, path: Path) -> None:
        """Write the list, whole or not at all."""
        write_json(path, self.model_dump())

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files.values())

    def choose(self, patterns: Iterable[str]) -> Mirror:
        """Only the files of these patterns; `*` matches across folders, as with the hub's own client.

        Raises UsageError for a pattern that no file has: a source left out by a slip of the pen would not be missed.
        """
        chosen: set[str] = set()
        for pattern in patterns:
            found = {path for path in self.files if fnmatchcase(path, pattern)}
            if not found:
                such = f", such as {min(self.files)}" if self.files else ""
                raise UsageError(
                    f"No file of {self.repository} at {self.revision} is called '{pattern}'. "
                    f"{len(self.files):,} files can be chosen from{such}."
                )
            chosen |= found
        return self.model_copy(update={"files": {path: self.files[path] for path in sorted(chosen)}})


def is_there(folder: Path, path: str, file: MirrorFile) -> bool:
    """Whether a file is at its place, with its size. Terabytes are not read again: they were when they came."""
    place = folder / path
    return place.is_file() and place.stat().st_size == file.bytes


def check_mirror(source: Folder, repository: str, revision: str, how: str) -> None:
    """Raises MismatchError where a source is not the finished mirror of this revision; ``how`` says how to get it."""
    folder = source.path
    if not (folder / MANIFEST).is_file():
        raise MismatchError(f"{folder} is not a finished mirror: it has no {MANIFEST}. {how}")
    mirror = Mirror.read(folder / MANIFEST)
    if (mirror.repository, mirror.revision) != (repository, revision):
        held = f"{mirror.repository} at {mirror.revision}, not of {repository} at {revision}"
        raise MismatchError(f"{folder} is a mirror of {held}. Name another folder.")
    for path, file in mirror.files.items():
        if not (folder / path).is_file():
            raise MismatchError(f"{folder / path} is missing, and {MANIFEST} lists it. {how}")
        if not is_there(folder, path, file):
            size = (folder / path).stat().st_size
            raise MismatchError(f"{folder / path} has {size:,} bytes and must have {file.bytes:,}. {how}")
    for shard in source.shards():
        if shard.name not in mirror.files:
            raise MismatchError(f"{shard.path} is not in {MANIFEST}. Move it out of the mirror.")
