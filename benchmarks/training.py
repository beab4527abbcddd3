"""Times nanotron beside a plain loop of transformers and AdamW: `.venv/bin/python benchmarks/training.py`.

Same shape of model, same batches from the same token files, same threads; each in its own process, in turns, and the
fastest step of all rounds counts. Wanted: at least 0.95 of the plain loop's tokens a second. Also
said: the seconds that a checkpoint takes, its sha256 sums and renaming included. Machines are noisy: these are
measurements, not tests.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from lucie.project import Project
from lucie.tokens.order import OrderedTokens
from lucie.training.metrics import METRICS, read_metrics
from lucie.training.recipe import Recipe
from lucie.training.run import RUN, RunFile, prepare

ROUNDS = 4
STEPS = 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="mini")
    parser.add_argument("--tokens", type=Path, help="token files; without it, those of the recipe's tier")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--measure", choices=LOOPS, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    project = Project.find()
    recipe = shortened(Recipe.load(project, chosen.recipe))
    tokens = chosen.tokens or recipe.tokens_folder(project)
    if chosen.measure:
        import torch

        torch.set_num_threads(chosen.threads)
        print(json.dumps(LOOPS[chosen.measure](recipe, tokens)))
        return
    arguments = ["--recipe", chosen.recipe, "--tokens", str(tokens), "--threads", str(chosen.threads)]
    found: dict[str, list[dict[str, float]]] = {name: [] for name in LOOPS}
    for _ in range(ROUNDS):
        for name, measured in found.items():
            command = [sys.executable, __file__, *arguments, "--measure", name]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            measured.append(json.loads(done.stdout.splitlines()[-1]))
    size = recipe.mix.phase("main")
    batch = size.sequences_per_batch * size.sequence_length
    fastest = {name: min(one["step"] for one in measured) for name, measured in found.items()}
    print(f"{recipe.name}: {batch:,} tokens a step, {STEPS} steps, {ROUNDS} rounds, {chosen.threads} threads")
    for name, seconds in fastest.items():
        print(f"{name:<16}{batch / seconds:>10,.0f} tokens/s{fastest['transformers'] / seconds:>8.2f} x")
    print(f"{'a checkpoint':<16}{min(one['checkpoint'] for one in found['nanotron']):>10.2f} s")


def shortened(recipe: Recipe) -> Recipe:
    """Only so many steps of the main phase, with whole batches from the first."""
    content = recipe.model_dump(mode="json")
    for name, size in content["mix"]["phases"].items():
        batch = size["sequences_per_batch"] * size["sequence_length"]
        size |= {"ramp_up": None, "tokens": batch * (STEPS if name == "main" else 1)}
    content["phases"]["main"] |= {"warm_up": 1, "checkpoint_every": STEPS}
    return Recipe.of(content)


def with_nanotron(recipe: Recipe, tokens: Path) -> dict[str, float]:
    """The seconds of the fastest step, and the seconds of the checkpoint after the last."""
    from lucie.training import worker

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / RUN).write_text(RunFile.of(recipe, 1, tokens).model_dump_json())
        prepare(recipe, 1, folder, 0)
        seconds = timed_checkpoints()
        worker.train(folder, tokens, 0, None)
        steps = read_metrics(folder / METRICS).filter(phase="main")["seconds"].to_list()
    return {"step": min(steps), "checkpoint": seconds[0]}


def timed_checkpoints() -> list[float]:
    """The seconds of every checkpoint, as they are written."""
    from lucie.training import nanotron_adapter

    nanotron_adapter.install()
    from lucie.training.trainer import Trainer

    seconds: list[float] = []
    save = Trainer.save_checkpoint

    def timed(self: Any) -> Path:
        started = time.perf_counter()
        path = save(self)
        seconds.append(time.perf_counter() - started)
        return path

    Trainer.save_checkpoint = timed  # type: ignore[method-assign]
    nanotron_adapter.install = lambda without=(): None
    return seconds


def with_transformers(recipe: Recipe, tokens: Path) -> dict[str, float]:
    """The seconds of the fastest step."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    phase, optimizer = recipe.phase("main"), recipe.optimizer
    rope = {"rope_type": "default", "rope_theta": phase.rope_theta}
    config = LlamaConfig(**recipe.architecture.model_dump(), tie_word_embeddings=False, rope_parameters=rope)
    model = LlamaForCausalLM(config)
    betas = optimizer.beta1, optimizer.beta2
    adam = torch.optim.AdamW(model.parameters(), phase.learning_rate, betas, optimizer.epsilon, optimizer.weight_decay)
    ordered, seconds = OrderedTokens(tokens, recipe.mix, "main", check=False), []
    for step in range(1, STEPS + 1):
        started = time.perf_counter()
        micro_batches = torch.from_numpy(ordered.batch(step)).split(phase.micro_batch)  # type: ignore[no-untyped-call]
        total = 0.0
        for batch in micro_batches:
            logits = model(batch[:, :-1]).logits
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten()) / len(micro_batches)
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), optimizer.gradient_clipping)
        adam.step()
        adam.zero_grad()
        seconds.append(time.perf_counter() - started)
    return {"step": min(seconds)}


LOOPS = {"transformers": with_transformers, "nanotron": with_nanotron}


if __name__ == "__main__":
    main()
