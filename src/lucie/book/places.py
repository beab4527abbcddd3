"""Where the report inside the book leads: each number to its claim, or else to the cell that gave it out."""

from __future__ import annotations

from dataclasses import dataclass

from lucie.book import links
from lucie.book.contents import Contents
from lucie.notebook import RECORD


@dataclass(frozen=True)
class BookPlaces:
    """Pages of the book by what the report calls things."""

    contents: Contents

    def value(self, name: str) -> str:
        """The page of the first claim on a value, else its place in its notebook. Other tiers' have `TIER:` before."""
        tier, _, plain = name.rpartition(":")
        tier = tier or RECORD
        claims = self.contents.claims_on(tier, plain)
        return links.claim(claims[0]) if claims else self._cell(tier, self._stage_of(tier, plain), plain)

    def claim(self, name: str) -> str:
        return links.claim(name)

    def shown(self, tier: str, name: str) -> str:
        """The cell that gave out a figure or table."""
        for stage, chapter in self.contents.tier(tier).chapters.items():
            if name in chapter.made.shown:
                return self._cell(tier, stage, chapter.made.shown[name]["cell"])
        raise KeyError(f"{name} in tier {tier}")

    def _stage_of(self, tier: str, value: str) -> str:
        stage: str = self.contents.tier(tier).values[value]["stage"]
        return stage

    def _cell(self, tier: str, stage: str, place: str) -> str:
        return links.cell(tier, self.contents.tier(tier).chapters[stage].file, place)
