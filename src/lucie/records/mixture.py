"""Records of the training mix: epochs by language and category, and the weights that the authors derived."""

from __future__ import annotations

from pathlib import PurePosixPath

import polars as pl
import yaml

from lucie.records.composition import labels
from lucie.records.upstream import Upstream


def sampling_epochs(upstream: Upstream) -> pl.DataFrame:
    epochs = yaml.safe_load(upstream.read("lucie/dataset_weights.yaml"))
    rows = []
    for name, number in epochs.items():
        language, _, category = name.partition("--")
        rows.append({"language": language, "category": category, "epochs": float(number)})
    return pl.DataFrame(rows)


def training_mix(upstream: Upstream) -> pl.DataFrame:
    launched = {}
    option = upstream.read("lucie/chronicles/1_pretraining_training_weights_option.txt").decode()
    words = option.replace("\\", " ").split()
    for weight, path in zip(words[::2], words[1::2], strict=True):
        launched[PurePosixPath(path).name.removesuffix("_text_document")] = weight
    rows = [
        {
            "name": name,
            "epochs": float(row["num_epochs"]),
            "weighted_tokens": float(row["reweighted_count"]),
            "weight": row["new_ratio"],
            "launched_weight": launched[name],
        }
        for name, row in labels(upstream).items()
    ]
    return pl.DataFrame(rows).sort("name")


BUILDERS = {"input/sampling_epochs": sampling_epochs, "published/training_mix": training_mix}
