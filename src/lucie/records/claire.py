"""Records of CLAIRE: conversations, turns and words of each corpus."""

from __future__ import annotations

import json

import polars as pl

from lucie.records.upstream import Upstream

SPLITS = ("TRAIN", "TEST")
DISCARDED = "discarded/"


def counts(upstream: Upstream) -> pl.DataFrame:
    groups = json.loads(upstream.read("claire/claire_data_groups.json"))
    rows = []
    for row in upstream.rows("claire/claire_metadata.csv"):
        corpus, _, split = row["dataset"].rpartition("/")
        if split not in SPLITS:
            corpus, split = row["dataset"], "ALL"
        rows.append(
            {
                "corpus": corpus.removeprefix(DISCARDED),
                "split": split.lower(),
                "group": groups.get(corpus, ""),
                "discarded": corpus.startswith(DISCARDED),
                "spontaneous": row["spontaneous"] == "True",
                **{name: int(row[name]) for name in ("conversations", "turns", "words")},
            }
        )
    return pl.DataFrame(rows)


BUILDERS = {"input/claire_counts": counts}
