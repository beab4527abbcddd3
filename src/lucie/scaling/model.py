"""The time of a step: ideal seconds of each part, times how much slower the machine is than its data sheet.

    parts = step_parts(work, layout, gpus)  # at the maker's speeds
    seconds = slowness.seconds(parts)  # as fitted: lucie.scaling.fit
    slowness.by_name(parts)  # {"matrix products": ..., "bubble": ..., ...}

Every part uses one resource, and every resource has one factor, so the time is linear in the factors and the fit is
linear least squares. What is counted, and after whom:

    matrix products    2 FLOP a weight and token forward, 4 backward, 2 more where activations are computed again;
                       attention sees half of the sequence (causal, FlashAttention): Narayanan et al. 2021
    element-wise       tensors kept for the backward pass, written and read forward, read backward, their gradients
                       written and read; at the full speed of the GPU's memory
    launches           a time for each layer and pass, whatever its size: kernels that wait for the host
    tensor parallel    two all-reduces a layer and pass: Shoeybi et al. 2019 (arXiv:1909.08053)
    pipeline parallel  a layer's output forward, its gradient backward, between neighbouring stages
    bubble             (p - 1) micro-batches' time: Narayanan et al. 2021
    data parallel      an all-reduce of the gradients, in the node and then in a ring of nodes; ZeRO-1 moves as much
                       (Rajbhandari et al. 2020). Nothing is hidden behind the computation
    optimizer          gradients, copy, moments and weights, read and written once
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from math import fsum

from lucie.hpc.sites import Gpus
from lucie.scaling.layout import Layout, Spread, Work
from lucie.scaling.memory import HALF, SINGLE, STATE, layer_activations, stage_weights

CAUSAL = 0.5  # of the sequence that a token attends to
ACTIVATION_TOUCHES = 5  # written, read; read; gradient written, read
RECOMPUTED_TOUCHES = 2  # written and read once more
OPTIMIZER_BYTES = (
    2 * STATE + SINGLE + HALF
)  # of a weight: copy and moments read and written, gradient read, weight written
PASSES, RECOMPUTING_PASSES = 3, 4  # a backward pass is two
ALL_REDUCES = 2  # of a layer in a pass


@dataclass(frozen=True)
class Part:
    """A part of a step's time: ideal seconds on one resource; for launches, their number."""

    name: str
    resource: str
    seconds: float


@dataclass(frozen=True)
class Slowness:
    """What a part really takes, by its ideal: factors of 1 or more, and seconds a launch."""

    matrix: float = 1.0
    nvlink: float = 1.0
    link: float = 1.0
    launch: float = 0.0

    def seconds(self, parts: Iterable[Part]) -> float:
        """The time of all parts, one after the other."""
        return fsum(self.by_name(parts).values())

    def by_name(self, parts: Iterable[Part]) -> dict[str, float]:
        """The time of each part."""
        factors = {**asdict(self), "hbm": 1.0}
        times: dict[str, float] = {}
        for part in parts:
            times[part.name] = times.get(part.name, 0.0) + part.seconds * factors[part.resource]
        return times


def step_parts(work: Work, layout: Layout, gpus: Gpus) -> list[Part]:
    """The parts of a step. Raises UsageError for a layout that cannot divide the work, or a node."""
    spread = Spread(layout, int(gpus.per_node.value))
    count, stages = layout.micro_batches(work), layout.parallelism.pipeline
    slot = [*_compute(work, layout, gpus), *_tensor(work, layout, gpus), *_pipeline(work, layout, gpus, spread)]
    return [
        *(replace(part, seconds=part.seconds * count) for part in slot),
        *(replace(part, name="bubble", seconds=part.seconds * (stages - 1)) for part in slot),
        *_data(work, layout, gpus, spread),
        _optimizer(work, layout, gpus),
    ]


def _compute(work: Work, layout: Layout, gpus: Gpus) -> Iterator[Part]:
    """One micro-batch, forward and backward, on the last stage, which has the output head besides its layers."""
    shape, tokens, tensor = work.architecture, layout.tokens(work), layout.parallelism.tensor
    layers, passes = layout.layers(work), RECOMPUTING_PASSES if layout.recompute else PASSES
    attention = 2 * CAUSAL * shape.hidden_size * work.sequence_length
    flops = 2 * tokens * (passes * layers * (work.layer_matrices + attention) + PASSES * work.embedding) / tensor
    touches = ACTIVATION_TOUCHES + (RECOMPUTED_TOUCHES if layout.recompute else 0)
    yield Part("matrix products", "matrix", flops / gpus.peak.value)
    yield Part("element-wise", "hbm", touches * layers * layer_activations(work, layout) / gpus.hbm.value)
    yield Part("launches", "launch", passes * layers)


def _tensor(work: Work, layout: Layout, gpus: Gpus) -> Iterator[Part]:
    tensor = layout.parallelism.tensor
    directions = 3 if layout.recompute else 2
    count = ALL_REDUCES * directions * layout.layers(work)
    size = HALF * layout.tokens(work) * work.architecture.hidden_size
    yield Part("tensor parallel", "nvlink", count * _all_reduce(size, tensor) / gpus.nvlink.value)


def _pipeline(work: Work, layout: Layout, gpus: Gpus, spread: Spread) -> Iterator[Part]:
    if layout.parallelism.pipeline > 1:
        size = 2 * HALF * layout.tokens(work) * work.architecture.hidden_size
        resource, speed = ("link", gpus.link) if spread.stages_apart else ("nvlink", gpus.nvlink)
        yield Part("pipeline parallel", resource, size / speed.value)


def _data(work: Work, layout: Layout, gpus: Gpus, spread: Spread) -> Iterator[Part]:
    size = SINGLE * _most_weights(work, layout)
    yield Part("data parallel", "nvlink", _all_reduce(size, spread.in_node) / gpus.nvlink.value)
    yield Part("data parallel", "link", _all_reduce(size, spread.nodes) / gpus.link.value)


def _optimizer(work: Work, layout: Layout, gpus: Gpus) -> Part:
    share = layout.parallelism.data if layout.parallelism.zero_stage else 1
    return Part("optimizer", "hbm", OPTIMIZER_BYTES * _most_weights(work, layout) / share / gpus.hbm.value)


def _most_weights(work: Work, layout: Layout) -> float:
    return max(stage_weights(work, layout, stage) for stage in (0, layout.parallelism.pipeline - 1))


def _all_reduce(size: float, members: int) -> float:
    """Bytes that each of ``members`` sends in a ring's all-reduce."""
    return 2 * size * (members - 1) / members
