"""Readers of the sample's raw files: each takes a file's bytes and gives the texts of its documents.

What they give is pinned to the byte, so a reader keeps quirks that a new one would not have; each says its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

UNREADABLE = (ElementTree.ParseError, ValueError, KeyError)  # what a reader raises on content not of its format

TEI = "{http://www.tei-c.org/ns/1.0}"
TEI_LINES = {f"{TEI}{name}" for name in ("p", "l", "head", "stage")}
LONGEST_CHAPTER = 16_000  # characters; what is longer is cut ...
CUT_AT = 12_000  # ... at the last end of a line before here ...
SHORTEST_CUT = 2_000  # ... or within a line, where that would leave less than this

CONLLU_DOCUMENT = "# newdoc"
CONLLU_TEXT = "# text ="
WIKITEXT_TITLE = re.compile(r"\n(?= = [^=])")  # " = Title = " starts an article, " = = Section = = " does not


def plain(raw: bytes) -> list[str]:
    """The file is one document."""
    return [raw.decode()]


def tei(raw: bytes) -> list[str]:
    """One document a chapter or scene (a division without divisions in it), cut where it is long.

    Text of a division outside its inner ones is left out, so a part's or an act's title is. A line within a line, as
    a stage direction within a speech, comes twice: in its place and again after it.
    """
    body = ElementTree.fromstring(raw).find(f".//{TEI}body")
    if body is None:
        raise ValueError("it is XML without a TEI body")
    chapters = [part for part in body.iter(f"{TEI}div") if part.find(f".//{TEI}div") is None]
    return [piece for chapter in chapters or [body] for piece in _pieces(_lines(chapter))]


def _lines(element: ElementTree.Element) -> str:
    lines = (re.sub(r"\s+", " ", "".join(e.itertext())).strip() for e in element.iter() if e.tag in TEI_LINES)
    return "\n".join(line for line in lines if line)


def _pieces(text: str) -> Iterator[str]:
    while len(text) > LONGEST_CHAPTER:
        cut = text.rfind("\n", 0, CUT_AT)
        cut = cut if cut > SHORTEST_CUT else CUT_AT
        yield text[:cut]
        text = text[cut:].lstrip()
    yield text


def conllu(raw: bytes) -> list[str]:
    """A CoNLL-U file that says where its documents begin."""
    documents: list[list[str]] = []
    for line in raw.decode().split("\n"):
        if line.startswith(CONLLU_DOCUMENT):
            documents.append([])
        elif line.startswith(CONLLU_TEXT):
            if not documents:
                raise ValueError(f"a sentence comes before the first '{CONLLU_DOCUMENT}'")
            documents[-1].append(_sentence(line))
    return [" ".join(sentences) for sentences in documents]


def grouped_sentences(raw: bytes, size: int) -> list[str]:
    """A CoNLL-U file of sentences whose documents are not marked: each ``size`` sentences in a row make one."""
    sentences = [_sentence(line) for line in raw.decode().split("\n") if line.startswith(CONLLU_TEXT)]
    return [" ".join(sentences[start : start + size]) for start in range(0, len(sentences), size)]


def _sentence(line: str) -> str:
    return line.removeprefix(CONLLU_TEXT).strip()


def wikitext(raw: bytes) -> list[str]:
    """One document an article."""
    return WIKITEXT_TITLE.split(raw.decode())


def gsm8k(raw: bytes, first: int) -> list[str]:
    """One document a problem, its solution below it: the ``first`` of a JSON Lines file."""
    problems = [json.loads(line) for line in raw.decode().split("\n")[:first] if line]
    return [f"{problem['question']}\n{problem['answer']}" for problem in problems]


def dialogue_pairs(raw: bytes) -> list[str]:
    """One document a dialogue: each utterance, its translation below it where there is one."""
    utterances: dict[str, dict[str, Any]] = json.loads(raw)["utterances"]
    pairs = [(said["original_text"], said["reference_translation"]) for said in utterances.values()]
    return ["\n".join(text for pair in pairs if pair[0] for text in pair if text)]
