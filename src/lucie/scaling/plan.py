"""The plan of a training on a site: time, memory, GPU hours, jobs, energy, storage, for several layouts.

    plan = make_plan(project, Recipe.load(project, "full"), Site.load(project, "jean-zay"), "h100", (16, 64, 512))
    for option in plan.options:
        print(option.name, option.gpu_hours, option.jobs)

Two ways of launching kernels are told apart. The authors set CUDA_LAUNCH_BLOCKING=1 in their trials and in the
training, so every layer waits for the host; the fit says how long. A plan sets it not, and assumes that the host keeps
ahead: no time for launches. What the same layout would take with waiting is said beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import polars as pl

from lucie.errors import UsageError
from lucie.footprint import gpu_hours_needed
from lucie.hpc.sites import Gpus, Site
from lucie.mixture.plan import PHASES
from lucie.project import Project
from lucie.scaling import evidence
from lucie.scaling.fit import Model, fitted
from lucie.scaling.layout import Layout, Work
from lucie.scaling.memory import check_fit
from lucie.scaling.model import Slowness, step_parts
from lucie.scaling.option import Option, PhasePlan, Range
from lucie.scaling.search import best
from lucie.scaling.storage import checkpoint_bytes, token_files
from lucie.training.recipe import Recipe

AIM = 0.4  # of the peak


@dataclass(frozen=True)
class Plan:
    """All options, with what they are held against."""

    recipe: Recipe
    site: Site
    gpus: Gpus
    model: Model
    options: list[Option]
    published_hours: float  # GPU hours of the authors' logs
    kilowatts: Range  # of a GPU with its share of the node: kWh by GPU hours
    grams: Range  # of CO2 equivalent a kWh
    elsewhere: dict[str, float]  # utilisation of whole trainings on the same GPUs, by model
    token_bytes: int
    token_files: int

    def widest(self) -> Option | None:
        """The option of most GPUs whose main phase is predicted to use `AIM` of their peak."""
        enough = [option for option in self.options if option.phases[0].utilisation >= AIM]
        return max(enough, key=lambda option: option.phases[0].layout.gpus, default=None)

    def hours_as_elsewhere(self) -> list[float]:
        """GPU hours of this training at the utilisation that others reached on such GPUs, in order."""
        peak = self.gpus.peak.value / 1e12
        return sorted(gpu_hours_needed(self.recipe.flops, peak, share) for share in self.elsewhere.values())

    def table(self) -> pl.DataFrame:
        """One row an option: its main phase's layout, and the cost of all phases with bounds."""
        return pl.DataFrame([_row(self, option) for option in self.options])

    def energy(self, option: Option) -> Range:
        """kWh."""
        return option.gpu_hours * self.kilowatts

    def tonnes(self, option: Option) -> Range:
        """Of CO2 equivalent."""
        return self.energy(option) * self.grams * 1e-6


def _row(plan: Plan, option: Option) -> dict[str, Any]:
    main = option.phases[0]
    ranges = {
        "step_seconds": main.step,
        "gpu_hours": option.gpu_hours,
        "days": option.days,
        "kwh": plan.energy(option),
        "tonnes": plan.tonnes(option),
    }
    bounds = {"low": "_low", "value": "", "high": "_high"}
    return {
        "option": option.name,
        "gpus": main.layout.gpus,
        "layout": str(main.layout),
        "gigabytes": main.memory.total / 1e9,
        "tokens_per_gpu_second": main.tokens_per_gpu_second,
        "utilisation": main.utilisation,
        "waiting_seconds": main.waiting,
        "jobs": option.jobs,
        **{f"{name}{end}": getattr(found, bound) for name, found in ranges.items() for bound, end in bounds.items()},
    }


