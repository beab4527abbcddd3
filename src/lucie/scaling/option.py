"""One way to run a training, phase by phase: its layouts, times and memory, and what they add up to."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lucie.hpc.sites import Gpus
from lucie.scaling.layout import Layout, Work
from lucie.scaling.memory import Memory
from lucie.scaling.model import Part, Slowness
from lucie.scaling.storage import checkpoint_files
from lucie.training.scaling import flops_per_token, utilisation

ATTENDED = 0.5  # of the sequence, as utilisation counts attention: under the causal mask


@dataclass(frozen=True)
class Range:
    """A number with its bounds."""

    low: float
    value: float
    high: float

    def __mul__(self, factor: float | Range) -> Range:
        other = factor if isinstance(factor, Range) else Range(factor, factor, factor)
        return Range(self.low * other.low, self.value * other.value, self.high * other.high)

    def __add__(self, other: Range) -> Range:
        return Range(self.low + other.low, self.value + other.value, self.high + other.high)


@dataclass(frozen=True)
class PhasePlan:
    """A phase in one layout. Times are of a mean step: slow steps are in them."""

    phase: str
    layout: Layout
    gpus: Gpus
    memory: Memory
    parts: list[Part]  # of a step of the full batch
    slowness: Slowness
    waiting: float  # seconds of the same step with kernels that wait
    step: Range  # seconds of a step of the full batch
    training: Range  # seconds of all steps
    work: Work
    checkpoints: int
    checkpoint_seconds: float  # of one
    checkpoint_bytes: float

    @property
    def tokens_per_gpu_second(self) -> float:
        return self.work.tokens / self.step.value / self.layout.gpus

    @property
    def utilisation(self) -> float:
        """Share of the GPUs' peak that the model's own operations make up."""
        config = self.work.architecture.as_config()
        flops = flops_per_token(config, self.work.sequence_length, ATTENDED)
        return utilisation(self.tokens_per_gpu_second, flops, self.gpus.peak.value / 1e12)

    @property
    def hours(self) -> Range:
        """With checkpoints."""
        writing = self.checkpoints * self.checkpoint_seconds
        return Range(*(time + writing for time in (self.training.low, self.training.value, self.training.high))) * (
            1 / 3600
        )


@dataclass(frozen=True)
class Option:
    """One way to run all phases."""

    name: str
    phases: list[PhasePlan]
    job_hours: float  # that a job can train

    @property
    def gpu_hours(self) -> Range:
        hours = [phase.hours * phase.layout.gpus for phase in self.phases]
        return sum(hours[1:], hours[0])

    @property
    def days(self) -> Range:
        hours = [phase.hours for phase in self.phases]
        return sum(hours[1:], hours[0]) * (1 / 24)

    @property
    def jobs(self) -> int:
        """One after the other."""
        return sum(math.ceil(phase.hours.value / self.job_hours) for phase in self.phases)

    @property
    def checkpoint_bytes(self) -> float:
        """Of all that are written."""
        return sum(phase.checkpoints * phase.checkpoint_bytes for phase in self.phases)

    @property
    def checkpoint_files(self) -> int:
        return sum(phase.checkpoints * checkpoint_files(phase.work, phase.layout) for phase in self.phases)
