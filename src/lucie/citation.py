"""CITATION.cff: how this is cited."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from lucie.config import checked, read_mapping
from lucie.project import Project

FILE = "CITATION.cff"


class Author(BaseModel):
    """Who is cited."""

    name: str


class Citation(BaseModel):
    """What is read of the file."""

    title: str
    version: str
    license: str
    message: str
    authors: list[Author] = Field(min_length=1)
    references: list[dict[str, Any]] = []

    @property
    def author(self) -> str:
        """The first of the authors."""
        return self.authors[0].name


def load(project: Project) -> Citation:
    """The file. Raises UsageError where it is missing or not whole."""
    path = project.root / FILE
    return checked(Citation, read_mapping(path), str(path))
