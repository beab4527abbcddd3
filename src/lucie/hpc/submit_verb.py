"""The verb `lucie submit`: stages as batch jobs that Snakemake watches, a training as a chain of jobs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lucie.errors import UsageError, unknown
from lucie.project import Project

if TYPE_CHECKING:
    from lucie.hpc.container import Image
    from lucie.hpc.sites import Site

PLANNED = [16, 64, 512]  # GPUs
IMAGES = {"training": "lucie-train", "stages": "lucie"}
NO_IMAGE = "none"

SiteOption = Annotated[str, typer.Option("--site", help="a site of config/sites/")]
KindOption = Annotated[str, typer.Option("--gpu", help="which GPUs of the site, or `cpu`; without it, the site's")]
ProjectOption = Annotated[str, typer.Option("--project", help="the project that the site charges")]
QosOption = Annotated[str, typer.Option("--qos", help="one of the site's; without it, its default")]


@dataclass(frozen=True)
class Wanted:
    """What was asked for of any job; an empty word and 0 leave it to the site."""

    site: Site
    tier: str
    charged: str
    qos: str
    minutes: int
    image: str
    dry_run: bool

    @property
    def payer(self) -> str:
        """The project that is charged; a job that is only shown may leave it open."""
        return self.charged or ("PROJECT" if self.dry_run else "")

    def registered(self, project: Project, usual: str) -> Image | None:
        """The image of containers/lock.yaml that jobs run in, the usual one unless another was asked for."""
        from lucie.hpc import container

        if self.image == NO_IMAGE:
            return None
        known = container.locked(project)
        if self.image and self.image not in known:
            raise unknown("image", self.image, [*known, NO_IMAGE])
        return container.find(project, self.site, self.image or usual)


@dataclass(frozen=True)
class WantedTraining:
    """What was asked for of a training; what is empty, below zero or None is the recipe's or the tier's own."""

    recipe: str
    seed: int
    folder: Path | None
    tokens: Path | None
    kind: str
    gpus: list[int]


def submit(
    stages: Annotated[list[str], typer.Argument(help="of config/stages.yaml; pretraining is a training, alone")],
    tier: Annotated[str, typer.Option("--tier", help="record, mini, sample or full")] = "full",
    site: SiteOption = "jean-zay",
    recipe: Annotated[str, typer.Option("--recipe", help="of config/recipes/; without it, the tier's")] = "",
    seed: Annotated[int, typer.Option("--seed", help="of the first weights; without it, the recipe's first")] = -1,
    folder: Annotated[Path | None, typer.Option("--folder", help="of the run; without it, one under build/")] = None,
    tokens: Annotated[Path | None, typer.Option("--tokens", help="token files; without it, the tier's")] = None,
    kind: KindOption = "",
    charged: ProjectOption = "",
    qos: QosOption = "",
    minutes: Annotated[int, typer.Option("--minutes", min=0, help="of a job; 0: as many as the site allows")] = 0,
    image: Annotated[str, typer.Option("--image", help="of containers/lock.yaml, or `none`; without it, its own")] = "",
    gpus: Annotated[list[int], typer.Option("--gpus", help="with --dry-run, to plan for; once or more")] = PLANNED,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only show the jobs and, for `full`, the plan")] = False,
) -> None:
    """Run stages on a cluster, or train there: jobs that go on where the ones before stopped. Again: what is left."""
    from lucie.hpc.sites import Site
    from lucie.hpc.stages import TRAINING
    from lucie.stages import Stages

    project = Project.find()
    known = Stages.load(project)
    for stage in stages:
        known.get(stage)
    wanted = Wanted(Site.load(project, site), tier, charged, qos, minutes, image, dry_run)
    if stages == [TRAINING]:
        _submit_training(project, wanted, WantedTraining(recipe or tier, seed, folder, tokens, kind, gpus))
    elif TRAINING in stages:
        raise UsageError(
            f"A training is submitted alone, as it outlasts a job: lucie submit {TRAINING}. Submit the stages before "
            "it first, and those after it when lucie status says that it is done."
        )
    else:
        _submit_stages(project, wanted, stages)


def _submit_stages(project: Project, wanted: Wanted, stages: list[str]) -> None:
    from lucie import engine
    from lucie.hpc.doctor import refuse
    from lucie.hpc.scheduler import Scheduler
    from lucie.hpc.slurm import require_slurm
    from lucie.hpc.stages import KIND, place, ready, refuse_twice
    from lucie.terminal import line, out, show_progress

    site, tier, scheduler = wanted.site, wanted.tier, Scheduler()
    stale = ready(project, tier, stages)
    for entry in stale:
        line(entry.stage.id, entry.reason, "dim")
    if not stale:
        out.print("nothing is out of date")
        return
    image = wanted.registered(project, IMAGES["stages"])
    where = place(project, site, tier, scheduler, wanted.payer, wanted.qos, wanted.minutes, image)
    if wanted.dry_run:
        asked = " ".join(f"{name}={value}" for name, value in where.resources.items())
        out.print(f"{len(stale)} stages would be submitted, each as a job with {asked}", soft_wrap=True)
        return
    refuse(site, KIND, wanted.charged, wanted.qos, wanted.minutes or 60 * site.job(KIND).hours, 1, scheduler)
    refuse_twice(project, tier, scheduler)
    require_slurm()
    out.print(f"{len(stale)} stages, a job each. This command waits for them; Ctrl-C cancels them.")
    engine.execute(project, tier, stale, where, show_progress)
    out.print(f"Judge what came of it: lucie reproduce --tier {tier}")


def _submit_training(project: Project, wanted: Wanted, training: WantedTraining) -> None:
    from lucie.hpc import container
    from lucie.hpc.chain import Chain, submit_chain
    from lucie.hpc.doctor import refuse
    from lucie.hpc.provisions import purged
    from lucie.hpc.scheduler import Scheduler
    from lucie.terminal import line, out
    from lucie.training.recipe import Recipe

    site, dry_run, scheduler = wanted.site, wanted.dry_run, Scheduler()
    recipe, kind = Recipe.load(project, training.recipe), training.kind or site.trains
    seed = recipe.seeds[0] if training.seed < 0 else training.seed
    if dry_run and recipe.name == "full":
        from lucie.scaling.plan import make_plan
        from lucie.scaling.show import show_plan

        show_plan(make_plan(project, recipe, site, kind, training.gpus))
    tokens = training.tokens
    if not tokens:
        tokens = project.build / recipe.tier / "work" / "tokens" if dry_run else recipe.tokens_folder(project)
    folder = training.folder or recipe.folder(project, seed)
    image = None if dry_run else wanted.registered(project, IMAGES["training"])  # a plan needs no image
    chain = Chain.plan(recipe, seed, tokens, folder, site, kind, wanted.payer, wanted.qos, wanted.minutes, image)
    if warning := purged(site, chain.folder):
        line("folder", warning, "yellow")
    if not chain.open():
        line(chain.name, f"finished: step {chain.step:,}. Nothing is left to submit.")
        return
    if dry_run:
        for leg in chain.open():
            job = chain.batch_job(project, leg)
            line(job.name, f"steps {leg.first_step:,} to {leg.last_step:,}: {', '.join(leg.phases)}")
            out.print(job.script(chain.jobs_folder), markup=False, soft_wrap=True)
        return
    if image:
        container.check(image)
    refuse(site, kind, wanted.charged, wanted.qos, chain.minutes, max(leg.nodes for leg in chain.legs), scheduler)
    for leg in submit_chain(project, chain, scheduler):
        line(
            f"job {leg.job}",
            f"{', '.join(leg.phases)}: steps {leg.first_step:,} to {leg.last_step:,}, {leg.nodes} nodes",
        )
    elsewhere = "" if chain.folder.is_relative_to(project.build) else f" {chain.folder}"
    out.print(f"Follow it with: lucie status{elsewhere}", soft_wrap=True)
