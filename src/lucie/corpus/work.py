"""Does the tasks of a cleaning on this machine, side by side, and sums up what came out."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from filelock import FileLock, Timeout

from lucie.corpus.clean import STEPS, Cleaning, work_in
from lucie.corpus.recipe import Recipe
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
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder.parent / f".{folder.name}.build.lock", timeout=0):
            _start(cleaning)
            for step in STEPS:
                run_step(cleaning, step, jobs, watch)
            report = summed_up(cleaning)
            write_json(folder / FINISHED, report)
    except Timeout as error:
        raise UsageError(f"{folder} is being worked on by another lucie. Let it end, or stop it.") from error
    return cleaning, report


def _start(cleaning: Cleaning) -> None:
    folder, held = cleaning.folder, work_in(cleaning.folder)
    if held and held["key"] != cleaning.key and cleaning.project.build in folder.resolve().parents:
        old = folder.with_name(f".{folder.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        folder.replace(old)  # at once, so that a kill leaves no half of it
        shutil.rmtree(old)
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
    with ProcessPoolExecutor(min(jobs, len(pending)), mp_context=context, initializer=_end_with_parent) as pool:
        largest_first = sorted(pending, key=lambda task: -_done(cleaning, step, task).bytes)
        futures = {pool.submit(cleaning.run, step, task): task for task in largest_first}
        for future in as_completed(futures):
            if not future.exception():
                watch(_done(cleaning, step, futures[future]))
    try:
        for future in futures:
            future.result()
    except BrokenProcessPool as error:
        raise StageError(
            f"A worker was killed in step {step}, most likely for want of memory. What is done is kept: start again "
            "with fewer --jobs."
        ) from error


def _end_with_parent() -> None:
    """A worker whose parent was killed would finish its task while a restarted run does the same task."""
    parent = multiprocessing.parent_process()

    def wait() -> None:
        if parent:
            parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


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
        "not_applied": dict(sum((Counter(shard["not_applied"]) for shard in shards), Counter())),
        "chunks_cut": sum(shard["chunks_cut"] for shard in shards),
        "ids_seen_before": cleaning.reports("duplicates")[0]["ids_seen_before"],
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
