"""The checkpoints of a training, exported and measured: held-out losses by step.

held_out(Path("run"), Path("tokenizer"), Path("tokens"), Path("run/exported"))
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from lucie.cache import Cache
from lucie.closure import code_of
from lucie.errors import UsageError
from lucie.tokens.folder import HELD_OUT, TokenFolder
from lucie.training import checkpoints, heldout
from lucie.training.export import export
from lucie.training.model import digest

KEPT = "held_out"  # the folder of a run that has the losses of its checkpoints


def exports(run: Path, tokenizer: Path, into: Path) -> dict[int, Path]:
    """Export every checkpoint of a run, each into a folder named by its step; returns the folders by step."""
    folder = run / "checkpoints"
    steps = checkpoints.steps(folder)
    if not steps:
        raise UsageError(f"There is no checkpoint in {folder}. Train first: lucie train")
    return {step: export(folder / str(step), tokenizer, into / str(step)) for step in steps}


def held_out(run: Path, tokenizer: Path, tokens: Path, into: Path) -> pl.DataFrame:
    """Export every checkpoint and compute its loss on the held-out documents, or find it where it was kept in the run.

    Returns seed, phase, step, tokens (trained on, through all phases), language, documents, held_out (tokens), bytes,
    loss and bits_per_byte.
    """
    tables, cache = [], Cache(run / KEPT)
    decides = {"tokens": TokenFolder(tokens / HELD_OUT).digest, "code": code_of(heldout.__name__)}
    for step, model in exports(run, tokenizer, into).items():
        manifest = checkpoints.read(run / "checkpoints" / str(step))
        about = {name: getattr(manifest, name) for name in ("seed", "phase", "step", "tokens")}
        key = {"model": digest(model), **decides}
        if (rows := cache.get(key)) is None:
            cache.put(key, rows := heldout.losses(model, tokens).to_dict(as_series=False))
        measured = pl.DataFrame(rows, heldout.LOSSES).rename({"tokens": "held_out"})
        tables.append(measured.select(*(pl.lit(value).alias(name) for name, value in about.items()), pl.all()))
    return pl.concat(tables)
