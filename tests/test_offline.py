"""After set-up nothing needs a network: the commands run in a network namespace that has none.

The record tier runs as on another machine, too: what its values are depends neither on the routines of this CPU, nor on
the place, the user, the time zone, the language, or the number of cores.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Lucie, copy_into

from lucie.errors import Exit, UsageError
from lucie.groups import require
from lucie.project import Project
from lucie.stages import get_tier

# The loopback is brought up (SIOCSIFFLAGS, IFF_UP): processes of one training talk to each other over it.
LOOPBACK = (
    "import fcntl, os, socket, struct, sys; "
    "fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sh', b'lo', 1)); os.execvp(sys.argv[1], sys.argv[1:])"
)
ELSEWHERE = {"TZ": "Asia/Kathmandu", "LC_ALL": "C", "LANG": "tr_TR", "USER": "zoe", "POLARS_MAX_THREADS": "1"}
OLD_CPU = {"OPENBLAS_CORETYPE": "Nehalem", "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4"}  # of 2008: no AVX
UNSHARE = ("unshare", "--net", "--map-root-user", sys.executable, "-c", LOOPBACK)


@pytest.fixture
def no_network() -> tuple[str, ...]:
    if not shutil.which("unshare") or subprocess.run([*UNSHARE, "true"], capture_output=True).returncode:
        pytest.skip("no network namespaces here (unshare --net --map-root-user)")
    return UNSHARE


def test_everything_works_without_a_network(
    tmp_path: Path, lucie: Lucie, no_network: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reruns the whole record tier on a copy of this checkout: the same values as committed, and the report."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in {**ELSEWHERE, **(OLD_CPU if platform.machine() == "x86_64" else {})}.items():
        monkeypatch.setenv(name, value)
    copy = copy_into(tmp_path / "Élève Zoé" / "très loin")
    assert lucie(copy, "verify", prefix=no_network).returncode == Exit.HELD
    done = lucie(copy, "reproduce", "--tier", "record", "--report", prefix=no_network)
    assert done.returncode == Exit.HELD, done.stderr
    assert "all values and tables are as in results/record" in done.stdout
    assert "report.pdf" in done.stdout or "There is no TeX here" in done.stdout
    assert "build/book/index.html" in done.stdout
    again = lucie(copy, "reproduce", "--tier", "record", prefix=no_network)
    assert "nothing was out of date" in again.stdout


def test_the_small_tier_is_made_again_without_a_network(
    copy: Project, lucie: Lucie, no_network: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From data/mini to a trained model, on a copy of this checkout: as committed, losses as the seeds allow."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # other tests have the other core
    try:
        require(get_tier(copy, "mini").groups)
    except UsageError as error:
        pytest.skip(str(error))
    done = lucie(copy, "reproduce", "--tier", "mini", prefix=no_network)
    assert done.returncode == Exit.HELD, done.stdout + done.stderr
    assert "all values and tables are as in results/mini" in done.stdout
