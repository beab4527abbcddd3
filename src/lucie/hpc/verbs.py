"""The verbs of the cluster: submit, job, status, logs, cancel, doctor, image. `lucie.cli` registers them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lucie.errors import Exit, UsageError
from lucie.hpc import image_verbs
from lucie.project import Project

PLANNED = [16, 64, 512]  # GPUs

SiteOption = Annotated[str, typer.Option("--site", help="a site of config/sites/")]
KindOption = Annotated[str, typer.Option("--gpu", help="which GPUs of the site, or `cpu`; without it, the site's")]
ProjectOption = Annotated[str, typer.Option("--project", help="the project that the site charges")]
QosOption = Annotated[str, typer.Option("--qos", help="one of the site's; without it, its default")]
FoldersArgument = Annotated[
    list[Path] | None, typer.Argument(help="folders of trainings; without them, all that were submitted from here")
]


def submit(
    stage: Annotated[str, typer.Argument(help="pretraining")],
    tier: Annotated[str, typer.Option("--tier", help="mini, sample or full")] = "full",
    site: SiteOption = "jean-zay",
    recipe: Annotated[str, typer.Option("--recipe", help="of config/recipes/; without it, the tier's")] = "",
    seed: Annotated[int, typer.Option("--seed", help="of the first weights; without it, the recipe's first")] = -1,
    folder: Annotated[Path | None, typer.Option("--folder", help="of the run; without it, one under build/")] = None,
    tokens: Annotated[Path | None, typer.Option("--tokens", help="token files; without it, the tier's")] = None,
    kind: KindOption = "",
    charged: ProjectOption = "",
    qos: QosOption = "",
    minutes: Annotated[int, typer.Option("--minutes", help="of a job; 0: as many as the site allows")] = 0,
    image: Annotated[str, typer.Option("--image", help="of containers/lock.yaml, or `none`")] = "lucie-train",
    gpus: Annotated[list[int], typer.Option("--gpus", help="with --dry-run, to plan for; once or more")] = PLANNED,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only show the jobs and, for `full`, the plan")] = False,
) -> None:
    """Train on a cluster: a chain of batch jobs, each going on where the one before stopped. Again: what is left."""
    from lucie.hpc import container
    from lucie.hpc.chain import Chain, submit_chain
    from lucie.hpc.doctor import refuse
    from lucie.hpc.provisions import purged
    from lucie.hpc.scheduler import Scheduler
    from lucie.hpc.sites import Site
    from lucie.stages import Stages
    from lucie.terminal import line, out
    from lucie.training.recipe import Recipe

    project, scheduler = Project.find(), Scheduler()
    if Stages.load(project).get(stage).id != "pretraining":
        raise UsageError(
            f"Only the stage pretraining is submitted to a cluster; '{stage}' runs with: lucie run {stage}"
        )
    chosen, where = Recipe.load(project, recipe or tier), Site.load(project, site)
    kind = kind or where.trains
    seed = chosen.seeds[0] if seed < 0 else seed
    folder = folder or chosen.folder(project, seed)
    if dry_run and (recipe or tier) == "full":
        from lucie.scaling.plan import make_plan
        from lucie.scaling.show import show_plan

        show_plan(make_plan(project, chosen, where, kind, gpus))
    if not tokens:
        tokens = project.build / chosen.tier / "work" / "tokens" if dry_run else chosen.tokens_folder(project)
    found = None if image == "none" or dry_run else container.find(project, where, image)  # a plan needs no image
    if dry_run and not charged:
        charged = "PROJECT"
    chain = Chain.plan(chosen, seed, tokens, folder, where, kind, charged, qos, minutes, found)
    if warning := purged(where, chain.folder):
        line("folder", warning, "yellow")
    if dry_run:
        for leg in chain.open():
            job = chain.batch_job(project, leg)
            line(job.name, f"steps {leg.first_step:,} to {leg.last_step:,}: {', '.join(leg.phases)}")
            out.print(job.script(chain.jobs_folder), markup=False, soft_wrap=True)
        return
    if not chain.open():
        line(chain.name, f"finished: step {chain.step:,}. Nothing is left to submit.")
        return
    if found:
        container.check(found)
    refuse(where, kind, chain, charged, qos, scheduler)
    for leg in submit_chain(project, chain, scheduler):
        line(
            f"job {leg.job}",
            f"{', '.join(leg.phases)}: steps {leg.first_step:,} to {leg.last_step:,}, {leg.nodes} nodes",
        )
    out.print("Follow it with: lucie status")


def job(
    folder: Annotated[Path, typer.Argument(help="of the training")],
    leg: Annotated[int, typer.Argument(help="which part of its chain, from 0")],
) -> None:
    """What a batch job of a training runs."""
    from lucie.hpc.job import run_leg
    from lucie.hpc.scheduler import Scheduler
    from lucie.terminal import out

    out.print(run_leg(folder, leg, Scheduler()))


def status(folders: FoldersArgument = None) -> None:
    """Where the trainings on the cluster stand."""
    from lucie.hpc.scheduler import Scheduler
    from lucie.hpc.show import show_status
    from lucie.hpc.status import folders as chosen
    from lucie.hpc.status import status as rows

    scheduler = Scheduler()
    show_status([row for folder in chosen(Project.find(), folders or []) for row in rows(folder, scheduler)])


def logs(
    folders: FoldersArgument = None,
    lines: Annotated[int, typer.Option("--lines", help="of the end of each log")] = 20,
) -> None:
    """The ends of what jobs and their training printed."""
    from lucie.hpc.status import folders as chosen
    from lucie.terminal import out
    from lucie.training.run import LOG

    for folder in chosen(Project.find(), folders or []):
        for path in [*sorted((folder / "jobs").glob("*.out")), folder / LOG]:
            if path.is_file():
                out.print(f"[bold]{path}[/]")
                text = path.read_text("utf-8", errors="replace").splitlines()[-lines:]
                out.print("\n".join(text), markup=False, soft_wrap=True)


def cancel(folders: FoldersArgument = None) -> None:
    """Cancel the jobs of trainings; their checkpoints stay, and submitting again goes on from the last."""
    from lucie.hpc.chain import Chain
    from lucie.hpc.scheduler import Scheduler
    from lucie.hpc.status import folders as chosen
    from lucie.terminal import line

    scheduler = Scheduler()
    for folder in chosen(Project.find(), folders or []):
        chain = Chain.read(folder)
        queued = list(scheduler.queued(leg.job for leg in chain.legs))
        if queued:
            scheduler.cancel(queued)
        line(chain.name, f"cancelled: {', '.join(queued)}" if queued else "no job was queued")


def doctor(
    site: SiteOption = "jean-zay",
    tier: Annotated[str, typer.Option("--tier", help="what is to be trained: mini, sample or full")] = "full",
    recipe: Annotated[str, typer.Option("--recipe", help="of config/recipes/; without it, the tier's")] = "",
    folder: Annotated[Path | None, typer.Option("--folder", help="of the run; without it, one under build/")] = None,
    tokens: Annotated[Path | None, typer.Option("--tokens", help="token files; without it, the tier's")] = None,
    kind: KindOption = "",
    charged: ProjectOption = "",
    qos: QosOption = "",
) -> None:
    """Whether a site is ready for a training: a line a check, ok, warn or fail, with what to do."""
    from lucie.hpc.doctor import checks
    from lucie.hpc.show import show_checks
    from lucie.hpc.sites import Site
    from lucie.training.recipe import Recipe

    project = Project.find()
    chosen, where = Recipe.load(project, recipe or tier), Site.load(project, site)
    folder = folder or chosen.folder(project, chosen.seeds[0])
    tokens = tokens or project.build / chosen.tier / "work" / "tokens"
    found = list(checks(project, where, kind or where.trains, chosen, folder, tokens, charged, qos))
    show_checks(found)
    raise typer.Exit(Exit.USAGE if any(check.state == "fail" for check in found) else Exit.HELD)


def register(app: typer.Typer) -> None:
    """Add the verbs to the command."""
    app.command()(submit)
    app.command(hidden=True)(job)
    for verb in (status, logs, cancel, doctor):
        app.command()(verb)
    app.add_typer(image_verbs.app, name="image")
