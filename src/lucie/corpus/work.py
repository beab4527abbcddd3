"""Does the tasks of a cleaning on this machine, side by side, and sums up what came out."""

from __future__ import annotations

import multiprocessing
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from lucie.corpus.clean import STEPS, WORK, Cleaning
from lucie.corpus.recipe import Recipe
from lucie.corpus.rules import not_applied
from lucie.errors import StageError, UsageError
from lucie.files import write_json
from lucie.project import Project

FINISHED = "report.json"
WORTH_A_PROCESS = 4_000_000  # bytes of a corpus; a new process costs about a second


@dataclass(frozen=True)
class Done:
    """A task that has ended; ``bytes`` is what it worked through, 0 for tasks that are not about a shard."""

    step: str
    task: int
    bytes: int


Watch = Callable[[Done], None]


def clean(
    project: Project, recipe: Recipe, folder: Path, jobs: int, watch: Watch = lambda _: None
) -> tuple[Cleaning, dict[str, Any]]:
    """Clean a corpus into ``folder``, going on where an earlier run stopped; returns what became of it.

    Under build/, work by another recipe or from other files is done anew; elsewhere it is an error.
    """
    cleaning = Cleaning(project, recipe, folder)
    _start(cleaning)
    for step in STEPS:
        run_step(cleaning, step, jobs, watch)
    report = summed_up(cleaning)
    write_json(folder / FINISHED, report)
    return cleaning, report


def _start(cleaning: Cleaning) -> None:
    try:
        cleaning.claim_folder()
    except UsageError:
        ours = (cleaning.folder / WORK).is_file()
        if not (ours and cleaning.project.build in cleaning.folder.resolve().parents):
            raise
        shutil.rmtree(cleaning.folder)
        cleaning.claim_folder()


def run_step(cleaning: Cleaning, step: str, jobs: int, watch: Watch) -> None:
    """Do the tasks of a step that are not done. Raises what the first failed task raised, after the others ended."""
    pending = cleaning.pending(step)
    for task in set(range(cleaning.tasks(step))) - set(pending):
        watch(_done(cleaning, step, task))
    small = sum(shard.bytes for shard in cleaning.shards) < WORTH_A_PROCESS
    if jobs == 1 or small or len(pending) < 2:
        for task in pending:
            cleaning.run(step, task)
            watch(_done(cleaning, step, task))
        return
    context = multiprocessing.get_context("spawn")  # polars' threads do not survive a fork
    with ProcessPoolExecutor(min(jobs, len(pending)), mp_context=context) as pool:
        largest_first = sorted(pending, key=lambda task: -_done(cleaning, step, task).bytes)
        futures = {pool.submit(cleaning.run, step, task): task for task in largest_first}
        for future in as_completed(futures):
            if not future.exception():
                watch(_done(cleaning, step, futures[future]))
    for future in futures:
        future.result()


def _done(cleaning: Cleaning, step: str, task: int) -> Done:
    return Done(step, task, cleaning.shards[task].bytes if step in ("filter", "write") else 0)


def summed_up(cleaning: Cleaning) -> dict[str, Any]:
    """Documents in, kept and dropped by reason, in all and by shard. Raises StageError where they do not add up."""
    shards = cleaning.reports("write")
    dropped = sum((Counter(shard["dropped"]) for shard in shards), Counter())
    report = {
        "corpus": cleaning.recipe.name,
        "read": sum(shard["read"] for shard in shards),
        "kept": sum(shard["kept"] for shard in shards),
        "dropped": dict(sorted(dropped.items())),
        "replaced": dict(sum((Counter(shard["replaced"]) for shard in shards), Counter())),
        "chunks_cut": sum(shard["chunks_cut"] for shard in shards),
        "ids_seen_before": cleaning.reports("duplicates")[0]["ids_seen_before"],
        "not_applied": not_applied(cleaning.recipe),
        "shards": shards,
    }
    if report["read"] != report["kept"] + dropped.total():
        raise StageError(f"{report['read']} documents in, {report['kept']} kept, {dropped.total()} dropped")
    return report


def kept(folder: Path) -> Iterator[Path]:
    """The clean shards."""
    yield from sorted((folder / "clean").glob("*.parquet"))


def decisions(cleaning: Cleaning) -> pl.DataFrame:
    """What became of each document that could be read.

    Columns: source, id, language, category; reason (the rule that dropped it, '' when it is kept), broken (every rule
    that it breaks), twin (the document that it is a copy of).
    """
    named = ["source", "id", "language", "category"]
    copies = pl.read_parquet(cleaning.folder / "duplicates" / "copies.parquet").rename({"reason": "copy"})
    frames = []
    for task in range(cleaning.tasks("filter")):
        step = cleaning.folder / "filter"
        kept = pl.read_parquet(step / f"{task:05d}.kept.parquet", columns=named)
        place = {"shard": pl.lit(task, pl.Int64()), "row": pl.int_range(pl.len(), dtype=pl.Int64())}
        kept = kept.with_columns(**place).join(copies, on=["shard", "row"], how="left", maintain_order="left")
        reason = pl.col("copy").fill_null("").alias("reason")
        frames.append(kept.select(*named, reason, pl.concat_list("copy").list.drop_nulls().alias("broken"), "twin"))
        dropped = pl.read_parquet(step / f"{task:05d}.dropped.parquet")
        frames.append(dropped.select(*named, "reason", "broken", pl.lit(None, pl.String()).alias("twin")))
    return pl.concat(frames)
