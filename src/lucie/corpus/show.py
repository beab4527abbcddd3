"""What the terminal shows of a corpus: bars with bytes and time left, then tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import polars as pl
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from lucie.corpus.clean import Cleaning
from lucie.corpus.sources import Shard
from lucie.corpus.statistics import MEASURES, Statistics
from lucie.corpus.work import Done, decisions
from lucie.terminal import line, out

ROWS = 30
PROBLEMS = 10
BY_BYTES = ("filter", "write")
BAR = (TextColumn("{task.description:<12}"), BarColumn())


@contextmanager
def counting(total: int) -> Iterator[Callable[[int], None]]:
    """A bar over so many bytes; what it gives is told how many were done."""
    with Progress(*BAR, DownloadColumn(), TimeRemainingColumn(), console=out, transient=True) as progress:
        task = progress.add_task("counting", total=total)
        yield lambda done: progress.advance(task, done)


@contextmanager
def cleaning_bars(shards: list[Shard]) -> Iterator[Callable[[Done], None]]:
    """A bar for the steps, and one over the bytes of those steps that read the corpus."""
    total = sum(shard.bytes for shard in shards)
    with Progress(*BAR, DownloadColumn(), TimeRemainingColumn(), console=out, transient=True) as progress:
        bars = {step: progress.add_task(step, total=total) for step in BY_BYTES}
        yield lambda done: progress.advance(bars[done.step], done.bytes) if done.step in bars else None


def show_counts(found: Statistics) -> None:
    """The counts by source, language and category, the largest first, and what could not be read."""
    groups = found.by("source", "language", "category")
    _show(groups.head(ROWS))
    if groups.height > ROWS:
        out.print(f"and {groups.height - ROWS} smaller groups")
    totals = ", ".join(f"{found.total(measure):,} {measure}" for measure in MEASURES)
    out.print(f"[bold]in all[/]  {totals}")
    _show_problems(list(map(str, found.problems)), len(found.problems))


def show_cleaned(cleaning: Cleaning, report: dict[str, Any]) -> None:
    """What was kept and why the rest was not."""
    found = decisions(cleaning)
    kept = (pl.col("reason") == "").sum().alias("kept")
    _show(found.group_by("language", maintain_order=True).agg(pl.len().alias("documents"), kept).head(ROWS))
    out.print()
    dropped = sorted(report["dropped"].items(), key=lambda entry: -entry[1])
    _show(pl.DataFrame(dropped, schema={"dropped for": pl.String(), "documents": pl.Int64()}, orient="row"))
    for documents, rules in _by_count(report["not_applied"]).items():
        line("not applied", f"to {documents:,} documents, for want of metadata or a list: {', '.join(rules)}", "yellow")
    if cleaning.reports("model")[0]["scales"]:
        line("perplexity", "by a small model trained on this corpus, with its own thresholds: CCNet's is not here")
    for what, count in report["replaced"].items():
        line("replaced", f"{count:,} {what}")
    if report["chunks_cut"]:
        line("cut", f"{report['chunks_cut']:,} chunks of documents")
    if report["ids_seen_before"]:
        line("ids seen before", f"{report['ids_seen_before']:,} documents", "yellow")
    problems = [problem for shard in report["shards"] for problem in shard["problems"]]
    _show_problems(problems, report["dropped"].get("unreadable", 0))
    part = f" ({report['kept'] / report['read']:.1%})" if report["read"] else ""
    out.print(f"[bold]{report['read']:,} documents in[/] = {report['kept']:,} kept{part} + "
              f"{sum(report['dropped'].values()):,} dropped")  # fmt: skip
    out.print(f"the clean corpus: {cleaning.folder}/clean", soft_wrap=True)


def _by_count(counts: dict[str, int]) -> dict[int, list[str]]:
    """The names that have the same count together, the highest count first."""
    found: dict[int, list[str]] = {}
    for name, count in sorted(counts.items(), key=lambda entry: -entry[1]):
        found.setdefault(count, []).append(name)
    return found


def _show(frame: pl.DataFrame) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    for name in frame.columns:
        table.add_column(name, justify="right" if frame.schema[name].is_integer() else "left", overflow="fold")
    for row in frame.iter_rows():
        table.add_row(*(f"{cell:,}" if isinstance(cell, int) else cell or "-" for cell in row))
    out.print(table)


def _show_problems(problems: list[str], count: int) -> None:
    for problem in problems[:PROBLEMS]:
        line("left out", problem, "yellow")
    if count > PROBLEMS:
        line("left out", f"and {count - PROBLEMS:,} more", "yellow")
