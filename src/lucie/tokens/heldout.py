"""Which documents are kept out of the training, to measure it on: decided by a document's text alone.

So the answer for a document does not change when others are added, and copies of a text are on the same side.
"""

from __future__ import annotations

import hashlib
import unicodedata

from lucie.errors import UsageError


def is_held_out(text: str, per_mille: int) -> bool:
    """Whether a text is among the ``per_mille`` in a thousand that are held out; what 5 holds out, 10 does too.

    Case, spaces and the way accents are encoded make no difference. Raises UsageError outside of 0 to 1000.
    """
    if not 0 <= per_mille <= 1000:
        raise UsageError(f"{per_mille} in a thousand documents cannot be held out. Give a number from 0 to 1000.")
    plain = " ".join(unicodedata.normalize("NFC", text).casefold().split())
    digest = hashlib.blake2b(plain.encode("utf-8", "surrogatepass"), digest_size=8, person=b"heldout").digest()
    return int.from_bytes(digest, "big") % 1000 < per_mille
