"""Records of Luciole, the later models: logs, energy, and how the data mixes were made.

As for Lucie, a log is split in two: losses and times, which a stage may plot, and tokens, which it must reproduce
without having seen them. The weights of three mixes follow from token counts and repeats, so they are published
records; those of the others are inputs, because their repeats were not kept.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from typing import Any

import polars as pl

from lucie.records.upstream import Upstream

LOGS = {
    "initial": "phase1",
    "continued": "phase2",
    "annealing": "phase3-annealing",
    "extension_32k": "phase4-context-extension-32k",
    "extension_131k": "phase5-context-extension-131k",
}
SIZES = ("1B", "8B", "23B")
CHRONICLES = {"luciole_phase1": "phase1", "luciole_phase2": "phase2", "luciole_phase2_variant": "phase2_variant"}
WITHOUT_REPEATS = ("luciole_phase3", "luciole_context_extension_longmino_50B")
FILE = re.compile(r"(?P<dataset>.+)_text_document(?:_ratio(?P<fraction>[\d.]+)_phase\d)?")
REGIONAL = ("ca", "eu")  # Catalan and Basque, which the authors count among the regional languages of France
ENERGY = re.compile(
    r"(?P<what>Total|Host|GPU) (?P<quantity>Energy|Emissions) ?(?P<by>RTE|EMaps|OWID)? \((?P<unit>\w+)\)"
)


def _logs(upstream: Upstream) -> Iterator[tuple[dict[str, Any], dict[str, str]]]:
    """Which log a row is of, and the row."""
    for size in SIZES:
        for phase, name in LOGS.items():
            # Size 8B has one extension, which is its fourth phase.
            number = name.replace("phase5", "phase4") if size == "8B" else name
            path = f"luciole/training_logs/{size}/ConvergenceCurve_{number}.csv"
            if path in upstream.paths(f"luciole/training_logs/{size}"):
                for row in upstream.rows(path):
                    yield {"size": size, "phase": phase, "step": int(row["training_steps"]), "origin": path}, row


def losses(upstream: Upstream) -> pl.DataFrame:
    rows = [
        {
            **place,
            "loss": float(row["training_loss"]),
            "wall_seconds": float(row["walltime"]),
            "gpu_seconds": float(row["gputime"]),
        }
        for place, row in _logs(upstream)
    ]
    return pl.DataFrame(rows)


def schedule(upstream: Upstream) -> pl.DataFrame:
    rows = [{**place, "tokens": int(row["training_tokens"])} for place, row in _logs(upstream)]
    return pl.DataFrame(rows)


def _consumption(upstream: Upstream) -> Iterator[dict[str, str]]:
    for row in upstream.rows("luciole/consumption.csv"):
        job = row.pop("Job Type")
        yield {"job": job, "quantity": "wall_hours", "unit": "h", "printed": row.pop("Walltime (h)")}
        yield {"job": job, "quantity": "gpu_hours", "unit": "GPU h", "printed": row.pop("GPU Time (h)")}
        for column, printed in row.items():
            named = ENERGY.fullmatch(column)
            assert named, column
            words = (named["what"], named["quantity"], named["by"])
            quantity = "_".join(word.lower() for word in words if word)
            yield {"job": job, "quantity": quantity, "unit": named["unit"].replace("gms", "g"), "printed": printed}


def consumption(upstream: Upstream) -> pl.DataFrame:
    rows = [row | {"value": float(row.pop("printed"))} for row in _consumption(upstream) if row["job"] != "TOTAL"]
    return pl.DataFrame(rows)


def consumption_total(upstream: Upstream) -> pl.DataFrame:
    return pl.DataFrame([row for row in _consumption(upstream) if row["job"] == "TOTAL"]).drop("job")


def _mix(upstream: Upstream, mix: str) -> Any:
    return json.loads(upstream.read(f"luciole/datamixes/{mix}.json"))


def mix_files(upstream: Upstream) -> pl.DataFrame:
    """The files of each mix. A file's name ends in its language, and in the part of the data it holds if not all."""
    rows = []
    for mix in (*CHRONICLES, *WITHOUT_REPEATS):
        for entry in _mix(upstream, mix)["train"]:
            named = FILE.fullmatch(entry["name"])
            assert named, entry["name"]
            language = named["dataset"].rpartition("_")[2]
            rows.append(
                {
                    "mix": mix,
                    "file": entry["name"],
                    "dataset": named["dataset"],
                    "language": "regional" if language in REGIONAL else language,
                    "fraction": float(named["fraction"]) if named["fraction"] else None,
                    "origin": f"luciole/datamixes/{mix}.json",
                }
            )
    return pl.DataFrame(rows)


def mix_sequences(upstream: Upstream) -> pl.DataFrame:
    return pl.concat([_sequences(upstream, mix) for mix in WITHOUT_REPEATS])


def mix_weights(upstream: Upstream) -> pl.DataFrame:
    return pl.concat([_sequences(upstream, mix) for mix in CHRONICLES])


def _sequences(upstream: Upstream, mix: str) -> pl.DataFrame:
    entries = _mix(upstream, mix)["train"]
    origin = f"luciole/datamixes/{mix}.json"
    rows = [{"mix": mix, "file": e["name"], "sequences": int(e["weight"]), "origin": origin} for e in entries]
    return pl.DataFrame(rows)


def mix_tokens(upstream: Upstream) -> pl.DataFrame:
    """Those of the extension are left out: they were set, not counted."""
    mixes = (*CHRONICLES, "luciole_phase3")
    rows = [
        {"mix": mix, "tokens": _mix(upstream, mix)["total_tokens"], "origin": f"luciole/datamixes/{mix}.json"}
        for mix in mixes
    ]
    return pl.DataFrame(rows)


def mix_repeats(upstream: Upstream) -> pl.DataFrame:
    rows = []
    for mix, folder in CHRONICLES.items():
        path = f"luciole/tokenization_chronicles/luciole_training_v2/{folder}/repeats.csv"
        for row in upstream.rows(path):
            rows.append({"mix": mix, "dataset": row["name"], "repeats": row["repeat"], "origin": path})
    return pl.DataFrame(rows)


def token_counts(upstream: Upstream) -> pl.DataFrame:
    text = upstream.read("luciole/tokenization_chronicles/all_stats_merged.csv").decode("utf-8")
    rows = [{"dataset": row["name"], "tokens": int(row["total_tokens"])} for row in csv.DictReader(io.StringIO(text))]
    return pl.DataFrame(rows)


BUILDERS = {
    "input/luciole_losses": losses,
    "input/luciole_consumption": consumption,
    "input/luciole_mix_files": mix_files,
    "input/luciole_mix_sequences": mix_sequences,
    "input/luciole_mix_repeats": mix_repeats,
    "input/luciole_token_counts": token_counts,
    "published/luciole_schedule": schedule,
    "published/luciole_consumption_total": consumption_total,
    "published/luciole_mix_weights": mix_weights,
    "published/luciole_mix_tokens": mix_tokens,
}
