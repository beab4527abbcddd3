"""Records of the authors' tokenizer files and of the text that the tokenizer was trained on."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import PurePosixPath
from typing import Any

import polars as pl

from lucie.records.composition import parse_name
from lucie.records.tokenizers import MEASURED
from lucie.records.upstream import Upstream

DETAILS = "lucie/tokenization/details"
WHOLE = "stats_DatasetV1"
TRAINING_TABLE = "lucie/tokenization/stats_train_tokenizer.csv"
FILES = {  # our name: the file; `counting` lies with the token counts of the corpus
    "counting": "lucie/tokenizers/stats_tokens/tokenizer/tokenizer.json",
    "released": "lucie/tokenizers/hugging_face/tokenizer_pretrained/tokenizer.json",
    "instruct": "lucie/tokenizers/hugging_face/tokenizer_instruct/tokenizer.json",
}
LANGUAGES = {"GallicaMonographies": "fr", "Persee": "fr", "TheStack": "code"}
PRINTED = {  # our name: printed column
    "pages": "M pages",
    "words": "B words",
    "characters": "B chars",
    "words_per_page": "#words/page",
    "characters_per_word": "#chars/word",
}
KINDS = {  # pattern of an entry: kind; the first that fits
    r"<(s|/s|unk|pad)>|<\|\w+\|>": "special",
    r"<0x[0-9A-F]{2}>": "byte",
    r"<unused\d+>": "unused",
    r"▁+": "spaces",
    r"\t+": "tabs",
    r"\n+": "linebreaks",
    r"[0-9]": "digit",
    r".": "character",
}
SPACED = re.compile(r"\(?\\?(.)\)?\(\?=\[ \\w\]\)", re.DOTALL)  # a rule's pattern: this sign before a blank or a word


def training_data(upstream: Upstream) -> pl.DataFrame:
    rows = []
    for path in upstream.paths(DETAILS):
        name = PurePosixPath(path).stem
        if name == WHOLE:
            continue
        source, language, _ = parse_name(name.removeprefix("stats_"))
        asked = re.search(r"(\d+)chars", name)
        counts = json.loads(upstream.read(path))
        rows.append(
            {
                "source": source,
                "language": language or LANGUAGES[source],
                "asked_characters": int(asked[1]) if asked else None,
                **_counts(counts),
                "origin": path,
            }
        )
    return pl.DataFrame(rows, infer_schema_length=None)


def _counts(counts: dict[str, Any]) -> dict[str, int]:
    return {"pages": counts["num pages"], "words": counts["num words"], "characters": counts["num chars"]}


def training_table(upstream: Upstream) -> pl.DataFrame:
    rows = []
    for row in upstream.rows(TRAINING_TABLE):
        source = row["name"].partition(".")[0].replace("---", "")
        language = row["language"].replace("---", "")
        for quantity, column in PRINTED.items():
            rows.append({"source": source, "language": language, "quantity": quantity, "printed": row[column]})
    return pl.DataFrame(rows)


def training_total(upstream: Upstream) -> pl.DataFrame:
    counts = _counts(json.loads(upstream.read(f"{DETAILS}/{WHOLE}.json")))
    return pl.DataFrame({"quantity": list(counts), "count": list(counts.values())})


def _load(upstream: Upstream) -> dict[str, dict[str, Any]]:
    return {name: json.loads(upstream.read(path)) for name, path in FILES.items()}


def _kind(entry: str) -> str:
    fitting = (kind for pattern, kind in KINDS.items() if re.fullmatch(pattern, entry, re.DOTALL))
    return next(fitting, "merged")


def _entries(tokenizer: dict[str, Any]) -> dict[int, str]:
    """The entries by number; tokens that were added to a slot of the vocabulary stand for it."""
    vocabulary = {number: entry for entry, number in tokenizer["model"]["vocab"].items()}
    return vocabulary | {added["id"]: added["content"] for added in tokenizer["added_tokens"]}


def entries(upstream: Upstream) -> pl.DataFrame:
    rows = []
    for name, tokenizer in _load(upstream).items():
        counted = Counter(_kind(entry) for entry in _entries(tokenizer).values())
        rows += [
            {"tokenizer": name, "kind": kind, "entries": counted[kind], "origin": FILES[name]}
            for kind in [*KINDS.values(), "merged"]
        ]
    return pl.DataFrame(rows)


def differences(upstream: Upstream) -> pl.DataFrame:
    """The entries that are not the same in all files, and where a merge makes them in the released one."""
    loaded = _load(upstream)
    tables = {name: _entries(tokenizer) for name, tokenizer in loaded.items()}
    merges = {name: [_pair(merge) for merge in tokenizer["model"]["merges"]] for name, tokenizer in loaded.items()}
    known = set(merges["counting"])
    place = {pair: number for number, pair in enumerate(merges["released"]) if pair not in known}
    assert [pair for pair in merges["released"] if pair not in place] == merges["counting"], "other merges differ"
    assert merges["instruct"] == merges["released"], "the instruct tokenizer merges otherwise"
    made = {"".join(pair): (*pair, number) for pair, number in place.items()}
    rows = []
    for number in sorted(tables["counting"]):
        entry = {name: table[number] for name, table in tables.items()}
        if len(set(entry.values())) > 1:
            left, right, merge = made.get(entry["released"], ("", "", None))
            rows.append({"number": number, **entry, "merge": merge, "left": left, "right": right})
    return pl.DataFrame(rows, infer_schema_length=None)


def _pair(merge: str | list[str]) -> tuple[str, str]:
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right


def spaced_signs(upstream: Upstream) -> pl.DataFrame:
    """The signs after which a normaliser puts a space, in the order of its rules."""
    rows = []
    for name, tokenizer in _load(upstream).items():
        for rule in tokenizer["normalizer"]["normalizers"]:
            found = SPACED.fullmatch(rule.get("pattern", {}).get("Regex", ""))
            if found:
                rows.append({"tokenizer": name, "sign": f"U+{ord(found[1]):04X}", "origin": FILES[name]})
    return pl.DataFrame(rows)


def merges(upstream: Upstream) -> pl.DataFrame:
    counted = {name: len(tokenizer["model"]["merges"]) for name, tokenizer in _load(upstream).items()}
    return pl.DataFrame({"tokenizer": list(counted), "merges": list(counted.values()), "origin": list(FILES.values())})


def table_rows(upstream: Upstream) -> pl.DataFrame:
    counted = Counter(row["tokenizer"] for row in upstream.rows(MEASURED))
    return pl.DataFrame({"tokenizer": list(counted), "rows": list(counted.values())})


BUILDERS = {
    "input/tokenizer_training_data": training_data,
    "input/tokenizer_entries": entries,
    "input/tokenizer_differences": differences,
    "input/tokenizer_spaced_signs": spaced_signs,
    "published/tokenizer_training_table": training_table,
    "published/tokenizer_training_total": training_total,
    "published/tokenizer_merges": merges,
    "published/tokenizer_table_rows": table_rows,
}
