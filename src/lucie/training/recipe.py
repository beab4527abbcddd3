"""A training as data: one file reads like the paper's table, config/recipes/NAME.yaml.

    recipe = Recipe.load(Project.find(), "mini")
    recipe.mix.phase("main").steps  # what is read, and in what batches, is the mix's
    for run in recipe.runs():  # the successive nanotron runs: one a phase and batch size
        print(run.phase, run.first_step, run.last_step, run.batch)

The learning rate follows the samples (sequences) that a phase has read, as in Megatron-LM: see
`lucie.training.schedule`. Steps are counted through all phases, from 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from lucie.config import checked, find, read_mapping
from lucie.errors import UsageError, unknown
from lucie.files import sha256_of
from lucie.mixture.plan import PHASES, Mix
from lucie.project import Project
from lucie.tokens.audit import PRODUCT
from lucie.tokens.folder import LIST
from lucie.training.scaling import flops_per_token
from lucie.training.schedule import Phase as Schedule

Count = Annotated[int, Field(ge=1)]
WORK = ("micro_batch", "checkpoint_every", "parallelism", "recompute")  # of a phase: how the work is done
CAUSAL = 0.5  # of the sequence that a token attends to


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Architecture(Strict):
    """A Llama model, by the names of its transformers configuration."""

    hidden_size: Count
    intermediate_size: Count
    num_hidden_layers: Count
    num_attention_heads: Count
    num_key_value_heads: Count
    vocab_size: Count
    rms_norm_eps: float = Field(gt=0)
    initializer_range: float = Field(gt=0, description="standard deviation; outputs of blocks: / sqrt(2 x layers)")

    def as_config(self) -> dict[str, str]:
        """As `lucie.training.architecture` and `lucie.training.scaling` read it."""
        return {**{name: str(value) for name, value in self.model_dump().items()}, "tie_word_embeddings": "false"}


class Optimizer(Strict):
    """AdamW; the decay is of all weights, since nanotron 0.4 makes no difference between them."""

    beta1: float = Field(ge=0, lt=1)
    beta2: float = Field(ge=0, lt=1)
    epsilon: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    gradient_clipping: float = Field(gt=0, description="largest norm")


class Parallelism(Strict):
    """How processes divide the work: data, tensor and pipeline parallelism, and ZeRO's stage."""

    data: Count = 1
    tensor: Count = 1
    pipeline: Count = 1
    zero_stage: Literal[0, 1] = 0

    @property
    def processes(self) -> int:
        return self.data * self.tensor * self.pipeline


class Phase(Strict):
    """How a phase is trained; the mix says what it reads."""

    learning_rate: float = Field(gt=0, description="at its peak")
    min_learning_rate: float = Field(default=0.0, ge=0)
    decay: Literal["cosine", "linear", "constant"]
    warm_up: int = Field(default=0, ge=0, description="samples until the peak")
    rope_theta: float = Field(gt=0)
    micro_batch: Count
    checkpoint_every: int = Field(ge=1, description="steps; the last step of a run has a checkpoint too")
    parallelism: Parallelism = Parallelism()
    recompute: bool = Field(default=False, description="activations, in the backward pass")


class Phases(Strict):
    main: Phase
    extension: Phase
    annealing: Phase


@dataclass(frozen=True)
class Run:
    """One run of nanotron: steps with one batch size, from the checkpoint of the run before."""

    phase: str
    first_step: int  # counted through all phases
    last_step: int
    batch: int  # samples

    @property
    def steps(self) -> int:
        return self.last_step - self.first_step + 1


