"""The command `lucie`. Each verb parses its arguments, calls one function and shows what it gives back."""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from lucie import reading
from lucie.errors import Exit, LucieError, UsageError
from lucie.evaluation import verbs as evaluation
from lucie.hpc import verbs as cluster
from lucie.project import Project


def _need_corpus() -> None:
    from lucie.groups import require

    require(["corpus"])


app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
records = typer.Typer(no_args_is_help=True, help="The published figures as our own tables.")
fetch = typer.Typer(no_args_is_help=True, help="What needs the network; every download is pinned.")
corpus = typer.Typer(no_args_is_help=True, help="Documents: counted, filtered, deduplicated.", callback=_need_corpus)
app.add_typer(records, name="records")
app.add_typer(corpus, name="corpus")
app.add_typer(fetch, name="fetch")
evaluation.register(app, fetch)
reading.register(app)
cluster.register(app)

INTERRUPTED = 130  # as shells say of Ctrl-C

TierOption = Annotated[str, typer.Option("--tier", help="record, mini, sample or full")]
UpstreamOption = Annotated[Path, typer.Option("--upstream", help="folder of the authors' raw files")]
JsonOption = Annotated[bool, typer.Option("--json", help="print JSON")]


@app.command()
def run(
    stage: Annotated[str, typer.Argument(help="a stage of config/stages.yaml")],
    tier: TierOption = "record",
    parameters: Annotated[list[str], typer.Option("--set", help="NAME=VALUE, a parameter of its notebook")] = [],  # noqa: B006
    quiet: Annotated[bool, typer.Option("--quiet", help="say nothing when it works")] = False,
    model: Annotated[
        str, typer.Option("--model", help="for evaluation: OWNER/NAME@REVISION, as `lucie evaluate` does")
    ] = "",
) -> None:
    """Run one stage into build/."""
    if model:
        if stage != "evaluation":
            raise UsageError(f"--model is for stage 'evaluation', not '{stage}'.")
        raise typer.Exit(evaluation.run_model(model, "paper", None))
    from lucie.run import run_stage
    from lucie.stages import Stages
    from lucie.terminal import line

    project = Project.find()
    made = run_stage(project, Stages.load(project).get(stage), tier, dict(map(_assignment, parameters)))
    if not quiet:
        line(stage, f"{len(made.outputs)} files, {len(made.values)} values in build/{tier}  {made.seconds:.1f} s")


@app.command()
def reproduce(
    tier: Annotated[str, typer.Option("--tier", help="one tier; without it, all that run by default")] = "",
    jobs: Annotated[int, typer.Option("--jobs", help="stages at a time; 0: one a core")] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what would run, and why")] = False,
    pdf: Annotated[bool, typer.Option("--report", help="make build/report.pdf and build/book too")] = False,
) -> None:
    """Rerun what is out of date into build/, judge it, and compare it with results/."""
    from lucie import engine
    from lucie.groups import require
    from lucie.machine import cores
    from lucie.stages import Stages, get_tier, load_tiers
    from lucie.terminal import line, out, show_counts, show_progress, show_report
    from lucie.verify import judge_again

    project = Project.find()
    tiers = [get_tier(project, tier)] if tier else [t for t in load_tiers(project).values() if t.by_default]
    worst = Exit.HELD
    for chosen in tiers:
        started = time.monotonic()
        stale = engine.plan(project, chosen.name)
        out.print(f"[bold]tier {chosen.name}[/]: {chosen.says}")
        if not Stages.load(project).in_tier(chosen.name):
            raise UsageError(f"No stage runs in tier '{chosen.name}' yet.")
        for entry in stale:
            line(entry.stage.id, entry.reason, "dim")
        if dry_run:
            out.print("nothing to run" if not stale else f"{len(stale)} stages would run")
            continue
        if stale:
            require(chosen.groups)
        engine.execute(project, chosen.name, stale, engine.here(jobs or cores()), show_progress)
        report = judge_again(project, chosen.name)
        (show_report if stale else show_counts)(report)
        _say_whether_as_published(project, chosen.name)
        ran = f"{len(stale)} stages ran" if stale else "nothing was out of date"
        out.print(f"{ran}  {time.monotonic() - started:.1f} s")
        worst = max(worst, report.exit_code)
    if pdf and not dry_run:
        _make_report(project, project.build)
        reading.make_book(project, build=True)
    raise typer.Exit(worst)


