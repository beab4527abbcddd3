"""What notebook 05 runs again: a training in three phases, from several seeds, and what its checkpoints are worth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import mean, stdev

import polars as pl

from lucie.errors import StageError
from lucie.inputs import product_files, work_folder
from lucie.mixture.plan import PHASES
from lucie.project import Project
from lucie.tokens.order import OrderedTokens
from lucie.training import checkpoints, heldout
from lucie.training.architecture import count_parameters
from lucie.training.consumption import consumption
from lucie.training.metrics import METRICS, read_metrics
from lucie.training.model import load
from lucie.training.parity import parities
from lucie.training.progress import held_out
from lucie.training.recipe import Recipe
from lucie.training.run import run, set_aside

LANGUAGES = ("fr", "en", "de", "es", "it")
LAST = 10  # steps whose mean is the loss at the end of a phase: one step's batch is small
STUDENT = (63.657, 9.925, 5.841, 4.604, 4.032, 3.707, 3.499, 3.355, 3.250)  # quantile of 99.5 % by degrees of freedom
COMPARED = 2  # sequences that two models' logits are compared on


@dataclass(frozen=True)
class Trained:
    """Finished trainings of one recipe, by seed."""

    recipe: Recipe
    tokens: Path
    tokenizer: Path
    runs: dict[int, Path]

    @property
    def parameters(self) -> int:
        return int(count_parameters(self.recipe.architecture.as_config())["parameters"].sum())

    @cached_property
    def metrics(self) -> pl.DataFrame:
        """Every step of every seed: seed, and the columns of `lucie.training.metrics`."""
        tables = [read_metrics(folder / METRICS).with_columns(seed=pl.lit(seed)) for seed, folder in self.runs.items()]
        return pl.concat(tables)

    @cached_property
    def held_out(self) -> pl.DataFrame:
        """The losses of every checkpoint on the documents held out, after exporting it: `lucie.training.progress`."""
        tables = [
            held_out(folder, self.tokenizer, self.tokens, self.exported(seed)) for seed, folder in self.runs.items()
        ]
        return pl.concat(tables)

    def exported(self, seed: int) -> Path:
        """The folder of the exported checkpoints of a seed."""
        return self.runs[seed] / "exported"

    def final(self, seed: int) -> Path:
        """The last model of a seed, as transformers loads it."""
        return self.exported(seed) / str(self.recipe.steps)

    @property
    def files(self) -> list[Path]:
        """What later stages read: metrics, every exported checkpoint of the first seed, the last of the others."""
        first, *others = self.runs
        folders = [*sorted(self.exported(first).iterdir()), *map(self.final, others)]
        models = [path for folder in folders for path in sorted(folder.iterdir())]
        return [*(folder / METRICS for folder in self.runs.values()), *models]

    def phases(self) -> pl.DataFrame:
        """The run as planned: phase, steps, tokens, sequence_length, rope_theta, checkpoints."""
        first = next(iter(self.runs.values()))
        held = [self.recipe.phase_of(step)[0] for step in checkpoints.steps(first / "checkpoints")]
        rows = [
            {
                "phase": name,
                "steps": schedule.steps,
                "tokens": schedule.tokens,
                "sequence_length": schedule.sequence_length,
                "rope_theta": self.recipe.phase(name).rope_theta,
                "checkpoints": held.count(name),
            }
            for name, schedule in self.recipe.schedules.items()
        ]
        return pl.DataFrame(rows)

    def ends(self) -> pl.DataFrame:
        """The training loss at the end of each phase: seed, phase, loss (mean over its last steps)."""
        return self.metrics.group_by("seed", "phase", maintain_order=True).agg(pl.col("loss").tail(LAST).mean())

    def by_language(self) -> pl.DataFrame:
        """Held-out loss of the first and last checkpoint by seed and language, beside a unigram model's.

        Columns: seed, language, held_out (tokens), first, last, bits_per_byte, unigram, unigram_within. The second
        unigram model is counted in the training text of that language alone.
        """
        ends = self.held_out.group_by("seed", "language", maintain_order=True).agg(
            pl.col("held_out").first(), first=pl.col("loss").first(), last=pl.col("loss").last(),
            bits_per_byte=pl.col("bits_per_byte").last(),
        )  # fmt: skip
        known = heldout.unigram(self.tokens).select("language", unigram="loss", unigram_within="loss_within")
        return ends.join(known, on="language", how="left", maintain_order="left")

    def parity(self) -> float:
        """The largest difference of logits between nanotron and the exported models, over all checkpoints."""
        length = min(schedule.sequence_length for schedule in self.recipe.schedules.values())
        batch = OrderedTokens(self.tokens, self.recipe.mix, PHASES[0], check=False).batch(1)[:COMPARED, :length]
        models = [
            (folder / "checkpoints" / str(step), self.exported(seed) / str(step))
            for seed, folder in self.runs.items()
            for step in checkpoints.steps(folder / "checkpoints")
        ]
        return max(parities(models, batch).values())

    def consumed(self) -> pl.DataFrame:
        """What was read of each source by phase, from the first seed's metrics: the same for all."""
        first = self.metrics.filter(seed=next(iter(self.runs)))
        ordered = {phase: OrderedTokens(self.tokens, self.recipe.mix, phase, check=False) for phase in PHASES}
        return pl.concat([
            consumption(first, ordered[phase]).select(pl.lit(phase).alias("phase"), pl.all()) for phase in PHASES
        ])  # fmt: skip

    def writes(self, prompts: list[str], tokens: int = 40) -> pl.DataFrame:
        """How the last model of the first seed goes on after some prompts, each time with the likeliest token."""
        import torch
        from transformers import AutoTokenizer

        folder = self.final(next(iter(self.runs)))
        model, tokenizer = load(folder), AutoTokenizer.from_pretrained(folder, local_files_only=True)
        rows = []
        for prompt in prompts:
            ids = tokenizer(prompt, return_tensors="pt").input_ids
            with torch.inference_mode():
                made = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, do_sample=False)
            rows.append(
                {"prompt": prompt, "goes on": tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True)}
            )
        return pl.DataFrame(rows)


def train(tier: str, seeds: int) -> Trained:
    """Train the recipe of a tier from its first seeds, or find that it is done.

    A folder that holds another training (another recipe, other text) is put aside. Raises StageError where a training
    was told to stop.
    """
    project = Project.find()
    recipe = Recipe.load(project, tier)
    tokens = work_folder(project, tier) / "tokens"
    tokenizer = product_files(project, tier, "tokenizer", "tokenizer.json")[0].parent
    runs = {seed: recipe.folder(project, seed) for seed in recipe.seeds[:seeds]}
    for seed, folder in runs.items():
        set_aside(recipe, seed, tokens, folder)
        outcome = run(recipe, seed, tokens, folder)
        if not outcome.finished:
            raise StageError(f"The training of seed {seed} stopped at step {outcome.step}: {outcome.reason}.")
    return Trained(recipe, tokens, tokenizer, runs)


def interval(values: list[float]) -> tuple[float, float] | None:
    """Where the value of one more seed is expected, at 99 %, by Student's t; None for fewer than two values."""
    if len(values) < 2:
        return None
    half = STUDENT[min(len(values), 1 + len(STUDENT)) - 2] * stdev(values) * math.sqrt(1 + 1 / len(values))
    return mean(values) - half, mean(values) + half
