"""A mix as data: what each phase of a training reads, config/mixes/NAME.yaml.

In the main phase a kind of text (language and category) is read so many times, as the authors' list of weights says;
the context extension keeps the mix and favours long documents; annealing has shares of its own. The weights are
computed by the functions that recompute the published ones (`lucie.mixture.main`, `lucie.mixture.later`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self

import polars as pl
from pydantic import Field, model_validator

from lucie.config import Strict, checked, find, read_mapping
from lucie.errors import UsageError, unknown
from lucie.mixture.later import extend
from lucie.mixture.main import weigh
from lucie.project import Project
from lucie.training.schedule import Phase as Schedule

Number = Annotated[float, Field(ge=0, allow_inf_nan=False)]
ByKind = dict[str, dict[str, Number]]  # language: {category: number}
PHASES = ("main", "extension", "annealing")


class RampUp(Strict):
    """A batch that grows step by step, as Megatron-LM's does."""

    sequences_per_batch: int = Field(ge=1, description="to begin with")
    increment: int = Field(ge=1, description="sequences that a batch grows by")
    sequences: int = Field(ge=1, description="that are read until the batch has its full size")


class Phase(Strict):
    """How much a phase reads. Without shares of its own it reads the mix of the main phase."""

    sequence_length: int = Field(ge=1, description="tokens that a sequence trains on")
    sequences_per_batch: int = Field(ge=1)
    ramp_up: RampUp | None = Field(default=None, description="smaller batches to begin with")
    tokens: int = Field(ge=1, description="to train on; what does not fill a batch is left")
    favour_longer_than: int = Field(default=0, ge=0, description="tokens; longer documents are favoured, 0: none")
    shares: ByKind = Field(default={}, description="of the phase; divided by their sum; what is not listed is not read")

    @model_validator(mode="after")
    def _whole_increments(self) -> Self:
        if self.ramp_up:
            growth = self.sequences_per_batch - self.ramp_up.sequences_per_batch
            if growth <= 0 or growth % self.ramp_up.increment:
                raise ValueError(
                    f"a batch of {self.ramp_up.sequences_per_batch} sequences does not grow to one of "
                    f"{self.sequences_per_batch} by {self.ramp_up.increment}"
                )
        return self

    @cached_property
    def batches(self) -> Schedule:
        """The size of every batch, and the sequences that were read after every step."""
        return Schedule(
            name="",
            sequence_length=self.sequence_length,
            global_batch_size=self.sequences_per_batch,
            learning_rate=0,
            decay_style="constant",
            train_samples=self.tokens // self.sequence_length,
            initial_batch_size=self.ramp_up.sequences_per_batch if self.ramp_up else 0,
            batch_size_increment=self.ramp_up.increment if self.ramp_up else 0,
            rampup_samples=self.ramp_up.sequences if self.ramp_up else 0,
        )

    @property
    def steps(self) -> int:
        return self.batches.steps

    @property
    def sequences(self) -> int:
        return int(self.batches.samples[-1])

    def sequences_of(self, step: int) -> range:
        """The sequences that a step reads; steps are counted from 1."""
        return range(int(self.batches.samples[step - 1]), int(self.batches.samples[step]))


class Phases(Strict):
    main: Phase
    extension: Phase
    annealing: Phase


class Mix(Strict):
    """What a training reads, phase by phase."""

    name: str
    says: str
    seed: int = Field(ge=0, description="of the order of documents")
    epochs: ByKind = Field(description="how often the main phase reads a kind of text, by its weight; 0: never")
    phases: Phases

    @classmethod
    def load(cls, project: Project, name: str) -> Mix:
        """The mix config/mixes/NAME.yaml. Raises UsageError where there is none, or it says what cannot be."""
        return cls.read(find(project, "mixes", name, "mix"))

    @classmethod
    def read(cls, path: Path) -> Mix:
        """The mix that a YAML file describes; its name is the file's."""
        return checked(cls, {"name": path.stem, **read_mapping(path)}, str(path))

    def phase(self, name: str) -> Phase:
        """One of the three phases."""
        if name not in PHASES:
            raise unknown("phase", name, PHASES)
        phase: Phase = getattr(self.phases, name)
        return phase


def plan(mix: Mix, phase: str, counts: pl.DataFrame) -> pl.DataFrame:
    """What a phase reads of each source, from `lucie.tokens.folder.TokenFolder.counts` (by the phase's length).

    A source is a token file, or its short or its long documents. Returns name, length, language, category, documents,
    tokens (there are), weight (sums to 1), drawn (tokens that the phase is to read: weight x tokens of its sequences),
    epochs (drawn by tokens); sources that are not read have weight 0.
    Raises UsageError for weights that cannot be met: of a language or category that is not there, of a file without
    tokens; a file without a weight; weights that sum to zero; a phase, or sources, of fewer tokens than are needed.
    """
    chosen = mix.phase(phase)
    _check_size(mix, phase)
    files = counts.group_by("name", "language", "category", maintain_order=True).agg(pl.sum("tokens"))
    numbers = chosen.shares or mix.epochs
    _check_kinds(mix, numbers, files)
    weights = _shares(mix, chosen.shares, files) if chosen.shares else _by_epochs(mix, files)
    planned = _by_length(weights, counts)
    _check_tokens(mix, phase, planned)
    drawn = pl.col("weight") * (chosen.sequences * chosen.sequence_length)
    return planned.with_columns(drawn=drawn).with_columns(
        epochs=pl.when(pl.col("tokens") > 0).then(pl.col("drawn") / pl.col("tokens")).otherwise(0.0)
    )


