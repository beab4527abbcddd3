"""The published filtering rules, as the record of their thresholds lists them, applied to quality signals.

The perplexity thresholds are those of CCNet's models; the model of lucie.corpus.perplexity has another scale, so its
own bounds take their place, and a rule that is applied so says it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from lucie import records
from lucie.corpus.recipe import Recipe
from lucie.errors import unknown

THRESHOLDS = "transcribed/filter_thresholds"
# A published rule's name -> our signals. Rules that are not here cannot be applied: `not_applied` names them.
SIGNALS: dict[str, tuple[str, ...]] = {
    "CCNet perplexity": ("perplexity",),
    "mean and median CCNet perplexity of the chunks": ("perplexity_mean", "perplexity_median"),
    "score of the language": ("language_score",),
    "score of French": ("language_score",),
    "sentences": ("sentences",),
    "part of curly brackets": ("curly_brackets",),
    "part of placeholder text (lorem ipsum)": ("lorem_ipsum",),
    "words of the LDNOOBW list": ("listed_words",),
    "words": ("words",),
    "characters": ("characters",),
    "mean word length": ("mean_word_length",),
    "symbols per word": ("symbols_per_word",),
    "part of lines that start with a bullet": ("bullet_lines",),
    "part of lines that end with an ellipsis": ("ellipsis_lines",),
    "part of words without a letter": ("words_without_letter",),
    "years since the author's death": ("years_since_death",),
    **{f"part of characters in the most frequent {n}-gram": (f"top_{n}gram",) for n in (2, 3, 4)},
    **{f"part of characters in repeated {n}-grams": (f"repeated_{n}grams",) for n in range(5, 11)},
}


@dataclass(frozen=True)
class Rule:
    """Drops a document, or a chunk of it, whose signals are all beyond a threshold.

    ``spares`` is the number of leading chunks that a rule about chunks does not look at, None for a rule about
    whole documents.
    """

    name: str  # what a dropped document is counted under
    signals: tuple[str, ...]
    below: bool
    threshold: float
    spares: int | None = None

    def drops(self, signals: Mapping[str, float]) -> bool:
        """Whether the signals break the rule; a signal that is not there breaks none."""
        found = [signals[name] for name in self.signals if name in signals]
        return bool(found) and all(value < self.threshold if self.below else value > self.threshold for value in found)


@dataclass(frozen=True)
class RuleSet:
    """The rules of one of the authors' corpora, and the names of those that cannot be applied here."""

    rules: tuple[Rule, ...]
    not_applied: tuple[str, ...]


def rule_set(name: str, perplexity: tuple[float, float]) -> RuleSet:
    """The rules that the authors applied to ``name`` (RedPajama, HAL, Theses, ...), with our perplexity bounds."""
    listed = records.load(THRESHOLDS).filter(pl.col("drops") != "parameter")
    chosen = [row for row in listed.iter_rows(named=True) if name in _corpora(row["corpora"])]
    if not chosen:
        known = {corpus for corpora in listed["corpora"] for corpus in _corpora(corpora)}
        raise unknown("published rule set", name, known)
    return RuleSet(
        tuple(_rule(row, perplexity) for row in chosen if row["rule"] in SIGNALS),
        tuple(row["rule"] for row in chosen if row["rule"] not in SIGNALS),
    )


def not_applied(recipe: Recipe) -> list[str]:
    """What the published rules ask for that a recipe cannot give, in words."""
    lists = recipe.lists
    sets = {name for names in recipe.rule_sets.values() for name in names}
    found = [] if lists.words or "RedPajama" not in sets else ["rude words: there is no list of them"]
    if recipe.web and not (lists.domains or lists.integrated_domains):
        found.append("blocked sites: there is no list of them")
    if recipe.web and not lists.robots:
        found.append("robots.txt: none are listed")
    if sets:
        found.append(
            "thresholds of CCNet's perplexity: its models are not here; those of a small model take their place"
        )
    return found


def minhash_settings() -> dict[str, int]:
    """The published settings of MinHash: buckets, hashes per bucket, words per shingle."""
    listed = records.load(THRESHOLDS).filter(step="MinHash")
    return {rule: int(value) for rule, value in listed.select("rule", "value").iter_rows()}


def chunk_characters() -> int:
    """The published length of the chunks that scanned texts were scored in."""
    return int(records.load(THRESHOLDS).filter(rule="characters in a chunk")["value"].item())


def _corpora(listed: str) -> list[str]:
    return [name.strip() for name in listed.split(",")]


def _rule(row: dict[str, object], perplexity: tuple[float, float]) -> Rule:
    signals = SIGNALS[str(row["rule"])]
    below = row["drops"] == "below"
    threshold = float(str(row["value"]))
    if signals[0].startswith("perplexity"):
        threshold = perplexity[0 if below else 1]
    applies_to = str(row["applies_to"])
    return Rule(
        name=f"{signals[0].removesuffix('_mean').replace('_', ' ')} too {'low' if below else 'high'}",
        signals=signals,
        below=below,
        threshold=threshold,
        spares=(2 if "after the second" in applies_to else 0) if applies_to.startswith("chunk") else None,
    )
