"""An exported model, loaded by plain transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def load(folder: Path) -> Any:
    """The model of a folder as `lucie.training.export` writes it, in single precision, without a bar."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    return model.eval()
