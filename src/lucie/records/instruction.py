"""Records of the instruction tuning: the weights of the mixes and the numbers of sequences to train on."""

from __future__ import annotations

import polars as pl

from lucie.records.upstream import Upstream

FOLDER = "lucie/instruction"
MIXES = (1, 4)  # the ones that the authors' repository has
SUFFIX = "_text_document"


def instruction_weights(upstream: Upstream) -> pl.DataFrame:
    rows = []
    for mix in MIXES:
        path = f"{FOLDER}/mix_{mix}/mix.txt"
        words = upstream.read(path).decode("utf-8").split()
        for weight, file in zip(words[::2], words[1::2], strict=True):
            dataset, _, language = file.rpartition("/")[2].removesuffix(SUFFIX).partition("--")
            rows.append(
                {"mix": f"mix{mix}", "dataset": dataset, "language": language, "weight": float(weight), "origin": path}
            )
    return pl.DataFrame(rows)


def instruction_sizes(upstream: Upstream) -> pl.DataFrame:
    paths = {f"mix{mix}": f"{FOLDER}/mix_{mix}/total_sequences.txt" for mix in MIXES}
    rows = [{"mix": mix, "sequences": int(upstream.read(path)), "origin": path} for mix, path in paths.items()]
    return pl.DataFrame(rows)


BUILDERS = {
    "input/instruction_weights": instruction_weights,
    "input/instruction_sizes": instruction_sizes,
}
