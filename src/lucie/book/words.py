"""What the pages say around the results: book/words.yaml and book/glossary.yaml, checked as they are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lucie.config import Strict, checked, read_mapping, read_yaml
from lucie.errors import UsageError
from lucie.project import Project

WORDS = Path("book") / "words.yaml"
GLOSSARY = Path("book") / "glossary.yaml"


class Words(dict[str, Any]):
    """Words by name. Raises UsageError, with the file and the place in it, for those that it lacks."""

    def __init__(self, content: dict[str, Any], place: str = "") -> None:
        super().__init__(
            {name: Words(said, f"{place}{name}.") if isinstance(said, dict) else said for name, said in content.items()}
        )
        self._place = place

    def __missing__(self, name: str) -> Any:
        raise UsageError(f"{WORDS} lacks '{self._place}{name}'. Write it, or restore the file from git.")

    def part(self, name: str) -> Words:
        """The words under ``name``."""
        found = self[name]
        if not isinstance(found, Words):
            raise UsageError(f"{WORDS}: '{self._place}{name}' holds no names with words. Restore the file from git.")
        return found


class Term(Strict):
    """A term of the glossary, in both languages."""

    en: str
    fr: str
    means: str
    signifie: str


def load_words(project: Project) -> Words:
    """The words of both languages."""
    return Words(read_mapping(project.root / WORDS))


def load_glossary(project: Project) -> list[Term]:
    """The terms. Raises UsageError, with the term, for one that is not whole."""
    listed = read_yaml(project.root / GLOSSARY)
    if not isinstance(listed, list):
        raise UsageError(f"{GLOSSARY} is not a list of terms. Restore it from git.")
    return [checked(Term, term, f"{GLOSSARY}, term {number}{_name(term)}") for number, term in enumerate(listed, 1)]


def _name(term: Any) -> str:
    return f" ('{term['en']}')" if isinstance(term, dict) and "en" in term else ""
