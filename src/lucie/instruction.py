"""Instruction tuning: what the mixes are made of, how long a pass over them is, and what it changed."""

from __future__ import annotations

import math
from dataclasses import replace

import polars as pl

from lucie.training.schedule import Phase

ROUNDING = 0.5e-9  # of a weight, which has nine decimals


def counts(weights: pl.DataFrame, sizes: pl.DataFrame) -> pl.DataFrame:
    """The sequences of each dataset: its weight times the mix's sequences, which is a whole number.

    Takes input/instruction_weights and input/instruction_sizes. Raises ValueError where a product is further from a
    whole number than the rounding of the weight allows, or where a mix's numbers do not add up to its sequences.
    """
    product = pl.col("weight") * pl.col("sequences")
    rows = weights.drop("origin").join(sizes.drop("origin"), on="mix", maintain_order="left")
    off = rows.filter((product - product.round()).abs() > ROUNDING * pl.col("sequences"))
    if off.height:
        raise ValueError(f"{off['dataset'][0]} of {off['mix'][0]} is not a whole number of sequences.")
    counted = rows.with_columns(sequences=product.round().cast(pl.Int64))
    sums = (
        counted.group_by("mix", maintain_order=True).agg(pl.col("sequences").sum()).join(sizes, on=["mix", "sequences"])
    )
    if sums.height < sizes.height:
        raise ValueError("The sequences of the datasets do not add up to those of their mix.")
    return counted


def passes(sizes: pl.DataFrame, phase: Phase) -> pl.DataFrame:
    """One pass over each mix, in whole batches: steps, sequences left over, tokens with padding.

    ``filled_up`` is the steps of a pass whose last batch is filled up, so that no sequence is left over.
    """
    rows = []
    for mix, sequences in sizes.select("mix", "sequences").iter_rows():
        whole = replace(phase, train_samples=sequences)
        left = sequences - int(whole.samples[-1])
        filled_up = whole.steps + (left > 0)
        rows.append(
            {"mix": mix, "steps": whole.steps, "left_over": left, "tokens": whole.tokens, "filled_up": filled_up}
        )
    return pl.DataFrame(rows)


def changes(scores: pl.DataFrame, steps: dict[str, tuple[str, str]]) -> pl.DataFrame:
    """What each step (the run before, the run after) changed on each task, with its standard error.

    The standard error takes both runs for independent. They answered the same questions, so it is too large rather
    than too small: how often both were right is not published.
    """
    rows = []
    for step, (before, after) in steps.items():
        pairs = scores.filter(run=before).join(
            scores.filter(run=after), on="task", suffix="_after", maintain_order="left"
        )
        for row in pairs.iter_rows(named=True):
            error = math.hypot(row["stderr"], row["stderr_after"])
            change = row["score_after"] - row["score"]
            rows.append({"step": step, "task": row["task"], "change": change, "stderr": error, "ratio": change / error})
    return pl.DataFrame(rows)


def beside_each_other(scores: pl.DataFrame, runs: dict[str, str], titles: dict[str, str]) -> pl.DataFrame:
    """One row a task, one column a run (``runs`` names them), scores with the standard error in brackets."""
    rows = []
    for task, title in titles.items():
        cells = dict.fromkeys(runs.values(), "")
        for row in scores.filter(pl.col("run").is_in(list(runs)), task=task).iter_rows(named=True):
            cells[runs[row["run"]]] = f"{row['score']:.3f} ({1000 * row['stderr']:.0f})"
        rows.append({"task": title, **cells})
    return pl.DataFrame(rows)
