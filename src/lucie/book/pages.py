"""The pages of the book, from what the tiers hold and the templates in book/."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from jinja2 import Environment, TemplateError
from markupsafe import Markup

from lucie import citation
from lucie.book import cells, links, templates
from lucie.book.contents import Chapter, Contents, TierContents
from lucie.book.words import WORDS, Words, load_glossary, load_words
from lucie.claims import Claim, Committed, Contradiction, Published
from lucie.errors import UsageError, unknown
from lucie.quotes import Quote, about, cell_units, our_unit, quotes
from lucie.stages import Stages
from lucie.tolerance import DIFFERS, EXPLAINED, Cell
from lucie.verdict import Verdict
from lucie.verify import VERDICTS
from lucie.why import RawFile, raw_files

SHOWN_CELLS = 500  # of a claim's compared numbers, on its page
SHOWN_AT_ONCE = 12  # of them; where there are more, those that hold are folded away
SHOWN_FILES = 12  # raw files of a claim, on its page
LONGEST_QUOTE = 60  # characters of a text that an error names
MINUS = "\u2212"
OFF = (DIFFERS, EXPLAINED)
NO_NOTEBOOK = "none"  # the filter's name for claims that no notebook answers
BIBTEX = """\
@software{{lucie_number_by_number,
  title   = {{{title}}},
  author  = {{{{{author}}}}},
  version = {{{version}}},
  license = {{{license}}}
}}"""


@dataclass(frozen=True)
class Source:
    """Where a published number is: a record's column, and the raw files behind its rows."""

    label: str
    record: str
    column: str
    where: str
    files: list[RawFile]


@dataclass(frozen=True)
class Compared:
    """The numbers that a claim compares, for its page: first those that are always shown, then the folded ones."""

    open: list[Cell]
    folded: list[Cell]
    left_out: int
    units: dict[str, str]


