"""Published tests with open licences, made from pinned files of public repositories: `lucie fetch bench`.

config/suites/bench_files.csv pins the files. Each becomes a Parquet file in the columns that lm-eval's task files read,
in a folder named as the data set is on the hub, so that they find it there: FOLDER/OWNER/NAME/CONFIG/SPLIT.parquet.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from lucie.errors import MismatchError
from lucie.files import write_atomic
from lucie.pinned import Pin, Progress
from lucie.pinned import fetch as fetch_pinned
from lucie.project import Project
from lucie.rows import read_rows

FOLDER = Path("data") / "bench"


@dataclass(frozen=True)
class BenchFile:
    """A row of config/suites/bench_files.csv: a file of a repository, and the data set that it becomes a split of."""

    dataset: str
    config: str
    split: str
    repository: str
    commit: str
    path: str
    sha256: str
    bytes: int
    items: int
    licence: str

    @property
    def pin(self) -> Pin:
        """The same for a download, or a copy from a mirror: REPOSITORY/COMMIT/PATH."""
        place = f"{self.repository}/{self.commit}/{self.path}"
        return Pin(place, self.repository, self.commit, self.path, self.sha256, self.licence, self.bytes)

    @property
    def place(self) -> str:
        return f"{self.dataset}/{self.config}/{self.split}.parquet"


def load_files(project: Project) -> list[BenchFile]:
    """The pinned files."""
    return read_rows(project.root / "config" / "suites" / "bench_files.csv", BenchFile)


def fetch(project: Project, into: Path, mirror: Path | None, progress: Progress) -> int:
    """Bring the tests into a folder; returns how many files were made. Raises as `lucie.pinned.fetch`."""
    files = load_files(project)
    missing = [file for file in files if not (into / file.place).is_file()]
    into.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=into, prefix=".fetching-") as name:
        raw = Path(name)
        fetch_pinned({file.pin.path: file.pin for file in missing}, raw, mirror, progress)
        for file in missing:
            rows = READERS[file.dataset]((raw / file.pin.path).read_text("utf-8"))
            if len(rows) != file.items:
                raise MismatchError(f"{file.repository} {file.path} has {len(rows)} items, not {file.items}.")
            buffer = io.BytesIO()
            pl.DataFrame(rows).write_parquet(buffer)
            write_atomic(into / file.place, buffer.getvalue())
    for dataset in sorted({file.dataset for file in files}):
        write_atomic(into / dataset / "README.md", _card([file for file in files if file.dataset == dataset]))
    return len(missing)


def _card(files: list[BenchFile]) -> str:
    """The head of a data set's page: where datasets reads which files are of which configuration."""
    configs = [
        {
            "config_name": file.config,
            "data_files": [{"split": file.split, "path": f"{file.config}/{file.split}.parquet"}],
        }
        for file in files
    ]
    return f"---\n{json.dumps({'configs': configs}, indent=1)}\n---\n"


def _bbh(text: str) -> list[dict[str, Any]]:
    return [{"input": item["input"], "target": item["target"]} for item in json.loads(text)["examples"]]


READERS = {"SaylorTwift/bbh": _bbh}
