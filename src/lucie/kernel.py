"""Notebook kernels that are reached through files: no network port, so they run where there is no network at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jupyter_client.manager import AsyncKernelManager
from traitlets import default


class SocketKernelManager(AsyncKernelManager):
    """Starts kernels that talk through Unix sockets."""

    @default("transport")
    def _transport(self) -> str:
        return "ipc"

    @default("ip")
    def _ip(self) -> str:
        return str(Path(os.environ["JUPYTER_RUNTIME_DIR"]) / "kernel")  # the stem of the sockets' paths


@contextmanager
def runtime_folder() -> Iterator[str]:
    """A folder for the sockets of one kernel, to be $JUPYTER_RUNTIME_DIR.

    It lies in the system's temporary folder, because a socket's path may have 107 bytes only.
    """
    with tempfile.TemporaryDirectory(prefix="lucie-") as folder:
        yield folder