@dataclass
class Pages:
    """All pages by their path in the book, and the pictures they show."""

    contents: Contents
    has_pdf: bool
    media: cells.Media = field(default_factory=cells.Media)

    def all(self) -> Iterator[tuple[str, str]]:
        """Each page: its path and its HTML."""
        yield "index.html", self._home("en")
        yield "accueil.html", self._home("fr")
        yield "claims.html", self._render("claims.html", "claims.html", "Claims", rows=self._rows, stages=self._titles)
        for tier in self.contents.tiers:
            for chapter in tier.chapters.values():
                yield chapter.page, self._notebook(tier, chapter)
        names = [verdict.claim for _, verdict in self._rows]
        for (name, verdict), before, after in zip(self._rows, ["", *names], [*names[1:], ""], strict=False):
            yield links.claim(verdict.claim), self._claim(self.contents.tier(name), verdict, before, after)
        yield "discrepancies.html", self._discrepancies()
        terms = load_glossary(self.contents.project)
        yield "glossary.html", self._render("glossary.html", "glossary.html", "Glossary", entries=terms)
        yield "about.html", self._about()
        yield "search.html", self._render("search.html", "search.html", "Search")

    @cached_property
    def _rows(self) -> list[tuple[str, Verdict]]:
        return [(tier.name, verdict) for tier, verdict in self.contents.verdicts]

    @cached_property
    def _titles(self) -> dict[str, str]:
        return {stage.id: stage.title for stage in Stages.load(self.contents.project).all.values()}

    @cached_property
    def _words(self) -> Words:
        return load_words(self.contents.project)

    @cached_property
    def _templates(self) -> Environment:
        environment = templates.environment(self.contents.project, trim_blocks=True, lstrip_blocks=True)
        environment.filters |= {
            "slug": slug,
            "grouped": grouped,
            "deviation": deviation,
            "inline": lambda text: Markup(cells.inline(text)),
            "claim_page": links.claim,
        }
        environment.globals |= {
            "tiers": self.contents.tiers,
            "items": self.contents.items,
            "verdict_names": VERDICTS,
            "stage_of": lambda verdict: self.contents.stage_of(verdict) or NO_NOTEBOOK,
            "no_notebook": NO_NOTEBOOK,
            "claims_on": self.contents.claims_on,
            "has_pdf": self.has_pdf,
            "commit": self.contents.project.commit.id[:12],
        }
        return environment

    def _render(self, template: str, path: str, title: str, lang: str = "en", **given: Any) -> str:
        root = "../" * path.count("/")
        say = self._words.part(lang)
        about = {"path": path, "title": title, "lang": lang, "root": root, "say": say}
        return templates.render(self._templates, template, about | given)

    def _home(self, lang: str) -> str:
        words = self._words.part(lang)
        text = copy(words.part("home_text"))
        text |= {"points": [self._fill(point) for point in text["points"]], "chapters": self._fill(text["chapters"])}
        chapters = [self._row_of(stage, lang) for stage in [*self._titles, ""]]
        return self._render(
            "home.html", words["home"], text["title"], lang, text=text, chapters=[row for row in chapters if row]
        )

    def _row_of(self, stage: str, lang: str) -> dict[str, Any] | None:
        """A notebook on the home page, with the verdicts on all its claims; none where it has neither."""
        say = self._words.part(lang)
        mine = [verdict for _, verdict in self._rows if self.contents.stage_of(verdict) == stage]
        mine.sort(key=lambda verdict: VERDICTS.index(verdict.verdict))
        tiers = [tier.chapters[stage] for tier in self.contents.tiers if stage in tier.chapters]
        if not tiers and not mine:
            return None
        again = [chapter.tier for chapter in tiers[1:]]
        strips = {tier: [row for row in mine if self._tier_of[row.claim] == tier] for tier in again}
        first = [row for row in mine if self._tier_of[row.claim] not in again]
        return {
            "title": say.get("chapters", self._titles)[stage] if stage else say["no_notebook"],
            "page": tiers[0].page if tiers else f"claims.html?stage={stage or NO_NOTEBOOK}",
            "summary": tiers[0].opening[lang] if tiers else "",
            "strip": _strip(first, say),
            "others": [(chapter.tier, chapter.page, _strip(strips[chapter.tier], say)) for chapter in tiers[1:]],
        }

    @cached_property
    def _tier_of(self) -> dict[str, str]:
        return {verdict.claim: tier for tier, verdict in self._rows}

    def _fill(self, text: str) -> str:
        """Words around numbers, the numbers looked up. An unknown claim or value stops the build."""
        by_claim = _Known("claim", {verdict.claim: verdict for _, verdict in self._rows})
        values = {name: value["value"] for tier in reversed(self.contents.tiers) for name, value in tier.values.items()}
        known = _Known("value", values)
        try:
            return self._templates.from_string(text).render(
                cells=lambda claim: sum(by_claim[claim].cells.values()),
                differing=lambda claim: len(by_claim[claim].differing),
                value=lambda name: grouped(str(known[name])),
                claims=len(by_claim),
                contradictions=sum(1 for verdict in by_claim.values() if verdict.statements),
            )
        except (TemplateError, UsageError) as error:
            raise UsageError(f"{WORDS}, '{text[:LONGEST_QUOTE]}': {error}") from error

    def _notebook(self, tier: TierContents, chapter: Chapter) -> str:
        blocks = cells.blocks(chapter.cells, self.media, "../../")
        claims_of: dict[str, list[tuple[str, str]]] = {block.id: [] for block in blocks}
        for verdict in tier.report.verdicts:
            stage, _, cell = verdict.cell.partition("#")
            if stage == chapter.stage.id and cell in claims_of:
                claims_of[cell].append((verdict.claim, verdict.verdict))
        values_of: dict[str, dict[str, Any]] = {block.id: {} for block in blocks}
        for name, value in tier.values.items():
            if value["stage"] == chapter.stage.id:
                values_of[value["cell"]][name] = value
        others = [
            (other.name, other.chapters[chapter.stage.id].page)
            for other in self.contents.tiers
            if other is not tier and chapter.stage.id in other.chapters
        ]
        return self._render(
            "notebook.html",
            chapter.page,
            chapter.stage.title,
            chapter=chapter,
            opening=chapter.opening,
            blocks=blocks,
            claims_of=claims_of,
            values_of=values_of,
            others=others,
            behind=tier.report.behind.get(chapter.stage.id, []),
        )

    def _claim(self, tier: TierContents, found: Verdict, before: str, after: str) -> str:
        claim = self.contents.claims[found.claim]
        stage = self.contents.stage_of(found)
        chapter = tier.chapters.get(found.stage)
        cell = found.cell.partition("#")[2]
        ours = getattr(claim, "ours", None)
        made = chapter.made if chapter else None
        return self._render(
            "claim.html",
            links.claim(found.claim),
            found.claim,
            found=found,
            tier=tier,
            stage=stage,
            chapter=chapter,
            chapter_title=self._titles.get(stage, "No notebook"),
            committed=isinstance(claim, Committed),
            committed_values=_given_out(tier, chapter) if isinstance(claim, Committed) and chapter else {},
            quotes=self.quotes(found.claim),
            shown_cells=SHOWN_CELLS,
            facing=self._facing(tier, found),
            compared=self._compared(tier, found),
            sources=self._sources(found.claim),
            shown_files=SHOWN_FILES,
            ours=ours.name if ours else "",
            cell=cell,
            cell_code=Markup(cells.code(chapter.cell(cell))) if chapter and cell else "",
            parameters={**made.ingredients.parameters, **made.ingredients.repeats} if made else {},
            environment={"cpu": "", **made.environment} if made else {},
            made_from=_made_from(chapter) if chapter else {},
            before=before,
            after=after,
        )

    def compared(self, tier: TierContents, found: Verdict) -> list[Cell]:
        """Every number that a claim compares; none where it compares only one."""
        claim = self.contents.claims[found.claim]
        if isinstance(claim, Claim) and claim.published.key:
            return tier.judge.cells(claim)
        return [Cell(**cell) for cell in found.differing] if isinstance(claim, Contradiction | Committed) else []

    def _compared(self, tier: TierContents, found: Verdict) -> Compared:
        cells = self.compared(tier, found)
        off = [cell for cell in cells if cell.verdict in OFF]
        rest = [cell for cell in cells if cell.verdict not in OFF]
        if len(cells) <= SHOWN_AT_ONCE or not off:
            off, rest = (cells, []) if len(cells) <= SHOWN_AT_ONCE else ([], cells)
        folded = rest[: max(0, SHOWN_CELLS - len(off))]
        return Compared(off, folded, len(rest) - len(folded), self._units(tier, found.claim))

    def _units(self, tier: TierContents, name: str) -> dict[str, str]:
        return cell_units(self.contents.project, self.contents.claims[name], tier.values)

    def _facing(self, tier: TierContents, found: Verdict) -> dict[str, str]:
        """The published number and ours with their units; of statements each that says something else."""
        claim, units = self.contents.claims[found.claim], self._units(tier, found.claim)
        if isinstance(claim, Contradiction):
            said = [_with_unit(cell["published"], units.get(cell["key"], "")) for cell in found.differing]
            published, unit = " | ".join(dict.fromkeys(said)), our_unit(claim, tier.values)
        else:
            unit = units.get("", "") if not (isinstance(claim, Claim) and claim.published.key) else ""
            published = _with_unit(found.published, unit)
        return {"published": published, "ours": _with_unit(found.value, unit)}

    def quotes(self, name: str) -> list[Quote]:
        """What a claim only quotes, or what was not tried to reproduce, as tables."""
        return quotes(self.contents.project, self.contents.claims[name])

    def _sources(self, name: str) -> list[Source]:
        claim = self.contents.claims[name]
        if isinstance(claim, Claim):
            return [self._source("", claim.published)]
        if isinstance(claim, Contradiction):
            return [self._source(statement.label, statement) for statement in claim.statements]
        return [self._source("", published) for published in about(claim)]

    def _source(self, label: str, published: Published) -> Source:
        where = ", ".join(f"{name} = {_listed(wanted)}" for name, wanted in published.where.items())
        files = raw_files(self.contents.project, published.record, published.where)
        return Source(label, published.record, published.column, where, files)

    def _discrepancies(self) -> str:
        rows = [verdict for _, verdict in self._rows if verdict.verdict in OFF]
        stages = {self.contents.stage_of(verdict) for verdict in rows}
        groups = {
            self._titles.get(stage, "No notebook"): [row for row in rows if self.contents.stage_of(row) == stage]
            for stage in [*self._titles, ""]
            if stage in stages
        }
        return self._render("discrepancies.html", "discrepancies.html", "Discrepancies", groups=groups, total=len(rows))

    def _about(self) -> str:
        cited = citation.load(self.contents.project)
        bibtex = BIBTEX.format(author=cited.author, title=cited.title, version=cited.version, license=cited.license)
        chapters = [chapter for tier in self.contents.tiers for chapter in tier.chapters.values()]
        return self._render(
            "about.html", "about.html", "Cite and rerun", citation=cited, bibtex=bibtex, chapters=chapters
        )


