"""Replaces e-mail and public IP addresses, as the authors' first script does: by <email> and <ip>.

Their second script puts random addresses in the place of these words; ours leaves them.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import Any

EMAIL, IP = "<email>", "<ip>"


@cache
def _formatter() -> Any:
    from datatrove.pipeline.formatters import PIIFormatter

    return PIIFormatter(email_replacement=EMAIL, ip_replacement=IP)


def replaced(text: str) -> tuple[str, Counter[str]]:
    """The text without addresses, and how many of each kind were replaced."""
    clean: str = _formatter().format(text)
    return clean, Counter({kind: clean.count(kind) - text.count(kind) for kind in (EMAIL, IP)})
