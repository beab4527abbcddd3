"""What nanotron 0.4 takes from flash-attn, in plain PyTorch: for machines where flash-attn is not installed.

Attention is PyTorch's scaled-dot-product attention. Only the calls that training makes are here; inference through
nanotron (`unavailable`) is not ours: we export and use transformers.
"""

from __future__ import annotations

import importlib.machinery
import sys
import types
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

VERSION = "0.0+pytorch"


def install() -> None:
    """Stand in for the modules of flash-attn that nanotron imports."""
    contents: dict[str, dict[str, Any]] = {
        "flash_attn": {"__version__": VERSION},
        "flash_attn.bert_padding": {"pad_input": unavailable, "unpad_input": unavailable},
        "flash_attn.flash_attn_interface": {
            "flash_attn_varlen_func": attention,
            "flash_attn_with_kvcache": unavailable,
        },
        "flash_attn.layers": {},
        "flash_attn.layers.rotary": {"RotaryEmbedding": RotaryEmbedding},
        "flash_attn.ops": {},
        "flash_attn.ops.triton": {},
        "flash_attn.ops.triton.layer_norm": {"layer_norm_fn": rms_norm},
    }
    for name, content in contents.items():
        module = types.ModuleType(name, __doc__)
        module.__path__ = []
        module.__spec__ = importlib.machinery.ModuleSpec(name, None)
        module.__dict__.update(content)
        sys.modules[name] = module


def unavailable(*_: Any, **__: Any) -> Any:
    """Raises NotImplementedError."""
    raise NotImplementedError("Inference with nanotron needs flash-attn. Export the checkpoint and use transformers.")


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    causal: bool,
    **_: Any,
) -> Tensor:
    """Attention of packed sequences that are all full; shape (batch x sequence, heads, size of a head), all of them.

    ``k`` and ``v`` may have fewer heads than ``q``. Raises ValueError for sequences of different lengths.
    """
    batch = len(cu_seqlens_q) - 1
    if len(q) != batch * max_seqlen_q or len(k) != batch * max_seqlen_k:
        raise ValueError("Sequences of a batch must have one length; install flash-attn for padded ones.")
    query, key, value = (
        x.view(batch, length, *x.shape[1:]).transpose(1, 2)
        for x, length in ((q, max_seqlen_q), (k, max_seqlen_k), (v, max_seqlen_k))
    )
    grouped = q.shape[1] != k.shape[1]
    found = functional.scaled_dot_product_attention(query, key, value, is_causal=causal, enable_gqa=grouped)
    return found.transpose(1, 2).reshape(q.shape)


def rms_norm(x: Tensor, weight: Tensor, bias: None, *, eps: float, is_rms_norm: bool, **_: Any) -> Tensor:
    """Root-mean-square normalisation over the last dimension, computed in fp32."""
    if not is_rms_norm:
        raise NotImplementedError("Only RMS norms: a Llama model has no others.")
    return functional.rms_norm(x.float(), (x.shape[-1],), weight.float(), eps).to(x.dtype)


class RotaryEmbedding(nn.Module):
    """Turns pairs of neighbouring dimensions by an angle that grows with the position (GPT-J's layout)."""

    def __init__(self, dim: int, base: float = 10000.0, interleaved: bool = False) -> None:
        super().__init__()
        if not interleaved:
            raise NotImplementedError("nanotron 0.4 trains with interleaved pairs.")
        self.dim, self.base = dim, base
        self._turns: Tensor | None = None

    def forward(self, q: Tensor, kv: Tensor) -> tuple[Tensor, Tensor]:
        """Queries (batch, sequence, heads, size of a head), keys and values (batch, sequence, 2, heads, size)."""
        turns = self._turns_to(q.shape[1], q.device)
        return _turn(q, turns), torch.stack((_turn(kv[:, :, 0], turns), kv[:, :, 1]), dim=2)

    def _turns_to(self, length: int, device: torch.device) -> Tensor:
        if self._turns is None or len(self._turns) < length:
            powers = torch.arange(0, self.dim, 2, dtype=torch.float32) / self.dim
            angles = torch.outer(torch.arange(length, dtype=torch.float32), 1 / self.base**powers)
            self._turns = torch.polar(torch.ones_like(angles), angles).to(device)
        return self._turns[:length]


def _turn(x: Tensor, turns: Tensor) -> Tensor:
    pairs = torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2))
    return torch.view_as_real(pairs * turns[None, :, None]).flatten(-2).to(x.dtype)
