"""What was looked at on a site, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Check:
    """One line: its name, its state, and what to do where it is not ok."""

    name: str
    state: State
    says: str
