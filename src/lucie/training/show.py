"""What the terminal shows of a training: its plan before, a bar meanwhile, how it ended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lucie.mixture.plan import PHASES
from lucie.terminal import line, out
from lucie.training.architecture import count_parameters
from lucie.training.checkpoints import steps
from lucie.training.metrics import Metrics
from lucie.training.nanotron_config import nanotron_config
from lucie.training.recipe import Recipe
from lucie.training.run import Outcome, Watch, config_path


def plan(recipe: Recipe, seed: int, folder: Path) -> Iterator[tuple[str, str]]:
    """What would be trained, as (what it is, text): sizes, phases, and every successive file of nanotron."""
    parameters = int(count_parameters(recipe.architecture.as_config())["parameters"].sum())
    yield "recipe", f"{recipe.name}: {recipe.says}"
    yield "model", f"{parameters:,} parameters, {recipe.precision}; first weights from seed {seed}"
    for name in PHASES:
        schedule, phase = recipe.schedules[name], recipe.phase(name)
        layout = phase.parallelism
        rates = f"{phase.learning_rate:g} {phase.decay}"
        if phase.decay != "constant":
            rates += f" to {phase.min_learning_rate:g}"
        yield (
            name,
            f"{schedule.steps:,} steps, {schedule.tokens:,} tokens in sequences of {schedule.sequence_length:,}; "
            f"learning rate {rates}; RoPE theta {phase.rope_theta:,.0f}; {layout.processes} processes "
            f"(data {layout.data}, tensor {layout.tensor}, pipeline {layout.pipeline}, ZeRO-{layout.zero_stage})"
            + ("; activations computed again" if phase.recompute else ""),
        )
    yield "in all", f"{recipe.steps:,} steps, {recipe.tokens:,} tokens, {recipe.flops:.4g} FLOP"
    for run in recipe.runs():
        resume = folder / "checkpoints" / str(run.first_step - 1) if run.first_step > 1 else None
        content = nanotron_config(recipe, run, seed, folder / "checkpoints", resume)
        what = f"steps {run.first_step:,} to {run.last_step:,}, {run.phase}, batches of {run.batch:,}"
        yield config_path(folder, run).name, f"{what}\n{yaml.safe_dump(content, sort_keys=False)}"


@contextmanager
def training_bar(recipe: Recipe) -> Iterator[Watch]:
    """A bar over the steps, with tokens, loss, tokens/s and the time left."""
    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[said]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=out, transient=True) as progress:
        task = progress.add_task("training", total=recipe.steps, said="")

        def show(metrics: Metrics) -> None:
            speed = f"{metrics['tokens_per_second']:,.0f} tokens/s"
            said = f"{metrics['tokens']:,} tokens  loss {metrics['loss']:.3f}  {speed}"
            progress.update(task, completed=metrics["step"], description=metrics["phase"], said=said)

        yield show


def show_outcome(recipe: Recipe, folder: Path, outcome: Outcome, seconds: float) -> None:
    """Where the training stands."""
    count = len(steps(folder / "checkpoints"))
    where = f"step {outcome.step:,} of {recipe.steps:,}, {count} checkpoints in {folder}  {seconds:.1f} s"
    if outcome.finished:
        line(recipe.name, f"finished: {where}")
    else:
        line(recipe.name, f"stopped ({outcome.reason}): {where}. The same command goes on.", "yellow")
