"""nanotron's trainer for a run of a recipe. Import it after `lucie.training.nanotron_adapter.install()`."""

from __future__ import annotations

import hashlib
import json
import math
import os
import resource
import shutil
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from nanotron import distributed as dist
from nanotron.models.llama import LlamaDecoderLayer, LlamaForTraining
from nanotron.parallel.pipeline_parallel.tensor_pointer import TensorPointer
from nanotron.parallel.pipeline_parallel.utils import get_input_output_pp_ranks
from nanotron.trainer import DistributedTrainer
from safetensors import SafetensorError
from tensorboardX import SummaryWriter
from torch.utils.checkpoint import checkpoint

from lucie.errors import StageError
from lucie.tokens.order import OrderedTokens
from lucie.training import checkpoints
from lucie.training.batches import micro_batches
from lucie.training.metrics import METRICS, Metrics
from lucie.training.recipe import Recipe, Run


class StoppedError(Exception):
    """The training was asked to stop, and has: its checkpoint is written."""


class Llama(LlamaForTraining):  # type: ignore[misc]
    """A Llama whose first weights depend on the seed and their names, not on how the model is divided."""

    @torch.no_grad()
    def init_model_randomly(self, config: Any) -> None:
        """Norms 1, all others normal; what writes into the residual stream is smaller by sqrt(2 x layers)."""
        std = config.model.init_method.std
        smaller = std / math.sqrt(2 * config.model.model_config.num_hidden_layers)
        for name, parameter in self.named_parameters():
            if "norm" in name:
                parameter.fill_(1)
                continue
            digest = hashlib.sha256(f"{config.general.seed}/{name}".encode()).digest()
            generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big", signed=True))
            info = parameter.get_sharded_info()
            deviation = smaller if "o_proj" in name or "down_proj" in name else std
            whole = torch.empty(info.unsharded_shape).normal_(0, deviation, generator=generator)
            for pair in info.local_global_slices_pairs:
                parameter[pair.local_slices] = whole[pair.global_slices].to(parameter)


