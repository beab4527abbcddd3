"""The authors' measured steps: what the model is fitted on, and what it is tested on.

    logged(project)    50 trials: A100, sequences of 2048 tokens, from the published iteration logs
    longer(project)    44 trials: A100, sequences of 4096 tokens, of which a summary is published
    training(project)  the phases of Lucie-7B itself, the main one first: 512 and 128 H100
    halves(trials)     half of the layouts to fit on, the other half to test on

The logs do not tell the micro-batch; the authors' page does, by GPUs, tensor and pipeline parallelism and batch. Where
it states one that cannot be (`lucie.training.scaling.indivisible`), the largest that can be and is not above it is
taken. The page is silent on ZeRO, so trials with ZeRO-1 take the cell of their layout. Two logged trials are left out:
the page has no cell for a tensor parallelism of four.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from lucie.files import sha256_of
from lucie.mixture.plan import PHASES
from lucie.project import Project
from lucie.records import load_record
from lucie.scaling.layout import Layout, Work
from lucie.training import scaling
from lucie.training.recipe import Architecture, Parallelism, Recipe
from lucie.training.schedule import Phase

SEQUENCE_OF_LONGER = 4096  # the names of these trials say so: seq4k


@dataclass(frozen=True)
class Trial:
    """A layout that was timed."""

    name: str
    work: Work
    layout: Layout
    gpu: str  # of the site's
    seconds: float  # of a step: the median; of the training the mean
    slow_steps: float | None = None  # mean by median, where single steps were logged

    @property
    def divided(self) -> tuple[int, int, int]:
        """GPUs, tensor and pipeline parallelism."""
        return self.layout.gpus, self.layout.parallelism.tensor, self.layout.parallelism.pipeline


def halves(trials: Sequence[Trial]) -> tuple[list[Trial], list[Trial]]:
    """The half to fit on and the half to test on, by a hash of how many GPUs are divided how.

    Batch, micro-batch and ZeRO do not enter, so that all trials of a layout are on the same side.
    """
    layouts = sorted({trial.divided for trial in trials}, key=lambda divided: sha256_of(list(divided)))
    chosen = set(layouts[: len(layouts) // 2])
    return [t for t in trials if t.divided in chosen], [t for t in trials if t.divided not in chosen]


def logged(project: Project) -> list[Trial]:
    """The trials of the published iteration logs whose micro-batch is known."""
    study = _study(project)
    runs = scaling.lay_out(load_record(project, "input/parallelism_runs"), int(study["gpus_per_node"]))
    timed = scaling.throughput(runs, load_record(project, "input/parallelism_iterations"))
    cells = load_record(project, "transcribed/parallelism_micro_batches").select(
        *scaling.LAYOUT, pl.col("batch").alias("batch_in_folder"), "micro_batch"
    )
    known = timed.join(cells, on=[*scaling.LAYOUT, "batch_in_folder"], maintain_order="left")
    return [_logged(row, study) for row in known.iter_rows(named=True)]


def longer(project: Project) -> list[Trial]:
    """The trials with longer sequences, from their summary."""
    study = _study(project)
    table = scaling.experiments(
        load_record(project, "input/parallelism_experiments"), int(study["gpus_per_node"]), SEQUENCE_OF_LONGER
    )
    return [_longer(row, study) for row in table.iter_rows(named=True)]


def training(project: Project) -> list[Trial]:
    """Lucie-7B's phases: the mean time of a step of the full batch, from their GPU hours."""
    recipe, scripts = Recipe.load(project, "full"), load_record(project, "transcribed/launch_scripts")
    schedules = {name: Phase.from_record(scripts, name) for name in PHASES}
    reached = scaling.phase_throughput(load_record(project, "input/training_losses"), schedules)
    return [_phase(recipe, row) for row in reached.iter_rows(named=True)]


def _phase(recipe: Recipe, row: dict[str, Any]) -> Trial:
    phase = recipe.phase(row["phase"])
    layout = Layout(phase.parallelism, phase.micro_batch, phase.recompute)
    work = Work(recipe.architecture, row["sequence_length"], recipe.mix.phase(row["phase"]).sequences_per_batch)
    return Trial(row["phase"], work, layout, "h100", work.tokens / (row["tokens_per_gpu_second"] * row["gpus"]))


def _study(project: Project) -> dict[str, str]:
    setup = load_record(project, "transcribed/parallelism_setup").filter(setup="study")
    return dict(setup.select("parameter", "value").iter_rows())


def _logged(row: dict[str, Any], study: dict[str, str]) -> Trial:
    of_a_replica = row["global_batch"] // row["data_parallelism"]
    micro_batch = max(size for size in range(1, row["micro_batch"] + 1) if of_a_replica % size == 0)
    work = Work(_architecture(study, "32k"), row["sequence_length"], row["global_batch"])
    layout = _layout(row, micro_batch, row["zero_stage"])
    slow_steps = row["mean_seconds"] / row["median_seconds"]
    return Trial(str(row["run"]), work, layout, study["gpu"].lower(), row["median_seconds"], slow_steps)


def _longer(row: dict[str, Any], study: dict[str, str]) -> Trial:
    work = Work(_architecture(study, row["vocabulary"]), SEQUENCE_OF_LONGER, row["global_batch"])
    layout = _layout(row, row["micro_batch"], 0, recompute=row["experiment"] == scaling.RECOMPUTED)
    return Trial(str(row["run"]), work, layout, study["gpu"].lower(), row["global_batch"] / row["samples_per_second"])


def _layout(row: dict[str, Any], micro_batch: int, zero_stage: int, recompute: bool = False) -> Layout:
    gpus, tensor, pipeline = (row[name] for name in scaling.LAYOUT)
    stages = max(1, pipeline)
    split = {"data": gpus // (tensor * stages), "tensor": tensor, "pipeline": stages, "zero_stage": zero_stage}
    return Layout(Parallelism.model_validate(split), micro_batch, recompute)


def _architecture(study: dict[str, str], vocabulary: str) -> Architecture:
    shape = {name: int(study[name]) for name in Architecture.model_fields if name in study}
    shape["vocab_size"] = scaling.VOCABULARIES[vocabulary]
    without_bearing = {"rms_norm_eps": 1e-5, "initializer_range": 0.009}  # on time and memory
    return Architecture.model_validate({**shape, **without_bearing})