def make_plan(project: Project, recipe: Recipe, site: Site, gpu: str, counts: Sequence[int]) -> Plan:
    """The published layout, as it ran and with kernels launched ahead, and the fastest for each of ``counts`` GPUs.

    Raises UsageError where the site lists no such GPUs, or the model cannot be divided among so many.
    """
    gpus, model = site.gpu(gpu), fitted(project, site)
    planner = Planner(recipe, site, gpu, model, evidence.ending_minutes(project, site.jobs[gpu].hours))
    written = {name: _written(recipe, name) for name in PHASES}
    options = [
        planner.option("published, as it ran", written, model.slowness),
        planner.option("published, ahead", written, planner.ahead),
        *(planner.fastest(count) for count in counts),
    ]
    bytes_of_tokens, files_of_tokens = token_files(project, recipe)
    return Plan(
        recipe=recipe,
        site=site,
        gpus=gpus,
        model=model,
        options=options,
        published_hours=evidence.published_hours(project),
        kilowatts=evidence.kilowatts(project),
        grams=evidence.grams(project),
        elsewhere=evidence.utilisation_elsewhere(project, gpus),
        token_bytes=bytes_of_tokens,
        token_files=files_of_tokens,
    )


@dataclass(frozen=True)
class Planner:
    """What all options of a plan share."""

    recipe: Recipe
    site: Site
    gpu: str
    model: Model
    ending_minutes: float  # of a job, kept for its last checkpoint and its end

    @cached_property
    def ahead(self) -> Slowness:
        """Without time for launches."""
        return replace(self.model.slowness, launch=0.0)

    def fastest(self, count: int) -> Option:
        """The fastest layout of each phase on ``count`` GPUs."""
        chosen = {
            name: best(self._work(name), count, self.site.gpu(self.gpu), self.ahead, sorted(self._steps(name))).layout
            for name in PHASES
        }
        return self.option(f"fastest of {count}", chosen, self.ahead)

    def option(self, name: str, chosen: dict[str, Layout], slowness: Slowness) -> Option:
        """The phases in the layouts chosen for them. Raises UsageError for one that does not fit."""
        phases = [self._phase(phase, layout, slowness) for phase, layout in chosen.items()]
        starting = max(phase.checkpoint_seconds for phase in phases) / 3600
        return Option(name, phases, self.site.jobs[self.gpu].hours - self.ending_minutes / 60 - starting)

    def _phase(self, name: str, layout: Layout, slowness: Slowness) -> PhasePlan:
        gpus, work, steps = self.site.gpu(self.gpu), self._work(name), self._steps(name)
        if self.site.checkpoint_speed is None:
            raise UsageError(f"Site '{self.site.name}' says nothing of checkpoint_speed. Add it to its file.")
        parts = step_parts(work, layout, gpus)
        every = (
            count * slowness.seconds(step_parts(replace(work, batch=batch), layout, gpus))
            for batch, count in steps.items()
        )
        size = checkpoint_bytes(work)
        return PhasePlan(
            phase=name,
            layout=layout,
            gpus=gpus,
            memory=check_fit(work, layout, gpus),
            parts=parts,
            slowness=slowness,
            waiting=self.model.slowness.seconds(parts) * self.model.slow_steps,
            step=self._range(name, slowness.seconds(parts)),
            training=self._range(name, math.fsum(every)),
            work=work,
            checkpoints=math.ceil(sum(steps.values()) / self.recipe.phase(name).checkpoint_every),
            checkpoint_seconds=size / self.site.checkpoint_speed.value,
            checkpoint_bytes=size,
        )

    def _range(self, phase: str, seconds: float) -> Range:
        """With slow steps. Where the model missed the authors' own phase by more than its interval, up to that."""
        low, high = self.model.interval(1.0)
        missed = dict(zip((t.name for t in self.model.training.trials), self.model.training.ratios, strict=True))
        mean = seconds * self.model.slow_steps
        return Range(low * mean, mean, max(high, float(missed.get(phase, 0.0))) * mean)

    def _work(self, name: str) -> Work:
        phase = self.recipe.mix.phase(name)
        return Work(self.recipe.architecture, phase.sequence_length, phase.sequences_per_batch)

    def _steps(self, name: str) -> dict[int, int]:
        """Steps of the phase by their batch."""
        counts: dict[int, int] = {}
        for run in self.recipe.runs():
            if run.phase == name:
                counts[run.batch] = counts.get(run.batch, 0) + run.steps
        return counts


def _written(recipe: Recipe, name: str) -> Layout:
    phase = recipe.phase(name)
    return Layout(phase.parallelism, phase.micro_batch, phase.recompute)
