"""Times the verbs that have a budget, each beside it: `.venv/bin/python benchmarks/budgets.py`.

Works on a copy of the checkout in a temporary folder. Machines are noisy: these are measurements, not tests.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUDGETS = (  # what, command, seconds allowed on two cores, how often (the least counts)
    ("record tier from nothing", ["reproduce", "--tier", "record"], 90.0, 1),
    ("mini, notebook on counting", ["run", "corpus_statistics", "--tier", "mini"], 45.0, 1),
    ("mini, notebook on filtering", ["run", "filtering", "--tier", "mini"], 45.0, 1),
    ("unchanged rerun", ["reproduce", "--tier", "record"], 1.5, 3),
    ("verify", ["verify"], 3.0, 3),
    ("report", ["report"], 60.0, 3),
)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".venv*", "build", ".git", "__pycache__"))
        environment = {**os.environ, "LUCIE_ROOT": str(copy), "PYTHONPATH": str(copy / "src")}
        print(f"{'what':<28}{'measured':>10}{'budget':>10}")
        for what, arguments, budget, times in BUDGETS:
            seconds = min(measure(arguments, environment) for _ in range(times))
            print(f"{what:<28}{seconds:>8.1f} s{budget:>8.1f} s{'' if seconds <= budget else '  over'}")


def measure(arguments: list[str], environment: dict[str, str]) -> float:
    """Seconds that one run of the command takes."""
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "lucie", *arguments], env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"lucie {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
