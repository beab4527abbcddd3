"""Layouts measured on this machine: a check of the model's shape, not of its numbers.

    layouts = [Layout(split, micro_batch=2) for split in (Parallelism(), Parallelism(data=2), Parallelism(pipeline=2))]
    measure(recipe, tokens, folder, layouts, gpus, seconds=60)

What the model says of products and pipeline bubble holds on any machine, so each layout is held against one process
with that alone: what is missing to the ideal is communication, and processes that wait for a core.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from lucie.hpc.sites import Gpus
from lucie.mixture.plan import PHASES
from lucie.scaling.layout import Layout, Work
from lucie.scaling.model import step_parts
from lucie.training.metrics import METRICS, read_metrics
from lucie.training.recipe import Recipe
from lucie.training.run import run
from lucie.training.scaling import WARMUP

LEAST = WARMUP + 5  # steps


def measure(
    recipe: Recipe, tokens: Path, folder: Path, layouts: Sequence[Layout], gpus: Gpus, seconds: float
) -> pl.DataFrame:
    """One row a layout: layout, processes, steps, seconds of a step, its time by that of the first, and the ideal.

    Each trains the recipe's main phase for so many ``seconds``, the start of its processes included; the median is over
    the steps of the phase's first batch, without the first ones. ``gpus`` says how a node is divided; no speed of it
    enters.
    """
    table = pl.DataFrame([_measured(recipe, tokens, folder, layout, gpus, seconds) for layout in layouts])
    return table.select(
        pl.exclude("products"),
        relative=pl.col("seconds") / pl.col("seconds").first(),
        ideal=pl.col("products") / pl.col("products").first(),
    )


def divided(recipe: Recipe, layout: Layout) -> Recipe:
    """The recipe with all phases divided in one way. Raises UsageError where that cannot be."""
    content = recipe.model_dump()
    for name in PHASES:
        content["phases"][name] |= {
            "parallelism": layout.parallelism.model_dump(),
            "micro_batch": layout.micro_batch,
            "recompute": layout.recompute,
        }
    return Recipe.of({**content, "mix": recipe.mix})


def _measured(
    recipe: Recipe, tokens: Path, folder: Path, layout: Layout, gpus: Gpus, seconds: float
) -> dict[str, object]:
    split = layout.parallelism
    into = folder / f"data{split.data}-tensor{split.tensor}-pipeline{split.pipeline}"
    shutil.rmtree(into, ignore_errors=True)  # a run that is gone on with would be timed further on each time
    length, first = recipe.mix.phase("main").sequence_length, next(recipe.runs())
    while _last_step(into) < min(LEAST, first.last_step):  # a slow machine has not come that far, and goes on
        run(divided(recipe, layout), recipe.seeds[0], tokens, into, until=time.time() + seconds)
    steps = read_metrics(into / METRICS).filter(phase="main")
    steps = steps.with_columns(batch=pl.col("tokens").diff().fill_null(pl.col("tokens").first()) // length)
    batch = first.batch
    steps = steps.filter(pl.col("step") > WARMUP, batch=batch)
    parts = step_parts(Work(recipe.architecture, length, batch), layout, gpus)
    return {
        "layout": str(layout),
        "processes": split.processes,
        "batch": batch,
        "steps": steps.height,
        "seconds": steps["seconds"].median(),
        "products": math.fsum(part.seconds for part in parts if part.resource == "matrix"),
    }


def _last_step(folder: Path) -> int:
    path = folder / METRICS
    return int(read_metrics(path)["step"][-1]) if path.is_file() and path.stat().st_size else 0
