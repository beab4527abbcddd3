"""The data of the suite `mini` and its like, laid out as its task files ask for: our items, and held-out text.

items/NAME.jsonl              data/mini/items, as they are
held_out/LANGUAGE.jsonl       the documents held out from the training, as the tokenizer gives them back
held_out/word_order.jsonl     their sentences, each beside itself with two neighbouring words exchanged
"""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lucie.corpus.language import SINGLE
from lucie.files import write_atomic
from lucie.tokenizer.bpe import load
from lucie.tokens.folder import HELD_OUT, TokenFolder

SENTENCE = re.compile(r"(?<=[.!?»])\s+")
WORDS = range(6, 25)  # of a sentence that is asked about
SENTENCES = 400  # at most


def documents(tokens: Path, tokenizer: Path) -> dict[str, list[str]]:
    """The held-out documents of each language, as the tokenizer gives back their tokens."""
    folder, words = TokenFolder(tokens / HELD_OUT), load(tokenizer)
    found: dict[str, list[str]] = {}
    for name, file in sorted(folder.files.items()):
        found.setdefault(file.language, []).extend(words.decode_batch(folder.split(name)))
    return {language: texts for language, texts in found.items() if texts}


def lay_out(texts: dict[str, list[str]], items: Path, into: Path) -> None:
    """Write the files of the suite into a folder."""
    shutil.copytree(items, into / "items", dirs_exist_ok=True)
    for language in SINGLE:
        _write(into / "held_out" / f"{language}.jsonl", ({"text": text} for text in texts.get(language, [])))
    _write(into / "held_out" / "word_order.jsonl", word_order(texts))


def word_order(texts: dict[str, list[str]], seed: int = 0) -> list[dict[str, Any]]:
    """Sentences in the five languages with a wrong twin each: language, query (empty), choices, answer.

    Two different neighbouring words within the sentence, neither of them its first or last, are exchanged. So the
    twin has the same words, and a guesser is right half of the time.
    """
    chance = random.Random(seed)
    found = []
    for language in SINGLE:
        for sentence in dict.fromkeys(part for text in texts.get(language, []) for part in _sentences(text)):
            words = sentence.split(" ")
            places = [at for at in range(1, len(words) - 2) if words[at].lower() != words[at + 1].lower()]
            if len(words) not in WORDS or not places:
                continue
            at = chance.choice(places)
            twin = " ".join([*words[:at], words[at + 1], words[at], *words[at + 2 :]])
            answer = chance.randrange(2)
            choices = [sentence, twin] if answer == 0 else [twin, sentence]
            found.append({"language": language, "query": "", "choices": choices, "answer": answer})
    step = max(1, -(-len(found) // SENTENCES))
    return found[::step]


def _sentences(text: str) -> Iterator[str]:
    for line in text.splitlines():
        for part in SENTENCE.split(line.strip()):
            if part and part[0].isalpha() and part[-1] in ".!?":
                yield part


def _write(path: Path, rows: Any) -> None:
    write_atomic(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
