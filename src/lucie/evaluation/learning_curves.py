"""Learning curves: where each evaluated checkpoint stands in training, and how sure its score is."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from fractions import Fraction

import polars as pl

from lucie.training.schedule import Phase

PHASES = ("main", "extension", "annealing", "instruct_full")  # in the order of training
VERSIONS = ("current", "4c51a00")  # of the authors' evaluation table
ASSUMED_ANNEALING_STEPS = 10  # by the defect, see place_with_defects
LARGEST_TEST = 50_000  # items; no benchmark used here has more


@dataclass(frozen=True)
class Checkpoint:
    """An evaluated state of the model, by how far it is in its phase."""

    phase: str
    experiment: str
    steps_in_phase: int

    def placed(self, steps: int, tokens: int, tokens_in_phase: int, **more: str) -> dict[str, str | int]:
        return {**asdict(self), **more, "steps": steps, "tokens": tokens, "tokens_in_phase": tokens_in_phase}


def place(runs: pl.DataFrame, phases: dict[str, Phase]) -> pl.DataFrame:
    """Steps and tokens since the start of training for each checkpoint of input/evaluation_runs.

    Only ``steps_in_phase`` is used: a phase begins where the one before it ended. Runs of phases that are not in
    ``phases`` (LoRA runs, whose steps were not recorded) are left out.
    """
    rows = []
    for checkpoint in _checkpoints(runs, phases):
        phase = phases[checkpoint.phase]
        before = [phases[name] for name in PHASES[: PHASES.index(phase.name)]]
        tokens = _tokens_after(phase, checkpoint.steps_in_phase)
        rows.append(
            checkpoint.placed(
                steps=checkpoint.steps_in_phase + sum(done.steps for done in before),
                tokens=tokens + sum(done.tokens for done in before),
                tokens_in_phase=tokens,
            )
        )
    return pl.DataFrame(rows)


def place_with_defects(runs: pl.DataFrame, phases: dict[str, Phase]) -> pl.DataFrame:
    """The same, computed with the defects of the authors' two evaluation tables, one row a checkpoint and version.

    Both take 4096 x 128 tokens a step in every phase after the extension, which has 32,000 x 128.
    The current table passes the steps since the start of training where those in the phase are meant, so that the
    main phase counts twice, and takes annealing to be 10 steps long when it places what follows.
    The earlier table puts every annealing run at the end of the planned 1,220 steps.
    """
    main, extension, annealing = (phases[name] for name in PHASES[:3])
    wrong_batch = main.sequence_length * annealing.global_batch_size
    extended = main.steps + extension.steps
    twice = main.tokens + extended * extension.sequence_length * extension.global_batch_size
    planned_end = main.tokens + extension.tokens + annealing.tokens
    annealed = extended + ASSUMED_ANNEALING_STEPS
    rows = []
    for checkpoint in _checkpoints(runs, phases):
        steps = checkpoint.steps_in_phase
        wrong = steps * wrong_batch
        if checkpoint.phase == "annealing":
            rows += [
                checkpoint.placed(extended + steps, twice + wrong, wrong, version="current"),
                checkpoint.placed(extended + steps, planned_end, wrong, version="4c51a00"),
            ]
        elif checkpoint.phase == "instruct_full":
            tokens = twice + annealed * wrong_batch + wrong
            rows.append(checkpoint.placed(annealed + steps, tokens, wrong, version="current"))
    return pl.DataFrame(rows)


def _checkpoints(runs: pl.DataFrame, phases: dict[str, Phase]) -> list[Checkpoint]:
    chosen = runs.filter(~pl.col("baseline"), pl.col("phase").is_in(list(phases)))
    unique = chosen.select("phase", "experiment", "steps_in_phase").unique(maintain_order=True)
    return [Checkpoint(*row) for row in unique.iter_rows()]


def _tokens_after(phase: Phase, steps: int) -> int:
    if steps <= phase.steps:
        return int(phase.samples[steps]) * phase.sequence_length
    return steps * phase.global_batch_size * phase.sequence_length


def count_items(accuracies: pl.Series) -> int:
    """How many items a test has, from accuracies that models reach on it: the least count they are all parts of.

    Each accuracy is correct answers / items, so as a fraction in lowest terms its denominator divides the count.
    """
    denominators = [Fraction(accuracy).limit_denominator(LARGEST_TEST).denominator for accuracy in accuracies]
    return math.lcm(*denominators)


def standard_error(accuracy: float, items: int) -> float:
    """Standard error of an accuracy over ``items`` answers, from their sample variance (divisor items - 1)."""
    if items < 2:
        raise ValueError(f"A standard error needs two answers or more, not {items}.")
    return math.sqrt(accuracy * (1 - accuracy) / (items - 1))


def curve(scores: pl.DataFrame, runs: pl.DataFrame, placed: pl.DataFrame, tasks: list[str]) -> pl.DataFrame:
    """The scores of ``tasks`` with tokens, items and standard errors, one row a run and task.

    Runs without a place in training keep empty tokens; baselines take the tokens that the authors state.
    """
    chosen = scores.filter(pl.col("task").is_in(tasks)).join(runs, on="run")
    items = {task: count_items(chosen.filter(task=task)["score"]) for task in tasks}
    errors = [standard_error(row["score"], items[row["task"]]) for row in chosen.iter_rows(named=True)]
    position = placed.select("phase", "experiment", "steps_in_phase", "tokens")
    return (
        chosen.with_columns(items=pl.col("task").replace_strict(items), stderr=pl.Series(errors))
        .join(position, on=["phase", "experiment", "steps_in_phase"], how="left")
        .with_columns(tokens=pl.coalesce("tokens", "stated_training_tokens"))
        .select("run", "model", "baseline", "phase", "experiment", "steps_in_phase", "tokens", "task", "metric",
                "shots", "items", "score", "stderr")
    )  # fmt: skip


def side_by_side(curve: pl.DataFrame, titles: dict[str, str]) -> pl.DataFrame:
    """One row a run, one column a task, its score with the standard error in brackets as printed: 0.485 (15).

    Lucie's runs come first, in the order of training. ``titles`` names the tasks' columns.
    """
    bracketed = [f"{row['score']:.3f} ({1000 * row['stderr']:.0f})" for row in curve.iter_rows(named=True)]
    wide = curve.with_columns(cell=pl.Series(bracketed)).pivot(
        "task", index=["run", "model", "baseline", "phase", "tokens"], values="cell"
    )
    ordered = wide.sort("baseline", "tokens", "model")
    phase = pl.when("baseline").then(pl.lit("")).otherwise("phase").alias("phase")
    return ordered.select("model", phase, "tokens", *(pl.col(task).alias(name) for task, name in titles.items()))
