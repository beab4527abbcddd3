"""The verbs for those who read: the report, the book."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from lucie.project import Project

BuildOption = Annotated[bool, typer.Option("--build", help="from build/ instead of results/")]


def register(app: typer.Typer) -> None:
    """Add the verbs to the command."""
    app.command()(book)


def book(build: BuildOption = False) -> None:
    """Make build/book/: pages for every notebook and claim, with the report inside."""
    project = Project.find()
    make_book(project, build)


def make_book(project: Project, build: bool) -> None:
    """Make the book and say so in a line."""
    from rich.filesize import decimal

    from lucie.book import build_book
    from lucie.terminal import line

    started = time.monotonic()
    made = build_book(project, project.build if build else project.results)
    size = f"{made.pages} pages, {decimal(made.bytes)}"
    home = project.relative(made.folder / "index.html")
    line("book", f"{home}  {size}  {time.monotonic() - started:.1f} s")
    if made.without:
        line("", f"without the report. {made.without}", "yellow")
