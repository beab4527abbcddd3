"""A small tokenizer, token files, a transformers model and checkpoints of nanotron, for tests.

python tests/small_model.py FOLDER NAME:TENSOR:PIPELINE ...    # writes checkpoints
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest

from lucie.files import write_json
from lucie.tokenizer import bpe
from lucie.tokens.files import write_tokens

VOCABULARY = 400
SHAPE = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-5,
    "max_position_embeddings": 24,
    "vocab_size": VOCABULARY,
}
STEP, THETA = 7, 500_000.0
TEXTS = {
    "fr": "Le petit chat noir dort sous la grande table ronde de la cuisine, près de la fenêtre ouverte. ",
    "en": "The small black cat sleeps under the large round table in the kitchen, near the open window. ",
}


@contextmanager
def one_thread() -> Iterator[None]:
    """Threads that wait for each other are slow where others use the cores; the models here are too small for two."""
    torch = pytest.importorskip("torch", reason="the packages of the group 'train' are not here")
    before = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")  # of processes started meanwhile
        torch.set_num_threads(1)
        yield
    torch.set_num_threads(before)


def write_tokenizer(folder: Path, size: int = VOCABULARY) -> Path:
    folder.mkdir(parents=True)
    texts = [text[start:] for text in TEXTS.values() for start in range(60)]
    bpe.save(bpe.train(texts, bpe.Options(vocabulary=size, unused=max(0, size - 370))), folder)
    return folder


def write_token_files(folder: Path, tokenizer: Path, held_out_per_mille: int = 300) -> Path:
    """Forty documents of each language, some held out."""
    rows = [
        {"source": "s", "id": f"{language}{n}", "language": language, "category": "web", "text": f"{n}. {text[n:]}"}
        for language, text in TEXTS.items()
        for n in range(40)
    ]
    folder.mkdir(parents=True)
    pl.DataFrame(rows).write_parquet(folder / "documents.parquet")
    write_tokens([folder / "documents.parquet"], tokenizer, folder / "tokens", held_out_per_mille)
    return folder / "tokens"


def write_checkpoints(folder: Path, layouts: dict[str, tuple[int, int]]) -> dict[str, Path]:
    """A checkpoint of the same weights by each layout: name, tensor and pipeline parallelism."""
    named = [f"{name}:{tensor}:{pipeline}" for name, (tensor, pipeline) in layouts.items()]
    command = [sys.executable, __file__, str(folder), *named]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return {name: folder / name / str(STEP) for name in layouts}


def main(folder: Path, layouts: list[str]) -> int:
    """One process of nanotron a rank, all forked from one that has imported it."""
    from lucie.training import nanotron_adapter

    nanotron_adapter.install()
    import lucie.training.trainer  # noqa: F401

    processes = []
    for layout in layouts:
        name, *sizes = layout.split(":")
        tensor, pipeline = map(int, sizes)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        for rank in range(tensor * pipeline):
            arguments = folder / name, tensor, pipeline, rank, port
            processes.append(get_context("fork").Process(target=write_layout, args=arguments))
            processes[-1].start()
    for process in processes:
        process.join()
    return max(process.exitcode or 0 for process in processes)


def write_layout(folder: Path, tensor: int, pipeline: int, rank: int, port: int) -> None:
    """What nanotron's trainer does of a checkpoint: the weights. Norms are not 1, so that they cannot be mixed up."""
    import torch
    from nanotron import distributed as dist
    from nanotron.config import LlamaConfig
    from nanotron.models import build_model
    from nanotron.parallel import ParallelContext
    from nanotron.serialize import save_weights
    from nanotron.trainer import mark_tied_parameters

    from lucie.training import checkpoints
    from lucie.training.trainer import Llama

    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(tensor * pipeline))
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    context = ParallelContext(tensor_parallel_size=tensor, pipeline_parallel_size=pipeline, data_parallel_size=1)
    config = LlamaConfig(**SHAPE)
    model = build_model(lambda: Llama(config, context, parallel_config=None), context, torch.float32)
    mark_tied_parameters(model, context)
    settings = SimpleNamespace(init_method=SimpleNamespace(std=0.1), model_config=config)
    model.init_model_randomly(SimpleNamespace(general=SimpleNamespace(seed=1), model=settings))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter += torch.linspace(0, sum(name.encode()) % 97 / 300, len(parameter))
    written = folder / checkpoints.HIDDEN / str(STEP)
    save_weights(model, context, written)
    dist.barrier(context.world_pg)
    if rank == 0:
        write_json(written / "model_config.json", config.__dict__)
        about = {"recipe": "small", "key": "", "seed": 1, "phase": "main", "phase_step": STEP, "tokens": 0}
        checkpoints.finish(folder, STEP, {**about, "sequence_length": 24, "rope_theta": THETA})


def rewrite_manifest(checkpoint: Path) -> None:
    """Say of a checkpoint that was changed that this is how it was written."""
    from lucie.files import sha256
    from lucie.training.checkpoints import MANIFEST

    manifest = json.loads((checkpoint / MANIFEST).read_text("utf-8"))
    manifest["files"] = {
        path.relative_to(checkpoint).as_posix(): sha256(path)
        for path in sorted(checkpoint.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }
    write_json(checkpoint / MANIFEST, manifest)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
