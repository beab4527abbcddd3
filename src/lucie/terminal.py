"""What the terminal shows: calm, one line a stage, the verdicts at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lucie.verify import Report

if TYPE_CHECKING:
    from polars import DataFrame

    from lucie.engine import Progress as Ended
    from lucie.pinned import Pin

COLOURS = {
    "reproduced": "green",
    "within tolerance": "green",
    "differs, explained": "yellow",
    "quoted": "dim",
    "not attempted": "dim",
    "differs": "bold red",
}

WIDTH_WITHOUT_TERMINAL = 120

out = Console(highlight=False)
if not out.is_terminal:
    out.width = WIDTH_WITHOUT_TERMINAL
err = Console(stderr=True, highlight=False, soft_wrap=True)


def line(name: str, text: str, style: str = "") -> None:
    """One line: a name, then what there is to say of it."""
    row = Table.grid(padding=(0, 2))
    row.add_column(width=20, no_wrap=True)
    row.add_column(overflow="fold")
    row.add_row(Text(name), Text(text, style=style))
    out.print(row)


def show_progress(progress: Ended) -> None:
    """A stage that ended."""
    if progress.state != "running":
        style = "green" if progress.state == "done" else "bold red"
        line(progress.stage, f"{progress.state}  {progress.seconds:.1f} s", style)


@contextmanager
def pin_bar(pins: Iterable[Pin]) -> Iterator[Callable[[Pin], None]]:
    """A bar over the bytes of pinned files; what it gives is told which file is there."""
    with byte_bar("raw files", sum(pin.bytes for pin in pins)) as advance:
        yield lambda pin: advance(pin.bytes)


@contextmanager
def byte_bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar over so many bytes, with the time left; what it gives is told how many came."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=out) as bar:
        task = bar.add_task(what, total=total)
        yield lambda count: bar.advance(task, count)


def plain_table(frame: DataFrame) -> Table:
    """A table as it is, numbers to four digits."""
    shown = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    for name, kind in frame.schema.items():
        shown.add_column(name, justify="right" if kind.is_numeric() else "left")
    for row in frame.iter_rows():
        shown.add_row(*("" if value is None else _short(value) for value in row))
    return shown


def _short(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def show_report(report: Report) -> None:
    """Every claim with its verdict, what lies behind those that are not plain, and the counts."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    table.add_column("verdict", no_wrap=True)
    table.add_column("claim", no_wrap=True)
    for header in ("published", "ours", "tolerance"):
        table.add_column(header, overflow="fold")
    for verdict in report.verdicts:
        mark = Text(verdict.verdict, style=COLOURS[verdict.verdict])
        table.add_row(mark, verdict.claim, verdict.published, verdict.value, verdict.tolerance)
    out.print(table)
    for name in ("differs", "differs, explained", "quoted", "not attempted"):
        chosen = [verdict for verdict in report.verdicts if verdict.verdict == name]
        if chosen:
            out.print(f"\n[{COLOURS[name]}]{name}[/]")
        for verdict in chosen:
            out.print(Padding(f"[bold]{verdict.claim}[/]  {verdict.explanation or verdict.reason}", (0, 0, 0, 2)))
    out.print()
    for stage, changed in report.behind.items():
        line("behind", f"{stage}: {', '.join(changed)} changed since its results were published", "yellow")
    show_counts(report)


def show_counts(report: Report) -> None:
    """What does not hold, and how many claims got which verdict."""
    for mismatch in report.mismatches:
        line("MISMATCH", mismatch, "bold red")
    counts = [f"[{COLOURS[name]}]{count} {name}[/]" for name, count in report.counts.items() if count]
    out.print(f"[bold]tier {report.tier}[/]  " + " · ".join(counts))
