"""The memory of a GPU, term by term, in bytes.

    memory(work, layout).total
    check_fit(work, layout, gpus)  # raises UsageError that names the term which is too large

Weights and optimizer: Rajbhandari et al. 2020 (arXiv:1910.02054), with gradients summed in float32, as the recipes ask
nanotron to. Activations: counted as Korthikanti et al. 2022 (arXiv:2205.05198) do, over the tensors of a Llama layer in
nanotron 0.4 with FlashAttention and without sequence parallelism. Pipeline: one forward, one backward (Narayanan et al.
2021, arXiv:2104.04473), so stage i of p holds p - i micro-batches.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from lucie.errors import UsageError
from lucie.hpc.sites import Gpus
from lucie.scaling.layout import Layout, Work

HALF, SINGLE = 2, 4  # bytes of bfloat16 and float32
STATE = 3 * SINGLE  # of a weight in AdamW: its float32 copy and two moments
LOGITS = HALF + 2 * SINGLE  # of a logit: as computed, in float32 for the loss, and its gradient
RESERVE = (
    0.1  # left free: context, buffers of NCCL, fragments. nanotron's runs (Hugging Face, nanotron/old_bench) reserve
)
# up to 7 % more than they allocate


@dataclass(frozen=True)
class Memory:
    """Bytes of one GPU by what they hold."""

    weights: float
    gradients: float
    optimizer: float
    activations: float
    logits: float

    @property
    def total(self) -> float:
        return math.fsum(asdict(self).values())

    @property
    def largest(self) -> str:
        """The name of the largest term."""
        terms = asdict(self)
        return max(terms, key=lambda name: terms[name])


def stage_weights(work: Work, layout: Layout, stage: int) -> float:
    """Weights on a GPU of pipeline stage ``stage``, from 0; the first has the embeddings, the last the output head."""
    tensor, stages, hidden = layout.parallelism.tensor, layout.parallelism.pipeline, work.architecture.hidden_size
    weights = layout.layers(work) * (work.layer_matrices / tensor + 2 * hidden)
    if stage == 0:
        weights += work.embedding / tensor
    if stage == stages - 1:
        weights += work.embedding / tensor + hidden
    return weights


def layer_activations(work: Work, layout: Layout) -> float:
    """Bytes that a layer keeps of one micro-batch for its backward pass."""
    shape, tokens = work.architecture, layout.tokens(work)
    whole = 4 * shape.hidden_size  # inputs of both halves, and after their norms
    attention = 3 * shape.hidden_size + 3 * work.key_width  # queries and keys twice (rotary), values, output
    feed_forward = 4 * shape.intermediate_size  # gate, up, activated gate, product
    statistics = shape.num_attention_heads * SINGLE  # of the softmax
    divided = HALF * (attention + feed_forward) + statistics
    return tokens * (HALF * whole + divided / layout.parallelism.tensor)


def memory(work: Work, layout: Layout) -> Memory:
    """The memory of a GPU of the pipeline stage that needs most."""
    stages = (_stage(work, layout, stage) for stage in range(layout.parallelism.pipeline))
    return max(stages, key=lambda stage: stage.total)


def _stage(work: Work, layout: Layout, stage: int) -> Memory:
    split, layers = layout.parallelism, layout.layers(work)
    weights = stage_weights(work, layout, stage)
    held = min(split.pipeline - stage, layout.micro_batches(work))
    kept = layer_activations(work, layout)
    inputs = HALF * layout.tokens(work) * work.architecture.hidden_size
    last = stage == split.pipeline - 1
    return Memory(
        weights=HALF * weights,
        gradients=SINGLE * weights,
        optimizer=STATE * weights / (split.data if split.zero_stage else 1),
        activations=held * layers * inputs + kept if layout.recompute else held * layers * kept,
        logits=LOGITS * layout.tokens(work) * work.architecture.vocab_size / split.tensor if last else 0.0,
    )


def usable(gpus: Gpus) -> float:
    """Bytes of a GPU that a training can have."""
    return gpus.memory.value * (1 - RESERVE)


def check_fit(work: Work, layout: Layout, gpus: Gpus) -> Memory:
    """The memory of a layout that fits. Raises UsageError, naming the largest term, for one that does not."""
    needed, there = memory(work, layout), usable(gpus)
    if needed.total <= there:
        return needed
    largest = needed.largest
    raise UsageError(
        f"Layout {layout} does not fit: it needs {needed.total / 1e9:.0f} GB a GPU, and {there / 1e9:.0f} GB of "
        f"{gpus.says} can be used. The largest term is {largest}: {getattr(needed, largest) / 1e9:.0f} GB. "
        f"{SMALLER[largest]}"
    )


SMALLER = {
    "weights": "Divide the model more: tensor or pipeline parallelism.",
    "gradients": "Divide the model more: tensor or pipeline parallelism.",
    "optimizer": "Divide it with ZeRO-1, or the model with tensor or pipeline parallelism.",
    "activations": "Take a smaller micro-batch, or compute them again in the backward pass.",
    "logits": "Take a smaller micro-batch, or more tensor parallelism.",
}