@app.command()
def verify(tier: TierOption = "", as_json: JsonOption = False) -> None:
    """Judge what is committed in results/ without running anything."""
    from lucie.stages import get_tier
    from lucie.terminal import show_report
    from lucie.verify import together
    from lucie.verify import verify as verify_tier

    project = Project.find()
    names = [get_tier(project, tier).name] if tier else _published_tiers(project)
    reports = [verify_tier(project, name) for name in names]
    if as_json:
        print(json.dumps(together(reports).to_json(), indent=1, ensure_ascii=False))
    else:
        for report in reports:
            show_report(report)
    raise typer.Exit(max(report.exit_code for report in reports))


@app.command()
def publish(
    tier: TierOption = "record",
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
) -> None:
    """Let build/ replace results/, after showing what changes."""
    from lucie.publish import changes, check_publishable
    from lucie.publish import publish as publish_tier
    from lucie.stages import get_tier
    from lucie.terminal import line, out

    project = Project.find()
    get_tier(project, tier)
    check_publishable(project, tier)
    found = changes(project.results / tier, project.build / tier)
    for text in found.values:
        line("value", text)
    for text in found.files:
        line("file", text)
    out.print(f"{len(found.values)} values and {len(found.files)} tables and figures change in results/{tier}")
    if not yes and not (sys.stdin.isatty() and typer.confirm("Replace it?")):
        raise UsageError(f"results/{tier} was left as it is. To replace it: lucie publish --tier {tier} --yes")
    publish_tier(project, tier)
    out.print(f"results/{tier} is published. Commit it with git.")


@app.command()
def why(
    claim: Annotated[str, typer.Argument(help="a claim of paper/claims/, or step:N for a training step")],
    build: Annotated[bool, typer.Option("--build", help="ask build/ instead of results/")] = False,
    tier: Annotated[str, typer.Option("--tier", help="of a training step")] = "mini",
    phase: Annotated[str, typer.Option("--phase", help="of a training step: main, extension, annealing")] = "main",
) -> None:
    """Show the chain behind a number, or the documents behind a training step."""
    from lucie.terminal import line

    project = Project.find()
    for what, text in _links(project, claim, build, tier, phase):
        line(what, text)


def _links(project: Project, claim: str, build: bool, tier: str, phase: str) -> Iterator[tuple[str, str]]:
    if claim.startswith("step:"):
        from lucie.tokens.audit import why_step

        return why_step(project, claim, tier, phase)
    from lucie.claims import get_claim
    from lucie.why import why as chain

    tier = get_claim(project, claim).tier
    return chain(project, claim, (project.build if build else project.results) / tier)


@app.command()
def coverage(as_json: JsonOption = False) -> None:
    """Say how much of what was published is claimed, and how much of the report is bound to values."""
    from lucie.coverage import coverage as cover
    from lucie.terminal import line

    found = cover(Project.find())
    if as_json:
        print(json.dumps(found.to_json(), indent=1))
        return
    line("published", f"{found.covered_cells:,} of {found.cells:,} cells are claimed: {found.published:.2f} %")
    line("report", f"{found.numbers} numbers made from values, {len(found.typed)} typed: {found.report:.2f} %")
    for text in [*found.uncovered, *found.typed]:
        line("not covered", text, "yellow")


@app.command()
def report(
    published: Annotated[bool, typer.Option("--published", help="from results/ instead of build/")] = False,
) -> None:
    """Make build/report.pdf."""
    project = Project.find()
    _make_report(project, project.results if published else project.build)


@records.command("build")
def records_build(upstream: UpstreamOption) -> None:
    """Make the record tables from the authors' raw files."""
    from lucie.records.build import build
    from lucie.terminal import line

    for name, rows in build(Project.find(), upstream):
        line(name, f"{rows:,} rows")


