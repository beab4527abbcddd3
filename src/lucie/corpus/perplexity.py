"""A small character language model: how surprising is a text?

The authors scored texts with CCNet's models (KenLM 5-grams over SentencePiece pieces, trained on Wikipedia), which
are not in reach here. This one is trained on the corpus itself: an n-gram model of characters, smoothed by
interpolation (Witten and Bell, 1991). Its perplexities are per character and cannot be compared with CCNet's, so the
published thresholds do not apply to it: see Scale. A document is scored by the model of the half of the corpus that
it is not in.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lucie.corpus.signals import normalised

ORDER = 5
ALPHABET = 254  # characters that have a number of their own; 0 stands between texts, 255 for any other
OTHER = 255
HALVES = 2
RUN = 5  # words
QUARTILES = 1.349  # the distance between the quartiles of a normal curve, in standard deviations
LEAST_SPREAD = 0.01
BLANKS, DIGITS = re.compile(r"\s+"), re.compile(r"\d")


def half_of(text: str) -> int:
    """The half of the corpus that a document is in, by its words, so that copies are in the same one.

    It is decided by the run of words with the least hash: a copy with a few changes most likely shares it. A model
    that had seen a document's copy would find nothing surprising in it.
    """
    words = normalised(text).split()
    runs = (" ".join(words[at : at + RUN]) for at in range(max(1, len(words) - RUN + 1)))
    return zlib.adler32(min(runs, key=lambda run: zlib.crc32(run.encode())).encode()) % HALVES


def prepared(text: str) -> str:
    """What the model sees: lower case, one blank for white space, 0 for every digit."""
    return DIGITS.sub("0", BLANKS.sub(" ", text.lower())).strip()


@dataclass(frozen=True)
class CharacterModel:
    """An n-gram model of characters.

    For each order n: the n-grams seen, as sorted numbers (one byte a character), and how often; and the contexts of
    n - 1 characters with how often and before how many different characters they were seen.
    """

    alphabet: str
    grams: list[np.ndarray]
    counts: list[np.ndarray]
    contexts: list[np.ndarray]
    context_counts: list[np.ndarray]
    context_kinds: list[np.ndarray]

    @classmethod
    def train(cls, texts: Iterable[str]) -> CharacterModel:
        ready = [prepared(text) for text in texts]
        seen, times = np.unique(_points("".join(ready)), return_counts=True)
        frequent = seen[np.lexsort((seen, -times))][:ALPHABET]
        alphabet = "".join(map(chr, sorted(frequent)))
        stream = np.concatenate([_framed(text, alphabet) for text in ready] or [np.zeros(0, np.uint8)])
        parts: list[tuple[np.ndarray, ...]] = []
        for order in range(1, ORDER + 1):
            windows = _windows(stream, order)
            windows = windows[(windows & np.uint64(0xFF)) != 0]  # never predict the gap between texts
            grams, counts = np.unique(windows, return_counts=True)
            contexts, first = np.unique(grams >> np.uint64(8), return_index=True)
            totals = np.add.reduceat(counts, first) if len(first) else counts
            parts.append((grams, counts, contexts, totals, np.diff([*first, len(grams)])))
        return cls(alphabet, *(list(part) for part in zip(*parts, strict=True)))

    def perplexity(self, text: str) -> float:
        """The perplexity per character; 1 for an empty text."""
        stream = _framed(prepared(text), self.alphabet)
        chances = np.full(len(stream) - (ORDER - 1), 1 / (ALPHABET + 1))
        for order in range(1, ORDER + 1):
            windows = _windows(stream, order)[ORDER - order :]
            seen, contexts = _look_up(self.contexts[order - 1], windows >> np.uint64(8))
            totals = np.where(seen, self.context_counts[order - 1][contexts], 0)
            kinds = np.where(seen, self.context_kinds[order - 1][contexts], 0)
            there, grams = _look_up(self.grams[order - 1], windows)
            counts = np.where(there, self.counts[order - 1][grams], 0)
            mixed = (counts + kinds * chances) / np.maximum(totals + kinds, 1)
            chances = np.where(totals > 0, mixed, chances)
        return float(np.exp(-np.log(chances).mean())) if len(chances) else 1.0

    def save(self, path: Path) -> None:
        named = {f"{name}_{n}": part for name in _PARTS for n, part in enumerate(getattr(self, name))}
        temporary = path.with_name(f".{path.name}.tmp")
        with temporary.open("wb") as file:
            np.savez(file, alphabet=_points(self.alphabet), **named)
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path) -> CharacterModel:
        with np.load(path) as held:
            parts = [[held[f"{name}_{n}"] for n in range(ORDER)] for name in _PARTS]
            return cls("".join(map(chr, held["alphabet"])), *parts)


_PARTS = ("grams", "counts", "contexts", "context_counts", "context_kinds")


@dataclass(frozen=True)
class Scale:
    """The usual perplexity of one kind of documents (a language and category): centre and spread of its logarithm."""

    centre: float
    spread: float

    def bounds(self, spreads: float) -> tuple[float, float]:
        """The perplexities so many spreads below and above the usual one."""
        low, high = self.centre - spreads * self.spread, self.centre + spreads * self.spread
        return float(np.exp(low)), float(np.exp(high))


def scales_of(perplexities: Mapping[str, Iterable[float]]) -> dict[str, Scale]:
    """The scale of each category of a language: its own centre, and a spread that all have in common.

    Few documents tell a centre but not a spread. Median and quartiles are taken, so that the garbled documents that
    are looked for move neither.
    """
    logs = {category: np.log(np.array(list(found))) for category, found in perplexities.items()}
    centres = {category: float(np.median(found)) for category, found in logs.items()}
    around = np.concatenate([found - centres[category] for category, found in logs.items()])
    low, high = np.percentile(around, [25, 75])
    spread = max(float(high - low), LEAST_SPREAD) / QUARTILES
    return {category: Scale(centre, spread) for category, centre in centres.items()}


def _points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)


def _framed(text: str, alphabet: str) -> np.ndarray:
    """The characters' numbers, after ORDER - 1 zeros."""
    points, known = _points(text), _points(alphabet)
    if not len(known) or not len(points):
        return np.zeros(ORDER - 1, np.uint8)
    there, place = _look_up(known, points)
    numbers = np.where(there, place + 1, OTHER).astype(np.uint8)
    return np.concatenate([np.zeros(ORDER - 1, np.uint8), numbers])


def _windows(stream: np.ndarray, size: int) -> np.ndarray:
    """Each run of ``size`` numbers as one."""
    count = len(stream) - size + 1
    packed = np.zeros(max(count, 0), dtype=np.uint64)
    for shift in range(size if count > 0 else 0):
        packed = (packed << np.uint64(8)) | stream[shift : shift + count]
    return packed


def _look_up(sorted_keys: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether each key is there, and where (0 where it is not)."""
    if not len(sorted_keys):
        return np.zeros(len(keys), dtype=bool), np.zeros(len(keys), dtype=np.int64)
    place = np.minimum(np.searchsorted(sorted_keys, keys), len(sorted_keys) - 1)
    there = sorted_keys[place] == keys
    return there, np.where(there, place, 0)
