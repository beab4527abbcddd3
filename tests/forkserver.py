"""Starts training workers in forked processes, so that tests pay for importing torch once: reads one JSON line a job.

A job: processes, folder, tokens, start (step), and if need be until (seconds since 1970), runner (the process without
which it stops), without (repairs of the adapter that are left out), file_limit (bytes a file may have), timeout
(seconds). Two lines answer: the process ids, then how each ended: its exit code, minus the signal that killed it.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import sys
import time
import traceback
from functools import partial
from typing import Any

import datasets  # noqa: F401  imported for the workers
import tensorboardX  # noqa: F401
import torch
import transformers.trainer_pt_utils  # noqa: F401

from lucie.training import nanotron_adapter, worker


def main() -> None:
    for line in sys.stdin:
        job = json.loads(line)
        port = _free_port()
        children = [_start(job, rank, port) for rank in range(job["processes"])]
        _say({"pids": children})
        _say({"codes": _wait(children, time.monotonic() + job.get("timeout", 120))})


def _free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def _start(job: dict[str, Any], rank: int, port: str) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        log = os.open(f"{job['folder']}/worker.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for stream in (0, 1, 2):
            os.dup2(log, stream)
        count = str(job["processes"])
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=count, MASTER_PORT=port)
        if job.get("file_limit"):
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (job["file_limit"], resource.RLIM_INFINITY))
        nanotron_adapter.install = partial(nanotron_adapter.install, without=job.get("without", ()))
        given = [word for name in ("until", "runner") if name in job for word in (f"--{name}", str(job[name]))]
        worker.main([job["folder"], job["tokens"], "--from", str(job["start"]), *given])
        code = 0
    except SystemExit as stop:
        code = int(stop.code or 0)
    except BaseException:
        traceback.print_exc()
    os._exit(code)


def _wait(children: list[int], end: float) -> list[int]:
    codes: dict[int, int] = {}
    while len(codes) < len(children):
        for child in children:
            if child not in codes and (ended := os.waitpid(child, os.WNOHANG))[0]:
                codes[child] = os.waitstatus_to_exitcode(ended[1])
        if time.monotonic() > end:
            for child in set(children) - set(codes):
                os.kill(child, signal.SIGKILL)
        time.sleep(0.005)
    return [codes[child] for child in children]


def _say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    os.environ["MASTER_ADDR"] = "127.0.0.1"
    torch.set_num_threads(1)
    _say({"pids": [os.getpid()]})
    main()
