"""Needle in a haystack: a sentence with a number is hidden in a long text, and asked for at its end.

The authors published pictures of such a test and no code; this one is ours. A score is the share of needles that the
model gives back exactly when it writes the likeliest token each time. One pass tells: the answer is what it would
write if each of its tokens is the likeliest after those before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

NEEDLES = {  # what is hidden, and what is asked; the answer follows
    "fr": ("Le numéro de la chambre de {name} est {number}.", "Le numéro de la chambre de {name} est"),
    "en": ("The number of {name}'s room is {number}.", "The number of {name}'s room is"),
}
NAMES = ("Camille", "Nora", "Basile", "Irène", "Tom", "Judith", "Oscar", "Lina", "Félix", "Agathe", "Ruben")
DEPTHS = (0, 25, 50, 75, 100)  # percent of the text that lies before the needle


def haystack(
    folder: Path,
    filler: dict[str, str],
    lengths: Sequence[int],
    depths: Sequence[int] = DEPTHS,
    needles: int = 3,
    seed: int = 0,
) -> pl.DataFrame:
    """Ask the model of a folder for every needle: language, context_tokens, depth_percent, needles, found.

    ``filler`` is text of each language, at least as long as the longest of ``lengths`` (tokens, question and answer
    included). Raises ValueError where it is shorter.
    """
    from transformers import AutoTokenizer

    from lucie.training.model import load

    model, tokenizer = load(folder), AutoTokenizer.from_pretrained(folder, local_files_only=True)
    chance = np.random.default_rng(seed)
    rows = []
    for language, text in filler.items():
        straw = _ids(tokenizer, text)
        if len(straw) < max(lengths):
            raise ValueError(f"The filler in '{language}' has {len(straw)} tokens; the longest text {max(lengths)}.")
        for length in lengths:
            for depth in depths:
                asked = [
                    _text(tokenizer, straw, language, name, int(chance.integers(1000, 10_000)), length, depth)
                    for name in NAMES[:needles]
                ]
                found = sum(_finds(model, ids, answer) for ids, answer in asked)
                rows.append(
                    {"language": language, "context_tokens": length, "depth_percent": depth, "needles": needles,
                     "found": found}
                )  # fmt: skip
    return pl.DataFrame(rows)


def _text(
    tokenizer: Any, straw: list[int], language: str, name: str, number: int, length: int, depth: int
) -> tuple[list[int], int]:
    """A text of ``length`` tokens that ends with the answer, and how many tokens the answer has."""
    hidden, question = NEEDLES[language]
    needle = _ids(tokenizer, " " + hidden.format(name=name, number=number))
    asked = _ids(tokenizer, " " + question.format(name=name))
    answer = _ids(tokenizer, f" {number}")
    room = length - len(needle) - len(asked) - len(answer)
    before = round(room * depth / 100)
    return [*straw[:before], *needle, *straw[before:room], *asked, *answer], len(answer)


def _finds(model: Any, ids: list[int], answer: int) -> bool:
    """Whether the model would write the last ``answer`` tokens after those before, always taking the likeliest."""
    import torch

    with torch.inference_mode():
        text = torch.tensor([ids], device=model.device)
        logits = model(input_ids=text, use_cache=False, logits_to_keep=answer + 1).logits[0, :-1]
    return bool((logits.argmax(-1) == text[0, -answer:]).all())


def _ids(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False).input_ids
    return ids
