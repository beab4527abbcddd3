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

from lucie import luciole
from lucie.corpus import composition
from lucie.errors import UsageError
from lucie.footprint import gpu_hours_needed
from lucie.hpc.sites import Gpus, Site
from lucie.mixture.plan import PHASES
from lucie.project import Project
from lucie.records import load_record
from lucie.scaling.fit import Model, fitted
from lucie.scaling.layout import Layout, Work
from lucie.scaling.memory import HALF, STATE, Memory, check_fit
from lucie.scaling.model import Part, Slowness, step_parts
from lucie.scaling.search import best
from lucie.tokens.files import FITS_16_BITS
from lucie.training.architecture import count_parameters
from lucie.training.recipe import Recipe
from lucie.training.scaling import flops_per_token, utilisation

ATTENDED = 0.5  # of the sequence, as utilisation counts attention: under the causal mask
AIM = 0.4  # of the peak
LARGE_ENTRIES = 4  # of a layer: files of its matrices, one a tensor-parallel rank each; its norms are whole
SMALL_ENTRIES = 2
SINGLE_FILES = 6  # of a checkpoint: configurations, metadata, learning-rate schedule, our manifest
FILES_OF_A_KIND = 5  # a kind of text: tokens, ends, metadata, documents, what they were made from
LUCIOLE_PARAMETERS = {"8B": 8.08e9, "23B": 23.2e9}  # their model cards (OpenLLM-France/Luciole-Training, eaaa60d244ba)


@dataclass(frozen=True)
class Range:
    """A number with its bounds."""

    low: float
    value: float
    high: float

    def __mul__(self, factor: float | Range) -> Range:
        other = factor if isinstance(factor, Range) else Range(factor, factor, factor)
        return Range(self.low * other.low, self.value * other.value, self.high * other.high)

    def __add__(self, other: Range) -> Range:
        return Range(self.low + other.low, self.value + other.value, self.high + other.high)


@dataclass(frozen=True)
class PhasePlan:
    """A phase in one layout. Times are of a mean step: slow steps are in them."""

    phase: str
    layout: Layout
    gpus: Gpus
    memory: Memory
    parts: list[Part]  # of a step of the full batch
    slowness: Slowness
    waiting: float  # seconds of the same step with kernels that wait
    step: Range  # seconds of a step of the full batch
    training: Range  # seconds of all steps
    work: Work
    checkpoints: int
    checkpoint_seconds: float  # of one
    checkpoint_bytes: float

    @property
    def tokens_per_gpu_second(self) -> float:
        return self.work.tokens / self.step.value / self.layout.gpus

    @property
    def utilisation(self) -> float:
        """Share of the GPUs' peak that the model's own operations make up."""
        config = self.work.architecture.as_config()
        flops = flops_per_token(config, self.work.sequence_length, ATTENDED)
        return utilisation(self.tokens_per_gpu_second, flops, self.gpus.peak.value / 1e12)

    @property
    def hours(self) -> Range:
        """With checkpoints."""
        writing = self.checkpoints * self.checkpoint_seconds
        return Range(*(time + writing for time in (self.training.low, self.training.value, self.training.high))) * (
            1 / 3600
        )