@records.command("check")
def records_check(upstream: UpstreamOption) -> None:
    """Prove that the record tables follow from the authors' raw files."""
    from lucie.records.build import check
    from lucie.terminal import out

    wrong = 0
    for name, problem in check(Project.find(), upstream):
        wrong += bool(problem)
        mark = "[bold red]wrong[/]" if problem else "sourced" if name.startswith("transcribed/") else "proved "
        out.print(f"{mark}  {name}  {problem}", soft_wrap=True)
    raise typer.Exit(Exit.MISMATCH if wrong else Exit.HELD)


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="a recipe of config/recipes/")],
    seed: Annotated[int, typer.Option("--seed", help="of the first weights; without it, the recipe's first")] = -1,
    folder: Annotated[Path | None, typer.Option("--folder", help="of the run; without it, one under build/")] = None,
    tokens: Annotated[Path | None, typer.Option("--tokens", help="token files; without it, those of its tier")] = None,
    minutes: Annotated[float, typer.Option("--minutes", help="write a checkpoint and stop then; 0: no limit")] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only print the plan")] = False,
) -> None:
    """Train a model with nanotron; a rerun goes on where the last one stopped."""
    from lucie.groups import require
    from lucie.terminal import line
    from lucie.training.recipe import Recipe
    from lucie.training.run import run as train_recipe
    from lucie.training.show import plan, show_outcome, training_bar

    project = Project.find()
    chosen = Recipe.load(project, recipe)
    seed = chosen.seeds[0] if seed < 0 else seed
    folder = folder or chosen.folder(project, seed)
    if dry_run:
        for what, text in plan(chosen, seed, folder):
            line(what, text)
        return
    require(["train"])
    started = time.time()
    until = started + 60 * minutes if minutes else None
    with training_bar(chosen) as watch:
        outcome = train_recipe(chosen, seed, tokens or chosen.tokens_folder(project), folder, until, watch)
    show_outcome(chosen, folder, outcome, time.time() - started)


CorpusArgument = Annotated[str, typer.Argument(help="a corpus of config/corpora/, or any folder of documents")]
IntoOption = Annotated[Path | None, typer.Option("--into", help="working folder; without it, one under build/")]
JobsOption = Annotated[int, typer.Option("--jobs", help="workers; 0: one a core")]
SetOption = Annotated[list[str], typer.Option("--set", help="NAME=VALUE, a setting of its recipe: on_bad_input=skip")]


@corpus.command("count")
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


@corpus.command("build")
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


@corpus.command("submit")
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


@corpus.command("task")
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


@fetch.command("upstream")
def fetch_upstream(
    into: Annotated[Path, typer.Option("--into", help="where to put the files")] = Path("build/upstream"),
    mirror: Annotated[
        Path | None, typer.Option("--mirror", help="a folder that holds them, instead of the network")
    ] = None,
) -> None:
    """Get the authors' raw files at their pinned commits."""
    from lucie.pinned import fetch as fetch_files
    from lucie.pinned import progress_bar
    from lucie.records.upstream import load_pins
    from lucie.terminal import line

    pins = load_pins(Project.find())
    with progress_bar(pins.values()) as progress:
        new = fetch_files(pins, into, mirror, progress)
    line("upstream", f"{len(pins)} raw files in {into}, {new} of them new, all as pinned")


@fetch.command("sample")
def fetch_sample(
    into: Annotated[Path, typer.Option("--into", help="where to put the corpus")] = Path("data/sample"),
    mirror: Annotated[
        Path | None,
        typer.Option("--mirror", help="a folder of raw files (REPOSITORY/COMMIT/PATH) or finished files"),
    ] = None,
) -> None:
    """Make a corpus of openly licensed real text (30 MB) from pinned files of public repositories."""
    from lucie.corpus.sample import fetch_sample as make_sample
    from lucie.corpus.sample import load_subsets
    from lucie.pinned import progress_bar
    from lucie.terminal import line

    project = Project.find()
    subsets = load_subsets(project)
    with progress_bar(pin for subset in subsets for pin in subset.pins.values()) as progress:
        new = make_sample(project, into, mirror, progress)
    documents = sum(subset.finished.documents for subset in subsets)
    size = sum(subset.finished.bytes for subset in subsets) / 1e6
    held = f"{documents:,} documents, {size:.1f} MB in {into}"
    line("sample", f"{len(subsets)} subsets, {len(new)} of them new: {held}, all as pinned")


@fetch.command("tokenizers")
def fetch_tokenizers(
    into: Annotated[Path, typer.Option("--into", help="where to put them")] = Path("data/tokenizers"),
    mirror: Annotated[
        Path | None,
        typer.Option("--mirror", help="a folder that holds them (or all raw files), instead of the network"),
    ] = None,
) -> None:
    """Get the authors' tokenizers at their pinned commit; say which others are missing, and why."""
    from lucie.pinned import progress_bar
    from lucie.terminal import line
    from lucie.tokenizer import others

    project = Project.find()
    pins = others.load_pins(project)
    with progress_bar(pins.values()) as progress:
        new = others.fetch(project, into, mirror, progress)
    line("tokenizers", f"{', '.join(others.found(into))} in {into}, {new} of {len(pins)} files new, all as pinned")
    for lacking in others.missing(project, into):
        line(lacking.name, f"missing: {lacking.repository}: {lacking.reason}", "yellow")


