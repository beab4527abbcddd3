"""The cells of an executed notebook as HTML: prose, code, and what the code showed.

Notebooks of this project show text, tables of polars and PNG figures, all made here; that is all this knows.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from markdown_it import MarkdownIt
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from lucie.errors import MismatchError

TABLE_ROW = re.compile(r"<tr>(.*?)</tr>", re.DOTALL)
TABLE_CELL = re.compile(r"<(t[hd])>(.*?)</t[hd]>", re.DOTALL)
NUMBER = re.compile(r"[-+]?[\d\s]+(\.\d+)?(e[-+]?\d+)?%?", re.IGNORECASE)
SET_UP = {"parameters": "Parameters", "injected-parameters": "Parameters of this run"}


@dataclass
class Block:
    """A cell on a page. ``heading`` is that of prose; ``set_up`` says what a cell sets up that does no more."""

    id: str
    kind: str  # markdown or code
    body: str
    heading: str = ""
    set_up: str = ""
    outputs: list[str] = field(default_factory=list)


@dataclass
class Media:
    """Pictures, by the name of their file."""

    files: dict[str, bytes] = field(default_factory=dict)

    def add(self, picture: bytes) -> str:
        name = f"media/{hashlib.sha256(picture).hexdigest()[:16]}.png"
        self.files[name] = picture
        return name


def markdown(text: str) -> str:
    """Prose as HTML; HTML within it is shown, not obeyed."""
    rendered: str = _markdown().render(text)
    return rendered


def inline(text: str) -> str:
    """A sentence of Markdown as HTML, without a paragraph around it."""
    rendered: str = _markdown().renderInline(text)
    return rendered


@cache
def _markdown() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False}).enable("table")


def code(text: str) -> str:
    """Python as HTML, with classes for its colours."""
    return str(highlight(text, PythonLexer(), HtmlFormatter(cssclass="code")))


def blocks(cells: list[dict[str, Any]], media: Media, root: str) -> list[Block]:
    """The notebook's cells after its title; pictures go to ``media``, ``root`` leads from the page to the book's top.

    Raises MismatchError for an output that is an error or of an unknown kind, and for a picture without alternative
    text.
    """
    return [_block(cell, media, root) for cell in cells[1:] if "".join(cell["source"]).strip()]


def _block(cell: dict[str, Any], media: Media, root: str) -> Block:
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        heading = source.splitlines()[0].lstrip("# ") if source.startswith("#") else ""
        return Block(cell["id"], "markdown", markdown(source), heading)
    shown = [_output(cell["id"], output, media, root) for output in cell["outputs"]]
    set_up = next((SET_UP[tag] for tag in cell["metadata"].get("tags", []) if tag in SET_UP), "")
    return Block(cell["id"], "code", code(source), set_up=set_up, outputs=shown)


def _output(cell: str, output: dict[str, Any], media: Media, root: str) -> str:
    if output["output_type"] == "stream":
        return _plain("".join(output["text"]))
    data = output.get("data", {})
    if "image/png" in data:
        about = output["metadata"].get("image/png", {})
        if not about.get("alt"):
            raise MismatchError(f"The figure that cell '{cell}' shows has no alternative text. Give it as alt=...")
        name = media.add(base64.b64decode("".join(data["image/png"])))
        alt = html.escape(about["alt"], quote=True)
        return f'<figure><img src="{root}{name}" alt="{alt}" width="{about["width"]}" loading="lazy"></figure>'
    if "text/html" in data:
        return table("".join(data["text/html"]))
    if "text/plain" in data:
        return _plain("".join(data["text/plain"]))
    raise MismatchError(f"Cell '{cell}' shows something that is no text, table or figure: {output['output_type']}.")


def _plain(text: str) -> str:
    return f'<pre class="shown" tabindex="0">{html.escape(text.rstrip())}</pre>'


def table(text: str) -> str:
    """A table of polars, its columns of numbers to the right."""
    rows = [[cell for _, cell in TABLE_CELL.findall(row)] for row in TABLE_ROW.findall(text)]
    header, body = rows[0], rows[1:]
    numeric = [all(_is_number(row[column]) for row in body) for column in range(len(header))]
    marks = [' class="n"' if right else "" for right in numeric]
    head = "".join(f'<th scope="col"{mark}>{cell}</th>' for cell, mark in zip(header, marks, strict=True))
    lines = [
        "<tr>" + "".join(f"<td{mark}>{_cell(cell)}</td>" for cell, mark in zip(row, marks, strict=True)) + "</tr>"
        for row in body
    ]
    return scrolling(f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>")


def scrolling(table: str) -> str:
    """A table that may be wider than the page; the keyboard can scroll it."""
    return f'<div class="wide" tabindex="0" role="region" aria-label="Table">{table}</div>'


def _is_number(cell: str) -> bool:
    return cell in ("null", "", "&hellip;", "NaN") or bool(NUMBER.fullmatch(cell))


def _cell(cell: str) -> str:
    return "" if cell == "null" else cell
