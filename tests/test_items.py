"""The test items of tier mini: enough of them, well formed, and none of them in the training text."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from lucie.corpus.sources import Folder
from lucie.tokens.overlap import grams

ROOT = Path(__file__).resolve().parent.parent
CHOICE = ("grammar", "vocabulary", "science", "completion", "reading", "arithmetic")
OPEN = ("cloze", "generation")


def items(task: str) -> list[dict[str, Any]]:
    lines = (ROOT / "data" / "mini" / "items" / f"{task}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_there_are_enough_items_and_most_are_french() -> None:
    languages = Counter(item["language"] for task in CHOICE for item in items(task))
    assert languages.total() >= 200
    assert set(languages) == {"fr", "en", "de", "es", "it"}
    assert languages["fr"] > languages.total() / 2
    assert len([item for item in items("grammar") if item["language"] == "fr"]) >= 200


@pytest.mark.parametrize("task", CHOICE)
def test_right_answers_are_spread_over_the_places(task: str) -> None:
    found = items(task)
    assert len({item["id"] for item in found}) == len(found)
    for item in found:
        assert len(set(item["choices"])) == len(item["choices"]) >= 2, item["id"]
        assert 0 <= item["answer"] < len(item["choices"]), item["id"]
        assert all(item["choices"]) and item["query"], item["id"]
    places = Counter(item["answer"] for item in found)
    even = len(found) / len(found[0]["choices"])
    assert all(0.7 * even < count < 1.3 * even for count in places.values()), places


@pytest.mark.parametrize("task", OPEN)
def test_open_items_have_a_short_answer(task: str) -> None:
    assert all(item["query"] and 1 <= len(item["answer"].split()) <= 6 for item in items(task))


def test_no_item_shares_eight_words_in_a_row_with_the_training_text() -> None:
    corpus = Folder(ROOT / "data" / "mini" / "documents")
    texts = [text for shard in corpus.shards() for batch in corpus.read(shard) for text in batch.documents["text"]]
    trained = {gram for text in texts for gram in grams(text)}
    for task in (*CHOICE, *OPEN):
        for item in items(task):
            parts = [item.get("passage", ""), item["query"], *item.get("choices", []), str(item["answer"])]
            assert not trained & set(grams(" ".join(parts))), f"{task}/{item['id']}"
