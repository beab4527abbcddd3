"""Records of the evaluation: which checkpoints, which scores, and how far in training the authors say they are.

Two versions of the authors' table exist. The scores come from the current one; the columns that place a
checkpoint in training (steps, tokens) are kept apart from both versions, as what is judged.
"""

from __future__ import annotations

import polars as pl

from lucie.records.upstream import Upstream

CURRENT = "lucie/evaluation/evaluation_learning_curve_lucie.csv"
EARLIER = "lucie/evaluation/at_4c51a00/evaluation_learning_curve_lucie.csv"
BASELINES = "lucie/evaluation/evaluation_baselines.csv"
VERSIONS = {"current": CURRENT, "4c51a00": EARLIER}

# Tasks whose standard errors a stage recomputes from the scores: those errors are published, not input.
RECOMPUTED_STDERR = (
    "arc_challenge",
    "arc_de",
    "arc_es",
    "arc_fr",
    "arc_it",
    "french_bench_arc_challenge",
    "french_bench_grammar",
    "french_bench_hellaswag",
    "french_bench_vocab",
    "gsm8k",
    "hellaswag",
    "winogrande",
)

# Tasks that are means over 57 subjects; a stage recomputes their scores and standard errors from the subjects'.
AGGREGATES = ("mmlu", "mmlu_continuation")
FIELDS = ("stem", "humanities", "social_sciences", "other")  # of MMLU; means over their subjects
FIELDS_OF_CONTINUATION = ("stem", "humanities", "social sciences", "other")  # lm-evaluation-harness names them so


def evaluation_runs(upstream: Upstream) -> pl.DataFrame:
    rows = {}
    for path in (CURRENT, BASELINES):
        for row in upstream.rows(path):
            phase, experiment = _phase(row)
            baseline = path == BASELINES
            rows[_run(row)] = {
                "run": _run(row),
                "model": row["model_name"],
                "baseline": baseline,
                "phase": phase,
                "experiment": experiment,
                "steps_in_phase": None if baseline else int(float(row["training_steps_in_phase"])),
                "add_bos_token": row["add_bos_token"] == "True",
                "chat_template": row["chat_template"] == "True",
                "fewshot_as_multiturn": row["fewshot_as_multiturn"] == "True",
                "stated_training_tokens": int(float(row["training_tokens"])) if baseline else None,
                "origin": path,
            }
    return pl.DataFrame(list(rows.values()), infer_schema_length=None)


def _scored(upstream: Upstream) -> list[dict[str, str]]:
    rows = [row for path in (CURRENT, BASELINES) for row in upstream.rows(path)]
    keys = [(_run(row), row["benchmark"], row["dataset"]) for row in rows]
    assert len(set(keys)) == len(keys), "a run scores a task twice"
    return rows


def evaluation_scores(upstream: Upstream) -> pl.DataFrame:
    rows = [
        {
            "run": _run(row),
            "benchmark": row["benchmark"],
            "task": row["dataset"],
            "metric": row["score_name"].removesuffix(",none"),
            "shots": int(float(row["num_fewshot"])) if row["num_fewshot"] else None,
            "score": float(row["score"]),
            "stderr": None if row["dataset"] in RECOMPUTED_STDERR else _float(row["stderr"]),
        }
        for row in _scored(upstream)
        if not _of_mmlu(row["dataset"])
    ]
    return pl.DataFrame(rows, infer_schema_length=None)


def evaluation_subjects(upstream: Upstream) -> pl.DataFrame:
    """Plain accuracies, also for MMLU-continuation, where the authors' table picks the normalised ones as scores."""
    rows = [
        {
            "run": _run(row),
            "task": group,
            "subject": row["dataset"].removeprefix(f"{group}_"),
            "shots": int(float(row["num_fewshot"])),
            "accuracy": float(row["acc,none"]),
        }
        for row in _scored(upstream)
        if (group := _subject_of(row["dataset"]))
    ]
    return pl.DataFrame(rows, infer_schema_length=None)


