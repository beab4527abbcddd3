"""The micro-batches of a process, from the ordered tokens of a phase."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor

from lucie.tokens.order import OrderedTokens


class MicroBatch(TypedDict):
    """As nanotron's Llama takes them; shape (micro-batch, sequence length) all of them."""

    input_ids: Tensor
    input_mask: Tensor
    label_ids: Tensor
    label_mask: Tensor


def micro_batches(
    ordered: OrderedTokens, first_step: int, micro_batch: int, replica: int = 0, replicas: int = 1
) -> Iterator[MicroBatch]:
    """The micro-batches of one data-parallel replica from ``first_step`` of the phase (from 1) to its end.

    A step's sequences are dealt to the replicas in turns, a micro-batch each.
    """
    for step in range(first_step, ordered.phase.steps + 1):
        sequences = ordered.sequences(step)
        for start in range(replica * micro_batch, len(sequences), replicas * micro_batch):
            chosen = sequences[start : start + micro_batch]
            tokens = torch.from_numpy(np.stack([ordered[index] for index in chosen]))
            inputs, labels = tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()
            every = torch.ones_like(inputs, dtype=torch.bool)
            yield {"input_ids": inputs, "input_mask": every, "label_ids": labels, "label_mask": every}
