"""The verbs for those who read, compare and pass on: the book, the comparison, the crate, the certificate, the zip."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from lucie.project import Project

if TYPE_CHECKING:
    from lucie.compare import Comparison

BuildOption = Annotated[bool, typer.Option("--build", help="from build/ instead of results/")]


def register(app: typer.Typer) -> None:
    """Add the verbs to the command."""
    for verb in (book, compare, crate, certificate, release):
        app.command()(verb)


def book(build: BuildOption = False) -> None:
    """Make build/book/: pages for every notebook and claim, with the report inside."""
    project = Project.find()
    make_book(project, build)


def make_book(project: Project, build: bool) -> None:
    """Make the book and say so in a line."""
    from rich.filesize import decimal

    from lucie.book import build_book
    from lucie.terminal import line

    started = time.monotonic()
    made = build_book(project, project.build if build else project.results)
    size = f"{made.pages} pages, {decimal(made.bytes)}"
    home = project.relative(made.folder / "index.html")
    line("book", f"{home}  {size}  {time.monotonic() - started:.1f} s")
    if made.without:
        line("", f"without the report. {made.without}", "yellow")


LISTED = 20  # differences of a kind, on the terminal

SideArgument = Annotated[
    str, typer.Argument(help="a folder of results, of one tier's results, or a commit; or a scored model: mini-1/20")
]


def compare(
    a: SideArgument,
    b: SideArgument,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    html: Annotated[Path | None, typer.Option("--html", help="write a page")] = None,
) -> None:
    """Say which numbers two sets of results share, and set apart where and from what they were made."""
    from lucie.compare import VARIES, VARIES_MEANS, exit_code
    from lucie.compare import compare as compare_sides

    project = Project.find()
    if _compare_models(project, a, b, as_json):
        return
    found = compare_sides(project, a, b)
    if html:
        from lucie.book.comparison import page
        from lucie.files import write_atomic

        write_atomic(html, page(project, a, b, found))
    if as_json:
        said = {"a": a, "b": b, "tiers": [one.to_json() for one in found], "words": {VARIES: VARIES_MEANS}}
        print(json.dumps(said, indent=1, ensure_ascii=False))
    else:
        _show_comparisons(found)
    raise typer.Exit(exit_code(found))


def _compare_models(project: Project, a: str, b: str, as_json: bool) -> bool:
    """Show two models side by side, where both were scored; says whether they were. Those in build/ come first."""
    from lucie.evaluation.paired import SUITE, paired, read
    from lucie.evaluation.suite import Suite
    from lucie.terminal import out, plain_table

    for folder in (project.build / SUITE, project.results / SUITE):
        scores = read(folder)
        if a in scores["scores"] and b in scores["scores"]:
            table = paired(scores, Suite.load(project, SUITE), a, b).rename({"first": a, "last": b})
            if as_json:
                print(json.dumps(table.to_dicts(), indent=1, ensure_ascii=False))
            else:
                out.print(plain_table(table))
                out.print("sure: the interval of 95 % of the difference, by drawing the items anew, leaves out zero")
            return True
    return False


def _show_comparisons(found: list[Comparison]) -> None:
    from lucie.compare import VARIES_MEANS
    from lucie.terminal import out

    for one in found:
        _show_comparison(one)
    if any(one.varying for one in found):
        out.print(f"[dim]{VARIES_MEANS}[/]")


def _show_comparison(one: Comparison) -> None:
    from lucie.compare import DIFFERS, OTHERS
    from lucie.terminal import line, out

    if one.only:
        out.print(f"[bold]tier {one.tier}[/]  [bold red]only {escape(one.only)} has it[/]")
        return
    counts = " · ".join(f"{count} {name}" for name, count in one.counts.items() if count)
    out.print(f"[bold]tier {one.tier}[/]  {counts}")
    for number in one.unequal:
        line(number.verdict, f"{number.name}: {number.a} → {number.b}", "bold red" if number.verdict == DIFFERS else "")
    for number in one.varying:
        line(number.verdict, f"{number.name}: {number.a} → {number.b}", "dim")
    for part, says in OTHERS.items():
        differences = getattr(one, part)
        if differences:
            out.print(f"[dim]{says}[/]")
        for entry in differences[:LISTED]:
            line("", f"{entry.what}: {_short(entry.a)} → {_short(entry.b)}", "dim")
        if len(differences) > LISTED:
            line("", f"and {len(differences) - LISTED} more: --json or --html", "dim")


def _short(text: str) -> str:
    """A sha256 by its first digits."""
    digest = len(text) == 64 and all(digit in "0123456789abcdef" for digit in text)
    return text[:12] if digest else text


def crate(tier: Annotated[str, typer.Option("--tier", help="of results/")] = "record") -> None:
    """Make build/crate/TIER/: the tier's results as a Workflow Run RO-Crate."""
    from lucie.crate import write_crate
    from lucie.terminal import line

    project = Project.find()
    line("crate", project.relative(write_crate(project, tier)))


def certificate(
    published: Annotated[bool, typer.Option("--published", help="of results/ instead of build/")] = False,
) -> None:
    """Make build/certificate.pdf: a page to sign, of what was rerun here."""
    from lucie.certificate import write_certificate
    from lucie.terminal import line

    project = Project.find()
    line("certificate", project.relative(write_certificate(project, project.results if published else project.build)))


def release(what: Annotated[str, typer.Argument(help="book")]) -> None:
    """Make the book of results/ and pack it into a zip that opens without installing anything."""
    from rich.filesize import decimal

    from lucie.errors import unknown
    from lucie.release import release_book
    from lucie.terminal import line

    if what != "book":
        raise unknown("release", what, ["book"])
    project = Project.find()
    packed, made = release_book(project)
    line("book", f"{project.relative(packed)}  {decimal(packed.stat().st_size)}")
    if made.without:
        line("", f"without the report. {made.without}", "yellow")
