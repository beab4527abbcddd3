"""Throughput of training runs: tokens per second by layout and number of GPUs, and the share of the GPUs' peak used.

A layout divides the GPUs: tensor x pipeline parallelism hold one replica of the model, the rest are data-parallel
replicas. GPUs of a node are not in the logs; they come from the launch script.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from lucie.training.architecture import count_parameters
from lucie.training.schedule import Phase

LAYOUT = ["gpus", "tensor_parallelism", "pipeline_parallelism"]
WARMUP = 5  # iterations left out of a run's median: the first ones also fill caches and open connections
VOCABULARIES = {"32k": 32_000, "65k": 65_024}
VOCABULARY_MULTIPLE = 128  # the trainer pads the vocabulary to a multiple of this times the tensor parallelism
RECOMPUTED = "3_recompute_activation"  # the experiment that runs the forward pass twice
SECONDS_PER_DAY = 86_400
EXPERIMENT_NAME = (
    r"-(?P<nodes>\d+)nodes-tp(?P<tensor_parallelism>\d+)-pp(?P<pipeline_parallelism>\d+)"
    r"-z\d?-gbz(?P<global_batch>\d+)-mbz(?P<micro_batch>\d+)-"
)


def lay_out(runs: pl.DataFrame, gpus_per_node: int) -> pl.DataFrame:
    """Runs with GPUs and data-parallel replicas. ``pipeline_parallelism`` 0 (no pipeline engine) holds as 1."""
    stages = pl.max_horizontal("pipeline_parallelism", pl.lit(1))
    return runs.with_columns(gpus=pl.col("nodes") * gpus_per_node).with_columns(
        data_parallelism=pl.col("gpus") // (pl.col("tensor_parallelism") * stages)
    )


def compared(runs: pl.DataFrame) -> pl.DataFrame:
    """The runs that the authors' table and figure hold: no tensor parallelism of 4, and ZeRO stage 1 only where
    nothing else is divided."""
    divided = (pl.col("tensor_parallelism") > 1) | (pl.col("pipeline_parallelism") > 1)
    return runs.filter(pl.col("tensor_parallelism") < 4, (pl.col("zero_stage") == 0) | ~divided)


def by_iteration(runs: pl.DataFrame, iterations: pl.DataFrame) -> pl.DataFrame:
    """Tokens per second of the whole run at every logged iteration of ``runs``."""
    return iterations.join(runs, on="run").select(
        "run", "zero_stage", pl.col("batch_in_folder").alias("batch"), *LAYOUT, "data_parallelism", "iteration",
        consumed_samples=pl.col("iteration") * pl.col("global_batch"),
        tokens_per_second=pl.col("samples_per_second") * pl.col("sequence_length"),
    )  # fmt: skip


def throughput(runs: pl.DataFrame, iterations: pl.DataFrame) -> pl.DataFrame:
    """One row a run: median and mean seconds of an iteration after the warm-up, tokens/s in all and per GPU."""
    seconds = pl.col("milliseconds").filter(pl.col("iteration") > WARMUP) / 1000
    times = iterations.group_by("run", maintain_order=True).agg(
        median_seconds=seconds.median(), mean_seconds=seconds.mean(), minutes=pl.col("milliseconds").sum() / 60_000
    )
    tokens = pl.col("global_batch") * pl.col("sequence_length")
    return (
        runs.join(times, on="run")
        .with_columns(tokens_per_second=tokens / pl.col("median_seconds"))
        .with_columns(tokens_per_gpu_second=pl.col("tokens_per_second") / pl.col("gpus"))
    )


def experiments(table: pl.DataFrame, gpus_per_node: int, sequence_length: int) -> pl.DataFrame:
    """The rows of input/parallelism_experiments laid out by their names, with tokens/s and days for 10^12 tokens."""
    fields = table["name"].str.extract_groups(EXPERIMENT_NAME).struct.unnest().cast(pl.Int64)
    replica_batch = pl.col("data_parallelism") * pl.col("micro_batch")
    return (
        lay_out(pl.concat([table, fields], how="horizontal"), gpus_per_node)
        .with_columns(
            micro_batches=pl.col("global_batch") // replica_batch,
            tokens_per_second=pl.col("samples_per_second") * sequence_length,
        )
        .with_columns(
            tokens_per_gpu_second=pl.col("tokens_per_second") / pl.col("gpus"),
            days_per_trillion_tokens=1e12 / pl.col("tokens_per_second") / SECONDS_PER_DAY,
        )
    )


def trainer_flops(
    model: Mapping[str, str], sequence_length: int, vocabulary: int, tensor_parallelism: int, recomputed: bool = False
) -> float:
    """Floating-point operations for one sample as the trainer counts them for its log.

    24 f s L h^2 (1 + s/6h + V/16Lh) with f = 3 passes (one forward, two backward), 4 when activations are computed
    again: the count of Narayanan et al. (2021, arXiv:2104.04473) for a GPT whose feed-forward width is 4h.
    """
    hidden, layers = int(model["hidden_size"]), int(model["num_hidden_layers"])
    multiple = VOCABULARY_MULTIPLE * tensor_parallelism
    padded = -(-vocabulary // multiple) * multiple
    passes = 4 if recomputed else 3
    terms = 1 + sequence_length / (6 * hidden) + padded / (16 * layers * hidden)
    return 24 * passes * sequence_length * layers * hidden**2 * terms


def trainer_tflops(
    rows: pl.DataFrame, model: Mapping[str, str], sequence_length: int, vocabulary: Mapping[str, int]
) -> pl.Series:
    """TFLOP/s per GPU as the trainer counts them, from samples_per_second, gpus, vocabulary and experiment."""
    return pl.Series(
        [
            row["samples_per_second"]
            * trainer_flops(
                model,
                sequence_length,
                vocabulary[row["vocabulary"]],
                row["tensor_parallelism"],
                row["experiment"] == RECOMPUTED,
            )
            / row["gpus"]
            / 1e12
            for row in rows.iter_rows(named=True)
        ]
    )


def flops_per_token(model: Mapping[str, str], sequence_length: int, attended: float) -> float:
    """Floating-point operations of one training token: 6 N + 12 a L h s.

    N are all parameters; the second term is the product of queries with keys and of weights with values, where a
    token attends to a share ``attended`` of the sequence: 1 as if it saw all (Chowdhery et al. 2022,
    arXiv:2204.02311, appendix B), 0.5 under the causal mask, 0 to leave attention out.
    """
    if not 0 <= attended <= 1:
        raise ValueError(f"A share of the sequence lies between 0 and 1, not {attended}.")
    parameters = int(count_parameters(model)["parameters"].sum())
    attention = 12 * attended * int(model["num_hidden_layers"]) * int(model["hidden_size"]) * sequence_length
    return 6 * parameters + attention


def utilisation(tokens_per_gpu_second: float, flops: float, peak: float) -> float:
    """Share of a GPU's peak (TFLOP/s) that the model's own operations (FLOP per token) make up."""
    return tokens_per_gpu_second * flops / (peak * 1e12)


def phase_throughput(log: pl.DataFrame, phases: Mapping[str, Phase]) -> pl.DataFrame:
    """Tokens/s per GPU of each pretraining phase, from the GPU hours at its last logged step."""
    rows = []
    for name, phase in phases.items():
        last = log.filter(phase=name).sort("step", maintain_order=True).row(-1, named=True)
        tokens = int(phase.samples[last["step"]]) * phase.sequence_length
        rows.append(
            {
                "phase": name,
                "gpus": round(last["gpu_hours"] / last["wall_hours"]),
                "sequence_length": phase.sequence_length,
                "tokens_per_gpu_second": tokens / last["gpu_hours"] / 3600,
                "days_per_trillion_tokens": last["wall_hours"] / 24 / tokens * 1e12,
            }
        )
    return pl.DataFrame(rows)


def indivisible(micro_batches: pl.DataFrame, runs: pl.DataFrame, global_batch: int | None = None) -> pl.DataFrame:
    """The stated micro-batches that cannot be: the replicas' micro-batches do not divide the global batch.

    ``global_batch`` replaces that of the runs.
    """
    batch = pl.lit(global_batch) if global_batch else pl.col("global_batch")
    joined = micro_batches.join(runs.with_columns(batch=pl.col("batch_in_folder")), on=[*LAYOUT, "batch"])
    samples_per_step = pl.col("micro_batch") * pl.col("data_parallelism")
    return joined.filter(batch % samples_per_step != 0).select(
        *LAYOUT, "data_parallelism", "global_batch", "micro_batch", samples_per_micro_step=samples_per_step
    )