def evaluation_aggregates(upstream: Upstream) -> pl.DataFrame:
    rows = [
        {"run": _run(row), "task": row["dataset"], "score": row["score"], "stderr": row["stderr"]}
        for row in _scored(upstream)
        if row["dataset"] in AGGREGATES
    ]
    return pl.DataFrame(rows)


def _of_mmlu(task: str) -> bool:
    return task.startswith("mmlu") or task in FIELDS_OF_CONTINUATION


def _subject_of(task: str) -> str:
    """The aggregate that ``task`` is a subject of; '' for other tasks, and for the means over a field."""
    group = "mmlu_continuation" if task.startswith("mmlu_continuation") else "mmlu"
    subject = task.removeprefix(f"{group}_")
    return group if task.startswith(f"{group}_") and subject not in FIELDS else ""


def evaluation_stderr(upstream: Upstream) -> pl.DataFrame:
    rows = [
        {"run": _run(row), "task": row["dataset"], "stderr": row["stderr"]}
        for row in _scored(upstream)
        if row["dataset"] in RECOMPUTED_STDERR
    ]
    return pl.DataFrame(rows)


def evaluation_progress(upstream: Upstream) -> pl.DataFrame:
    rows = {}
    for version, path in VERSIONS.items():
        for row in upstream.rows(path):
            phase, experiment = _phase(row)
            printed = {
                "version": version,
                "phase": phase,
                "experiment": experiment,
                "steps_in_phase": int(float(row["training_steps_in_phase"])),
                "printed_phase": row["training_phase"],
                "steps": int(float(row["training_steps"])),
                "tokens": int(float(row["training_tokens"])),
                "tokens_in_phase": int(float(row["training_tokens_in_phase"])),
                "origin": path,
            }
            rows[tuple(printed.values())] = printed
    frame = pl.DataFrame(list(rows.values()), infer_schema_length=None)
    key = ["version", "phase", "experiment", "steps_in_phase"]
    assert frame.select(key).is_unique().all(), "a checkpoint is placed twice"
    return frame.sort(key)


def _phase(row: dict[str, str]) -> tuple[str, str]:
    """Phase and experiment in one spelling: the earlier table has both in one column."""
    printed, experiment = row["training_phase"], row.get("expe_name", "")
    if not _is_lucie(row):
        return printed, ""
    if not experiment:
        number_and_phase, _, experiment = printed.partition("-")
        if number_and_phase.startswith("2_extension"):
            number_and_phase, experiment = "2_extension", number_and_phase.removeprefix("2_extension_")
        printed = number_and_phase
        experiment = experiment.replace("5B-", "5B_tokens-").replace("40M-", "40M_tokens-") or "pretraining"
    return printed.partition("_")[2], experiment


def _run(row: dict[str, str]) -> str:
    if not _is_lucie(row):
        return row["model_name"]
    phase, experiment = _phase(row)
    flags = "" if row["add_bos_token"] == "True" else "/no-bos"
    flags += "/chat" if row["chat_template"] == "True" else ""
    flags += "/multiturn" if row["fewshot_as_multiturn"] == "True" else ""
    return f"Lucie-7B/{phase}/{experiment}/{int(float(row['training_steps_in_phase']))}{flags}"


def _is_lucie(row: dict[str, str]) -> bool:
    return row["model_name"].startswith("Lucie")  # the earlier table calls some Lucie-7B-Annealing


def _float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


BUILDERS = {
    "input/evaluation_runs": evaluation_runs,
    "input/evaluation_scores": evaluation_scores,
    "input/evaluation_subjects": evaluation_subjects,
    "published/evaluation_aggregates": evaluation_aggregates,
    "published/evaluation_stderr": evaluation_stderr,
    "published/evaluation_progress": evaluation_progress,
}
