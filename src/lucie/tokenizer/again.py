"""What notebook 03 runs again on the corpus of its tier: a tokenizer is trained, and measured on text it never saw."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from lucie.inputs import product_files
from lucie.project import Project
from lucie.tokenizer import bpe, measure, normalisation, options, others
from lucie.tokenizer.recipe import TokenizerRecipe
from lucie.tokens.heldout import is_held_out
from lucie.tokens.shards import Document, read_documents

if TYPE_CHECKING:
    from tokenizers import Tokenizer

LANGUAGES = {"fr": "French", "en": "English", "de": "German", "es": "Spanish", "it": "Italian"}
OURS = "ours"
PUBLISHED = "Lucie2.10"  # as the authors' measurements call the released tokenizer


@dataclass(frozen=True)
class Texts:
    """The documents of clean shards, without those held out, or only these. Can be gone through several times."""

    shards: list[Path]
    per_mille: int
    held_out: bool = False

    def documents(self) -> Iterator[Document]:
        for document in read_documents(self.shards, measure.COLUMNS):
            if is_held_out(document["text"], self.per_mille) is self.held_out:
                yield document

    def __iter__(self) -> Iterator[str]:
        return (document["text"] for document in self.documents())


@dataclass(frozen=True)
class Trained:
    """A tokenizer, what it was trained on, and the documents that it is measured on."""

    project: Project
    recipe: TokenizerRecipe
    folder: Path
    read: Texts
    held_out: Texts

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """As loaded from its folder, like anybody's."""
        return bpe.load(self.folder)

    @cached_property
    def unseen(self) -> pl.DataFrame:
        """The documents that are held out: source, language, category, text."""
        return pl.DataFrame(list(self.held_out.documents()), schema=dict.fromkeys(measure.COLUMNS, pl.String()))

    @cached_property
    def counts(self) -> pl.DataFrame:
        """Documents, words, characters, bytes and tokens that are held out, by language, category and source."""
        return measure.measure(self.tokenizer, self.unseen)

    def seen(self) -> pl.DataFrame:
        """The same of the documents that it was trained on."""
        found = pl.DataFrame(list(self.read.documents()), schema=dict.fromkeys(measure.COLUMNS, pl.String()))
        return measure.measure(self.tokenizer, found)

    def entries(self, theirs: pl.DataFrame) -> pl.DataFrame:
        """Entries by kind beside those of input/tokenizer_entries (tokenizer, kind, entries)."""
        ours = options.options(options.read(self.folder))
        released = dict(theirs.filter(tokenizer="released").select("kind", "entries").iter_rows())
        return pl.DataFrame(
            {"kind": list(released), OURS: [int(ours[f"entries, {kind}"]) for kind in released],
             "released": list(released.values())}
        )  # fmt: skip

    def signs(self) -> list[str]:
        """The code points that get a space behind them, in the order of the rules."""
        return [f"U+{ord(sign):04X}" for sign in normalisation.spaced_signs(options.read(self.folder))]

    def cut(self, text: str) -> pl.DataFrame:
        """A text's tokens in order: number, entry."""
        encoding = self.tokenizer.encode(text, add_special_tokens=False)
        return pl.DataFrame({"number": encoding.ids, "entry": [repr(token)[1:-1] for token in encoding.tokens]})

    def come_back(self) -> int:
        """How many of the documents held out decode to themselves, up to what the normaliser states."""
        rules = normalisation.Rules.of(self.tokenizer)
        texts = self.unseen["text"].to_list()
        decoded = self.tokenizer.decode_batch(measure.ids(self.tokenizer, texts))
        return sum(normalisation.stated(text, rules) == back for text, back in zip(texts, decoded, strict=True))

    @cached_property
    def others(self) -> dict[str, Path]:
        """Tokenizers of others on this machine (`lucie fetch tokenizers`), by name; none where the recipe asks none."""
        return others.found(self.project.root / others.FOLDER) if self.recipe.beside_others else {}

    def missing(self) -> pl.DataFrame:
        """The tokenizers that the authors compared with and that are not here, and why."""
        rows = others.missing(self.project, self.project.root / others.FOLDER)
        return pl.DataFrame({"tokenizer": [row.name for row in rows], "reason": [row.reason for row in rows]})

    def fertilities(self, measurements: pl.DataFrame) -> pl.DataFrame:
        """Tokens per word and characters per token by tokenizer and language, on the documents held out.

        Ours first, then those that are on this machine; last what ``measurements`` (input/tokenizer_measurements) say
        of the released one, on the authors' corpora. Columns: tokenizer, entries, text, language, fertility,
        characters_per_token.
        """
        frames = [self._measured(OURS, self.folder), *(self._measured(*other) for other in self.others.items())]
        return pl.concat([*frames, published(measurements)])

    def _measured(self, name: str, folder: Path) -> pl.DataFrame:
        tokenizer = bpe.load(folder)
        counts = self.counts if name == OURS else measure.measure(tokenizer, self.unseen)
        rows = measure.by(counts, "language").filter(pl.col("language").is_in(list(LANGUAGES)))
        return _shown(rows, name, tokenizer.get_vocab_size(), "held out here")

    def options_beside(self, name: str) -> pl.DataFrame:
        """Ours and another tokenizer of this machine, option by option."""
        return options.compare(options.read(self.folder), options.read(self.others[name]))

    def variants(self) -> pl.DataFrame:
        """The released tokenizers of this machine with each other: entries, numbers and merges in common."""
        contents = {name: options.read(folder) for name, folder in self.others.items()}
        rows = [
            {"one": one, "other": other, **options.in_common(contents[one], contents[other])}
            for one, other in combinations(contents, 2)
        ]
        return pl.DataFrame(rows)


def train(tier: str, folder: Path) -> Trained:
    """Train the tokenizer of a tier on its clean corpus, without what is held out, into ``folder``."""
    project = Project.find()
    recipe = TokenizerRecipe.load(project, tier)
    shards = product_files(project, tier, "clean_corpus", "*.parquet")
    read, held_out = (Texts(shards, recipe.held_out_per_mille, side) for side in (False, True))
    bpe.save(bpe.train(read, recipe.options), folder)
    return Trained(project, recipe, folder, read, held_out)


def published(measurements: pl.DataFrame) -> pl.DataFrame:
    """The released tokenizer on the authors' corpora, all of a language together."""
    named = {language: code for code, language in LANGUAGES.items()}
    chosen = measurements.filter(pl.col("tokenizer") == PUBLISHED, pl.col("language").is_in(list(named)))
    rows = measure.by(
        chosen.with_columns(
            language=pl.col("language").replace_strict(named), documents=pl.lit(0), bytes=pl.lit(0)
        ),
        "language",
    )  # fmt: skip
    return _shown(rows, "Lucie", chosen["vocabulary"][0], "the authors' corpora")


def _shown(rows: pl.DataFrame, name: str, entries: int, text: str) -> pl.DataFrame:
    order = pl.col("language").replace_strict({code: place for place, code in enumerate(LANGUAGES)})
    return rows.sort(order, maintain_order=True).select(
        tokenizer=pl.lit(name), entries=pl.lit(entries), text=pl.lit(text), language="language",
        fertility="fertility", characters_per_token="characters_per_token",
    )  # fmt: skip
