"""nanotron 0.4 as it is on the package index, made to run: on a CPU with gloo, and without flash-attn.

    nanotron_adapter.install()  # before anything of nanotron is imported
    from nanotron.trainer import DistributedTrainer

No file of nanotron is changed. `DEFECTS` lists what is worked around; each has one repair, and a test that fails
without it.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import sys
import types
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_type_hints

import torch
from torch.overrides import TorchFunctionMode

from lucie.errors import UsageError
from lucie.training.weights import sizes

VERSION = "0.4"


@dataclass(frozen=True)
class Defect:
    """What nanotron does not do by itself, and the repair."""

    name: str
    issues: tuple[int, ...]  # of huggingface/nanotron; none: it was not reported
    says: str
    repair: Callable[[], None]
    when: Literal["before", "after"]  # nanotron's modules are imported
    only_without_gpu: bool = False


def check_version() -> None:
    """Raises UsageError for a nanotron that this was not made for."""
    try:
        found = importlib.metadata.version("nanotron")
    except importlib.metadata.PackageNotFoundError as error:
        raise UsageError("Training needs nanotron, which is not installed: tools/setup.sh train") from error
    if found != VERSION:
        raise UsageError(
            f"nanotron {found} is installed; training is checked with nanotron {VERSION} only. "
            f"Install that one: pip install nanotron=={VERSION}"
        )


def install(without: Collection[str] = ()) -> None:
    """Make nanotron importable and able to run here. ``without`` leaves repairs out, by name: for tests."""
    check_version()
    os.environ.setdefault("CUDA_DEVICE_MAX_CONNECTIONS", "1")  # tensor parallelism asserts it
    chosen = [
        defect
        for defect in DEFECTS
        if defect.name not in without and not (defect.only_without_gpu and torch.cuda.is_available())
    ]
    for defect in chosen:
        if defect.when == "before":
            defect.repair()
    importlib.import_module("nanotron.trainer")  # models imported before it would meet another import cycle
    for defect in chosen:
        if defect.when == "after":
            defect.repair()
    _one_copy_of_the_logits()
    if any(defect.name == "cuda" for defect in chosen):
        _do_not_watch_micro_batches()


def _import_logging_first() -> None:
    """nanotron.logging and nanotron.config import each other; logging wants but two names, for annotations."""
    placeholders = {
        "nanotron.config": {},
        "nanotron.config.config": {"LoggingArgs": object},
        "nanotron.parallel": {"ParallelContext": object},
    }
    for name, content in placeholders.items():
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__dict__.update(content)
    importlib.import_module("nanotron.logging")
    for name in placeholders:
        del sys.modules[name]


def _do_without_flash_attention() -> None:
    if not torch.cuda.is_available() or importlib.util.find_spec("flash_attn") is None:
        from lucie.training import flash

        flash.install()


class _OnCpu(TorchFunctionMode):
    """Sends to the CPU what a call sends to 'cuda'."""

    def __torch_function__(
        self, function: Any, _: Any, arguments: tuple[Any, ...] = (), named: dict[str, Any] | None = None
    ) -> Any:
        if named:
            return function(*map(_device, arguments), **{name: _device(value) for name, value in named.items()})
        return function(*map(_device, arguments))


def _device(value: Any) -> Any:
    if isinstance(value, (str, torch.device)) and str(value).partition(":")[0] == "cuda":
        return "cpu" if isinstance(value, str) else torch.device("cpu")
    return value


_on_cpu = _OnCpu()


def _stay_on_cpu() -> None:
    _on_cpu.__enter__()  # type: ignore[no-untyped-call]


def _begin_with_gloo() -> None:
    import nanotron.distributed as distributed
    from nanotron.parallel.context import ParallelContext

    distributed.initialize_torch_distributed = partial(torch.distributed.init_process_group, "gloo")
    ParallelContext.set_device = lambda self: None


def _rotary_buffer_on_cpu() -> None:
    """The buffer serves inference only; it is filled as upstream does, without the assertion that it is on a GPU."""
    from nanotron.models.llama import RotaryEmbedding

    def init_rotary_embeddings(self: Any) -> None:
        powers = torch.arange(0, self.dim, 2, dtype=torch.float32) / self.dim
        angles = torch.outer(torch.arange(self.end, dtype=torch.float32), 1 / self.theta**powers)
        self.register_buffer("freqs_cis", torch.stack((angles.cos(), angles.sin()), -1), persistent=False)
        self._initialized_buffer = True

    RotaryEmbedding.init_rotary_embeddings = init_rotary_embeddings


def _do_not_measure_the_gpu() -> None:
    import nanotron.trainer

    nanotron.trainer.log_memory = lambda logger: None


def _average_without_gradients() -> None:
    """gloo averages by a sum and a division in place, which autograd forbids for the weights themselves.

    A process alone needs no average. gloo would still divide, in a thread of its own with its own OpenMP threads: they
    then outnumber the cores, and every operation of the training's threads waits longer for the next.
    """
    import nanotron.distributed as distributed

    reduce = torch.no_grad()(torch.distributed.all_reduce)

    def all_reduce(
        tensor: torch.Tensor, op: Any = distributed.ReduceOp.SUM, group: Any = None, async_op: bool = False
    ) -> Any:
        if torch.distributed.get_world_size(group) > 1:
            return reduce(tensor, op=op, group=group, async_op=async_op)
        return _Done() if async_op else None

    distributed.all_reduce = all_reduce


class _Done:
    """The handle of what has been done."""

    def wait(self) -> None:
        pass


def _send_without_waiting() -> None:
    """gloo's send waits for the receiver; in a 1F1B pipeline two neighbours send to each other at once."""
    import nanotron.distributed as distributed
    from nanotron.parallel.pipeline_parallel import engine, p2p

    pending: list[tuple[Any, torch.Tensor]] = []  # a tensor must live until it is sent

    def send(tensor: torch.Tensor, dst: int, group: Any = None, tag: int = 0) -> None:
        copied = tensor.clone()  # P2P uses its buffer of shapes again
        pending.append((torch.distributed.isend(copied, dst, group=group, tag=tag), copied))

    def send_tensors(self: Any, tensors: list[torch.Tensor], to_rank: int, tag: int = 0) -> None:
        pending.extend(zip(self.isend_tensors(tensors, to_rank=to_rank, tag=tag), tensors, strict=True))

    def finishing(train_batch: Callable[..., Any]) -> Callable[..., Any]:
        def train_batch_iter(self: Any, *arguments: Any, **named: Any) -> Any:
            found = train_batch(self, *arguments, **named)
            while pending:
                pending.pop()[0].wait()
            return found

        return train_batch_iter

    distributed.send = send
    p2p.P2P.send_tensors = send_tensors
    for kind in (engine.AllForwardAllBackwardPipelineEngine, engine.OneForwardOneBackwardPipelineEngine):
        kind.train_batch_iter = finishing(kind.train_batch_iter)


