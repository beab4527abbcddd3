"""What notebook 07 runs again: the checkpoints of the training made here, on our own tests."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl

from lucie.evaluation import own_data
from lucie.evaluation.fidelity import continuations, fidelity, passages
from lucie.evaluation.haystack import NAMES, haystack
from lucie.evaluation.paired import SUITE, paired
from lucie.evaluation.runner import Evaluation, run
from lucie.evaluation.suite import Suite
from lucie.evaluation.worker import Model
from lucie.inputs import product_files, work_folder
from lucie.project import Project
from lucie.training.recipe import Recipe

ITEMS = "mini"
LENGTHS = (128, 256, 512, 1024)  # tokens of a haystack


@dataclass(frozen=True)
class Evaluated:
    """The checkpoints of one recipe's trainings, and their scores. The first seed has all of its checkpoints here."""

    recipe: Recipe
    models: dict[tuple[int, int], Model]  # by seed and step
    texts: dict[str, list[str]]  # held out, by language
    evaluation: Evaluation

    @property
    def seeds(self) -> list[int]:
        return sorted({seed for seed, _ in self.models})

    @property
    def final(self) -> Model:
        """The last model of the first seed."""
        return self.models[self.seeds[0], self.recipe.steps]

    @cached_property
    def scores(self) -> pl.DataFrame:
        """seed, step, phase, tokens (trained on) and the columns of an evaluation's scores but for the model."""
        about = pl.DataFrame([
            {
                "model": model.name, "seed": seed, "step": step, "phase": self.recipe.phase_of(step)[0],
                "tokens": self.recipe.tokens_at(step),
            }
            for (seed, step), model in self.models.items()
        ])  # fmt: skip
        joined = about.join(self.evaluation.scores, on="model", how="inner", maintain_order="left_right")
        return joined.drop("model")

    def at_the_end(self, task: str) -> list[float]:
        """The score of each seed's last model."""
        rows = self.scores.filter(task=task, step=self.recipe.steps).sort("seed", maintain_order=True)
        return rows["score"].to_list()

    def progress(self) -> pl.DataFrame:
        """The first and last checkpoint of the first seed on the same items: `lucie.evaluation.paired`."""
        first = self.models[self.seeds[0], min(step for seed, step in self.models if seed == self.seeds[0])]
        return paired(self.raw(), self.evaluation.suite, first.name, self.final.name)

    def raw(self) -> dict[str, Any]:
        """What lm-eval wrote, with each item's scores: settings and items once, scores by model and task.

        Paths are those within the checkout.
        """
        tasks: dict[str, Any] = {}
        scores: dict[str, Any] = {}
        for (model, task), outcome in self.evaluation.outcomes.items():
            samples = outcome["samples"][task]
            tasks[task] = {"config": outcome["configs"][task], "doc_hash": samples["doc_hash"]}
            items = {name: column for name, column in samples.items() if name not in ("doc_hash", "filter")}
            scores.setdefault(model, {})[task] = {"results": outcome["results"][task], "items": items}
        found = {"lm_eval": version("lm_eval"), "tasks": tasks, "scores": scores}
        plain: dict[str, Any] = json.loads(json.dumps(found).replace(f"{Project.find().root}/", ""))
        return plain

    def language_kept(self, seed: int = 0) -> pl.DataFrame:
        """Whether the final model keeps to the prompt's language: `lucie.evaluation.fidelity`."""
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(self.final.folder, local_files_only=True)
        pieces = passages(self.texts, tokenizer)
        written = continuations(self.final.folder, pieces["prompt"].to_list(), seed)
        return fidelity(pieces, written, tokenizer.batch_decode(pieces["human"].to_list()))

    def needles(self) -> pl.DataFrame:
        """What the final model finds in a haystack: language, context_tokens, depth_percent, elevenths."""
        filler = {language: "\n".join(self.texts[language]) for language in ("fr", "en")}
        found = haystack(self.final.folder, filler, LENGTHS, needles=len(NAMES))
        return found.rename({"found": "elevenths"}).drop("needles")


def evaluate(tier: str) -> Evaluated:
    """Score the checkpoints that this tier's training left, or find that it is done."""
    project = Project.find()
    recipe, suite = Recipe.load(project, tier), Suite.load(project, SUITE)
    tokens = work_folder(project, tier) / "tokens"
    tokenizer = product_files(project, tier, "tokenizer", "tokenizer.json")[0].parent
    models = _models(product_files(project, tier, "training", "*/config.json"), suite)
    folder = work_folder(project, tier) / "evaluation"
    texts = own_data.documents(tokens, tokenizer)
    own_data.lay_out(texts, project.root / "data" / ITEMS / "items", folder / "data")
    evaluation = run(project, suite, list(models.values()), folder / "data", folder / "scores")
    return Evaluated(recipe, models, texts, evaluation)


def _models(configs: list[Path], suite: Suite) -> dict[tuple[int, int], Model]:
    """The exported checkpoints by seed and step, from the paths RUN-SEED/exported/STEP/config.json."""
    found = {}
    for path in configs:
        run_folder, step = path.parents[2].name, int(path.parent.name)
        seed = int(run_folder.rpartition("-")[2])
        name = f"{run_folder}/{step}"
        found[seed, step] = Model(name=name, folder=path.parent, bos=suite.reads_bos(name))
    return dict(sorted(found.items()))
