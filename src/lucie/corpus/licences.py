"""What a licence allows: open, noncommercial, closed, or not known.

The Lucie dataset holds some CC BY-NC-SA text (Claire, STAC), which makes the whole CC BY-NC-SA. One setting of a
recipe says which classes are kept, so that those parts can be left out.
"""

from __future__ import annotations

import re
from enum import StrEnum


class Rights(StrEnum):
    OPEN = "open"
    NONCOMMERCIAL = "noncommercial"
    CLOSED = "closed"
    UNKNOWN = "unknown"


# The first that matches decides.
CLASSES = (
    (Rights.CLOSED, r"all rights|tous droits|proprietary|(?<!no )(?<!no known )copyright|\bnd\b|no ?deriv"),
    (Rights.NONCOMMERCIAL, r"\bnc\b|\b(?:non?|not for) ?commercial"),
    (Rights.OPEN, r"^cc0|\bcc by\b|public domain|domaine public|\bno (?:known )?copyright|etalab|licence ouverte"),
    (Rights.OPEN, r"\b(?:odc by|odbl|gfdl|eupl|mit|unlicense)\b|\b(?:apache|bsd|l?gpl|agpl|open)"),
)


def rights(licence: str | None) -> Rights:
    """The class of a licence as it is written in metadata, e.g. `CC-BY-NC-SA-4.0`."""
    words = re.sub(r"[-_/\s]+", " ", (licence or "").lower()).strip()
    return next((kind for kind, pattern in CLASSES if words and re.search(pattern, words)), Rights.UNKNOWN)
