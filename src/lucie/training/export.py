"""A checkpoint of nanotron as a folder that plain transformers loads, without this package.

    export(Path("run/checkpoints/280"), Path("tokenizer"), Path("run/exported/280"))
    AutoModelForCausalLM.from_pretrained("run/exported/280")

The two models compute the same; they lay their weights out differently. nanotron packs queries, keys and values in one
matrix, and gate and up in another. And it turns neighbouring pairs of a head's dimensions (0 with 1, 2 with 3), where
transformers turns one half against the other (0 with d/2): rows of queries and keys change places.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from lucie.errors import MismatchError, UsageError
from lucie.files import write_json
from lucie.tokenizer.bpe import FILES
from lucie.training import checkpoints
from lucie.training.weights import DAMAGED, read_weights

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import LlamaConfig

WEIGHTS, CONFIG = "model.safetensors", "config.json"
SHAPE = (  # of the model: what nanotron's configuration and transformers' call by the same names
    "hidden_act",
    "hidden_size",
    "initializer_range",
    "intermediate_size",
    "max_position_embeddings",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "rms_norm_eps",
    "vocab_size",
)


@dataclass(frozen=True)
class Part:
    """Rows of one of nanotron's tensors that are a tensor of transformers; with ``rotary``, in another order."""

    name: str
    rows: int
    rotary: bool = False


def export(checkpoint: Path, tokenizer: Path, into: Path) -> Path:
    """Write a checkpoint as a transformers Llama model with its tokenizer; returns ``into``, which it replaces.

    The weights keep their type. The same checkpoint gives the same bytes. Raises MismatchError for a checkpoint that
    is not whole, UsageError for a tokenizer that does not go with it.
    """
    from safetensors.torch import save_file
    from transformers import GenerationConfig

    theta = checkpoints.check(checkpoint).rope_theta
    config, weights = _config(checkpoint, tokenizer, theta), read_weights(checkpoint)
    tensors = to_transformers(weights, config)
    config.dtype = next(iter(tensors.values())).dtype
    temporary = into.with_name(f".{into.name}.{os.getpid()}.tmp")
    temporary.mkdir(parents=True)
    try:
        save_file({name: tensors[name].contiguous() for name in sorted(tensors)}, temporary / WEIGHTS, {"format": "pt"})
        config.save_pretrained(temporary)
        described = json.loads((temporary / CONFIG).read_text("utf-8"))
        write_json(temporary / CONFIG, {**described, "rope_theta": theta})  # where transformers before 5 looks for it
        GenerationConfig.from_model_config(config).save_pretrained(temporary)
        for name in FILES:
            shutil.copyfile(tokenizer / name, temporary / name)
        shutil.rmtree(into, ignore_errors=True)
        temporary.replace(into)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return into


def to_transformers(weights: Mapping[str, Tensor], config: LlamaConfig) -> dict[str, Tensor]:
    """nanotron's tensors by the names, in the shapes and with the order of rows that transformers has.

    Raises MismatchError that names tensors which are missing, left over or of another shape than the model's.
    """
    plan = _plan(config)
    _compare("tensors of the checkpoint", plan, weights)
    head = config.hidden_size // config.num_attention_heads
    found = {}
    for name, parts in plan.items():
        if sum(part.rows for part in parts) != len(weights[name]):
            needed = " + ".join(str(part.rows) for part in parts)
            raise MismatchError(f"{name} has {len(weights[name])} rows, and the model needs {needed}. {DAMAGED}")
        for part, end in zip(parts, accumulate(part.rows for part in parts), strict=True):
            rows = weights[name][end - part.rows : end]
            found[part.name] = halves(rows, head) if part.rotary else rows
    expected = _shapes(config)
    _compare("tensors of the model", expected, found)
    for name, tensor in found.items():
        if tuple(tensor.shape) != expected[name]:
            raise MismatchError(f"{name} has the shape {tuple(tensor.shape)}, the model {expected[name]}. {DAMAGED}")
    return found


def halves(weight: Tensor, head: int) -> Tensor:
    """Rows of queries or keys, head by head: first the even ones, then the odd ones."""
    return weight.view(-1, head // 2, 2, weight.shape[1]).transpose(1, 2).reshape(weight.shape)


def _plan(config: LlamaConfig) -> dict[str, list[Part]]:
    """What each of nanotron's tensors becomes."""
    hidden, inner = config.hidden_size, config.intermediate_size
    keys = hidden // config.num_attention_heads * (config.num_key_value_heads or config.num_attention_heads)
    plan = {
        "model.token_position_embeddings.pp_block.token_embedding.weight": [
            Part("model.embed_tokens.weight", config.vocab_size)
        ],
        "model.final_layer_norm.pp_block.weight": [Part("model.norm.weight", hidden)],
        "model.lm_head.pp_block.weight": [Part("lm_head.weight", config.vocab_size)],
    }
    block = {
        "input_layernorm": [Part("input_layernorm", hidden)],
        "attn.qkv_proj": [
            Part("self_attn.q_proj", hidden, rotary=True),
            Part("self_attn.k_proj", keys, rotary=True),
            Part("self_attn.v_proj", keys),
        ],
        "attn.o_proj": [Part("self_attn.o_proj", hidden)],
        "post_attention_layernorm": [Part("post_attention_layernorm", hidden)],
        "mlp.gate_up_proj": [Part("mlp.gate_proj", inner), Part("mlp.up_proj", inner)],
        "mlp.down_proj": [Part("mlp.down_proj", hidden)],
    }
    for layer in range(config.num_hidden_layers):
        for name, parts in block.items():
            plan[f"model.decoder.{layer}.pp_block.{name}.weight"] = [
                Part(f"model.layers.{layer}.{part.name}.weight", part.rows, part.rotary) for part in parts
            ]
    return plan


def _shapes(config: LlamaConfig) -> dict[str, tuple[int, ...]]:
    """What transformers' own model has, without its numbers."""
    import torch
    from transformers import LlamaForCausalLM

    with torch.device("meta"):
        return {name: tuple(tensor.shape) for name, tensor in LlamaForCausalLM(config).state_dict().items()}


def _compare(what: str, expected: Mapping[str, object], found: Mapping[str, object]) -> None:
    for problem, names in (("missing", expected.keys() - found.keys()), ("left over", found.keys() - expected.keys())):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise MismatchError(f"{what.capitalize()} are {problem}: {', '.join(sorted(names)[:3])}{more}. {DAMAGED}")


def _config(checkpoint: Path, tokenizer: Path, theta: float) -> LlamaConfig:
    """transformers' configuration of the model, with the special tokens of the tokenizer."""
    from transformers import AutoTokenizer, LlamaConfig

    shape = json.loads((checkpoint / "model_config.json").read_text("utf-8"))
    for name in FILES:
        if not (tokenizer / name).is_file():
            raise UsageError(f"There is no {name} in {tokenizer}. Name the folder of the tokenizer of the training.")
    words = AutoTokenizer.from_pretrained(tokenizer, local_files_only=True)
    if len(words) > shape["vocab_size"]:
        raise UsageError(
            f"The tokenizer in {tokenizer} has {len(words)} entries, the model in {checkpoint} {shape['vocab_size']}: "
            "it would give numbers that the model does not know. Name the tokenizer of the training."
        )
    return LlamaConfig(
        **{name: shape[name] for name in SHAPE},
        rope_parameters={"rope_type": "default", "rope_theta": theta},
        tie_word_embeddings=False,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
        architectures=["LlamaForCausalLM"],
    )
