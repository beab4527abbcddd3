r"""The numbers of the report: macros made from values and verdicts.

In the text:

    \val{corpus.parts}                      the value as it is, with thin spaces between thousands
    \val[.3f/1e9]{corpus.tokens.total}      divided, then formatted as Python does
    \verdict{corpus.ratios.totals}          the claim's verdict
    \cells{corpus.ratios.totals}            how many published numbers the claim is about
    \differing{corpus.ratios.totals}        how many of them differ
    \deviation{...}, \reldeviation{...}     the largest deviation, absolute and relative
    \fact{commit}                           a fact of the build
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lucie.errors import UsageError, unknown
from lucie.paper.links import Places, claim_link, value_link
from lucie.tolerance import DIFFERS, EXPLAINED
from lucie.verdict import Verdict

MACRO = re.compile(r"\\(val|verdict|cells|differing|deviation|reldeviation|fact)(?:\[([^\]]*)\])?\{([^}]*)\}")
COMMENT = re.compile(r"(?<!\\)%.*")


@dataclass(frozen=True)
class Numbers:
    """What the text may refer to."""

    values: dict[str, dict[str, Any]]
    verdicts: dict[str, Verdict]
    facts: dict[str, str]
    places: Places | None = None

    def macros(self, sources: list[Path]) -> str:
        """TeX definitions of every use in ``sources``. Raises UsageError, with file and line, for unknown ones."""
        lines = {self._define(*use) for source in sources for use in _uses(source)}
        return "\n".join(sorted(lines)) + "\n"

    def used(self, sources: list[Path]) -> dict[str, dict[str, Any]]:
        """The values that ``sources`` print."""
        names = {name for source in sources for macro, _, name, _ in _uses(source) if macro == "val"}
        return {name: self.values[name] for name in sorted(names)}

    def _define(self, macro: str, option: str, name: str, place: str) -> str:
        try:
            text = self._text(macro, option, name)
        except (UsageError, ValueError) as error:
            raise UsageError(f"{place}: {error}") from error
        return rf"\expandafter\def\csname lucie.{macro}.{option}.{name}\endcsname{{{text}}}"

    def _text(self, macro: str, option: str, name: str) -> str:
        if macro == "val":
            if name not in self.values:
                raise unknown("value", name, self.values)
            return value_link(name, format_value(self.values[name]["value"], option), self.places)
        if macro == "fact":
            if name not in self.facts:
                raise unknown("fact", name, self.facts)
            return escape(self.facts[name])
        if name not in self.verdicts:
            raise unknown("claim", name, self.verdicts)
        return claim_link(name, _OF_VERDICT[macro](self.verdicts[name]), self.places)


def _uses(source: Path) -> Iterator[tuple[str, str, str, str]]:
    place = "paper/sections" if source.parent.name == "sections" else "paper"
    for number, line in enumerate(source.read_text(encoding="utf-8").splitlines(), start=1):
        for macro, option, name in MACRO.findall(COMMENT.sub("", line)):
            yield macro, option, name, f"{place}/{source.name}, line {number}"


def format_value(value: float | int | str, option: str = "") -> str:
    """A value for print: ``option`` is a Python format, then optionally / and a divisor."""
    if isinstance(value, str):
        return escape(value)
    spec, _, divisor = option.partition("/")
    if divisor:
        value = value / float(divisor)
    if spec:
        return _typeset(format(value, spec))
    return _typeset(f"{value:,}" if isinstance(value, int) else f"{value:.12g}")


def scientific(number: float | None) -> str:
    """A small deviation with two digits, as a power of ten; 0 where there is none."""
    if not number:
        return "0"
    mantissa, exponent = f"{number:.1e}".split("e")
    return rf"\ensuremath{{{mantissa}\times10^{{{int(exponent)}}}}}"


def escape(text: str) -> str:
    """Text for TeX."""
    table = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    table |= {character: rf"\{character}" for character in "&%$#_{}"}
    return "".join(table.get(character, character) for character in text)


def code(name: str) -> str:
    """A dotted name, which may be broken after its dots."""
    return rf"\code{{{escape(name).replace('.', '.' + chr(92) + 'allowbreak ')}}}"


def grouped(text: str) -> str:
    """A number as published or recomputed, or a word; whole numbers get thin spaces between thousands."""
    return _typeset(text) if text.lstrip("-").isdigit() else escape(text)


def _typeset(digits: str) -> str:
    whole, point, decimals = digits.replace(",", "").partition(".")
    spaced = f"{int(whole):,}" if whole.lstrip("-").isdigit() and len(whole.lstrip("-")) > 4 else whole
    sign = r"\ensuremath{-}" if spaced.startswith("-") else ""
    return sign + spaced.lstrip("-").replace(",", r"\,") + point + decimals


def _differing(verdict: Verdict) -> str:
    return str(verdict.cells.get(DIFFERS, 0) + verdict.cells.get(EXPLAINED, 0))


_OF_VERDICT: dict[str, Callable[[Verdict], str]] = {
    "verdict": lambda verdict: rf"\textit{{{verdict.verdict}}}",
    "cells": lambda verdict: str(sum(verdict.cells.values())),
    "differing": _differing,
    "deviation": lambda verdict: scientific(verdict.largest_deviation),
    "reldeviation": lambda verdict: scientific(verdict.largest_relative_deviation),
}
