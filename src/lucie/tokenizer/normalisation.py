"""What becomes of a text that is encoded and decoded again, in plain Python: nearly the text itself.

What is not given back, in the order in which it happens:

* A special token that stands in the text (`<s>`) is taken for one, and not shown.
* Characters are composed (NFC), by the rules of Unicode 9: later marks stay where they are.
* `\\r` and NUL are gone. Composing came before, so that a mark behind a `\\r` stays apart.
* No-break spaces come back as spaces, and so does `▁` (U+2581), which stands for a space within.
* A space behind a spaced sign (`'`, `(`, line break, ...) is kept, since one is put before it and one is taken away
  again. But none is put before a no-break space or a `▁`, which then lose themselves: `«\\u00A0oui` is `«oui`. Nor is
  one put before a special token, with the space that starts the next piece taken away all the same.
* The decoder drops all `▁` of the first token, not only the one that was put before the text. Spaces that start a
  text and are a token of their own go with it: of up to eight, one is left before a word that takes one, else none.
  Whether it takes one depends on the merges, which is why they are asked.

Measured by tests/test_bpe.py over every code point.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from lucie.tokenizer.bpe import BLANK, REMOVED

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Marks that unicodedata (Unicode 14 in Python 3.11, 15 in 3.12) moves or composes, and tokenizers, which knows those
# of Unicode 9, does not. A text is cut at them and composed piece by piece.
LATER_MARKS = (
    "\u07fd\u0898-\u089f\u08ca-\u08d3\u09fe\u0c3c\u0d3b-\u0d3c\u0eba\u1715\u1abf-\u1ace\u1df6-\u1dfa\ua82c"
    "\U00010d24-\U00010d27\U00010eab-\U00010eac\U00010efd-\U00010eff\U00010f46-\U00010f50\U00010f82-\U00010f85"
    "\U00011070\U0001133b\U0001145e\U00011839-\U0001183a\U00011930\U0001193d-\U0001193e\U00011943\U000119e0\U00011a34"
    "\U00011a47\U00011a99\U00011d42\U00011d44-\U00011d45\U00011d97\U00011f41-\U00011f42\U00016ff0-\U00016ff1"
    "\U0001e08f\U0001e130-\U0001e136\U0001e2ae\U0001e2ec-\U0001e2ef\U0001e4ec-\U0001e4ef"
)
# Word characters of the regular expressions in tokenizers (Oniguruma, Unicode 16) beyond the categories below: letters
# in circles and squares, and what unicodedata does not know yet.
WORD_CATEGORIES = frozenset({"Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "Pc"})
MORE_WORD_CHARACTERS = re.compile(
    "[\u24b6-\u24e9\U0001f130-\U0001f149\U0001f150-\U0001f169\U0001f170-\U0001f189"
    "\u0897\u0cf3\u0ece\u1c89-\u1c8a\ua7cb-\ua7cd\ua7da-\ua7dc\U000105c0-\U000105f3\U00010d40-\U00010d65"
    "\U00010d69-\U00010d6d\U00010d6f-\U00010d85\U00010ec2-\U00010ec4\U00010efc-\U00010eff\U0001123f-\U00011241"
    "\U00011380-\U00011389\U0001138b\U0001138e\U00011390-\U000113b5\U000113b7-\U000113c0\U000113c2\U000113c5"
    "\U000113c7-\U000113ca\U000113cc-\U000113d3\U000113e1-\U000113e2\U000116d0-\U000116e3\U00011bc0-\U00011be0"
    "\U00011bf0-\U00011bf9\U00011f00-\U00011f10\U00011f12-\U00011f3a\U00011f3e-\U00011f42\U00011f50-\U00011f5a"
    "\U0001342f\U00013440-\U00013455\U00013460-\U000143fa\U00016100-\U00016139\U00016d40-\U00016d6c"
    "\U00016d70-\U00016d79\U00018cff\U0001b132\U0001b155\U0001ccf0-\U0001ccf9\U0001df25-\U0001df2a"
    "\U0001e030-\U0001e06d\U0001e08f\U0001e4d0-\U0001e4f9\U0001e5d0-\U0001e5fa\U0002b739\U0002ebf0-\U0002ee5d"
    "\U00031350-\U000323af]"
)
_LATER = re.compile(f"([{LATER_MARKS}])")


@dataclass(frozen=True)
class Rules:
    """What `stated` must know of a tokenizer: spaced signs in order, special tokens, merges by rank, longest run."""

    signs: str
    specials: tuple[str, ...]
    ranks: Mapping[tuple[str, str], int]
    longest: int

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> Rules:
        """The rules of a tokenizer that was made as ours and the authors' were."""
        content = json.loads(tokenizer.to_str())
        return cls(
            "".join(spaced_signs(content)),
            tuple(token["content"] for token in content["added_tokens"]),
            {pair: rank for rank, pair in enumerate(merges(content))},
            max(len(entry) for entry in content["model"]["vocab"] if entry.strip(BLANK) == ""),
        )

    @cached_property
    def special(self) -> re.Pattern[str]:
        return re.compile("|".join(re.escape(name) for name in sorted(self.specials, key=len, reverse=True)) or r"(?!)")

    @cached_property
    def joined(self) -> frozenset[tuple[str, str]]:
        """The pairs of characters that some merge brings together."""
        return frozenset((left[-1], right[0]) for left, right in self.ranks)


