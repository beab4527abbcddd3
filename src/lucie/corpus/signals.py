"""Quality signals of a document: the numbers that filtering rules look at.

Definitions follow the data card of RedPajama v2, whose signals the authors used: words are counted in the text in
lower case without punctuation; shares of characters are shares of the characters in words.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Collection

import numpy as np

SENTENCE = re.compile(r"\b[^.!?]+[.!?]*")
BULLETS = tuple("\u2022\u2023\u25b6\u25c0\u25e6\u25a0\u25a1\u25aa\u25ab\u2013")
ELLIPSES = ("...", "…")
SYMBOLS = ("#", "...", "…")
TOP_NGRAMS = (2, 3, 4)
REPEATED_NGRAMS = (5, 6, 7, 8, 9, 10)
PLACEHOLDER = "lorem ipsum"
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_BASE = np.uint64(0x9E3779B97F4A7C15)  # odd, so that word numbers are spread over 64 bits


def signals(text: str, listed_words: Collection[str] = ()) -> dict[str, float]:
    """The signals of a text; ``listed_words`` in lower case are counted too."""
    words = normalised(text).split()
    lines = text.splitlines() or [""]
    found = {
        "words": float(len(words)),
        "characters": float(len(text)),
        "sentences": float(sum(1 for _ in SENTENCE.finditer(text))),
        "curly_brackets": _share(text.count("{") + text.count("}"), len(text)),
        "lorem_ipsum": _share(normalised(text).count(PLACEHOLDER), len(words)),
        "listed_words": float(_count_listed(words, listed_words)),
        "mean_word_length": _share(sum(map(len, words)), len(words)),
        "symbols_per_word": _share(sum(map(text.count, SYMBOLS)), len(words)),
        "bullet_lines": _share(sum(line.lstrip().startswith(BULLETS) for line in lines), len(lines)),
        "ellipsis_lines": _share(sum(line.rstrip().endswith(ELLIPSES) for line in lines), len(lines)),
        "words_without_letter": _without_letter(text.split()),
    }
    return found | repetition(words)


def normalised(text: str) -> str:
    """Lower case, without accents' composition, without punctuation, one blank between words."""
    return " ".join(unicodedata.normalize("NFD", text.lower().translate(_PUNCTUATION)).split())


def repetition(words: list[str]) -> dict[str, float]:
    """The shares of characters in the most frequent n-gram, and in n-grams that were there before."""
    numbers, lengths = _numbered(words)
    total = float(lengths.sum())
    found = {f"top_{n}gram": _top(numbers, lengths, n, total) for n in TOP_NGRAMS}
    return found | {f"repeated_{n}grams": _repeated(numbers, lengths, n, total) for n in REPEATED_NGRAMS}


def _numbered(words: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Each word's number (the same word, the same number) and its length."""
    known: dict[str, int] = {}
    numbers = [known.setdefault(word, len(known) + 1) for word in words]
    return np.array(numbers, dtype=np.uint64), np.array([len(word) for word in words], dtype=np.int64)


def _ngrams(numbers: np.ndarray, n: int) -> np.ndarray:
    """A 64-bit hash of each n-gram."""
    count = len(numbers) - n + 1
    hashes = np.zeros(max(count, 0), dtype=np.uint64)
    for shift in range(n if count > 0 else 0):
        hashes = hashes * _BASE + numbers[shift : shift + count]
        hashes ^= hashes >> np.uint64(29)
    return hashes


def _top(numbers: np.ndarray, lengths: np.ndarray, n: int, total: float) -> float:
    """Characters of all occurrences of the most frequent n-gram (the longest of these); 0 where none comes twice."""
    _, first, counts = np.unique(_ngrams(numbers, n), return_index=True, return_counts=True)
    if not len(counts) or counts.max() < 2:
        return 0.0
    starts = first[counts == counts.max()]
    longest = max(int(lengths[start : start + n].sum()) for start in starts)
    return longest * int(counts.max()) / total


def _repeated(numbers: np.ndarray, lengths: np.ndarray, n: int, total: float) -> float:
    """Characters of n-grams that were there before, each character once."""
    hashes = _ngrams(numbers, n)
    if not len(hashes):
        return 0.0
    again = np.ones(len(hashes), dtype=bool)
    again[np.unique(hashes, return_index=True)[1]] = False
    edges = np.zeros(len(numbers) + 1, dtype=np.int64)
    starts = np.flatnonzero(again)
    np.add.at(edges, starts, 1)
    np.add.at(edges, starts + n, -1)
    return float(lengths[np.cumsum(edges)[:-1] > 0].sum()) / total


def _without_letter(words: list[str]) -> float:
    return _share(sum(not any(map(str.isalpha, word)) for word in words), len(words))


def _count_listed(words: list[str], listed: Collection[str]) -> int:
    return sum(word in listed for word in words) if listed else 0


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
