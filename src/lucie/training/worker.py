"""One process of a training, started by torchrun: `python -m lucie.training.worker FOLDER TOKENS --from STEP`.

It makes the successive runs of nanotron that the folder's run.json lists and that this number of processes can make,
and says in outcome.json how it ended. `lucie.training.run` starts it.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from filelock import FileLock

from lucie.errors import LucieError
from lucie.files import write_json
from lucie.tokens.order import OrderedTokens
from lucie.training import nanotron_adapter
from lucie.training.recipe import Recipe
from lucie.training.run import OUTCOME, STOP, WORKING, RunFile, config_path

if os.environ.get("WORLD_SIZE") is None:
    os.environ.update(RANK="0", WORLD_SIZE="1", LOCAL_RANK="0", MASTER_ADDR="127.0.0.1", MASTER_PORT="0")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("tokens", type=Path)
    parser.add_argument("--from", dest="start", type=int, default=0, help="the checkpoint to go on from; 0: none")
    parser.add_argument("--until", type=float, help="seconds since 1970 at which to stop")
    parser.add_argument("--runner", type=int, help="the process that started this one: without it, stop")
    chosen = parser.parse_args(arguments)
    try:
        with _working(chosen.folder):
            train(chosen.folder, chosen.tokens, chosen.start, chosen.until, chosen.runner)
    except LucieError as error:
        _say(chosen.folder, {"error": str(error), "code": int(error.code)})
        sys.exit(1)


def train(folder: Path, tokens: Path, start: int, until: float | None, runner: int | None = None) -> None:
    """Make the runs after step ``start`` that have as many processes as there are here."""
    nanotron_adapter.install()
    from lucie.training.trainer import StoppedError, StopSigns, Trainer

    state = RunFile.read(folder)
    recipe = Recipe.of(state.recipe)
    signs = StopSigns(folder / STOP, until, runner)
    step, ended = start, "done"
    for run in recipe.runs():
        if run.last_step <= step:
            continue
        if recipe.phase(run.phase).parallelism.processes != int(os.environ["WORLD_SIZE"]):
            break
        trainer = Trainer(config_path(folder, run), step, recipe, run, state.about(), folder)
        try:
            trainer.train_on(OrderedTokens(tokens, recipe.mix, run.phase, check=False), signs)
        except StoppedError as stopped:
            ended = str(stopped)
            break
        finally:
            step = trainer.iteration_step
        del trainer
        gc.collect()
    _say(folder, {"ended": ended, "step": step})


def _working(folder: Path) -> AbstractContextManager[object]:
    """Held by the first process as long as it works, even where nobody waits for it any more."""
    return FileLock(folder / WORKING, timeout=10) if os.environ["RANK"] == "0" else nullcontext()


def _say(folder: Path, outcome: dict[str, Any]) -> None:
    if os.environ["RANK"] == "0" or "error" in outcome:
        write_json(folder / OUTCOME, outcome)


if __name__ == "__main__":
    main()
