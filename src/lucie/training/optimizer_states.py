"""Optimizer states that other data-parallel replicas wrote, or with another stage of ZeRO."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from nanotron import distributed as dist
from nanotron.optim.zero import ZeroDistributedOptimizer

from lucie.errors import UsageError

ACCUMULATED = "gradient_accumulator"  # in bf16: the weights in fp32


def load_divided_otherwise(optimizer: Any, parallel_context: Any, folder: Path) -> None:
    """Put the files of one tensor and pipeline rank together and take this replica's part.

    Raises UsageError where the tensor or pipeline parallelism was another.
    """
    place = {name: (dist.get_rank(group), group.size()) for name, group in _groups(parallel_context).items()}
    pipeline, tensor = (f"{name}-{rank}-of-{size}" for name, (rank, size) in place.items())
    paths = sorted(folder.glob(f"optimizer_{pipeline}_*{tensor}_*.pt"), key=_replica)
    if not paths:
        raise UsageError(
            f"{folder} was not written with {place['pp'][1]} pipeline stages and tensor parallelism {place['tp'][1]}. "
            "A training goes on with other replicas, not with those divided otherwise: keep both."
        )
    shards = [torch.load(path, map_location="cpu") for path in paths]
    state = optimizer.state_dict()
    names = [optimizer.id_to_name[id(parameter)] for parameter in _parameters(optimizer)]
    state["names"] = dict(enumerate(names))
    state["state"] = {
        number: {key: _part(optimizer, parallel_context, name, key, shards) for key in _keys(name, shards)}
        for number, name in enumerate(names)
    }
    if ACCUMULATED in state:
        for name, ours in state[ACCUMULATED].items():
            flat = torch.cat([shard[ACCUMULATED][name].flatten() for shard in shards if name in shard[ACCUMULATED]])
            state[ACCUMULATED][name] = _of_replica(optimizer, parallel_context, name, flat).view(ours.shape)
    optimizer.load_state_dict(state)


def _groups(parallel_context: Any) -> dict[str, Any]:
    return {"pp": parallel_context.pp_pg, "tp": parallel_context.tp_pg}


def _replica(path: Path) -> int:
    found = re.search(r"_dp-(\d+)-of-", path.name)
    return int(found[1]) if found else 0


def _parameters(optimizer: Any) -> list[torch.Tensor]:
    return [parameter for group in optimizer.get_base_optimizer().param_groups for parameter in group["params"]]


def _states(name: str, shards: list[dict[str, Any]]) -> list[dict[str, torch.Tensor]]:
    """Of a parameter, by replica; one that had no part of it is left out."""
    return [shard["state"][number] for shard in shards for number, other in shard["names"].items() if other == name]


def _keys(name: str, shards: list[dict[str, Any]]) -> list[str]:
    return list(_states(name, shards)[0])


def _part(optimizer: Any, parallel_context: Any, name: str, key: str, shards: list[dict[str, Any]]) -> torch.Tensor:
    found = [state[key] for state in _states(name, shards)]
    if found[0].dim() == 0:  # the step
        return found[0]
    whole = torch.cat([part.flatten() for part in found])
    parameter = next(p for p in _parameters(optimizer) if optimizer.id_to_name[id(p)] == name)
    return _of_replica(optimizer, parallel_context, name, whole).view(parameter.shape)


def _of_replica(optimizer: Any, parallel_context: Any, name: str, whole: torch.Tensor) -> torch.Tensor:
    if not isinstance(optimizer, ZeroDistributedOptimizer):
        return whole
    start, end = optimizer.param_name_to_dp_rank_offsets[name][dist.get_rank(parallel_context.dp_pg)]
    return whole[start:end]
