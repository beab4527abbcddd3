"""Counts words several times as fast as a regular expression does: by the bytes at which one begins."""

from __future__ import annotations

import numpy as np
import polars as pl

WORD = r"[^\s\x1c-\x1f]+"  # what is counted, as a regular expression
# White space beyond ASCII, in UTF-8: U+0085, U+00A0; U+1680; U+2000 to U+200A, U+2028, U+2029, U+202F, U+205F; U+3000.
OF_TWO = [0xC285, 0xC2A0]
OF_THREE = [0xE19A80, *range(0xE28080, 0xE2808B), 0xE280A8, 0xE280A9, 0xE280AF, 0xE2819F, 0xE38080]


def count_words(texts: pl.Series) -> pl.Series:
    """The number of words of each text: what stands between white space. A missing text has none."""
    arrow = texts.to_arrow(compat_level=pl.CompatLevel.oldest())
    _, ends, content = arrow.buffers()
    offsets = np.frombuffer(ends or bytes(8), dtype=np.int64)[arrow.offset : arrow.offset + len(texts) + 1]
    data = np.frombuffer(content or b"", dtype=np.uint8)[: offsets[-1]]
    blank = _blank(data)
    begins = np.empty(len(data), dtype=bool)
    np.greater(blank[:-1], blank[1:], out=begins[1:])
    first = offsets[:-1][np.diff(offsets) > 0]
    begins[first] = ~blank[first]  # no text stands before the first byte of a text
    places = np.flatnonzero(begins)
    return pl.Series("words", np.diff(np.searchsorted(places, offsets)), pl.Int64)


def _blank(data: np.ndarray) -> np.ndarray:
    """Which bytes of UTF-8 belong to white space."""
    blank: np.ndarray = (data - np.uint8(0x09)) < 5
    blank |= (data - np.uint8(0x1C)) < 5
    two = np.flatnonzero(data[:-1] == OF_TWO[0] >> 8)
    two = two[np.isin(_number(data, two, 2), OF_TWO)]
    three = np.flatnonzero((data[:-2] - np.uint8(OF_THREE[0] >> 16)) < 3)
    three = three[np.isin(_number(data, three, 3), OF_THREE)]
    for place in (two, two + 1, three, three + 1, three + 2):
        blank[place] = True
    return blank


def _number(data: np.ndarray, places: np.ndarray, length: int) -> np.ndarray:
    """The bytes from each of some places on, as a number."""
    number = np.zeros(len(places), dtype=np.uint32)
    for step in range(length):
        number = number << 8 | data[places + step]
    return number
