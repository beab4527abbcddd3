"""A comparison of two sets of results as one page that needs no other file."""

from __future__ import annotations

from markupsafe import Markup

from lucie.book import templates
from lucie.compare import OTHERS, VARIES_MEANS, Comparison
from lucie.project import Project


def page(project: Project, a: str, b: str, found: list[Comparison]) -> str:
    """The page. Raises UsageError where its template or style is missing."""
    style = Markup(templates.static(project, "book.css").decode())
    given = {"a": a, "b": b, "comparisons": found, "others": OTHERS, "style": style, "varies_means": VARIES_MEANS}
    return templates.render(templates.environment(project), "compare.html", given)
