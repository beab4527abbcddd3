"""Records of the three phases' mixes: epochs, tokens by document length, and the weights that the authors derived."""

from __future__ import annotations

import re
from collections.abc import Iterator
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
    launched = dict(_option(upstream, "lucie/chronicles/1_pretraining_training_weights_option.txt"))
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
    return pl.DataFrame(rows).sort("name", maintain_order=True)


def blended_samples(upstream: Upstream) -> pl.DataFrame:
    """What the trainer wrote down when it built its data set from the weighted token files."""
    text = upstream.read("lucie/chronicles/1_pretraining_blendable_dataset.dsc.txt").decode()
    rows = re.findall(_BLENDED, text)
    if len(rows) != text.count("Data prefix"):
        raise ValueError("A data set in the description of the blend lacks its samples or epochs.")
    names = ["name", "samples", "epochs", "sequence_length", "seed"]
    return pl.DataFrame([(name, *map(int, numbers)) for name, *numbers in rows], schema=names, orient="row").sort(
        "name"
    )


_BLENDED = (
    r"Data prefix (\S+)_text_document\nDataset name train\nNumber of samples (\d+)\nNumber of epochs (\d+)\n"
    r"Sequence length (\d+)\nRandom seed (\d+)\n"
)


def annealing_mix(upstream: Upstream) -> pl.DataFrame:
    rows = [{"name": name, "weight": float(weight)} for name, weight in _option(upstream, "lucie/annealing_mix.txt")]
    return pl.DataFrame(rows).sort("name", maintain_order=True)


def annealing_launch(upstream: Upstream) -> pl.DataFrame:
    rows = _option(upstream, "lucie/chronicles/3_annealing_mix.txt")
    return pl.DataFrame([{"name": name, "weight": weight} for name, weight in rows]).sort("name", maintain_order=True)


def length_split_counts(upstream: Upstream) -> pl.DataFrame:
    rows = [
        {
            "name": name,
            "length": length,
            "language": row["language"],
            "category": row["category"],
            "tokens": int(row["total_tokens"]),
            "documents": int(row["total_sequences"]),
            "origin": path,
        }
        for length, path, name, row in _split_by_length(upstream)
    ]
    return pl.DataFrame(rows).sort("name", "length", maintain_order=True)


def length_split_mix(upstream: Upstream) -> pl.DataFrame:
    rows = [
        {"name": name, "length": length, "weight": row["new_ratio"], "origin": path}
        for length, path, name, row in _split_by_length(upstream)
    ]
    return pl.DataFrame(rows).sort("name", "length", maintain_order=True)


def _split_by_length(upstream: Upstream) -> Iterator[tuple[str, str, str, dict[str, str]]]:
    for length in ("long", "short"):
        path = f"lucie/training_weights_{length}.csv"
        for row in upstream.rows(path):
            yield length, path, _name(row["prefix"]), row


def _option(upstream: Upstream, path: str) -> list[tuple[str, str]]:
    """Name and weight of each token file in an option for the trainer: weight, path, weight, path ..."""
    words = upstream.read(path).decode().replace("\\", " ").split()
    return [(_name(prefix), weight) for weight, prefix in zip(words[::2], words[1::2], strict=True)]


def _name(prefix: str) -> str:
    return PurePosixPath(prefix).name.removesuffix("_text_document")


BUILDERS = {
    "input/annealing_mix": annealing_mix,
    "input/length_split_counts": length_split_counts,
    "input/sampling_epochs": sampling_epochs,
    "published/annealing_launch": annealing_launch,
    "published/blended_samples": blended_samples,
    "published/length_split_mix": length_split_mix,
    "published/training_mix": training_mix,
}
