"""After set-up nothing needs a network: the commands run in a network namespace that has none."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from conftest import Lucie

from lucie.errors import Exit
from lucie.project import Project

UNSHARE = ("unshare", "--net", "--map-root-user")


@pytest.fixture
def no_network() -> tuple[str, ...]:
    if not shutil.which("unshare") or subprocess.run([*UNSHARE, "true"], capture_output=True).returncode:
        pytest.skip("no network namespaces here (unshare --net --map-root-user)")
    return UNSHARE


def test_everything_works_without_a_network(copy: Project, lucie: Lucie, no_network: tuple[str, ...]) -> None:
    """Reruns the whole record tier on a copy of this checkout: the same values as committed, and the report."""
    assert lucie(copy, "verify", prefix=no_network).returncode == Exit.HELD
    done = lucie(copy, "reproduce", "--report", prefix=no_network)
    assert done.returncode == Exit.HELD, done.stderr
    assert "all values and tables are as in results/record" in done.stdout
    assert "report.pdf" in done.stdout or "There is no TeX here" in done.stdout
    again = lucie(copy, "reproduce", prefix=no_network)
    assert "nothing was out of date" in again.stdout
