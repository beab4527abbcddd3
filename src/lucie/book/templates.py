"""The templates and the files that pages need. What is missing or wrong in them is said by its file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError, TemplateNotFound, TemplateSyntaxError

from lucie.errors import UsageError
from lucie.project import Project

FOLDER = Path("book") / "templates"
STATIC = Path("book") / "static"
NEEDED = re.compile(r'(?:src|href)="(?:\.\./)*static/([^"]+)"')
MADE = {"search.js"}  # in static/ of the book, and no file of book/static


def environment(project: Project, **options: Any) -> Environment:
    """Jinja with the templates; a name that a template does not know is an error."""
    loader = FileSystemLoader(project.root / FOLDER)
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, **options)


def render(templates: Environment, name: str, given: Mapping[str, Any]) -> str:
    """The page that a template makes. Raises UsageError for one that is missing or wrong."""
    try:
        return templates.get_template(name).render(**given)
    except TemplateNotFound as error:
        raise missing(FOLDER / str(error.name)) from error
    except TemplateSyntaxError as error:
        raise UsageError(f"{FOLDER / (error.name or name)}, line {error.lineno}: {error.message}.") from error
    except TemplateError as error:
        raise UsageError(f"{FOLDER / name}: {error}.") from error


def static(project: Project, name: str) -> bytes:
    """A file of book/static. Raises UsageError where it is missing."""
    path = project.root / STATIC / name
    if not path.is_file():
        raise missing(STATIC / name)
    return path.read_bytes()


def static_names(project: Project, pages: Mapping[str, str]) -> list[str]:
    """The files of book/static: those that there are, and those that the pages ask for."""
    there = {path.name for path in (project.root / STATIC).glob("*") if path.is_file()}
    needed = {name for page in pages.values() for name in NEEDED.findall(page)}
    return sorted(there | needed - MADE)


def missing(path: Path) -> UsageError:
    """The error for a file of the repository that is not there."""
    return UsageError(f"{path} is missing. It is part of the repository: git checkout -- {path}")
