"""The verbs of evaluation: `lucie evaluate`, `lucie fetch bench`, `lucie fetch model`. `lucie.cli` registers them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lucie.errors import Exit
from lucie.project import Project

JOBS = "evaluation"  # the kind of jobs in a site's file

MirrorOption = Annotated[Path | None, typer.Option("--mirror", help="a folder that holds them, instead of the network")]


def register(app: typer.Typer, fetch: typer.Typer) -> None:
    """Add the verbs to the command."""
    app.command()(evaluate)
    fetch.command("model")(fetch_model)
    fetch.command("bench")(fetch_bench)


def evaluate(
    models: Annotated[list[str], typer.Argument(help="OWNER/NAME, OWNER/NAME@REVISION or a folder; once or more")],
    suite: Annotated[str, typer.Option("--suite", help="which tests, of config/suites")] = "paper",
    limit: Annotated[int | None, typer.Option("--limit", help="only so many items a test: a trial")] = None,
    site: Annotated[str, typer.Option("--site", help="submit one job a model there, as an array")] = "",
    charged: Annotated[str, typer.Option("--project", help="the project that the site charges")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="with --site: only show the jobs")] = False,
    element: Annotated[int, typer.Option("--element", help="only the model of this number, from 0: for arrays")] = -1,
) -> None:
    """Score released models on tests, beside what was published of them. Scores that are there are kept."""
    if site:
        _submit(models, suite, limit, site, charged, dry_run)
        return
    chosen = models if element < 0 else models[element : element + 1]
    raise typer.Exit(max(run_model(model, suite, limit) for model in chosen))


def _submit(models: list[str], suite: str, limit: int | None, site: str, charged: str, dry_run: bool) -> None:
    import sys

    from lucie.evaluation.released import Released
    from lucie.evaluation.suite import Suite
    from lucie.hpc.sites import Site
    from lucie.hpc.slurm import ArrayJob, submit
    from lucie.terminal import line, out

    project = Project.find()
    asked = map(Released.parse, models)
    names = [str(model.place or model.name) for model in asked]
    Suite.load(project, suite)
    command = [sys.executable, "-m", "lucie", "evaluate", *names, "--suite", suite]
    command += ["--limit", str(limit)] if limit else []
    jobs = Site.load(project, site).job(JOBS)
    job = ArrayJob(
        name="lucie-evaluation",
        elements=len(names),
        options=jobs.sbatch("PROJECT" if dry_run and not charged else charged),
        command=[*command, "--element", "$SLURM_ARRAY_TASK_ID"],
        folder=project.root,
        setup=tuple(jobs.setup),
    )
    logs = project.build / "evaluation" / "jobs"
    if dry_run:
        out.print(job.script(logs), markup=False, soft_wrap=True)
        return
    line(f"job {submit(job, logs, None)}", f"{len(names)} models, suite {suite}: logs in {project.relative(logs)}")


def run_model(model: str, suite: str, limit: int | None) -> Exit:
    """Score a released model on a suite and show it beside what was published."""
    from lucie.evaluation import released, show
    from lucie.evaluation.bench import FOLDER
    from lucie.evaluation.suite import Suite
    from lucie.files import write_json
    from lucie.groups import require
    from lucie.terminal import line, out
    from lucie.tolerance import DIFFERS

    require(["eval"])
    project = Project.find()
    asked, tests = released.Released.parse(model), Suite.load(project, suite)
    into = project.build / "evaluation" / asked.name.replace("/", "--")
    with show.bar(len(tests.tasks)) as watch:
        found = released.evaluate(project, asked, tests, project.root / FOLDER, into / "scores", limit, watch)
    rows = released.against(project, asked, found.scores)
    write_json(into / f"{suite}.json", {"model": asked.name, "limit": limit, "scores": rows.to_dicts()})
    if rows.height:
        out.print(show.table(rows))
    if rows["examples_from_test"].any():
        line("*", "the examples in its prompts are drawn from the test itself: the score is optimistic", "yellow")
    for failure in found.failures:
        line(failure["task"], failure["why"], "yellow")
    if limit:
        line("limit", f"only the first {limit} items of each test: scores of a trial, not of the model", "yellow")
    line("evaluation", f"{rows.height} scores, {len(found.failures)} failed, in {project.relative(into)}")
    if DIFFERS in rows["verdict"].to_list():
        return Exit.DIFFERS
    return Exit.STAGE_FAILED if found.failures else Exit.HELD


def fetch_model(
    model: Annotated[str, typer.Argument(help="OWNER/NAME or OWNER/NAME@REVISION")],
    mirror: MirrorOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say how many files and bytes there are")] = False,
) -> None:
    """Mirror a model of the Hugging Face hub at a revision, every file checked by its sha256."""
    from rich.filesize import decimal

    from lucie.evaluation.released import Released, weights
    from lucie.hub.fetch import fetch_hub, listing, listing_of_mirror
    from lucie.terminal import byte_bar, line

    asked, project = Released.parse(model), Project.find()
    wanted = weights(listing_of_mirror(asked.hub, mirror) if mirror else listing(asked.hub))
    held = f"{len(wanted.files):,} files, {decimal(wanted.bytes)}"
    if dry_run:
        line("model", f"{held}: {asked.name}, commit {wanted.commit[:12]}")
        return
    with byte_bar("model", wanted.bytes) as progress:
        new = fetch_hub(wanted, asked.folder(project), mirror, progress)
    where = project.relative(asked.folder(project))
    line("model", f"{held} in {where}, {len(new)} of them new: commit {wanted.commit[:12]}")


def fetch_bench(
    suite: Annotated[
        str, typer.Option("--suite", help="bench: openly licensed, pinned; paper: from the hub")
    ] = "bench",
    into: Annotated[Path, typer.Option("--into", help="where to put them")] = Path("data/bench"),
    mirror: MirrorOption = None,
) -> None:
    """Get the data of published tests."""
    from lucie.terminal import line

    project = Project.find()
    if suite == "bench":
        from lucie.evaluation import bench
        from lucie.terminal import pin_bar

        files = bench.load_files(project)
        with pin_bar(file.pin for file in files) as progress:
            new = bench.fetch(project, into, mirror, progress)
        line("bench", f"{len(files)} tests in {into}, {new} of them new, all as pinned")
        return
    _mirror_data_sets(project, suite, into)


def _mirror_data_sets(project: Project, suite: str, into: Path) -> None:
    """Every data set of a suite from the hub; one that cannot be had is said, and the others go on."""
    from rich.filesize import decimal

    from lucie.errors import LucieError
    from lucie.evaluation.suite import Suite
    from lucie.hub.fetch import fetch_hub, listing
    from lucie.hub.mirror import Hub
    from lucie.terminal import byte_bar, line

    names = list(dict.fromkeys(task.data for task in Suite.load(project, suite).tasks if task.data))
    lacking = []
    for name in names:
        try:
            wanted = listing(Hub(repository=name, revision="main", files=["*"]))
            with byte_bar(name, wanted.bytes) as progress:
                fetch_hub(wanted, into / name, None, progress)
            line(name, f"{len(wanted.files)} files, {decimal(wanted.bytes)}, commit {wanted.commit[:12]}")
        except LucieError as error:
            lacking.append(name)
            line(name, str(error), "yellow")
    if lacking:
        raise LucieError(f"{len(lacking)} of {len(names)} data sets could not be had: {', '.join(lacking)}.")
