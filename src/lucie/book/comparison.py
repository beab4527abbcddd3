"""A comparison of two sets of results as one page that needs no other file."""

from __future__ import annotations

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from lucie.compare import OTHERS, Comparison
from lucie.project import Project


def page(project: Project, a: str, b: str, found: list[Comparison]) -> str:
    """The page."""
    book = project.root / "book"
    style = Markup((book / "static" / "book.css").read_text(encoding="utf-8"))
    templates = Environment(loader=FileSystemLoader(book / "templates"), autoescape=True, undefined=StrictUndefined)
    return templates.get_template("compare.html").render(a=a, b=b, comparisons=found, others=OTHERS, style=style)