@fetch.command("full")
def fetch_full(
    into: Annotated[Path, typer.Option("--into", help="where to put the files")] = Path("data/full"),
    only: Annotated[
        list[str], typer.Option("--only", help="only files of this pattern, once or more; * matches across folders")
    ] = [],  # noqa: B006
    mirror: Annotated[
        Path | None, typer.Option("--mirror", help="a folder fetched before, instead of the network")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say how many files and bytes there are")] = False,
) -> None:
    """Mirror the whole Lucie Training Dataset from the Hugging Face hub; a rerun goes on where the last one stopped."""
    from rich.filesize import decimal

    from lucie.corpus.recipe import Recipe
    from lucie.hub.fetch import fetch_hub, listing, listing_of_mirror
    from lucie.pinned import byte_bar
    from lucie.terminal import line

    hub = Recipe.load(Project.find(), "full").hub
    if hub is None:
        raise UsageError("config/corpora/full.yaml names no dataset of the hub. Restore it from git.")
    wanted = listing_of_mirror(hub, mirror, only) if mirror else listing(hub, only)
    held = f"{len(wanted.files):,} files, {decimal(wanted.bytes)}"
    source = f"{wanted.repository} at {wanted.revision}, commit {wanted.commit[:12]}"
    if dry_run:
        line("full", f"{held}: {source}")
        return
    with byte_bar("full", wanted.bytes) as progress:
        new = fetch_hub(wanted, into, mirror, progress)
    line("full", f"{held} in {into}, {len(new):,} of them new: {source}")


def _make_report(project: Project, results: Path) -> None:
    from lucie.paper import NoTexError, build_report
    from lucie.terminal import line

    started = time.monotonic()
    try:
        pdf = build_report(project, results)
    except NoTexError as error:
        line("report", f"not built. {error}", "yellow")
    else:
        line("report", f"{project.relative(pdf)}  {time.monotonic() - started:.1f} s")


def _assignment(text: str) -> tuple[str, Any]:
    import yaml

    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"'--set {text}' is not NAME=VALUE.")
    return name, yaml.safe_load(value)


def _published_tiers(project: Project) -> list[str]:
    from lucie.stages import load_tiers

    names = [name for name in load_tiers(project) if (project.results / name / "manifest.json").is_file()]
    if not names:
        raise UsageError("There are no results in results/. Make some with: lucie reproduce")
    return names


def _say_whether_as_published(project: Project, tier: str) -> None:
    from lucie.publish import changes
    from lucie.terminal import line, out

    if not (project.results / tier / "manifest.json").is_file():
        return
    found = changes(project.results / tier, project.build / tier)
    for text in found.values:
        line("not as published", text, "yellow")
    tables = [text for text in found.files if "tables/" in text]
    for text in tables:
        line("not as published", text, "yellow")
    if not found.values and not tables:
        figures = f"; {len(found.files)} figure files differ in their bytes" if found.files else ""
        out.print(f"all values and tables are as in results/{tier}{figures}")


def main() -> None:
    """Run the command; every error is a sentence, every kind of end has its exit code."""
    from lucie.terminal import err

    try:
        code = app(sys.argv[1:] or ["--help"], standalone_mode=False)
    except LucieError as error:
        err.print(f"[bold red]error:[/] {escape(str(error))}")
        code = error.code
    except (typer.Abort, KeyboardInterrupt):
        err.print("stopped")
        code = INTERRUPTED
    except typer.TyperException as error:  # a word that is no verb, an option that is none
        message = getattr(error, "format_message", error.__str__)()
        err.print(f"[bold red]error:[/] {escape(message)}")
        code = Exit.USAGE
    except Exception:  # a defect of ours; 1 would say that a number differs
        traceback.print_exc()
        err.print("[bold red]error:[/] this is a defect of lucie itself; the lines above say where.")
        code = Exit.STAGE_FAILED
    sys.exit(int(code or 0))
