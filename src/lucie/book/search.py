"""The index that the book's search reads: a script that defines a list, so that it also works from a file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from lucie.book import links
from lucie.book.pages import Pages, slug
from lucie.book.words import load_glossary

Entry = tuple[str, str, str, str]  # title, kind, page, text


def index(pages: Pages) -> str:
    """The script."""
    return f"const SEARCH = {json.dumps(list(_entries(pages)), ensure_ascii=False, separators=(',', ':'))};\n"


def _entries(pages: Pages) -> Iterator[Entry]:
    contents = pages.contents
    for tier, verdict in contents.verdicts:
        numbers = dict.fromkeys(
            text for cell in pages.compared(tier, verdict) for text in (cell.key, cell.published, cell.ours) if text
        )
        said = [verdict.claim, verdict.item, verdict.verdict, verdict.published, verdict.value, verdict.explanation]
        yield verdict.says, "claim", links.claim(verdict.claim), " · ".join(filter(None, [*said, *numbers]))
    for tier in contents.tiers:
        for name, value in tier.values.items():
            page = links.cell(tier.name, tier.chapters[value["stage"]].file, name)
            yield name, f"value, {tier.name}", page, f"{value['value']} {value['unit']}"
        for chapter in tier.chapters.values():
            for cell in chapter.cells:
                if cell["cell_type"] == "markdown":
                    source = "".join(cell["source"])
                    heading = source.splitlines()[0] if source.startswith("#") else chapter.stage.title
                    place = links.cell(tier.name, chapter.file, cell["id"] if cell is not chapter.cells[0] else "main")
                    yield heading.lstrip("# "), f"notebook, {tier.name}", place, _words(source.partition("\n")[2])
    for term in load_glossary(contents.project):
        place = f"glossary.html#{slug(term.en)}"
        yield f"{term.en} · {term.fr}", "glossary", place, f"{term.means} {term.signifie}"


def _words(markdown: str) -> str:
    return re.sub(r"[*_`#|>\s]+", " ", markdown).strip()
