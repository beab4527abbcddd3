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
RELEASED = ("pretraining", "rope20M", "5B_tokens-mix6")  # the experiment of each phase that was released

# Means over items of something between 0 and 1: a probability, an overlap of words.
NOT_SHARES = ("truthfulqa_mc2", "french_bench_fquadv2_genq", "french_bench_fquadv2_hasAns", "french_bench_multifquad",
              "french_bench_orangesum_abstract", "french_bench_trivia")  # fmt: skip
SCORED = ("run", "task", "metric", "shots", "items", "score", "stderr")


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


def with_errors(scores: pl.DataFrame, tasks: list[str]) -> pl.DataFrame:
    """The scores of ``tasks`` with items and standard errors, one row a run and task.

    Where a score is a share of right answers, the items are counted from the scores of all runs, and the standard
    error follows. Elsewhere items stay empty and the standard error is the record's, empty where it has none.
    """
    chosen = scores.filter(pl.col("task").is_in(tasks))
    shares = [task for task in tasks if task not in NOT_SHARES]
    items = {task: count_items(chosen.filter(task=task)["score"]) for task in shares}
    errors = [
        standard_error(row["score"], items[row["task"]]) if row["task"] in items else row["stderr"]
        for row in chosen.iter_rows(named=True)
    ]
    counted = pl.col("task").replace_strict(items, default=None, return_dtype=pl.Int64)
    return chosen.with_columns(items=counted, stderr=pl.Series(errors, dtype=pl.Float64)).select(SCORED)


def aggregate(subjects: pl.DataFrame) -> pl.DataFrame:
    """Accuracy over the questions of all subjects, with items and pooled standard error, one row a run and task.

    ``subjects`` is input/evaluation_subjects. Subjects weigh by their questions. The standard error is that of
    lm-evaluation-harness for a group: the subjects' sample variances, pooled by their degrees of freedom, over all
    questions. Between subjects the accuracies may differ without adding to it.
    """
    subject = ["task", "subject"]
    counts = [(*name, count_items(rows["accuracy"])) for name, rows in subjects.group_by(subject, maintain_order=True)]
    items = pl.DataFrame(counts, schema=[*subject, "items"], orient="row")
    accuracy, n = pl.col("accuracy"), pl.col("items")
    squares = (n * accuracy * (1 - accuracy)).sum()  # of deviations from each subject's mean
    return (
        subjects.join(items, on=subject)
        .group_by("run", "task", maintain_order=True)
        .agg(
            pl.lit("acc").alias("metric"),
            pl.col("shots").first(),
            n.sum().alias("items"),
            ((n * accuracy).sum() / n.sum()).alias("score"),
            (squares / (n.sum() - pl.len()) / n.sum()).sqrt().alias("stderr"),
        )
        .select(SCORED)
    )


def curve(scored: pl.DataFrame, runs: pl.DataFrame, placed: pl.DataFrame) -> pl.DataFrame:
    """Scored rows with what is known of their run and the tokens it has seen.

    Runs without a place in training keep empty tokens; baselines take the tokens that the authors state.
    """
    position = placed.select("phase", "experiment", "steps_in_phase", "tokens")
    return (
        scored.join(runs, on="run")
        .join(position, on=["phase", "experiment", "steps_in_phase"], how="left")
        .with_columns(tokens=pl.coalesce("tokens", "stated_training_tokens"))
        .select("run", "model", "baseline", "phase", "experiment", "steps_in_phase", "tokens", "task", "metric",
                "shots", "items", "score", "stderr")
    )  # fmt: skip


def shown_in_figures(curve: pl.DataFrame, runs: pl.DataFrame) -> pl.DataFrame:
    """The rows of the released checkpoints, prompted as the authors did, and of the baselines."""
    released = pl.col("experiment").is_in(RELEASED) & pl.col("add_bos_token")
    return curve.join(runs.filter(released | pl.col("baseline")), on="run", how="semi")


def side_by_side(curve: pl.DataFrame, titles: dict[str, str]) -> pl.DataFrame:
    """One row a run, one column a task, its score with the standard error in brackets as printed: 0.485 (15).

    Lucie's runs come first, in the order of training. ``titles`` names the tasks' columns.
    """
    bracketed = [_bracketed(row["score"], row["stderr"]) for row in curve.iter_rows(named=True)]
    wide = curve.with_columns(cell=pl.Series(bracketed)).pivot(
        "task", index=["run", "model", "baseline", "phase", "tokens"], values="cell"
    )
    ordered = wide.sort("baseline", "tokens", "model", maintain_order=True)
    phase = pl.when("baseline").then(pl.lit("")).otherwise("phase").alias("phase")
    return ordered.select("model", phase, "tokens", *(pl.col(task).alias(name) for task, name in titles.items()))


def _bracketed(score: float, error: float | None) -> str:
    return f"{score:.3f}" if error is None else f"{score:.3f} ({1000 * error:.0f})"
