"""Two models on the same items, task by task, by paired bootstrap: from the scores of each item that a run left.

raw = read(Path("results/mini"))
paired(raw, suite, "mini-1/20", "mini-1/205")
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from lucie.errors import unknown
from lucie.evaluation.statistics import Items, bits_per_byte, paired_bootstrap
from lucie.evaluation.suite import Suite

SUITE = "mini"  # of every tier that trains here
DOCUMENT = "documents/evaluation.again.raw.json"  # in a folder of results


def read(results: Path) -> dict[str, Any]:
    """The scores that are in a folder of results; of no model where none were made."""
    path = results / DOCUMENT
    content: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {"scores": {}}
    return content


def paired(raw: dict[str, Any], suite: Suite, first: str, second: str) -> pl.DataFrame:
    """The tasks of a suite: title, metric, items, first, last, low, high, sure.

    ``low`` and ``high`` are the ends of the interval of 95 % of the difference. Raises UsageError for a model that
    was not scored.
    """
    for name in (first, second):
        if name not in raw["scores"]:
            raise unknown("scored model", name, raw["scores"])
    rows = []
    for task in suite.tasks:
        if not all(task.task in raw["scores"][name] for name in (first, second)):
            continue
        before, after = (_items(raw["scores"][name][task.task]["items"][task.metric]) for name in (first, second))
        found = paired_bootstrap(before, after)
        rows.append(
            {
                "title": task.title, "metric": task.metric, "items": len(before), "first": found.first,
                "last": found.second, "low": found.low, "high": found.high, "sure": found.sure,
            }
        )  # fmt: skip
    return pl.DataFrame(rows)


def _items(scores: list[Any]) -> Items:
    items = np.asarray(scores, np.float64)
    return bits_per_byte(items) if items.ndim == 2 else items
