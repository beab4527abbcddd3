"""Looks at one document: its signals, and the first rule that it breaks."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import inf
from statistics import fmean, median

from lucie.corpus import language, web
from lucie.corpus.licences import rights
from lucie.corpus.perplexity import CharacterModel, Scale, half_of
from lucie.corpus.pii import replaced
from lucie.corpus.recipe import Recipe
from lucie.corpus.rules import Rule, RuleSet, chunk_characters, rule_set
from lucie.corpus.signals import signals
from lucie.project import Project

Document = Mapping[str, str | None]
Models = Mapping[str, tuple[CharacterModel, ...]]  # by language: one for each half of the corpus
Scales = Mapping[tuple[str, str], Scale]  # by language and category


@dataclass(frozen=True)
class Examined:
    """What became of a document: the rules that it breaks, its text without what was cut from it."""

    broken: list[str]
    text: str
    signals: dict[str, float]
    chunks_cut: int = 0
    replaced: Counter[str] = field(default_factory=Counter)

    @property
    def reason(self) -> str:
        """Why it is dropped: the first rule that it breaks; '' when it is kept."""
        return self.broken[0] if self.broken else ""


class Examiner:
    """Applies a recipe's rules to documents, one by one."""

    def __init__(self, project: Project, recipe: Recipe, models: Models, scales: Scales) -> None:
        self._project, self._recipe, self._models, self._scales = project, recipe, models, scales
        self._sets: dict[tuple[str, str], list[RuleSet]] = {}
        self._chunk = chunk_characters()

    def examine(self, document: Document) -> Examined:
        """Apply the rules in order: rights, address, quality of the whole, quality of its chunks."""
        text = document["text"] or ""
        reason = self._rights(document) or self._address(document)
        if reason:
            return Examined([reason], text, {})
        rules = [rule for found in self._rule_sets(document) for rule in found.rules]
        chunks = self._chunks(text)
        of_chunks = self._signals_of_chunks(document, chunks, {name for rule in rules for name in rule.signals})
        found = self._signals(document, text, of_chunks)
        broken = [rule.name for rule in rules if rule.spares is None and rule.drops(found)]
        if broken:
            return Examined(broken, text, found)
        kept, reasons = _cut(chunks, of_chunks, [rule for rule in rules if rule.spares is not None])
        if not kept:
            return Examined(list(dict.fromkeys(reasons)), text, found, len(reasons))
        text = "".join(kept)
        if document["category"] not in self._recipe.web:
            return Examined([], text, found, len(reasons))
        clean, counts = replaced(text)
        return Examined([], clean, found, len(reasons), counts)

    def not_applied(self, document: Document, examined: Examined) -> list[str]:
        """The rules that looked for something that is not known of the document, or in a list that is not there."""
        if not examined.signals:  # dropped before these rules
            return []
        sets = self._rule_sets(document)
        names = {rule.name for found in sets for rule in found.rules if not examined.signals.keys() & rule.signals}
        names |= {name for found in sets for name in found.not_applied}
        if document["category"] in self._recipe.web:
            lists = {"address covered": True, "address blocked": self._block_list, "robots forbid": self._robots}
            names |= {name for name, held in lists.items() if not (held and document["url"])}
        return sorted(names)

    def _rights(self, document: Document) -> str:
        kind = rights(document["licence"])
        return "" if kind in self._recipe.rights else f"licence {kind}"

    def _address(self, document: Document) -> str:
        url = document["url"]
        if document["category"] not in self._recipe.web or not url:
            return ""
        if web.is_covered(url, document["language"] or ""):
            return "address covered"
        if self._block_list and self._block_list.why_blocked(url):
            return "address blocked"
        if self._robots:
            allowed = self._robots.allows(url)
            return "robots unknown" if allowed is None else "" if allowed else "robots forbid"
        return ""

    def _signals_of_chunks(self, document: Document, chunks: list[str], wanted: set[str]) -> list[dict[str, float]]:
        """Perplexity and language score of each chunk, where a rule asks for them."""
        spoken = document["language"] or ""
        models = self._models.get(spoken) if any(name.startswith("perplexity") for name in wanted) else None
        half = half_of(document["text"] or "") if models else 0
        found: list[dict[str, float]] = []
        for chunk in chunks:
            scores: dict[str, float] = {}
            if models:  # the model of the other half of the corpus
                scores["perplexity"] = models[1 - half].perplexity(chunk)
            if "language_score" in wanted and spoken in language.SINGLE:
                scores["language_score"] = language.score_of(chunk, spoken)
            found.append(scores)
        return found

    def _signals(self, document: Document, text: str, of_chunks: list[dict[str, float]]) -> dict[str, float]:
        """The signals of the whole; what was scored in chunks, by mean and median."""
        found = signals(text, self._listed_words)
        if not self._recipe.lists.words:
            del found["listed_words"]
        for name in of_chunks[0]:
            scores = [chunk[name] for chunk in of_chunks]
            found |= {name: fmean(scores), f"{name}_mean": fmean(scores), f"{name}_median": median(scores)}
        year = _year_of_death(document["extra"])
        if year is not None:
            found["years_since_death"] = float(self._recipe.reference_year - year)
        return found

    def _chunks(self, text: str) -> list[str]:
        return [text[at : at + self._chunk] for at in range(0, len(text), self._chunk)] or [""]

    def _rule_sets(self, document: Document) -> list[RuleSet]:
        key = (document["category"] or "", document["language"] or "")
        if key not in self._sets:
            category, spoken = key
            names = self._recipe.rule_sets.get(category, self._recipe.rule_sets.get("*", []))
            scale = self._scales.get((spoken, category))
            bounds = scale.bounds(self._recipe.perplexity.spreads) if scale else (0.0, inf)
            self._sets[key] = [rule_set(_for_language(name, spoken), bounds) for name in names]
        return self._sets[key]

    @cached_property
    def _listed_words(self) -> frozenset[str]:
        return frozenset(self._lines(self._recipe.lists.words))

    @cached_property
    def _block_list(self) -> web.BlockList | None:
        lists = self._recipe.lists
        if not (lists.domains or lists.integrated_domains):
            return None
        return web.BlockList(self._lines(lists.domains), lists.integrated_domains)

    @cached_property
    def _robots(self) -> web.Robots | None:
        name = self._recipe.lists.robots
        return web.Robots.load(self._project.root / name) if name else None

    def _lines(self, name: str) -> list[str]:
        if not name:
            return []
        lines = (self._project.root / name).read_text(encoding="utf-8").splitlines()
        return [line.strip().lower() for line in lines if line.strip() and not line.startswith("#")]


def _cut(chunks: list[str], of_chunks: list[dict[str, float]], rules: list[Rule]) -> tuple[list[str], list[str]]:
    """The chunks that break no rule, and why the others are cut."""
    kept: list[str] = []
    reasons: list[str] = []
    for number, (chunk, scores) in enumerate(zip(chunks, of_chunks, strict=True)):
        broken = (rule.name for rule in rules if number >= (rule.spares or 0) and rule.drops(scores))
        reason = next(broken, None)
        if reason:
            reasons.append(reason)
        else:
            kept.append(chunk)
    return kept, reasons


def _for_language(name: str, spoken: str) -> str:
    """Gutenberg's rule has one term for French and one for the others."""
    if name != "Gutenberg":
        return name
    return "Gutenberg (fr)" if spoken == "fr" else "Gutenberg (other languages)"


def _year_of_death(extra: str | None) -> int | None:
    try:
        found = json.loads(extra or "{}")
        return int(found["author_death"]) if isinstance(found, dict) and "author_death" in found else None
    except (ValueError, TypeError):
        return None
