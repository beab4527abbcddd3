"""Records of the pretraining: the model's configuration and the logs of the three phases.

A log is split in two: the losses and hours, which a stage may plot, and the tokens and learning rates, which it
must reproduce without having seen them.
"""

from __future__ import annotations

import json

import polars as pl
import yaml

from lucie.records.upstream import Upstream

LOGS = {
    "main": "lucie/training_logs/1_pretraining.csv",
    "extension": "lucie/training_logs/2_extension.csv",
    "annealing": "lucie/training_logs/3_annealing.csv",
}


def training_losses(upstream: Upstream) -> pl.DataFrame:
    rows = [
        {
            "phase": phase,
            "step": int(row["training_steps"]),
            "loss": float(row["training_loss"]),
            "wall_hours": float(row["walltime"]),
            "gpu_hours": float(row["gputime"]),
            "origin": path,
        }
        for phase, path in LOGS.items()
        for row in upstream.rows(path)
    ]
    return pl.DataFrame(rows)


def training_schedule(upstream: Upstream) -> pl.DataFrame:
    rows = [
        {
            "phase": phase,
            "step": int(row["training_steps"]),
            "tokens": int(row["training_tokens"]),
            "learning_rate": row["learning_rate"],
            "origin": path,
        }
        for phase, path in LOGS.items()
        for row in upstream.rows(path)
    ]
    return pl.DataFrame(rows)


def model_config(upstream: Upstream) -> pl.DataFrame:
    config = json.loads(upstream.read("lucie/hugging_face/config.json"))
    rows = [{"parameter": name, "value": _word(value)} for name, value in config.items()]
    return pl.DataFrame(rows)


def model_header(upstream: Upstream) -> pl.DataFrame:
    header = yaml.safe_load(upstream.read("lucie/hugging_face/README_model_header.yaml"))
    progress = header["training_progress"]
    return pl.DataFrame([{"parameter": name, "value": value} for name, value in progress.items()])


def _word(value: object) -> str:
    if isinstance(value, list):
        return " ".join(str(item) for item in value)
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


BUILDERS = {
    "input/model_config": model_config,
    "input/training_losses": training_losses,
    "published/training_schedule": training_schedule,
    "published/model_header": model_header,
}
