"""What notebooks 01 and 02 run again on the corpus of their tier: counting and cleaning."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from lucie.corpus import planted, statistics, work
from lucie.corpus.clean import Cleaning
from lucie.corpus.language import SINGLE
from lucie.corpus.licences import rights
from lucie.corpus.recipe import Recipe
from lucie.machine import cores
from lucie.project import Project

MEASURES = statistics.MEASURES
LANGUAGES = SINGLE
# The authors' scanned sources that a category of ours is held to the rules of, or, in `sample`, is nearest to.
NEAREST = {
    "book": "GallicaMonographies",
    "newspaper": "GallicaPress",
    "technical": "HAL",
    "legislative_texts": "Eurovoc",
    "legislative": "Eurovoc",
}


def count(tier: str) -> statistics.Statistics:
    """Count the corpus of a tier."""
    project = Project.find()
    return statistics.count(Recipe.load(project, tier).source(project), cores())


def lengths(counted: statistics.Statistics, theirs: pl.DataFrame) -> pl.DataFrame:
    """Words a document, characters a word and bytes a character by language; beside them those of ``theirs``.

    ``theirs`` has the columns language, documents, words, characters.
    """
    ours = counted.by("language").with_columns(
        words_per_document=pl.col("words") / pl.col("documents"),
        characters_per_word=pl.col("characters") / pl.col("words"),
        bytes_per_character=pl.col("bytes") / pl.col("characters"),
    )
    lucie = (
        theirs.group_by("language", maintain_order=True)
        .agg(pl.col("documents", "words", "characters").sum())
        .select(
            pl.col("language").str.replace("-", ","),
            lucie_words_per_document=pl.col("words") / pl.col("documents"),
            lucie_characters_per_word=pl.col("characters") / pl.col("words"),
        )
    )
    return ours.join(lucie, on="language", how="left", maintain_order="left")


@dataclass(frozen=True)
class Cleaned:
    """A cleaned corpus, and what became of each of its documents."""

    project: Project
    cleaning: Cleaning
    report: dict[str, Any]

    @property
    def files(self) -> list[Path]:
        """The clean shards."""
        return list(work.kept(self.cleaning.folder))

    @cached_property
    def decisions(self) -> pl.DataFrame:
        return work.decisions(self.cleaning)

    @cached_property
    def faults(self) -> pl.DataFrame:
        """The planted faults; an empty list for a corpus that has none."""
        name = self.cleaning.recipe.planted
        if name:
            return planted.load(self.project.root / name)
        columns = {"source": pl.String(), "id": pl.String(), "kind": pl.String(), "detail": pl.String()}
        return pl.DataFrame(schema={**columns, "emails": pl.Int64(), "ips": pl.Int64()})

    def reasons(self) -> pl.DataFrame:
        """Documents dropped by the first rule that they break, and by any; unreadable ones among them."""
        broken = self.decisions.explode("broken").group_by(reason="broken", maintain_order=True).len("breaking")
        rows = {"reason": list(self.report["dropped"]), "dropped": list(self.report["dropped"].values())}
        first = pl.DataFrame(rows, schema={"reason": pl.String(), "dropped": pl.Int64()})
        share = (100 * pl.col("dropped") / max(1, self.report["read"])).alias("percent")
        both = first.with_columns(share).join(broken, on="reason", how="full", coalesce=True, maintain_order="left")
        return both.filter(pl.col("reason").is_not_null()).with_columns(pl.col("dropped", "percent").fill_null(0)).sort(
            ["dropped", "breaking", "reason"], descending=[True, True, False], maintain_order=True
        )  # fmt: skip

    def kept(self) -> pl.DataFrame:
        """Documents read and kept by category and language."""
        return (
            self.decisions.group_by("category", "language", maintain_order=True)
            .agg(pl.len().alias("read"), (pl.col("reason") == "").sum().alias("kept"))
            .with_columns(percent=100 * pl.col("kept") / pl.col("read"))
            .sort("category", "language", maintain_order=True)
        )

    def beside_published(self, published: pl.DataFrame) -> pl.DataFrame:
        """The part of the documents kept here beside the parts of the authors' sources nearest to it.

        ``published`` has source, language, quantity, and the parts `ratio` (first filter) and `final_ratio`.
        """
        key = ["source", "language"]
        nearest = pl.col("category").str.to_lowercase().replace_strict(NEAREST, default=None)
        theirs = published.filter(quantity="documents").select(*key, first_filter="ratio", final="final_ratio")
        return (
            self.kept()
            .with_columns(source=nearest, ours=pl.col("percent") / 100)
            .filter(pl.col("source").is_not_null())
            .select("category", *key, "read", "ours")
            .join(theirs, on=key, how="left", maintain_order="left")
        )

    def by_rights(self) -> pl.DataFrame:
        """Documents by the class of their licence."""
        found = [
            (str(rights(licence)), len(text))
            for shard in self.cleaning.shards
            for batch in self.cleaning.source.read(shard, ("text", "licence", "source", "id"))
            for text, licence in batch.documents.select("text", "licence").iter_rows()
        ]
        frame = pl.DataFrame(found, schema={"rights": pl.String(), "characters": pl.Int64()}, orient="row")
        counts = frame.group_by("rights", maintain_order=True).agg(
            pl.len().alias("documents"), pl.col("characters").sum()
        )
        return counts.sort("documents", descending=True, maintain_order=True)

    def perplexities(self) -> pl.DataFrame:
        """The perplexity of each document that was scored, and whether it was planted as garbled."""
        folder = self.cleaning.folder / "filter"
        paths = [folder / f"{task:05d}.{what}.parquet" for task in range(self.cleaning.tasks("filter"))
                 for what in ("kept", "dropped")]  # fmt: skip
        columns = ["source", "id", "language", "category", "quality_signals"]
        scored = pl.concat([pl.read_parquet(path, columns=columns) for path in paths])
        value = pl.col("quality_signals").map_elements(_perplexity, pl.Float64()).alias("perplexity")
        garbled = self.faults.filter(kind="ocr").select("source", "id", planted=pl.lit(True))
        return (
            scored.with_columns(value)
            .filter(pl.col("perplexity").is_not_null())
            .join(garbled, on=["source", "id"], how="left", maintain_order="left")
            .select("source", "id", "language", "category", "perplexity", pl.col("planted").fill_null(False))
        )

    def clean_texts(self) -> pl.DataFrame:
        """source, id and text of what is kept."""
        return pl.concat([pl.read_parquet(path, columns=["source", "id", "text"]) for path in self.files])


def clean(tier: str, folder: Path) -> Cleaned:
    """Clean the corpus of a tier in ``folder``, or take what is done there."""
    project = Project.find()
    return Cleaned(project, *work.clean(project, Recipe.load(project, tier), folder, cores()))


def _perplexity(signals: str) -> float | None:
    found: float | None = json.loads(signals).get("perplexity")
    return found
