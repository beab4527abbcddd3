"""Where the report's numbers, tables and figures lead: rows of its own index or, inside the book, pages of the book."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Places(Protocol):
    """The pages of the book that the report links to, relative to the report."""

    def value(self, name: str) -> str: ...

    def claim(self, name: str) -> str: ...

    def shown(self, tier: str, name: str) -> str: ...


def value_link(name: str, text: str, places: Places | None) -> str:
    return _page(places.value(name), text) if places else rf"\hyperlink{{value.{name}}}{{{text}}}"


def claim_link(name: str, text: str, places: Places | None) -> str:
    return _page(places.claim(name), text) if places else rf"\hyperlink{{claim.{name}}}{{{text}}}"


def indexed(text: str, page: str) -> str:
    """A row's name in the index; it leads to its page where there is one."""
    return _page(page, text) if page else text


def cell_links(shown: Mapping[str, tuple[str, str]], places: Places | None) -> str:
    """TeX definitions: for each figure and table in the report, by its name there, the page of its cell."""
    if not places:
        return ""
    pages = {name: places.shown(*source) for name, source in shown.items()}
    lines = [rf"\expandafter\def\csname lucie.cell.{name}\endcsname{{{_tex(page)}}}" for name, page in pages.items()]
    return "\n".join(lines) + "\n"


def _page(page: str, text: str) -> str:
    return rf"\bookpage{{{_tex(page)}}}{{{text}}}"


def _tex(page: str) -> str:
    return page.replace("#", r"\bookhash ")