def _load_optimizer_of_other_replicas() -> None:
    """ZeRO's files are divided by the data-parallel replicas that wrote them; nanotron looks for as many as it has."""
    import nanotron.trainer
    from nanotron.serialize import optimizer as files

    load = nanotron.trainer.load_optimizer

    def load_optimizer(optimizer: Any, parallel_context: Any, root_folder: Path, **named: Any) -> None:
        from lucie.training.optimizer_states import load_divided_otherwise

        zero = optimizer.inherit_from(files.ZeroDistributedOptimizer)
        if (root_folder / "optimizer" / files.optimizer_filename(parallel_context, is_zero=zero)).is_file():
            load(optimizer=optimizer, parallel_context=parallel_context, root_folder=root_folder, **named)
        else:
            load_divided_otherwise(optimizer, parallel_context, root_folder / "optimizer")

    nanotron.trainer.load_optimizer = load_optimizer


def _read_shapes_of_numpy_2() -> None:
    """A weight of another tensor parallelism has its whole shape beside it, as '(np.int64(128), 64)'."""
    from nanotron.serialize.metadata import TensorMetadata

    shape = get_type_hints(TensorMetadata)["unsharded_shape"]
    TensorMetadata._metadata_config.type_hooks[shape] = sizes


@contextmanager
def rope_theta(theta: float) -> Iterator[None]:
    """Llama models built inside turn by this theta; nanotron 0.4 knows 10,000 only.

    Both embeddings are set: the buffer for inference, and flash-attn's class, which training uses.
    """
    from nanotron.models import llama

    before = llama.RotaryEmbedding, llama.FlashRotaryEmbedding
    llama.RotaryEmbedding = partial(before[0], theta=theta)
    llama.FlashRotaryEmbedding = partial(before[1], base=theta)
    try:
        yield
    finally:
        llama.RotaryEmbedding, llama.FlashRotaryEmbedding = before


