"""The verbs of the cluster but `submit` and `image`, which have modules of their own. `lucie.cli` registers all."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lucie.errors import Exit, UsageError
from lucie.hpc import image_verbs
from lucie.hpc.submit_verb import KindOption, ProjectOption, QosOption, SiteOption, submit
from lucie.project import Project

NOTHING = "Nothing was submitted from here. Submit: lucie submit STAGES --tier TIER --site SITE"

FoldersArgument = Annotated[
    list[Path] | None, typer.Argument(help="folders of trainings; without them, all that were submitted from here")
]


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
    """Where what was submitted stands: stages, and trainings."""
    from lucie.hpc.scheduler import Scheduler
    from lucie.hpc.show import show_status
    from lucie.hpc.status import stage_rows, submitted, training_rows

    project, scheduler = Project.find(), Scheduler()
    rows = [] if folders else list(stage_rows(project, scheduler))
    rows += [row for folder in folders or submitted(project) for row in training_rows(folder, scheduler)]
    if not rows:
        raise UsageError(NOTHING)
    show_status(rows)


def logs(
    folders: FoldersArgument = None,
    lines: Annotated[int, typer.Option("--lines", help="of the end of each log")] = 20,
) -> None:
    """The ends of what jobs, their stages and their training printed."""
    from lucie.hpc.stages import submissions
    from lucie.hpc.status import submitted
    from lucie.terminal import out
    from lucie.training.run import LOG

    project = Project.find()
    found = [] if folders else [path for submission in submissions(project) for path in submission.logs]
    for folder in folders or submitted(project):
        found += [*sorted((folder / "jobs").glob("*.out")), folder / LOG]
    if not found:
        raise UsageError(NOTHING)
    for path in found:
        if path.is_file():
            out.print(f"[bold]{path}[/]", soft_wrap=True)
            text = path.read_text("utf-8", errors="replace").splitlines()[-lines:]
            out.print("\n".join(text), markup=False, soft_wrap=True)


def cancel(folders: FoldersArgument = None) -> None:
    """Cancel the jobs of stages and trainings. Checkpoints stay, and submitting again goes on from the last."""
    from lucie.hpc.chain import Chain
    from lucie.hpc.scheduler import Scheduler
    from lucie.hpc.stages import submissions
    from lucie.hpc.status import submitted
    from lucie.terminal import line

    project, scheduler = Project.find(), Scheduler()
    cancelled: dict[str, list[str]] = {}
    for submission in [] if folders else submissions(project):
        cancelled[f"tier {submission.tier}"] = submission.cancel(scheduler)
    for chain in map(Chain.read, folders or submitted(project)):
        cancelled[chain.name] = list(scheduler.queued(leg.job for leg in chain.legs))
        if cancelled[chain.name]:
            scheduler.cancel(cancelled[chain.name])
    if not cancelled:
        raise UsageError(NOTHING)
    for name, jobs in cancelled.items():
        line(name, f"cancelled: {', '.join(jobs)}" if jobs else "no job was queued")


def doctor(
    site: SiteOption = "jean-zay",
    tier: Annotated[str, typer.Option("--tier", help="what is to be trained: mini, sample or full")] = "full",
    recipe: Annotated[str, typer.Option("--recipe", help="of config/recipes/; without it, the tier's")] = "",
    folder: Annotated[Path | None, typer.Option("--folder", help="of the run; without it, one under build/")] = None,
    tokens: Annotated[Path | None, typer.Option("--tokens", help="token files; without it, the tier's")] = None,
    kind: KindOption = "",
    charged: ProjectOption = "",
    qos: QosOption = "",
    minutes: Annotated[int, typer.Option("--minutes", min=0, help="of a job; 0: as many as the site allows")] = 0,
    data: Annotated[
        Path | None, typer.Option("--data", help="where `lucie fetch full` put the corpus; without it, data/full")
    ] = None,
) -> None:
    """Whether a site is ready for a training and its stages: a line a check, ok, warn or fail, with what to do."""
    from lucie.hpc.doctor import Wanted, checks
    from lucie.hpc.show import show_checks
    from lucie.hpc.sites import Site
    from lucie.training.recipe import Recipe

    project = Project.find()
    chosen, where = Recipe.load(project, recipe or tier), Site.load(project, site)
    folder = folder or chosen.folder(project, chosen.seeds[0])
    tokens = tokens or project.build / chosen.tier / "work" / "tokens"
    wanted = Wanted(kind or where.trains, chosen, folder, tokens, charged, qos, minutes, data)
    found = list(checks(project, where, wanted))
    show_checks(found)
    raise typer.Exit(Exit.USAGE if any(check.state == "fail" for check in found) else Exit.HELD)


def pack(
    folder: Annotated[Path, typer.Argument(help="of a training")],
    into: Annotated[Path | None, typer.Option("--into", help="where to; without it, `packed` in the folder")] = None,
    keep: Annotated[int, typer.Option("--keep", help="so many of the last checkpoints stay as they are")] = 1,
) -> None:
    """Make each checkpoint of a training one file, where a disk counts files."""
    from rich.filesize import decimal

    from lucie.terminal import line
    from lucie.training.archive import pack_run
    from lucie.training.checkpoints import steps

    checkpoints = folder / "checkpoints"
    if not checkpoints.is_dir():
        raise UsageError(f"{folder} is no folder of a training: it has no checkpoints.")
    packed = 0
    for path in pack_run(checkpoints, into or folder / "packed", keep):
        line(f"step {path.stem}", f"{path}, {decimal(path.stat().st_size)}")
        packed += 1
    line("packed", f"{packed} checkpoints, {len(steps(checkpoints))} left as they are")


def unpack(
    archive: Annotated[Path, typer.Argument(help="a checkpoint that was packed")],
    folder: Annotated[Path, typer.Argument(help="of a training")],
) -> None:
    """Make the folder of a checkpoint again from its archive, every file checked."""
    from lucie.terminal import line
    from lucie.training.archive import unpack as unpack_one

    line("unpacked", str(unpack_one(archive, folder)))


def register(app: typer.Typer) -> None:
    """Add the verbs to the command."""
    app.command()(submit)
    app.command(hidden=True)(job)
    for verb in (status, logs, cancel, doctor, pack, unpack):
        app.command()(verb)
    app.add_typer(image_verbs.app, name="image")
