"""The book: static pages made from executed notebooks, where each number leads to its evidence.

    lucie book            # build/book/ from results/
    lucie book --build    # from build/

The pages are Jinja templates (book/) rather than Sphinx with myst-nb: what matters here, a page for each claim, the
way from a cell to the claims it answers and back, and a search for numbers, would all be extensions of ours on top of
Sphinx, while what Sphinx brings (a theme, prose in several files) is a stylesheet and seven templates. So the book
needs nothing that `base` lacks, makes its three hundred pages in seconds, and asks a browser for no file but its own.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from lucie.book import search, templates
from lucie.book.contents import Contents
from lucie.book.pages import Pages
from lucie.book.places import BookPlaces
from lucie.files import write_atomic
from lucie.paper import NoTexError, make_pdf
from lucie.project import Project


@dataclass(frozen=True)
class Book:
    """A book that was made: its folder, how many pages, how many bytes in all."""

    folder: Path
    pages: int
    bytes: int
    without: str  # why the report is not inside it; empty where it is


def build_book(project: Project, results: Path) -> Book:
    """Make build/book/ from the tiers in ``results`` (build/ or results/), with the report inside it.

    Where there is no TeX it is made without the report. Raises MismatchError or UsageError, in a sentence, for results
    that do not hold together; the book from before is then left as it was.
    """
    contents = Contents.load(project, results)
    without, pdf = "", None
    try:
        pdf = make_pdf(project, results, BookPlaces(contents))
    except NoTexError as error:
        without = str(error)
    pages = Pages(contents, has_pdf=pdf is not None)
    made = dict(pages.all())
    files: dict[str, str | bytes] = {**made, **pages.media.files}
    files["static/search.js"] = search.index(pages)
    files |= {f"static/{name}": templates.static(project, name) for name in templates.static_names(project, made)}
    if pdf is not None:
        files["report.pdf"] = pdf
    folder = project.build / "book"
    _replace(folder, files)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return Book(folder, len(made), size, without)


def _replace(folder: Path, files: dict[str, str | bytes]) -> None:
    """Write all files beside ``folder``, then put them in its place."""
    fresh = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    for name, content in files.items():
        write_atomic(fresh / name, content)
    shutil.rmtree(folder, ignore_errors=True)
    fresh.replace(folder)
