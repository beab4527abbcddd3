"""The cross-entropy of logits that no tensor parallelism divides, without another tensor of their size.

Logits are the largest tensor of a training step by far: (sequence, batch, vocabulary). nanotron's function copies them
and passes over the copy six times; here their own memory holds the log-probabilities, then the gradient.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """-log p(target) in nats and fp32: logits (..., vocabulary), overwritten when they are fp32; target (...)."""
    found: Tensor = _CrossEntropy.apply(logits.float(), target)  # type: ignore[no-untyped-call]
    return found


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor) -> Tensor:
        rows = logits.detach().flatten(0, -2)
        torch.log_softmax(rows, -1, out=rows)
        at = target.flatten().unsqueeze(-1)
        ctx.save_for_backward(rows, at)
        return -rows.gather(-1, at).view_as(target)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Softmax, less one at the target, times what comes in. It can be called once: nothing is kept."""
        rows, at = ctx.saved_tensors
        rows.exp_().scatter_add_(-1, at, torch.full_like(at, -1, dtype=rows.dtype)).mul_(gradient.reshape(-1, 1))
        return rows.view(*gradient.shape, -1), None
