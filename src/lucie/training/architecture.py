"""The parameters of a Llama model, counted from its configuration."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

CARD_NAMES = {  # as the model card's table has them: key of the configuration
    "vocab_size": "vocab_size",
    "num_layers": "num_hidden_layers",
    "num_attention_heads": "num_attention_heads",
    "num_key_value_heads": "num_key_value_heads",
    "hidden_size": "hidden_size",
    "intermediate_size": "intermediate_size",
    "activation": "hidden_act",
    "rms_norm_eps": "rms_norm_eps",
}


def count_parameters(config: Mapping[str, str]) -> pl.DataFrame:
    """Trainable parameters by kind of weight, from a transformers Llama configuration.

    Grouped-query attention: queries and outputs are hidden x hidden, keys and values hidden x (hidden * kv heads /
    heads). A SwiGLU block has three matrices. No biases; embeddings and output head are not tied.
    """
    hidden, layers = int(config["hidden_size"]), int(config["num_hidden_layers"])
    vocabulary, inner = int(config["vocab_size"]), int(config["intermediate_size"])
    heads, kv_heads = int(config["num_attention_heads"]), int(config["num_key_value_heads"])
    if hidden % heads:
        raise ValueError(f"hidden_size {hidden} is not a multiple of num_attention_heads {heads}.")
    kv_width = hidden // heads * kv_heads
    counts = {
        "token embeddings": vocabulary * hidden,
        "attention: queries, outputs": layers * 2 * hidden * hidden,
        "attention: keys, values": layers * 2 * hidden * kv_width,
        "feed-forward": layers * 3 * hidden * inner,
        "RMS norms": (2 * layers + 1) * hidden,
        "output head": 0 if config["tie_word_embeddings"] == "true" else vocabulary * hidden,
    }
    total = sum(counts.values())
    return pl.DataFrame(
        [{"weights": name, "parameters": count, "percent": 100 * count / total} for name, count in counts.items()]
    )
