"""Records of the corpus: documents, words and characters per raw file, tokens per token file, the printed table."""

from __future__ import annotations

import json
from pathlib import PurePosixPath

import polars as pl

from lucie.records.upstream import Upstream

LANGUAGES = ("fr", "en", "de", "es", "it", "fr-en", "it-en", "es-en", "de-fr")
QUANTITIES = {  # column of the printed table -> our name, unit
    "M docs": ("documents", "million"),
    "B words": ("words", "billion"),
    "B tokens": ("tokens", "billion"),
    "B chars": ("characters", "billion"),
    "#words/doc": ("words_per_document", "1"),
    "#chars/doc": ("characters_per_document", "1"),
    "#tokens/doc": ("tokens_per_document", "1"),
    "#char/word": ("characters_per_word", "1"),
    "#tokens/word": ("tokens_per_word", "1"),
}


def parse_name(name: str) -> tuple[str, str, str]:
    """Source, language and part of a raw file's name: ``RedPajama--fr--2021`` is RedPajama, fr, 2021.

    The language is '' where the name does not give it.
    """
    source, *rest = name.split("--")
    language = rest[0].split(".")[0] if rest and rest[0].split(".")[0] in LANGUAGES else ""
    if language:
        rest = rest[1:]
    return source, language, "--".join(rest)


def labels(upstream: Upstream) -> dict[str, dict[str, str]]:
    """Language and category of each token file, by its name, as the authors' weight table labels them."""
    rows = upstream.rows("lucie/training_weights.csv")
    return {PurePosixPath(row["prefix"]).name.removesuffix("_text_document"): row for row in rows}


def document_counts(upstream: Upstream) -> pl.DataFrame:
    return _counted(upstream).filter(~_TOTAL)


def source_totals(upstream: Upstream) -> pl.DataFrame:
    """The files that the authors left beside those of single languages, with a source's total."""
    return _counted(upstream).filter(_TOTAL).select("source", "documents", "words", "characters", "origin")


_TOTAL = (pl.col("language") == "") & (pl.col("part") == "")


def _counted(upstream: Upstream) -> pl.DataFrame:
    label = labels(upstream)
    by_source: dict[str, set[str]] = {}
    for name, row in label.items():
        by_source.setdefault(parse_name(name)[0], set()).add(row["language"])
    rows = []
    for path in upstream.paths("lucie/stats_raw"):
        name = PurePosixPath(path).stem.removeprefix("stats_")
        source, language, part = parse_name(name)
        if not language and len(by_source[source]) == 1:
            language = next(iter(by_source[source]))
        counts = json.loads(upstream.read(path))
        rows.append(
            {
                "name": name,
                "source": source,
                "language": language,
                "part": part,
                "documents": counts["num pages"],
                "words": counts["num words"],
                "characters": counts["num chars"],
                "origin": path,
            }
        )
    return pl.DataFrame(rows).sort("name", maintain_order=True)


def token_counts(upstream: Upstream) -> pl.DataFrame:
    label = labels(upstream)
    rows = []
    for path in upstream.paths("lucie/stats_tokens") + upstream.paths("lucie/stats_tokens/validation"):
        name = PurePosixPath(path).name.removesuffix("_text_document.json")
        validation = "/validation/" in path
        source, _, part = parse_name(name)
        counts = json.loads(upstream.read(path))
        rows.append(
            {
                "name": name,
                "source": source,
                "language": "en" if validation else label[name]["language"],
                "part": part,
                "category": "math" if validation else label[name]["category"],
                "split": "validation" if validation else "train",
                "tokens": counts["total_tokens"],
                "documents": counts["total_sequences"],
                "shortest_document_tokens": counts["min_tokens"],
                "longest_document_tokens": counts["max_tokens"],
                "origin": path,
            }
        )
    return pl.DataFrame(rows).sort("split", "name", maintain_order=True)


def composition(upstream: Upstream) -> pl.DataFrame:
    rows = [
        {
            "source": row["name"],
            "language": row["language"],
            "category": row["category"],
            "level": "total" if row["name"] == "TOTAL" else "subset",
            "quantity": quantity,
            "unit": unit,
            "printed": row[column],
        }
        for row in upstream.rows("lucie/hugging_face/dataset_composition.csv")
        for column, (quantity, unit) in QUANTITIES.items()
    ]
    return pl.DataFrame(rows)


BUILDERS = {
    "input/document_counts": document_counts,
    "input/token_counts": token_counts,
    "published/composition": composition,
    "published/source_totals": source_totals,
}
