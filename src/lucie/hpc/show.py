"""What the terminal shows of the cluster."""

from __future__ import annotations

from rich.table import Table

from lucie.hpc.checks import Check
from lucie.hpc.status import Row
from lucie.terminal import line, out

COLOURS = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def show_status(rows: list[Row]) -> None:
    """One table of all that was submitted."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    for header in ("of", "stage", "job"):
        table.add_column(header, no_wrap=True)
    table.add_column("state", overflow="fold")
    for header in ("progress", "loss", "time left"):
        table.add_column(header, justify="right", no_wrap=True)
    for row in rows:
        loss = "" if row.loss is None else f"{row.loss:.3f}"
        left = "" if row.seconds_left is None else _time(row.seconds_left)
        table.add_row(row.work, row.stage, row.job, row.state, row.progress, loss, left)
    out.print(table)


def show_checks(checks: list[Check]) -> None:
    """One line a check: its state, what was looked at, what to do."""
    for check in checks:
        line(f"{check.state:<5} {check.name}", check.says, COLOURS[check.state] if check.state != "ok" else "")


def _time(seconds: float) -> str:
    """Hours and minutes, or seconds where it is less than one."""
    return f"{seconds:.0f} s" if seconds < 60 else f"{int(seconds // 3600)}:{int(seconds % 3600 // 60):02} h"