class Trainer(DistributedTrainer):  # type: ignore[misc]
    """Trains one run; writes metrics and checkpoints into the folder of the recipe's training."""

    def __init__(self, config: Path, start: int, recipe: Recipe, run: Run, about: dict[str, Any], folder: Path) -> None:
        self.recipe, self.run, self.about, self.folder = recipe, run, about, folder
        super().__init__(str(config), model_class=Llama)
        if self.start_iteration_step != start:  # nanotron begins anew, silently, where it finds no checkpoint
            raise StageError(f"nanotron begins at step {self.start_iteration_step}, and not after step {start}.")

    @property
    def rope_theta(self) -> float:
        """Of the run's model."""
        return self.recipe.phase(self.run.phase).rope_theta

    @property
    def learning_rate(self) -> float:
        """Of the step that is made."""
        return self.recipe.learning_rate_at(self.iteration_step)

    def train_on(self, ordered: OrderedTokens, stop: StopSigns) -> None:
        """Train the steps of the run that are left. Raises StoppedError when asked to stop."""
        self.stop = stop
        self.tensorboard: Any = None
        if dist.get_rank(self.parallel_context.world_pg) == self.logger_ranks[0]:
            first, place = self.start_iteration_step + 1, str(self.folder / "tensorboard")
            self.tensorboard = SummaryWriter(place, purge_step=first, filename_suffix=f".{first}")
        try:
            self.train(self._batches(ordered))
        finally:
            if self.tensorboard:
                self.tensorboard.close()

    def _init_model(self, *arguments: Any, **named: Any) -> Any:
        model = super()._init_model(*arguments, **named)
        if self.recipe.phase(self.run.phase).recompute:
            for layer in (module for module in model.modules() if isinstance(module, LlamaDecoderLayer)):
                layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)
        return model

    def _batches(self, ordered: OrderedTokens) -> Iterator[dict[str, Any]]:
        """Micro-batches; a pipeline stage gets only what it needs."""
        first, last = get_input_output_pp_ranks(self.model)
        here, replicas = dist.get_rank(self.parallel_context.pp_pg), self.parallel_context.dp_pg
        begin = self.start_iteration_step + 1 - self.recipe.offsets[self.run.phase]
        for batch in micro_batches(ordered, begin, self.micro_batch_size, dist.get_rank(replicas), replicas.size()):
            yield {
                name: tensor if here == stage else TensorPointer(group_rank=stage)
                for name, tensor in batch.items()
                for stage in [first if name.startswith("input") else last]
            }

    def training_step(self, dataloader: Any) -> Any:
        self._cpu = time.process_time()
        return super().training_step(dataloader)

    def train_step_logs(self, outputs: Any, loss_avg: torch.Tensor | None) -> None:
        """Write the metrics; after the run's last step, or when asked to stop, a checkpoint."""
        if self.tensorboard and loss_avg is not None:
            self._write(self._metrics(loss_avg.item()))
        reason = self.stop.reason(self.parallel_context.world_pg)
        if reason or self.iteration_step == self.run.last_step:
            self.save_checkpoint()
        if reason and self.iteration_step < self.recipe.steps:
            raise StoppedError(reason)

    def _metrics(self, loss: float) -> Metrics:
        seconds = time.time() - self.iteration_start_time
        return {
            "phase": self.run.phase,
            "step": self.iteration_step,
            "tokens": self.recipe.tokens_at(self.iteration_step),
            "loss": loss,
            "learning_rate": self.learning_rate,
            "grad_norm": self.grad_norm_unclipped.item(),
            "seconds": seconds,
            "cpu_seconds": (time.process_time() - self._cpu) * dist.get_world_size(self.parallel_context.world_pg),
            "tokens_per_second": self.global_batch_size * self.sequence_length / seconds,
            "memory": _memory(),
        }

    def _write(self, metrics: Metrics) -> None:
        with (self.folder / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(metrics) + "\n")
        for name, value in metrics.items():
            if name not in ("phase", "step"):
                self.tensorboard.add_scalar(name, value, metrics["step"])

    def save_checkpoint(self) -> Path:
        """Write a checkpoint under a hidden name; it gets its own when all of it is there.

        Raises StageError where it cannot be written; those before it stay.
        """
        folder, step, world = self.folder / "checkpoints", self.iteration_step, self.parallel_context.world_pg
        if (folder / str(step)).is_dir():
            return folder / str(step)
        if self.tensorboard:
            self.tensorboard.flush()  # a process that is killed later goes on from here
        dist.barrier(world)  # none may look for the folder when it has got its name
        hidden = folder / checkpoints.HIDDEN
        if dist.get_rank(world) == 0:
            shutil.rmtree(hidden, ignore_errors=True)
        self.config.checkpoints.checkpoints_path = hidden
        try:
            super().save_checkpoint()
            dist.barrier(world)
            if dist.get_rank(world) == 0:
                checkpoints.finish(folder, step, self._about())
        except (OSError, RuntimeError, SafetensorError) as error:
            shutil.rmtree(hidden, ignore_errors=True)
            raise StageError(
                f"The checkpoint of step {step} could not be written: {error}. The one before it is whole: make room "
                "on the disk and start the same training again."
            ) from error
        finally:
            self.config.checkpoints.checkpoints_path = folder
        dist.barrier(world)
        return folder / str(step)

    def _about(self) -> dict[str, Any]:
        phase, within = self.recipe.phase_of(self.iteration_step)
        return {
            **self.about,
            "phase": phase,
            "phase_step": within,
            "tokens": self.recipe.tokens_at(self.iteration_step),
            "sequence_length": self.sequence_length,
            "rope_theta": self.rope_theta,
        }


def _memory() -> int:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


class StopSigns:
    """What may ask a training to stop: SIGTERM or SIGUSR1, a file, the time that is given, the end of its runner."""

    def __init__(self, file: Path, until: float | None, runner: int | None = None) -> None:
        self._file, self._until, self._runner, self._signal = file, until, runner, ""
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, self._note)

    def _note(self, number: int, _: Any) -> None:
        self._signal = signal.Signals(number).name

    def reason(self, group: Any) -> str:
        """Why to stop now; empty where there is no reason. All processes hear the same."""
        reasons = {
            1: self._signal and f"signal {self._signal}",
            2: self._file.exists() and self._file.read_text("utf-8"),
            3: self._until is not None and time.time() >= self._until and "the time given is over",
            4: self._runner is not None and not _is_there(self._runner) and "nobody waits for it any more",
        }
        here = max((number for number, reason in reasons.items() if reason), default=0)
        said = torch.tensor(here, device="cuda")
        dist.all_reduce(said, op=dist.ReduceOp.MAX, group=group)
        number = int(said)
        if number == 2:  # even if it was written after this process looked, and before another did
            return self._file.read_text("utf-8")
        return str(reasons[number] or "another process was asked to") if number else ""
