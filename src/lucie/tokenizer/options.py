"""The options of a tokenizer, read off its tokenizer.json, and two tokenizers side by side.

What is read is what decides the ids: entries by kind, merges, the normaliser's rules, what cuts the text, what puts
it together again, special tokens. What cannot be named is shown as JSON, so that nothing differs unseen.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from lucie.errors import UsageError
from lucie.records.tokenizer_files import KINDS
from lucie.tokenizer.bpe import FILES
from lucie.tokenizer.normalisation import merges, spaced_signs

Content = Mapping[str, Any]
MERGED = "merged"
NONE = "none"
MODEL = ("type", "byte_fallback", "unk_token", "fuse_unk", "dropout", "ignore_merges", "continuing_subword_prefix",
         "end_of_word_suffix")  # fmt: skip


def read(path: Path) -> dict[str, Any]:
    """The content of a tokenizer.json, given by its path or its folder. Raises UsageError for what is none."""
    file = path / FILES[0] if path.is_dir() else path
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(content["model"]["vocab"], dict | list):
            raise ValueError("its vocabulary is no table")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{file} is not a tokenizer.json that can be read: {error!r}. Give another one.") from error
    return content


def options(content: Content) -> dict[str, str]:
    """Every option of a tokenizer by name, as text."""
    model = content["model"]
    counted = Counter(map(kind, entries(content).values()))
    return {
        "entries": str(sum(counted.values())),
        **{f"entries, {name}": str(counted[name]) for name in [*KINDS.values(), MERGED]},
        "merges": str(len(merges(content))),
        **{f"model, {name}": _plain(({"ignore_merges": False} | model).get(name)) for name in MODEL},
        "special tokens": " ".join(token["content"] for token in _added(content) if token["special"]) or NONE,
        "other added tokens": " ".join(token["content"] for token in _added(content) if not token["special"]) or NONE,
        "spaced signs": " ".join(f"U+{ord(sign):04X}" for sign in spaced_signs(content)) or NONE,
        "other rules of the normaliser": _steps(content, "normalizer", "normalizers"),
        "pre-tokenizer": _steps(content, "pre_tokenizer", "pretokenizers"),
        "decoder": _steps(content, "decoder", "decoders"),
        "post-processor": _steps(content, "post_processor", "processors"),
    }


def compare(ours: Content, theirs: Content) -> pl.DataFrame:
    """Two tokenizers option by option: option, ours, theirs, same."""
    left, right = options(ours), options(theirs)
    rows = {"option": list(left), "ours": list(left.values()), "theirs": [right[option] for option in left]}
    return pl.DataFrame(rows).with_columns(same=pl.col("ours") == pl.col("theirs"))


def in_common(ours: Content, theirs: Content) -> dict[str, int]:
    """Entries in both, entries with the same number in both, merges in both."""
    left, right = entries(ours), entries(theirs)
    return {
        "entries": len(set(left.values()) & set(right.values())),
        "entries with the same number": sum(right.get(number) == entry for number, entry in left.items()),
        "merges": len(set(merges(ours)) & set(merges(theirs))),
    }


def entries(content: Content) -> dict[int, str]:
    """The entries by number; a token that was added to a slot of the vocabulary stands for it."""
    held = content["model"]["vocab"]
    numbered = {number: entry for entry, number in held.items()} if isinstance(held, dict) else _of_pieces(held)
    return numbered | {token["id"]: token["content"] for token in _added(content)}


def _of_pieces(pieces: list[list[Any]]) -> dict[int, str]:
    """The entries of a model that lists them with their scores."""
    return {number: piece[0] for number, piece in enumerate(pieces)}


def kind(entry: str) -> str:
    """What an entry is: special, byte, unused, spaces, tabs, linebreaks, digit, character or merged."""
    fitting = (name for pattern, name in KINDS.items() if re.fullmatch(pattern, entry, re.DOTALL))
    return next(fitting, MERGED)


def _added(content: Content) -> list[dict[str, Any]]:
    return sorted(content.get("added_tokens") or [], key=lambda token: token["id"])


def _steps(content: Content, part: str, sequence: str) -> str:
    """The steps of a part in order, in short; spacing rules have an option of their own."""
    whole = content.get(part)
    if whole is None:
        return NONE
    steps = whole[sequence] if whole["type"] == "Sequence" else [whole]
    shown = [_step(step) for step in steps if not (part == "normalizer" and spaced_signs({part: {sequence: [step]}}))]
    return "; ".join(shown) or NONE


def _step(step: Content) -> str:
    """A step as its type and settings. Old files have settings that follow from others; new ones leave them out."""
    settings = {name: value for name, value in step.items() if name not in ("type", "add_prefix_space")}
    if step["type"] == "Metaspace":
        settings = {"split": True, "prepend_scheme": "always"} | settings
    if step["type"] != "Metaspace" and "add_prefix_space" in step:
        settings["add_prefix_space"] = step["add_prefix_space"]
    return " ".join([step["type"], *(f"{name}={_plain(settings[name])}" for name in sorted(settings))])


def _plain(value: object) -> str:
    if value is None or value == "":
        return NONE
    return value if isinstance(value, str) and value.isprintable() else json.dumps(value, ensure_ascii=True)
