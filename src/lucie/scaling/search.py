"""The layouts that a number of GPUs allows, and the fastest of those that fit.

    best(work, 64, gpus, slowness, batches=[256, 320, 1024])

Batches that grow need replicas that divide every one of them; nanotron's pipeline wants no fewer micro-batches than
stages but one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lucie.errors import UsageError
from lucie.hpc.sites import Gpus
from lucie.scaling.layout import Layout, Work
from lucie.scaling.memory import check_fit, memory, usable
from lucie.scaling.model import Slowness, step_parts
from lucie.training.recipe import Parallelism


@dataclass(frozen=True)
class Found:
    """A layout that fits, and the time of its step in seconds."""

    layout: Layout
    seconds: float


def layouts(work: Work, count: int, per_node: int, batches: Sequence[int]) -> Iterator[Layout]:
    """Every layout of ``count`` GPUs that divides the model and all ``batches`` evenly, whether it fits or not."""
    shape, divided = work.architecture, math.gcd(*batches)
    for tensor in _divisors(math.gcd(per_node, shape.num_key_value_heads, shape.vocab_size, count)):
        for pipeline in _divisors(math.gcd(shape.num_hidden_layers, count // tensor)):
            data = count // (tensor * pipeline)
            if divided % data:
                continue
            for micro_batch in _divisors(divided // data):
                if min(batches) // (data * micro_batch) < pipeline - 1:
                    continue
                for zero_stage in (0, 1) if data > 1 else (0,):
                    split = {"data": data, "tensor": tensor, "pipeline": pipeline, "zero_stage": zero_stage}
                    for recompute in (False, True):
                        yield Layout(Parallelism.model_validate(split), micro_batch, recompute)


def best(work: Work, count: int, gpus: Gpus, slowness: Slowness, batches: Sequence[int]) -> Found:
    """The fastest layout of ``count`` GPUs that fits.

    Raises UsageError where none divides the work, and where none fits: then with the largest term of the smallest.
    """
    possible = list(layouts(work, count, int(gpus.per_node.value), batches))
    if not possible:
        raise UsageError(
            f"No layout divides {count} GPUs so that its replicas divide batches of {', '.join(map(str, batches))} "
            f"sequences. Take another number of GPUs: a power of two, say."
        )
    fitting = [layout for layout in possible if memory(work, layout).total <= usable(gpus)]
    if not fitting:
        check_fit(work, min(possible, key=lambda layout: memory(work, layout).total), gpus)
    found = (Found(layout, slowness.seconds(step_parts(work, layout, gpus))) for layout in fitting)
    return min(found, key=lambda one: one.seconds)


def _divisors(number: int) -> list[int]:
    return [divisor for divisor in range(1, number + 1) if number % divisor == 0]
