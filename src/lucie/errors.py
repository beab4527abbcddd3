"""Errors are sentences: what is wrong, where, and what to do. Each carries the exit code of its kind."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from enum import IntEnum


class Exit(IntEnum):
    """What the command's exit code tells."""

    HELD = 0  # everything reproduced, within tolerance, explained, quoted or not attempted
    DIFFERS = 1
    MISMATCH = 2  # a file is not what its manifest says
    USAGE = 3  # wrong use or bad input
    STAGE_FAILED = 4


class LucieError(Exception):
    """Base of the errors that a user can do something about."""

    code = Exit.USAGE


class UsageError(LucieError):
    """Wrong use or bad input."""


class MismatchError(LucieError):
    """A file is not what its manifest says."""

    code = Exit.MISMATCH


class StageError(LucieError):
    """A stage failed while it ran."""

    code = Exit.STAGE_FAILED


def unknown(what: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a name that is not in ``known``; it names the nearest right one."""
    names = sorted(known)
    near = get_close_matches(name, names, n=1, cutoff=0.4)
    hint = f"Did you mean '{near[0]}'?" if near else f"Known: {', '.join(names) or 'none'}."
    return UsageError(f"There is no {what} '{name}'. {hint}")
