"""Records of the parallelism study: what its runs logged and what its authors tabulated from them.

The trainer's log lines are split in three: times and throughput, from which a stage computes; the trainer's own
TFLOP/s, which it must reproduce; the rest (loss, learning rate) is not needed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import polars as pl

from lucie.records.upstream import Upstream

LOGS = "lucie/parallelism/logs"
TABLE = "lucie/parallelism/all_iters_w_dp.csv"
SUMMARY = "lucie/parallelism/expe_summary.csv"

RUN_NAME = re.compile(
    r"(?P<stage>z\d)/(?P<folder>b\d+)/iterations/lucie7b-(?P<nodes>\d+)nodes-tp(?P<tp>\d+)-"
    r"(?:no_pp|pp(?P<pp>\d+))(?:-z\d-(?P<named>b\d+))?-(?P<job>\d+)\.iterations\.txt"
)
FIELDS = {
    "consumed_samples": r"consumed samples: +(\d+)",
    "milliseconds": r"elapsed time per iteration \(ms\): +([\d.]+)",
    "global_batch": r"global batch size: +(\d+)",
    "sequence_length": r"actual seqlen: +(\d+)",
    "samples_per_second": r"samples per second: +([\d.]+)",
    "tflops": r"TFLOPs: +([\d.]+)",
}


def parallelism_runs(upstream: Upstream) -> pl.DataFrame:
    rows = []
    for path, name in _runs(upstream):
        lines = list(_lines(upstream, path))
        constant = {key: {line[key] for line in lines} for key in ("global_batch", "sequence_length")}
        assert all(len(values) == 1 for values in constant.values()), f"{path} changes its batch or sequence length"
        rows.append(
            {
                "run": int(name["job"]),
                "zero_stage": int(name["stage"][1:]),
                "batch_in_folder": name["folder"],
                "batch_in_name": name["named"] or "",
                "nodes": int(name["nodes"]),
                "tensor_parallelism": int(name["tp"]),
                "pipeline_parallelism": int(name["pp"] or 1),
                "iterations": len(lines),
                "last_iteration": int(lines[-1]["iteration"]),
                **{key: int(values.pop()) for key, values in constant.items()},
                "origin": path,
            }
        )
    return pl.DataFrame(rows)


def parallelism_iterations(upstream: Upstream) -> pl.DataFrame:
    return _every_iteration(upstream, {"milliseconds": float, "samples_per_second": float})


def parallelism_tflops(upstream: Upstream) -> pl.DataFrame:
    return _every_iteration(upstream, {"tflops": str})


def parallelism_table(upstream: Upstream) -> pl.DataFrame:
    rows = [
        {
            "zero_stage": int(row["stage"][1:]),
            "batch": row["batch"],
            "gpus": int(row["ngpus"]),
            "tensor_parallelism": int(row["TP"]),
            "pipeline_parallelism": int(row["PP"]),
            "consumed_samples": int(row["consumed_samples"]),
            "data_parallelism": int(float(row["DP"])),
            "tokens_per_second": row["ntokens_per_second"],
        }
        for row in upstream.rows(TABLE)
    ]
    return pl.DataFrame(rows)


def experiments(upstream: Upstream) -> pl.DataFrame:
    rows = [
        {
            "run": int(row["slurm_id"]),
            "experiment": row["expe"],
            "name": row["filename"].removesuffix(".iterations"),
            "vocabulary": row["vocab_size"],
            "iterations": int(row["num_iterations"]),
            "samples_per_second": float(row["samples_per_seconds"]),
        }
        for row in upstream.rows(SUMMARY)
    ]
    return pl.DataFrame(rows)


def experiment_summary(upstream: Upstream) -> pl.DataFrame:
    rows = [
        {
            "run": int(row["slurm_id"]),
            "gpus": int(row["nGPUs"]),
            "data_parallelism": int(row["dp"]),
            "micro_batches": int(row["num_microbatch"]),
            "tflops": row["TFLOPs"],
            "tokens_per_second": row["token_per_second"],
            "days_per_trillion_tokens": row["estimated_time"],
        }
        for row in upstream.rows(SUMMARY)
    ]
    return pl.DataFrame(rows)


def _runs(upstream: Upstream) -> Iterator[tuple[str, dict[str, str]]]:
    for folder in (f"{LOGS}/{stage}/{batch}/iterations" for stage in ("z0", "z1") for batch in ("b192", "b512")):
        for path in upstream.paths(folder):
            name = RUN_NAME.fullmatch(path.removeprefix(f"{LOGS}/"))
            assert name, f"{path} is not named like a run"
            yield path, name.groupdict()


def _lines(upstream: Upstream, path: str) -> Iterator[dict[str, str]]:
    """The fields of every line. Some logs hold a stretch of zero and stray bytes before a line that is whole."""
    for line in upstream.read(path).decode("utf-8", errors="replace").strip("\n").split("\n"):
        found = {key: re.search(pattern, line) for key, pattern in FIELDS.items()}
        iteration = re.search(r"iteration +(\d+)/", line)
        assert iteration, f"{path}: not a line of an iteration: {line}"
        yield {"iteration": iteration[1], **{key: match[1] for key, match in found.items() if match}}


def _every_iteration(upstream: Upstream, columns: dict[str, type]) -> pl.DataFrame:
    rows = [
        {
            "run": int(name["job"]),
            "iteration": int(line["iteration"]),
            **{key: kind(line[key]) for key, kind in columns.items()},
        }
        for path, name in _runs(upstream)
        for line in _lines(upstream, path)
    ]
    return pl.DataFrame(rows)


BUILDERS = {
    "input/parallelism_runs": parallelism_runs,
    "input/parallelism_iterations": parallelism_iterations,
    "input/parallelism_experiments": experiments,
    "published/parallelism_tflops": parallelism_tflops,
    "published/parallelism_table": parallelism_table,
    "published/parallelism_summary": experiment_summary,
}