@dataclass(frozen=True)
class Option:
    """One way to run all phases."""

    name: str
    phases: list[PhasePlan]
    job_hours: float  # that a job can train

    @property
    def gpu_hours(self) -> Range:
        hours = [phase.hours * phase.layout.gpus for phase in self.phases]
        return sum(hours[1:], hours[0])

    @property
    def days(self) -> Range:
        hours = [phase.hours for phase in self.phases]
        return sum(hours[1:], hours[0]) * (1 / 24)

    @property
    def jobs(self) -> int:
        """One after the other."""
        return sum(math.ceil(phase.hours.value / self.job_hours) for phase in self.phases)

    @property
    def checkpoint_bytes(self) -> float:
        """Of all that are written."""
        return sum(phase.checkpoints * phase.checkpoint_bytes for phase in self.phases)

    @property
    def checkpoint_files(self) -> int:
        return sum(phase.checkpoints * checkpoint_files(phase.work, phase.layout) for phase in self.phases)


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
    planner = Planner(recipe, site, gpu, model, _ending_minutes(project, site.jobs[gpu].hours))
    written = {name: _written(recipe, name) for name in PHASES}
    options = [
        planner.option("published, as it ran", written, model.slowness),
        planner.option("published, ahead", written, planner.ahead),
        *(planner.fastest(count) for count in counts),
    ]
    token_bytes, token_files = _token_files(project, recipe)
    return Plan(
        recipe=recipe,
        site=site,
        gpus=gpus,
        model=model,
        options=options,
        published_hours=_published_hours(project),
        kilowatts=_kilowatts(project),
        grams=_grams(project),
        elsewhere=_elsewhere(project, gpus),
        token_bytes=token_bytes,
        token_files=token_files,
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
            training=self._range(name, sum(every)),
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


def checkpoint_bytes(work: Work) -> float:
    """Of a checkpoint: weights in bfloat16, their float32 copy and two moments."""
    config = work.architecture.as_config()
    return (HALF + STATE) * int(count_parameters(config)["parameters"].sum())


def checkpoint_files(work: Work, layout: Layout) -> int:
    """Files of a checkpoint of nanotron 0.4 with our manifest."""
    split = layout.parallelism
    layers = work.architecture.num_hidden_layers * (LARGE_ENTRIES * split.tensor + SMALL_ENTRIES)
    optimizer = split.processes if split.zero_stage else split.tensor * split.pipeline
    return layers + 2 * split.tensor + 1 + optimizer + split.processes + SINGLE_FILES


def _written(recipe: Recipe, name: str) -> Layout:
    phase = recipe.phase(name)
    return Layout(phase.parallelism, phase.micro_batch, phase.recompute)


def _ending_minutes(project: Project, hours: int) -> float:
    """That the authors' jobs, of so many hours at most, stop before their limit."""
    scripts = load_record(project, "transcribed/launch_scripts").filter(phase="main", parameter="walltime_limit")
    return 60 * hours - float(scripts["value"].item())


def _published_hours(project: Project) -> float:
    losses = load_record(project, "input/training_losses")
    return float(losses.group_by("phase").agg(pl.max("gpu_hours"))["gpu_hours"].sum())


def _trainings(project: Project) -> pl.DataFrame:
    """Luciole's trainings, as the cluster's accounting measured them."""
    return luciole.by_size(luciole.footprint(load_record(project, "input/luciole_consumption")))


def _kilowatts(project: Project) -> Range:
    trainings = _trainings(project)
    each = [watts / 1000 for watts in trainings["watts_per_gpu"]]
    return Range(min(each), sum(trainings["total_energy"]) / sum(trainings["gpu_hours"]), max(each))


def _grams(project: Project) -> Range:
    """By the grid's operator; bounds: the lowest and the highest of the three sources, over all trainings."""
    trainings = _trainings(project)
    energy = sum(trainings["total_energy"])
    by_source = {source: sum(trainings[f"total_emissions_{source}"]) / energy for source in luciole.SOURCES}
    return Range(min(by_source.values()), by_source["rte"], max(by_source.values()))


def _elsewhere(project: Project, gpus: Gpus) -> dict[str, float]:
    """Utilisation of Luciole's whole trainings from their logged steps: 6 FLOP a weight and token, no attention."""
    phases = luciole.plan(load_record(project, "transcribed/luciole_setup"))
    logged = luciole.logged(load_record(project, "input/luciole_losses"), phases)
    ends = logged.group_by("size", "phase", maintain_order=True).last()
    sums = ends.group_by("size").agg(pl.sum("tokens", "gpu_seconds"))
    speeds = {row["size"]: row["tokens"] / row["gpu_seconds"] for row in sums.iter_rows(named=True)}
    return {
        f"Luciole-{size}": utilisation(speeds[size], 6 * weights, gpus.peak.value / 1e12)
        for size, weights in LUCIOLE_PARAMETERS.items()
    }


def _token_files(project: Project, recipe: Recipe) -> tuple[int, int]:
    """Bytes of the released dataset's token files, with the ends of documents; files of them and held-out ones."""
    parts = composition.parts(load_record(project, "input/document_counts"), load_record(project, "input/token_counts"))
    released = composition.released(parts)
    each = 2 if recipe.architecture.vocab_size <= FITS_16_BITS else 4
    size = each * sum(part.tokens for part in released) + 8 * sum(part.documents for part in released)
    kinds = {(language, category) for language, found in recipe.mix.epochs.items() for category in found}
    kinds |= {(lang, cat) for lang, found in recipe.mix.phase("annealing").shares.items() for cat in found}
    return size, 2 * FILES_OF_A_KIND * len(kinds) + 1
