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

from lucie import fetching, reading
from lucie.corpus import verbs as corpus
from lucie.errors import Exit, LucieError, UsageError
from lucie.evaluation import verbs as evaluation
from lucie.hpc import verbs as cluster
from lucie.project import Project
from lucie.system import system_error

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
records = typer.Typer(no_args_is_help=True, help="The published figures as our own tables.")
app.add_typer(records, name="records")
app.add_typer(corpus.app, name="corpus")
app.add_typer(fetching.app, name="fetch")
evaluation.register(app, fetching.app)
reading.register(app)
cluster.register(app)

INTERRUPTED = 130  # as shells say of Ctrl-C

TierOption = Annotated[str, typer.Option("--tier", help="a tier of config/tiers/")]
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
    from lucie.terminal import out, show_report
    from lucie.verify import together, unpublished
    from lucie.verify import verify as verify_tier

    project = Project.find()
    names = [get_tier(project, tier).name] if tier else _published_tiers(project)
    reports = [verify_tier(project, name) for name in names]
    if not tier:
        reports += unpublished(project)
    if as_json:
        print(json.dumps(together(reports).to_json(), indent=1, ensure_ascii=False))
    else:
        for report in reports:
            show_report(report)
        if wrong := sum(len(report.mismatches) for report in reports):
            named = f"{wrong} mismatch{'es' if wrong > 1 else ''}"
            out.print(f"[bold red]{named}[/], named above: what is here is not what was made")
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
    except OSError as error:
        err.print(f"[bold red]error:[/] {escape(system_error(error))}")
        code = Exit.STAGE_FAILED
    except Exception:  # a defect of ours; 1 would say that a number differs
        traceback.print_exc()
        err.print("[bold red]error:[/] this is a defect of lucie itself; the lines above say where.")
        code = Exit.STAGE_FAILED
    sys.exit(int(code or 0))
