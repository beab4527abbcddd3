"""What notebook 04 runs again: the clean corpus of its tier as token files, and what three phases read of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from lucie.inputs import product_files
from lucie.machine import cores
from lucie.mixture.plan import PHASES, Mix
from lucie.project import Project
from lucie.tokenizer.recipe import TokenizerRecipe
from lucie.tokens.files import write_tokens
from lucie.tokens.folder import HELD_OUT, TokenFolder
from lucie.tokens.order import OrderedTokens
from lucie.tokens.overlap import Overlap, overlap

ITEMS = "mini"  # the test items of every tier that has none of its own


@dataclass(frozen=True)
class Written:
    """The token files of a tier, and what its mix reads of them."""

    project: Project
    folder: TokenFolder
    mix: Mix
    shards: list[Path]

    @property
    def files(self) -> list[Path]:
        """Everything that was written, but for what is hidden."""
        return [path for path in self.folder.path.rglob("*") if path.is_file() and not path.name.startswith(".")]

    @cached_property
    def ordered(self) -> dict[str, OrderedTokens]:
        """The data order of each phase."""
        return {phase: OrderedTokens(self.folder.path, self.mix, phase) for phase in PHASES}

    def counts(self) -> pl.DataFrame:
        """Documents and tokens to train on and held out, by kind of text."""
        train, held_out = (folder.counts().drop("length") for folder in (self.folder, self._held_out))
        key = ["name", "language", "category"]
        return train.join(held_out, on=key, how="left", suffix="_held_out", maintain_order="left")

    @property
    def _held_out(self) -> TokenFolder:
        return TokenFolder(self.folder.path / HELD_OUT)

    def plan(self) -> pl.DataFrame:
        """What each phase reads of each source, and what its order really gives: sequences drawn."""
        return pl.concat([self._drawn(phase) for phase in PHASES])

    def _drawn(self, phase: str) -> pl.DataFrame:
        ordered = self.ordered[phase]
        read = ordered.plan.filter(pl.col("weight") > 0)
        total = len(ordered)
        sequences = [ordered.interleaving.drawn(source, total) for source in range(read.height)]
        return read.select(
            pl.lit(phase).alias("phase"),
            "name",
            "length",
            "language",
            "category",
            "documents",
            "tokens",
            "weight",
            "epochs",
            pl.Series("sequences", sequences, pl.Int64),
        ).with_columns(share=pl.col("sequences") / total)

    def farthest(self, phase: str) -> float:
        """How far the order of a phase is from its weights, in sequences, where it is farthest."""
        drawn = self._drawn(phase)
        off = (drawn["sequences"] - drawn["weight"] * len(self.ordered[phase])).abs().max()
        return float(off) if isinstance(off, int | float) else 0.0

    def overlap(self) -> Overlap:
        """What the test items share with the text to train on."""
        return overlap(self.shards, items(self.project, ITEMS))


def write(tier: str, folder: Path) -> Written:
    """Write the token files of a tier's clean corpus, and record the order of each phase beside them."""
    project = Project.find()
    tokenizer = product_files(project, tier, "tokenizer", "tokenizer.json")[0].parent
    shards = product_files(project, tier, "clean_corpus", "*.parquet")
    per_mille = TokenizerRecipe.load(project, tier).held_out_per_mille
    tokens = write_tokens(shards, tokenizer, folder, per_mille, jobs=cores())
    written = Written(project, tokens, Mix.load(project, tier), shards)
    for ordered in written.ordered.values():
        ordered.write_manifest()
    return written


def by_language(plan: pl.DataFrame) -> pl.DataFrame:
    """Percents of each phase by language; text in two languages is 'parallel'."""
    language = pl.when(pl.col("category") == "parallel").then(pl.lit("parallel")).otherwise("language")
    shares = plan.group_by("phase", language=language, maintain_order=True).agg(percent=100 * pl.sum("weight"))
    return shares.pivot("phase", index="language", values="percent", maintain_order=True).fill_null(0.0)


def by_kind(counts: pl.DataFrame, plan: pl.DataFrame) -> dict[str, dict[str, float]]:
    """Percents of the corpus and of each phase by category, for `lucie.plots.mixes.by_kind`."""
    held = counts.select(pl.lit("Corpus").alias("phase"), "category", share=pl.col("tokens") / pl.col("tokens").sum())
    named = {"main": "Main phase", "extension": "Extension", "annealing": "Annealing"}
    read = plan.select(pl.col("phase").replace_strict(named), "category", share="weight")
    shares = (
        pl.concat([held, read])
        .with_columns(pl.col("category").str.to_lowercase())
        .group_by("phase", "category", maintain_order=True)
        .agg(percent=100 * pl.sum("share"))
    )
    return {
        phase: dict(shares.filter(phase=phase).select("category", "percent").iter_rows())
        for phase in ("Corpus", *named.values())
    }


def items(project: Project, name: str) -> dict[str, str]:
    """The test items of data/NAME/items: all that is written in one, by task and id."""
    return {
        f"{path.stem}/{item['id']}": _whole(item)
        for path in sorted((project.root / "data" / name / "items").glob("*.jsonl"))
        for item in map(json.loads, path.read_text(encoding="utf-8").splitlines())
    }


def _whole(item: dict[str, Any]) -> str:
    parts = [item.get("passage", ""), item["query"], *item.get("choices", [])]
    return " ".join([*parts, item["answer"]] if isinstance(item["answer"], str) else parts)