class Recipe(Strict):
    """A training: architecture, optimizer, three phases, seeds, and the mix that it reads."""

    model_config = ConfigDict(extra="forbid", strict=True, arbitrary_types_allowed=True)

    name: str
    says: str
    tier: str = Field(description="whose token files it reads")
    mix: Mix
    architecture: Architecture
    optimizer: Optimizer
    precision: Literal["float32", "bfloat16"]
    phases: Phases
    most_epochs: float = Field(gt=0, description="that any source may be read in a phase")
    seeds: list[int] = Field(min_length=1, description="of the initial weights; the order of documents is the mix's")

    @classmethod
    def load(cls, project: Project, name: str) -> Recipe:
        """The recipe config/recipes/NAME.yaml with its mix. Raises UsageError for what cannot be."""
        return cls.read(find(project, "recipes", name, "recipe"), lambda mix: Mix.load(project, mix))

    @classmethod
    def read(cls, path: Path, find_mix: Any = None) -> Recipe:
        """The recipe that a YAML file describes; its name is the file's, its mix lies beside it or is found."""
        content = {"name": path.stem, **read_mapping(path)}
        find_mix = find_mix or (lambda mix: Mix.read(path.with_name(f"{mix}.yaml")))
        content["mix"] = find_mix(content.get("mix", ""))
        return cls.of(content)

    @classmethod
    def of(cls, content: dict[str, Any]) -> Recipe:
        """A recipe from its content. Raises UsageError for what cannot be."""
        recipe = checked(cls, content, f"Recipe '{content['name']}'")
        recipe._check()
        return recipe

    def tokens_folder(self, project: Project) -> Path:
        """The token files of its tier. Raises UsageError where they were not made yet."""
        folder = project.build / self.tier / "work" / PRODUCT
        if not (folder / LIST).is_file():
            raise UsageError(
                f"Recipe '{self.name}' reads the token files of tier {self.tier}, and there are none in "
                f"{project.relative(folder)}. Make them: lucie reproduce --tier {self.tier}, or name others: --tokens"
            )
        return folder

    def folder(self, project: Project, seed: int) -> Path:
        """Where it is trained, unless told otherwise."""
        return project.build / self.tier / "work" / "training" / f"{self.name}-{seed}"

    def phase(self, name: str) -> Phase:
        """One of the three phases."""
        if name not in PHASES:
            raise unknown("phase", name, PHASES)
        phase: Phase = getattr(self.phases, name)
        return phase

    @cached_property
    def schedules(self) -> dict[str, Schedule]:
        """By phase: batches, tokens and learning rate."""
        return {
            name: replace(
                self.mix.phase(name).batches,
                name=name,
                learning_rate=phase.learning_rate,
                min_learning_rate=phase.min_learning_rate,
                decay_style=phase.decay,
                warmup_samples=phase.warm_up,
            )
            for name, phase in ((name, self.phase(name)) for name in PHASES)
        }

    @cached_property
    def offsets(self) -> dict[str, int]:
        """By phase: the steps before it."""
        ends = np.cumsum([0, *(self.schedules[name].steps for name in PHASES)])
        return {name: int(end) for name, end in zip(PHASES, ends, strict=False)}

    @property
    def steps(self) -> int:
        """Optimizer steps of all phases."""
        return sum(schedule.steps for schedule in self.schedules.values())

    @property
    def tokens(self) -> int:
        """Tokens of all phases."""
        return sum(schedule.tokens for schedule in self.schedules.values())

    @property
    def flops(self) -> float:
        """Floating-point operations of all phases, under the causal mask."""
        return sum(
            schedule.tokens * flops_per_token(self.architecture.as_config(), schedule.sequence_length, CAUSAL)
            for schedule in self.schedules.values()
        )

    def phase_of(self, step: int) -> tuple[str, int]:
        """The phase of a step, and the step's number in it, from 1."""
        name = next(name for name in reversed(PHASES) if step > self.offsets[name])
        return name, step - self.offsets[name]

    def learning_rate_at(self, step: int) -> float:
        """The learning rate that a step is made with: that of the samples read before it."""
        name, within = self.phase_of(step)
        return self.schedules[name].learning_rate_at(int(self.schedules[name].samples[within - 1]))

    def tokens_at(self, step: int) -> int:
        """Tokens read up to and with a step, in all phases."""
        name, within = self.phase_of(step)
        earlier = PHASES[: PHASES.index(name)]
        done = int(self.schedules[name].samples[within]) * self.schedules[name].sequence_length
        return done + sum(self.schedules[other].tokens for other in earlier)

    def runs(self) -> Iterator[Run]:
        """The successive runs of nanotron: one a phase, and one more for every change of its batch."""
        for name in PHASES:
            samples, offset = self.schedules[name].samples, self.offsets[name]
            sizes = np.diff(samples)
            changes = [0, *(np.flatnonzero(np.diff(sizes)) + 1).tolist(), len(sizes)]
            for start, end in pairwise(changes):
                yield Run(name, offset + start + 1, offset + end, int(sizes[start]))

    def key(self) -> str:
        """Changes with everything that decides the weights, but for rounding: not with how the work is divided."""
        content = self.model_dump(mode="json", exclude={"name", "says", "tier", "seeds", "most_epochs"})
        content["mix"] |= {"name": "", "says": ""}
        for phase in content["phases"].values():
            for name in WORK:
                del phase[name]
        return sha256_of(content)

    def _check(self) -> None:
        """What no layout can train."""
        shape = self.architecture
        self._demand("hidden_size", shape.hidden_size, "num_attention_heads", shape.num_attention_heads)
        heads = shape.num_attention_heads, "num_key_value_heads", shape.num_key_value_heads
        self._demand("num_attention_heads", *heads)
        if shape.hidden_size // shape.num_attention_heads % 2:
            raise self._wrong("a head has an odd size, and rotary embeddings turn pairs. Change the number of heads.")
        for name in PHASES:
            phase, layout = self.phase(name), self.phase(name).parallelism
            if not self.mix.phase(name).steps:
                raise self._wrong(f"mix '{self.mix.name}' has fewer tokens than one batch in phase {name}.")
            for what in ("num_key_value_heads", "vocab_size", "intermediate_size"):
                self._demand(what, getattr(shape, what), f"the tensor parallelism of phase {name}", layout.tensor)
            if layout.pipeline > shape.num_hidden_layers:
                raise self._wrong(f"phase {name} divides {shape.num_hidden_layers} layers by {layout.pipeline} stages.")
            if phase.warm_up >= self.schedules[name].train_samples and phase.decay != "constant":
                raise self._wrong(f"phase {name} warms up over {phase.warm_up} samples, and has no more than that.")
        for run in self.runs():
            phase = self.phase(run.phase)
            replicas = f"{phase.parallelism.data} replicas x {phase.micro_batch} samples of phase {run.phase}"
            self._demand("a batch", run.batch, replicas, phase.parallelism.data * phase.micro_batch)
            micro_batches = run.batch // (phase.parallelism.data * phase.micro_batch)
            if micro_batches < phase.parallelism.pipeline - 1:
                raise self._wrong(f"phase {run.phase} has {micro_batches} micro-batches for more pipeline stages.")

    def _demand(self, what: str, number: int, by: str, divisor: int) -> None:
        if number % divisor:
            raise self._wrong(f"{what} ({number}) does not divide by {by} ({divisor}). Change one of them.")

    def _wrong(self, text: str) -> UsageError:
        return UsageError(f"Recipe '{self.name}': {text}")