class _Known(dict[str, Any]):
    """Claims or values by name. Raises UsageError for another name."""

    def __init__(self, what: str, content: Mapping[str, Any]) -> None:
        super().__init__(content)
        self._what = what

    def __missing__(self, name: str) -> Any:
        raise unknown(self._what, name, self)


def _made_from(chapter: Chapter) -> dict[str, Mapping[str, str]]:
    return {
        "inputs": chapter.made.ingredients.inputs,
        "modules of code": {**chapter.made.ingredients.notebook, **chapter.made.ingredients.code},
        "packages": chapter.made.environment["packages"],
    }


def _given_out(tier: TierContents, chapter: Chapter) -> dict[str, tuple[str, str, str]]:
    """What a rerun of a notebook must give again: the values, with their units and their places in the book."""
    return {
        name: (_shown(entry["value"]), entry["unit"], links.cell(tier.name, chapter.file, name))
        for name, entry in tier.values.items()
        if entry["stage"] == chapter.stage.id and not entry.get("varies")
    }


def _shown(value: float | str) -> str:
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def _with_unit(text: str, unit: str) -> str:
    return f"{grouped(text)} {unit}" if text and unit else grouped(text)


def _strip(rows: list[Verdict], say: Mapping[str, Any]) -> dict[str, Any]:
    """A square for each verdict, and what they are in words."""
    counts = Counter(verdict.verdict for verdict in rows)
    return {
        "verdicts": [(verdict.claim, verdict.verdict) for verdict in rows],
        "counted": ", ".join(f"{counts[name]} {say['verdicts'][name]}" for name in VERDICTS if counts[name]),
    }


def _listed(wanted: object) -> str:
    return ", ".join(map(str, wanted)) if isinstance(wanted, list) else str(wanted)


def slug(text: str) -> str:
    """A name for classes and anchors: "differs, explained" is differs-explained."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def grouped(text: str) -> str:
    """A number with narrow spaces between thousands, where it is a whole one of five digits or more."""
    sign, digits = (MINUS, text[1:]) if text.startswith("-") else ("", text)
    if not (digits.isdigit() and len(digits) > 4):
        return sign + digits if digits.replace(".", "").isdigit() else text
    return sign + f"{int(digits):,}".replace(",", "\u202f")


def deviation(number: float | None) -> str:
    """A difference, to three digits; nothing for words."""
    return "" if number is None else "0" if number == 0 else f"{number:.3g}".replace("-", MINUS)
