"""The verbs `lucie fetch`: all that needs the network. `lucie.evaluation.verbs` adds two of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lucie.errors import UsageError
from lucie.project import Project

app = typer.Typer(no_args_is_help=True, help="What needs the network; every download is pinned.")


@app.command("upstream")
def fetch_upstream(
    into: Annotated[Path, typer.Option("--into", help="where to put the files")] = Path("build/upstream"),
    mirror: Annotated[
        Path | None, typer.Option("--mirror", help="a folder that holds them, instead of the network")
    ] = None,
) -> None:
    """Get the authors' raw files at their pinned commits."""
    from lucie.pinned import fetch as fetch_files
    from lucie.records.upstream import load_pins
    from lucie.terminal import line, pin_bar

    pins = load_pins(Project.find())
    with pin_bar(pins.values()) as progress:
        new = fetch_files(pins, into, mirror, progress)
    line("upstream", f"{len(pins)} raw files in {into}, {new} of them new, all as pinned")


@app.command("sample")
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
    from lucie.terminal import line, pin_bar

    project = Project.find()
    subsets = load_subsets(project)
    with pin_bar(pin for subset in subsets for pin in subset.pins.values()) as progress:
        new = make_sample(project, into, mirror, progress)
    documents = sum(subset.finished.documents for subset in subsets)
    size = sum(subset.finished.bytes for subset in subsets) / 1e6
    held = f"{documents:,} documents, {size:.1f} MB in {into}"
    line("sample", f"{len(subsets)} subsets, {len(new)} of them new: {held}, all as pinned")


@app.command("tokenizers")
def fetch_tokenizers(
    into: Annotated[Path, typer.Option("--into", help="where to put them")] = Path("data/tokenizers"),
    mirror: Annotated[
        Path | None,
        typer.Option("--mirror", help="a folder that holds them (or all raw files), instead of the network"),
    ] = None,
) -> None:
    """Get the authors' tokenizers at their pinned commit; say which others are missing, and why."""
    from lucie.terminal import line, pin_bar
    from lucie.tokenizer import others

    project = Project.find()
    pins = others.load_pins(project)
    with pin_bar(pins.values()) as progress:
        new = others.fetch(project, into, mirror, progress)
    line("tokenizers", f"{', '.join(others.found(into))} in {into}, {new} of {len(pins)} files new, all as pinned")
    for lacking in others.missing(project, into):
        line(lacking.name, f"missing: {lacking.repository}: {lacking.reason}", "yellow")


@app.command("full")
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
    from lucie.terminal import byte_bar, line

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
