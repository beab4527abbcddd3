"""What is trained in a step, and how GPUs divide it.

    work = Work(architecture, sequence_length=4096, batch=1024)
    layout = Layout(Parallelism(data=32, tensor=4, pipeline=4), micro_batch=2, recompute=True)
    layout.micro_batches(work)  # 16
    print(layout)  # TP4 PP4 DP32 ZeRO-0, micro-batch 2, recomputed

Ranks are numbered as Megatron-DeepSpeed and nanotron do: tensor parallelism innermost, then data, then pipeline.
"""

from __future__ import annotations

from dataclasses import dataclass

from lucie.errors import UsageError
from lucie.training.recipe import Architecture, Parallelism


@dataclass(frozen=True)
class Work:
    """One optimizer step: a model, tokens of a sequence, sequences of the global batch."""

    architecture: Architecture
    sequence_length: int
    batch: int

    @property
    def tokens(self) -> int:
        """Of a step."""
        return self.sequence_length * self.batch

    @property
    def key_width(self) -> int:
        """Width of the keys, and of the values."""
        shape = self.architecture
        return shape.hidden_size // shape.num_attention_heads * shape.num_key_value_heads

    @property
    def layer_matrices(self) -> int:
        """Weights of a layer's matrices."""
        shape = self.architecture
        attention = 2 * shape.hidden_size * (shape.hidden_size + self.key_width)
        return attention + 3 * shape.hidden_size * shape.intermediate_size

    @property
    def embedding(self) -> int:
        """Weights of the token embeddings, and of the output head."""
        return self.architecture.vocab_size * self.architecture.hidden_size


@dataclass(frozen=True)
class Layout:
    """How GPUs divide a step."""

    parallelism: Parallelism
    micro_batch: int  # sequences
    recompute: bool = False  # activations, in the backward pass

    @property
    def gpus(self) -> int:
        return self.parallelism.processes

    def micro_batches(self, work: Work) -> int:
        """Of a replica in a step. Raises UsageError where the batch cannot be divided so."""
        each = self.parallelism.data * self.micro_batch
        if work.batch % each:
            raise UsageError(
                f"Layout {self}: a batch of {work.batch} sequences does not divide by {self.parallelism.data} replicas "
                f"x {self.micro_batch} sequences. Change one of them."
            )
        return work.batch // each

    def layers(self, work: Work) -> int:
        """Of a pipeline stage. Raises UsageError where the stages would not be alike."""
        layers, stages = work.architecture.num_hidden_layers, self.parallelism.pipeline
        if layers % stages:
            raise UsageError(f"Layout {self}: {layers} layers do not divide by {stages} pipeline stages. Change those.")
        return layers // stages

    def tokens(self, work: Work) -> int:
        """Of a micro-batch."""
        return self.micro_batch * work.sequence_length

    def __str__(self) -> str:
        split = self.parallelism
        return (
            f"TP{split.tensor} PP{split.pipeline} DP{split.data} ZeRO-{split.zero_stage}, "
            f"micro-batch {self.micro_batch}" + (", recomputed" if self.recompute else "")
        )


@dataclass(frozen=True)
class Spread:
    """Where the replicas of one shard are: so many in a node, in so many nodes."""

    layout: Layout
    per_node: int  # GPUs

    def __post_init__(self) -> None:
        tensor = self.layout.parallelism.tensor
        if self.per_node % tensor:
            raise UsageError(
                f"Layout {self.layout}: tensor parallelism of {tensor} does not fit a node of {self.per_node} GPUs. "
                f"Take a divisor of {self.per_node}."
            )

    @property
    def in_node(self) -> int:
        """Replicas of a shard in one node."""
        return min(self.layout.parallelism.data, self.per_node // self.layout.parallelism.tensor)

    @property
    def nodes(self) -> int:
        """That the replicas of a shard are in."""
        return -(-self.layout.parallelism.data // self.in_node)

    @property
    def stages_apart(self) -> bool:
        """Whether neighbouring pipeline stages are in different nodes."""
        return self.layout.parallelism.data * self.layout.parallelism.tensor >= self.per_node