def _set_rope_theta() -> None:
    """A trainer's ``rope_theta`` is that of its model."""
    from nanotron.trainer import DistributedTrainer

    build = DistributedTrainer._init_model

    def _init_model(self: Any, *arguments: Any, **named: Any) -> Any:
        with rope_theta(self.rope_theta):
            return build(self, *arguments, **named)

    DistributedTrainer._init_model = _init_model


def _set_learning_rate() -> None:
    """A trainer's ``learning_rate`` is that of its step, whatever the file or a checkpoint says."""
    from nanotron.trainer import DistributedTrainer

    step = DistributedTrainer.training_step

    def training_step(self: Any, dataloader: Any) -> Any:
        for group in self.optimizer.get_base_optimizer().param_groups:
            group["lr"] = self.learning_rate
        return step(self, dataloader)

    DistributedTrainer.training_step = training_step


# Not defects: what only takes time


def _one_copy_of_the_logits() -> None:
    """Where nothing is divided, the loss needs no tensor of the logits' size beside them."""
    from nanotron.models import llama

    from lucie.training.loss import cross_entropy

    divided = llama.sharded_cross_entropy

    def sharded_cross_entropy(logits: torch.Tensor, target: torch.Tensor, group: Any, dtype: torch.dtype) -> Any:
        if group.size() > 1 or dtype != torch.float:
            return divided(logits, target, group=group, dtype=dtype)
        return cross_entropy(logits, target)

    llama.sharded_cross_entropy = sharded_cross_entropy


def _do_not_watch_micro_batches() -> None:
    """No device is named within a micro-batch; to look at each of its thousand calls takes a twentieth of the time."""
    from nanotron.parallel.pipeline_parallel.engine import PipelineEngine

    def freely(compute: Callable[..., Any]) -> Callable[..., Any]:
        def method(*arguments: Any, **named: Any) -> Any:
            _on_cpu.__exit__(None, None, None)  # type: ignore[no-untyped-call]
            try:
                return compute(*arguments, **named)
            finally:
                _on_cpu.__enter__()  # type: ignore[no-untyped-call]

        return method

    PipelineEngine.forward, PipelineEngine.backward = freely(PipelineEngine.forward), freely(PipelineEngine.backward)


DEFECTS = (
    Defect("import cycle", (191, 213, 235), "importing any module fails", _import_logging_first, "before"),
    Defect("flash-attn", (), "imports flash-attn, there or not", _do_without_flash_attention, "before"),
    Defect("cuda", (), "the device is written 'cuda' throughout", _stay_on_cpu, "before", only_without_gpu=True),
    Defect("nccl", (), "refuses to begin without a GPU", _begin_with_gloo, "after", only_without_gpu=True),
    Defect("rotary buffer", (), "asserts a GPU", _rotary_buffer_on_cpu, "after", only_without_gpu=True),
    Defect("memory", (), "asks for the GPU's memory in the first steps", _do_not_measure_the_gpu, "after", True),
    Defect("average", (), "averages weights in place with gradients on", _average_without_gradients, "after", True),
    Defect("sends", (), "a pipeline's sends wait for each other with gloo", _send_without_waiting, "after", True),
    Defect("other replicas", (), "finds no ZeRO state of others", _load_optimizer_of_other_replicas, "after"),
    Defect("shapes", (), "cannot read the shapes that it writes with numpy 2", _read_shapes_of_numpy_2, "after"),
    Defect("RoPE theta", (), "knows 10,000 only", _set_rope_theta, "after"),
    Defect("learning rate", (233, 243), "goes on with that of the checkpoint, or 0", _set_learning_rate, "after"),
)
