"""The schedule of a training phase: batch size, tokens and learning rate at every step, from its hyperparameters.

Samples are sequences. The batch ramp-up and the learning-rate schedules are those of Megatron-LM, where the
learning rate depends on the samples seen, not on the steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

Samples = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Phase:
    """The hyperparameters of one phase that decide its schedule."""

    name: str
    sequence_length: int  # tokens
    global_batch_size: int  # samples
    learning_rate: float
    decay_style: str  # cosine, linear or constant
    train_samples: int = 0  # 0: as many as there are
    min_learning_rate: float = 0.0
    warmup_samples: int = 0
    initial_batch_size: int = 0  # 0: no ramp-up
    batch_size_increment: int = 0
    rampup_samples: int = 0

    @classmethod
    def from_record(cls, scripts: pl.DataFrame, name: str) -> Phase:
        """The phase ``name`` of the record transcribed/launch_scripts."""
        given = dict(scripts.filter(phase=name).select("parameter", "value").iter_rows())
        return cls(
            name=name,
            sequence_length=int(given["sequence_length"]),
            global_batch_size=int(given["global_batch_size"]),
            learning_rate=float(given["learning_rate"]),
            decay_style=given["decay_style"],
            train_samples=int(given.get("train_samples", 0)),
            min_learning_rate=float(given.get("min_learning_rate", 0)),
            warmup_samples=int(given.get("warmup_samples", 0)),
            initial_batch_size=int(given.get("initial_batch_size", 0)),
            batch_size_increment=int(given.get("batch_size_increment", 0)),
            rampup_samples=int(given.get("rampup_samples", 0)),
        )

    def batch_size(self, samples: int) -> int:
        """The global batch size, in samples, when ``samples`` have been seen."""
        if not self.initial_batch_size or samples > self.rampup_samples:
            return self.global_batch_size
        increments = (self.global_batch_size - self.initial_batch_size) // self.batch_size_increment
        reached = samples * increments // self.rampup_samples
        return self.initial_batch_size + reached * self.batch_size_increment

    @cached_property
    def samples(self) -> Samples:
        """Samples seen after each step, from 0 (before the first); the last whole batch ends the phase."""
        seen = [0]
        while seen[-1] + (batch := self.batch_size(seen[-1])) <= self.train_samples:
            seen.append(seen[-1] + batch)
        return np.array(seen, dtype=np.int64)

    @property
    def steps(self) -> int:
        """Optimizer steps of the phase."""
        return len(self.samples) - 1

    @property
    def tokens(self) -> int:
        """Tokens of the phase."""
        return int(self.samples[-1]) * self.sequence_length

    def learning_rate_at(self, samples: int) -> float:
        """The learning rate when ``samples`` have been seen."""
        if samples <= self.warmup_samples and self.warmup_samples:
            return self.learning_rate * samples / self.warmup_samples
        if self.decay_style == "constant":
            return self.learning_rate
        if self.train_samples <= self.warmup_samples:
            raise ValueError(f"Phase '{self.name}' has no samples to decay the learning rate over.")
        progress = (samples - self.warmup_samples) / (self.train_samples - self.warmup_samples)
        left = {"linear": 1 - progress, "cosine": (1 + math.cos(math.pi * progress)) / 2}[self.decay_style]
        return self.min_learning_rate + left * (self.learning_rate - self.min_learning_rate)

    def at(self, steps: list[int]) -> pl.DataFrame:
        """Batch size (samples), tokens seen and learning rate after each of ``steps``."""
        samples = [int(self.samples[step]) for step in steps]
        return pl.DataFrame(
            {
                "phase": [self.name] * len(steps),
                "step": steps,
                "batch_size": [self.batch_size(int(self.samples[step - 1])) if step else 0 for step in steps],
                "tokens": [count * self.sequence_length for count in samples],
                "learning_rate": [self.learning_rate_at(count) for count in samples],
            }
        )


def hyperparameters(scripts: pl.DataFrame, phases: dict[str, Phase], samples: dict[str, int]) -> pl.DataFrame:
    """What the launch scripts pass, per phase, with what follows from it: steps, GPUs, data parallelism.

    ``samples`` replaces the scripts' train_samples of a phase by a recomputed number.
    """
    rows = []
    for name, phase in phases.items():
        given = dict(scripts.filter(phase=name).select("parameter", "value").iter_rows())
        gpus = int(given["nodes"]) * int(given["gpus_per_node"])
        replicas = gpus // (int(given["tensor_parallelism"]) * int(given["pipeline_parallelism"]))
        derived = {"train_steps": phase.steps, "num_gpus": gpus, "data_parallelism": replicas}
        if name in samples:
            derived["train_samples"] = samples[name]
        values = {**given, **{parameter: str(value) for parameter, value in derived.items()}}
        rows += [{"section": name, "parameter": key, "value": value} for key, value in values.items()]
    return pl.DataFrame(rows)


def at_phase_ends(log: pl.DataFrame, phases: dict[str, Phase]) -> pl.DataFrame:
    """Loss, tokens, hours and throughput at the last logged step of each phase, and the sums so far."""
    last = pl.concat(log.filter(phase=name).sort("step", maintain_order=True).tail(1) for name in phases)
    return last.select(
        "phase",
        "loss",
        "tokens",
        "wall_hours",
        "gpu_hours",
        tokens_per_gpu_second=pl.col("tokens") / (3600 * pl.col("gpu_hours")),
        tokens_so_far=pl.col("tokens").cum_sum(),
        hours_so_far=pl.col("wall_hours").cum_sum(),
        gpu_hours_so_far=pl.col("gpu_hours").cum_sum(),
    )


def axis_marks(ends: pl.DataFrame) -> pl.DataFrame:
    """The marks that the published convergence figure has on its axes: where phases begin, and the end.

    Tokens in trillions, hours and GPU hours in thousands.
    """
    scales = {"tokens": 1e12, "hours": 1e3, "gpu_hours": 1e3}
    labels = {"tokens": "tokens", "hours": "training_time", "gpu_hours": "gpu_hours"}
    places = ["offset:extension", "offset:annealing", "end"]
    rows = [
        {"label": f"{place}:{labels[measure]}", "value": row[f"{measure}_so_far"] / scale}
        for place, row in zip(places, ends.iter_rows(named=True), strict=True)
        for measure, scale in scales.items()
    ]
    return pl.DataFrame(rows)
