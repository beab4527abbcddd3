"""Whether an exported model computes what nanotron's does: the largest difference of their logits.

    parity(Path("run/checkpoints/280"), Path("run/exported/280"), batch)  # 1e-6, say

nanotron's model is its own, with the checkpoint read by its own loader, whatever layout wrote it. It lives in another
process, since the adapter changes what 'cuda' means where it is installed. Both compute on the CPU in single precision.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stderr
from io import StringIO
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from lucie.errors import MismatchError
from lucie.training import checkpoints
from lucie.training.model import load

LIMIT = 1e-5  # of the difference, for logits of some units

Tokens = np.ndarray[Any, np.dtype[np.int64]]
Logits = np.ndarray[Any, np.dtype[np.float32]]


def parity(checkpoint: Path, exported: Path, batch: Tokens) -> float:
    """The largest absolute difference of the two models' logits on a batch, shape (sequences, tokens).

    Raises MismatchError for tokens that the models do not know, and for a checkpoint that is not whole.
    """
    return next(iter(parities([(checkpoint, exported)], batch).values()))


def parities(models: Iterable[tuple[Path, Path]], batch: Tokens) -> dict[Path, float]:
    """`parity` of several checkpoints and their exports, by checkpoint; nanotron is loaded once."""
    found = {}
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_begin) as process:
        for checkpoint, exported in models:
            checkpoints.check(checkpoint)
            theirs = process.submit(_logits_of_nanotron, checkpoint, batch)
            found[checkpoint] = float(np.abs(_logits_of_transformers(exported, batch) - theirs.result()).max())
    return found


def _logits_of_transformers(folder: Path, batch: Tokens) -> Logits:
    import torch

    model = load(folder)
    if batch.max() >= model.config.vocab_size:
        raise MismatchError(
            f"The batch has the token {batch.max()}, the model in {folder} a vocabulary of {model.config.vocab_size}. "
            "Take tokens of the model's tokenizer."
        )
    with torch.inference_mode():
        logits: Logits = model(input_ids=torch.from_numpy(batch), use_cache=False).logits.numpy()
    return logits


def _begin(without: Collection[str] = ()) -> None:
    """Make nanotron ready, alone in its world."""
    os.environ.update(CUDA_VISIBLE_DEVICES="", RANK="0", LOCAL_RANK="0", WORLD_SIZE="1", MASTER_ADDR="127.0.0.1")
    os.environ["MASTER_PORT"] = "0"
    from lucie.training import nanotron_adapter

    nanotron_adapter.install(without)


def _logits_of_nanotron(checkpoint: Path, batch: Tokens) -> Logits:
    import torch
    from nanotron.config import LlamaConfig
    from nanotron.models import build_model
    from nanotron.models.llama import LlamaForTraining
    from nanotron.parallel import ParallelContext
    from nanotron.serialize import load_weights
    from nanotron.trainer import mark_tied_parameters

    from lucie.training.nanotron_adapter import rope_theta

    config = LlamaConfig(**json.loads((checkpoint / "model_config.json").read_text("utf-8")))
    alone = ParallelContext(tensor_parallel_size=1, pipeline_parallel_size=1, data_parallel_size=1)
    with rope_theta(checkpoints.read(checkpoint).rope_theta):
        model = build_model(
            model_builder=lambda: LlamaForTraining(config, alone, parallel_config=None),
            parallel_context=alone,
            dtype=torch.float32,
        )
    mark_tied_parameters(model, alone)  # makes of the norms' weights what the loader takes
    with torch.no_grad():
        with redirect_stderr(StringIO()):  # it shows a bar
            load_weights(model, alone, checkpoint)
        ids = torch.from_numpy(batch)
        logits = model.model(input_ids=ids, input_mask=torch.ones_like(ids, dtype=torch.bool))
    found: Logits = logits.transpose(0, 1).numpy()  # nanotron has the tokens before the sequences
    return found
