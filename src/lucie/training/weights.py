"""The weights of a checkpoint of nanotron as whole tensors, whatever tensor or pipeline parallelism wrote them.

    read_weights(Path("run/checkpoints/280"))["model.lm_head.pp_block.weight"].shape  # (vocabulary, hidden)

nanotron 0.4 writes one file a parameter and rank, model/PATH/OF/MODULE/model_weight_pp-rank-0-of-1_tp-rank-0-of-2.
safetensors. Its metadata says which slices of the whole tensor the file's tensor holds: rows of packed projections
(queries, keys, values; gate, up) are divided pack by pack, so that shards cannot just be laid end to end.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lucie.errors import MismatchError

if TYPE_CHECKING:
    from torch import Tensor

FILE = re.compile(r"model_(?P<parameter>\w+?)(_pp-rank-\d+-of-\d+_tp-rank-\d+-of-\d+)?\.safetensors")
DATA, SLICES, SHAPE = "data", "local_global_slices_pairs", "unsharded_shape"
SIZE = re.compile(r"(?<!\w)\d+")
DAMAGED = "The checkpoint is not whole. Take an earlier one, or train on from it again."


def read_weights(checkpoint: Path) -> dict[str, Tensor]:
    """All parameters by their names in nanotron's model. Raises MismatchError for a checkpoint that is not whole."""
    root = checkpoint / "model"
    files: dict[str, list[Path]] = {}
    for path in sorted(root.rglob("*.safetensors")):
        match = FILE.fullmatch(path.name)
        if match:
            module = ".".join(path.parent.relative_to(root).parts)
            files.setdefault(f"{module}.{match['parameter']}", []).append(path)
    if not files:
        raise MismatchError(f"There are no weights in {root}. {DAMAGED}")
    return {name: _whole(name, paths) for name, paths in files.items()}


def sizes(text: str) -> tuple[int, ...]:
    """The shape that nanotron writes as '(128, 64)', or as '(np.int64(128), 64)' with numpy 2."""
    return tuple(map(int, SIZE.findall(text)))


def _whole(name: str, paths: list[Path]) -> Tensor:
    import torch

    shards = [_read(path) for path in paths]
    first, metadata = shards[0]
    if SHAPE not in metadata:
        return first
    whole = torch.empty(sizes(metadata[SHAPE]), dtype=first.dtype)
    filled = 0
    for shard, about in shards:
        for pair in about[SLICES].split(";"):
            here, there = map(_slices, pair.split("#"))
            whole[there] = shard[here]
            filled += shard[here].numel()
    if filled != whole.numel():
        raise MismatchError(
            f"The {len(paths)} files of {name} in {paths[0].parent} hold {filled} numbers of {whole.numel()}. {DAMAGED}"
        )
    return whole


def _read(path: Path) -> tuple[Tensor, dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    safe: Any = safe_open
    try:
        with safe(path, framework="pt") as file:
            return file.get_tensor(DATA), file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise MismatchError(f"{path} cannot be read: {error}. {DAMAGED}") from error


def _slices(text: str) -> tuple[slice, ...]:
    """The slices that nanotron writes as '0,32,None|None,None,None'."""
    return tuple(
        slice(*(None if bound == "None" else int(bound) for bound in dimension.split(",")))
        for dimension in text.split("|")
    )
