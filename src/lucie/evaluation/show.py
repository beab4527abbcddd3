"""What `lucie evaluate` shows: a bar over scores, then our scores beside the published."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import polars as pl
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from lucie.evaluation.runner import Watch
from lucie.terminal import out
from lucie.tolerance import DIFFERS


@contextmanager
def bar(scores: int) -> Iterator[Watch]:
    """A bar over so many scores; what was failed or kept counts too."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=out, transient=True) as progress:
        task = progress.add_task("scores", total=scores)

        def watch(said: dict[str, str]) -> None:
            progress.update(task, advance=1, description=f"{said['model']}  {said['task']}")

        yield watch


def table(rows: pl.DataFrame) -> Table:
    """Scores beside published ones."""
    shown = Table(box=None, pad_edge=False)
    for name, justify in (
        ("test", "left"), ("shots", "right"), ("items", "right"), ("score", "right"), ("± 1 s.e.", "right"),
        ("published", "right"), ("verdict", "left"),
    ):  # fmt: skip
        shown.add_column(name, justify=justify)  # type: ignore[arg-type]
    for row in rows.iter_rows(named=True):
        style = "red" if row["verdict"] == DIFFERS else ""
        shown.add_row(
            row["title"] + (" *" if row["examples_from_test"] else ""), _plain(row["shots"]), _plain(row["items"]),
            _number(row["score"]), _number(row["stderr"]), _number(row["published"]), row["verdict"], style=style,
        )  # fmt: skip
    return shown


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _plain(value: int | None) -> str:
    return "" if value is None else str(value)
