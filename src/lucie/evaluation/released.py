"""Scores released weights on the paper's suite, and holds them against the published rows.

    model = Released.parse("OpenLLM-France/Lucie-7B@step0025000")
    model.folder(project)                       # where `lucie fetch model` mirrors it
    against(project, model, evaluation.scores)  # task, score, published, errors, verdict

A published score and ours come from the same weights and the same questions, but from other programs, machines and
precisions; how far such details carry is not known. The tolerance is that of drawing the questions anew: twice the
standard error of our score.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import polars as pl

from lucie.config import read_yaml
from lucie.errors import UsageError
from lucie.evaluation.runner import Evaluation, Watch, run
from lucie.evaluation.suite import Suite
from lucie.evaluation.worker import Model
from lucie.hub.mirror import Hub, Mirror
from lucie.project import Project
from lucie.records import load_record
from lucie.tolerance import DIFFERS, WITHIN

ERRORS = 2  # standard errors within which a score counts as the published one
NOTHING_PUBLISHED = "nothing published"
WEIGHTS = ("*.json", "*.model", "*.safetensors", "*.txt")
NAME = re.compile(r"[\w.-]+/[\w.-]+(@[\w.-]+)?")


@dataclass(frozen=True)
class Released:
    """A model of the hub at a revision, or one in a folder of this machine."""

    repository: str
    revision: str
    place: Path | None = None

    @classmethod
    def parse(cls, text: str) -> Released:
        """OWNER/NAME, OWNER/NAME@REVISION, or a folder that transformers could load. Raises UsageError."""
        if (Path(text) / "config.json").is_file():
            return cls(Path(text).resolve().name, "here", Path(text).resolve())
        if not NAME.fullmatch(text):
            raise UsageError(f"'{text}' is not a model of the hub. Write it like OpenLLM-France/Lucie-7B@step0025000.")
        repository, _, revision = text.partition("@")
        return cls(repository, revision or "main")

    @property
    def name(self) -> str:
        return f"{self.repository}@{self.revision}"

    @property
    def hub(self) -> Hub:
        """Where it is on the hub."""
        return Hub(kind="model", repository=self.repository, revision=self.revision, files=["*"])

    def folder(self, project: Project) -> Path:
        """Where it is, or its mirror is."""
        return self.place or project.root / "data" / "models" / self.name

    def run(self, project: Project) -> str:
        """The authors' run that it is, by config/models.yaml; empty where there is none."""
        for row in read_yaml(project.root / "config" / "models.yaml"):
            pattern = re.escape(row["revision"]).replace(r"\{steps\}", r"0*(?P<steps>\d+)")
            found = re.fullmatch(pattern, self.revision)
            if row["model"] == self.repository and found:
                return str(row["run"]).format(**found.groupdict())
        return ""


def weights(listed: Mirror) -> Mirror:
    """The files that transformers loads: not the same weights in other formats."""
    return listed.choose([pattern for pattern in WEIGHTS if any(fnmatchcase(path, pattern) for path in listed.files)])


def evaluate(
    project: Project, model: Released, suite: Suite, data: Path, into: Path, limit: int | None, watch: Watch
) -> Evaluation:
    """Score a mirrored model. Raises UsageError where it, or the data, was not fetched."""
    folder = model.folder(project)
    if not (folder / "config.json").is_file():
        where = project.relative(folder)
        raise UsageError(f"{model.name} is not in {where}. Get it with: lucie fetch model {model.name}")
    if not data.is_dir():
        where = project.relative(data)
        raise UsageError(f"There are no tests in {where}. Get them with: lucie fetch bench --suite {suite.name}")
    one = Model(name=model.name, folder=folder, bos=suite.reads_bos(model.repository))
    return run(project, suite, [one], data, into, limit=limit, watch=watch)


def against(project: Project, model: Released, scores: pl.DataFrame) -> pl.DataFrame:
    """Our scores beside the published: task, title, metric, shots, items, score, stderr, published, errors, verdict.

    ``errors`` is the difference by our standard error. A task that the authors ran otherwise (another metric, other
    shots) has no published score here.
    """
    rows = load_record(project, "input/evaluation_scores").filter(run=model.run(project))
    published = rows.select(
        "task",
        pl.col("metric").str.split(",").list.first(),
        pl.col("shots").cast(pl.Int64),
        published=pl.col("score"),
    ).unique(["task", "metric", "shots"], keep="first", maintain_order=True)
    joined = scores.join(
        published, on=["task", "metric", "shots"], how="left", nulls_equal=True, maintain_order="left"
    ).with_columns(errors=(pl.col("score") - pl.col("published")) / pl.col("stderr"))
    return joined.select(
        "task", "title", "metric", "shots", "items", "score", "stderr", "published", "errors",
        "examples_from_test",
        verdict=pl.when(pl.col("published").is_null() | pl.col("errors").is_null())
        .then(pl.lit(NOTHING_PUBLISHED))
        .when(pl.col("errors").abs() <= ERRORS)
        .then(pl.lit(WITHIN))
        .otherwise(pl.lit(DIFFERS)),
    )  # fmt: skip