_RULE = re.compile(r"\(?\\?(.)\)?\(\?=\[ \\w\]\)", re.DOTALL)  # this sign before a space or a word character


def spaced_signs(content: Mapping[str, Any]) -> list[str]:
    """The signs that the normaliser of a tokenizer.json puts a space behind, in the order of its rules."""
    normaliser = content.get("normalizer") or {}
    found = (
        _RULE.fullmatch(rule["pattern"].get("Regex", ""))
        for rule in normaliser.get("normalizers", [])
        if rule["type"] == "Replace"
    )
    return [match[1] for match in found if match]


def merges(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The merges of a tokenizer.json in order, whether it writes a pair as a text or as a list."""
    listed = content["model"].get("merges") or []
    return [(left, right) for left, right in (pair.split(" ") if isinstance(pair, str) else pair for pair in listed)]


def stated(text: str, rules: Rules) -> str:
    """Exactly what ``decode(encode(text))`` gives, with any text but lone surrogates."""
    pieces = [piece for piece in (normalised(piece, rules.signs) for piece in rules.special.split(text)) if piece]
    if not pieces:
        return ""
    pieces[0] = pieces[0][_stripped(pieces[0], rules) :]
    shown = "".join(pieces).replace(BLANK, " ")
    for sign in rules.signs:
        shown = shown.replace(f"{sign} ", sign)
    return shown


def normalised(text: str, signs: Iterable[str]) -> str:
    """A text without special tokens as the model gets it: composed, spaced, `▁` for spaces and before all."""
    text = re.sub(REMOVED, "", composed(text))
    for sign in signs:
        text = _spaced(text, sign)
    return re.sub("[ \u00a0]", BLANK, f" {text}") if text else ""


def composed(text: str) -> str:
    """NFC by the rules of Unicode 9."""
    return "".join(unicodedata.normalize("NFC", piece) for piece in _LATER.split(text))


def _spaced(text: str, sign: str) -> str:
    first, *pieces = text.split(sign)
    return first + "".join(f"{sign} {piece}" if _follows(piece) else f"{sign}{piece}" for piece in pieces)


def _follows(piece: str) -> bool:
    return piece.startswith(" ") or (bool(piece) and is_word_character(piece[0]))


def is_word_character(character: str) -> bool:
    r"""What `\w` is in the regular expressions of tokenizers."""
    return unicodedata.category(character) in WORD_CATEGORIES or bool(MORE_WORD_CHARACTERS.match(character))


def _stripped(piece: str, rules: Rules) -> int:
    """How many `▁` the first token starts with: the decoder drops them all.

    Merges of runs come last. So the last `▁` goes to its word if it can, and the others fill runs from the left.
    """
    rest = piece.lstrip(BLANK)
    run = len(piece) - len(rest)
    if run > 1 and _takes_blank(rest, rules):
        run -= 1
    return min(run, rules.longest)


def _takes_blank(word: str, rules: Rules) -> bool:
    """Whether the merges give the `▁` before a word to it: byte-pair encoding, as far as merges reach."""
    pieces = [BLANK]
    for before, sign in zip(BLANK + word, word, strict=False):
        if (before, sign) not in rules.joined or sign == BLANK:
            break
        pieces.append(sign)
    while len(pieces) > 1:
        ranked = [rules.ranks.get(pair, len(rules.ranks)) for pair in pairwise(pieces)]
        best = min(ranked)
        if best == len(rules.ranks):
            return False
        place = ranked.index(best)
        if place == 0:
            return True
        pieces[place : place + 2] = [pieces[place] + pieces[place + 1]]
    return False
