"""An exported model: loaded by plain transformers, and known by its contents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lucie.files import sha256, sha256_of

FILES = ("*.safetensors", "*.bin", "config.json", "tokenizer*", "special_tokens_map.json", "*.model")


def load(folder: Path) -> Any:
    """The model of a folder as `lucie.training.export` writes it, in single precision, without a bar."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    return model.eval()


def digest(folder: Path) -> str:
    """The hash of a model's weights, configuration and tokenizer, by the contents of its files."""
    files = sorted({path for pattern in FILES for path in folder.glob(pattern)})
    return sha256_of({path.name: sha256(path) for path in files})
