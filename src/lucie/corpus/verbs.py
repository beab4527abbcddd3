"""The verbs `lucie corpus`: count, build, submit. `lucie.cli` registers them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from lucie.groups import require
from lucie.project import Project

JsonOption = Annotated[bool, typer.Option("--json", help="print JSON")]
CorpusArgument = Annotated[str, typer.Argument(help="a corpus of config/corpora/, or any folder of documents")]
IntoOption = Annotated[Path | None, typer.Option("--into", help="working folder; without it, one under build/")]
JobsOption = Annotated[int, typer.Option("--jobs", help="workers; 0: one a core")]
SetOption = Annotated[list[str], typer.Option("--set", help="NAME=VALUE, a setting of its recipe: on_bad_input=skip")]


def _need_group() -> None:
    require(["corpus"])


app = typer.Typer(no_args_is_help=True, help="Documents: counted, filtered, deduplicated.", callback=_need_group)


@app.command("count")
def corpus_count(
    name: CorpusArgument,
    jobs: JobsOption = 0,
    settings: SetOption = [],  # noqa: B006
    as_json: JsonOption = False,
) -> None:
    """Count documents, words, characters and bytes."""
    from lucie.corpus.recipe import Recipe
    from lucie.corpus.show import counting, show_counts
    from lucie.corpus.statistics import count
    from lucie.machine import cores

    project = Project.find()
    source = Recipe.load(project, name, settings).source(project)
    with counting(sum(shard.bytes for shard in source.shards())) as progress:
        found = count(source, jobs or cores(), progress)
    if as_json:
        print(json.dumps(found.to_json(), indent=1, ensure_ascii=False))
    else:
        show_counts(found)


@app.command("build")
def corpus_build(
    name: CorpusArgument,
    into: IntoOption = None,
    jobs: JobsOption = 0,
    settings: SetOption = [],  # noqa: B006
    site: Annotated[str, typer.Option("--site", help="with --dry-run: where the plan must fit")] = "jean-zay",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only print the plan")] = False,
) -> None:
    """Filter and deduplicate a corpus; a rerun goes on where the last one stopped."""
    from lucie.corpus.plan import plan
    from lucie.corpus.recipe import Recipe
    from lucie.corpus.show import cleaning_bars, show_cleaned
    from lucie.corpus.work import clean
    from lucie.hpc.sites import Site
    from lucie.machine import cores
    from lucie.terminal import line

    project = Project.find()
    recipe = Recipe.load(project, name, settings)
    if dry_run:
        for what, text in plan(project, recipe, Site.load(project, site)):
            line(what, text)
        return
    with cleaning_bars(recipe.source(project).shards()) as watch:
        cleaning, report = clean(project, recipe, into or recipe.work(project), jobs or cores(), watch)
    show_cleaned(cleaning, report)


@app.command("submit")
def corpus_submit(
    name: CorpusArgument,
    into: IntoOption = None,
    settings: SetOption = [],  # noqa: B006
    site: Annotated[str, typer.Option("--site", help="a site of config/sites/")] = "slurm",
    charged: Annotated[str, typer.Option("--project", help="the project that the site charges")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what would be submitted")] = False,
) -> None:
    """Filter and deduplicate a corpus as job arrays on Slurm; submitting again reruns only what is not done."""
    from lucie.corpus.recipe import Recipe
    from lucie.corpus.submit import submit_cleaning
    from lucie.hpc.sites import Site
    from lucie.terminal import line, out

    project = Project.find()
    recipe, where = Recipe.load(project, name, settings), Site.load(project, site)
    arrays = submit_cleaning(project, recipe, into or recipe.work(project), where, charged, dry_run)
    for array in arrays:
        line(array.step, f"{array.tasks} tasks in {array.elements} jobs: {array.job}")
    if not arrays:
        out.print("every task is done. Sum up with: lucie corpus build")


@app.command("task")
def corpus_task(
    name: CorpusArgument,
    step: Annotated[str, typer.Argument(help="model, filter, compare, duplicates or write")],
    element: Annotated[int, typer.Argument(help="which job of the step's array, from 0")],
    into: IntoOption = None,
    settings: SetOption = [],  # noqa: B006
) -> None:
    """Do the tasks of one job of an array."""
    from lucie.corpus.recipe import Recipe
    from lucie.corpus.submit import run_element
    from lucie.terminal import line

    project = Project.find()
    recipe = Recipe.load(project, name, settings)
    tasks = run_element(project, recipe, into or recipe.work(project), step, element)
    line(step, f"tasks {', '.join(map(str, tasks))} done")
