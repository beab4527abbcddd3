"""The metrics of a run, metrics.jsonl: one line a step.

read_metrics(folder / METRICS)  # a table: phase, step, tokens, loss, learning_rate, grad_norm, ...
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypedDict

import polars as pl

from lucie.files import write_atomic

METRICS = "metrics.jsonl"


class Metrics(TypedDict):
    """Of one step."""

    phase: str
    step: int  # counted through all phases
    tokens: int  # read so far, in all phases
    loss: float  # mean over the step's tokens, in nats
    learning_rate: float
    grad_norm: float  # before clipping
    seconds: float  # of the step
    cpu_seconds: float  # of the step, in all processes, which are taken to be alike
    tokens_per_second: float
    memory: int  # bytes: the most that a process of the first replica has held; of the GPU, where there is one


def read_metrics(path: Path) -> pl.DataFrame:
    """One row a step, in order."""
    return pl.read_ndjson(path)


def parse(lines: str) -> list[Metrics]:
    """The metrics in whole lines; what follows the last line end is left."""
    return [json.loads(line) for line in lines[: lines.rfind("\n") + 1].splitlines()]


def cut(path: Path, last_step: int) -> None:
    """Forget the steps after ``last_step``, and a line that was cut short: they are made again."""
    if path.is_file():
        kept = [line for line in parse(path.read_text("utf-8")) if line["step"] <= last_step]
        write_atomic(path, "".join(f"{json.dumps(line)}\n" for line in kept))