def _check_size(mix: Mix, name: str) -> None:
    phase = mix.phase(name)
    if not phase.steps:
        raise UsageError(
            f"Mix '{mix.name}': the {name} phase has {phase.tokens} tokens, fewer than one batch of "
            f"{phase.sequences_per_batch} sequences of {phase.sequence_length}. Give it more tokens."
        )


def _check_kinds(mix: Mix, numbers: ByKind, files: pl.DataFrame) -> None:
    there: dict[str, set[str]] = {}
    for language, category in files.select("language", "category").iter_rows():
        there.setdefault(language, set()).add(category)
    for language, categories in numbers.items():
        if language not in there:
            raise _in_mix(mix, unknown("token file of the language", language, there))
        for category in categories:
            if category not in there[language]:
                raise _in_mix(
                    mix, unknown(f"token file of language '{language}' in the category", category, there[language])
                )
    if not any(number for categories in numbers.values() for number in categories.values()):
        raise UsageError(f"Mix '{mix.name}': the weights sum to zero. Give at least one kind of text a weight above 0.")
    for row in files.iter_rows(named=True):
        if not row["tokens"] and numbers.get(row["language"], {}).get(row["category"]):
            raise UsageError(
                f"Mix '{mix.name}': {row['name']} has a weight, but its token file is empty. "
                "Give it the weight 0, or more documents (fewer held out)."
            )


def _in_mix(mix: Mix, error: UsageError) -> UsageError:
    return UsageError(f"Mix '{mix.name}': {error}")


def _by_epochs(mix: Mix, files: pl.DataFrame) -> pl.DataFrame:
    """(name, weight) by the passes over each file."""
    without = [row for row in files.iter_rows(named=True) if row["category"] not in mix.epochs.get(row["language"], {})]
    if without:
        raise UsageError(
            f"Mix '{mix.name}': no epochs for {without[0]['category']} in {without[0]['language']}, which "
            f"{without[0]['name']} needs. Give it some under 'epochs'; 0 leaves it out."
        )
    return weigh(files.with_columns(split=pl.lit("train")), _table(mix.epochs, "epochs")).select("name", "weight")


def _shares(mix: Mix, shares: ByKind, files: pl.DataFrame) -> pl.DataFrame:
    """(name, weight) by shares of the phase."""
    joined = files.join(_table(shares, "share"), on=["language", "category"], how="left", maintain_order="left")
    share = pl.col("share").fill_null(0.0)
    return joined.select("name", weight=share / share.sum()).sort("name", maintain_order=True)


def _by_length(weights: pl.DataFrame, counts: pl.DataFrame) -> pl.DataFrame:
    """The weights, divided between short and long documents where they are counted apart."""
    if set(counts["length"]) == {"all"}:
        divided = weights.with_columns(length=pl.lit("all"))
    else:
        held = counts.filter(pl.col("tokens").sum().over("name") > 0)  # 0 of 0 tokens is no share
        divided = extend(weights.join(held.select("name").unique(maintain_order=True), on="name", how="semi"), held)
        divided = divided.select("name", "weight", "length")
    joined = counts.join(divided, on=["name", "length"], how="left", maintain_order="left", validate="1:1")
    return joined.with_columns(pl.col("weight").fill_null(0.0)).sort("name", "length", maintain_order=True)


def _check_tokens(mix: Mix, phase: str, planned: pl.DataFrame) -> None:
    """There must be a sequence, and the token after it, to begin with; sources smaller than that are read again."""
    there, needed = planned.filter(pl.col("weight") > 0)["tokens"].sum(), mix.phase(phase).sequence_length + 1
    if there < needed:
        raise UsageError(
            f"Mix '{mix.name}': the {phase} phase reads sources of {there} tokens in all, fewer than one sequence "
            f"({needed}). Give it shorter sequences or more text."
        )


def _table(numbers: Mapping[str, Mapping[str, float]], column: str) -> pl.DataFrame:
    rows: list[tuple[Any, ...]] = [
        (language, category, float(number))
        for language, categories in numbers.items()
        for category, number in categories.items()
    ]
    schema = {"language": pl.String(), "category": pl.String(), column: pl.Float64()}
    return pl.DataFrame(rows, schema=schema, orient="row")
