"""The verbs of container images: `lucie image build|verify|install|run`. `lucie.hpc.verbs` registers them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Annotated

import typer

from lucie.errors import Exit, UsageError
from lucie.project import Project

INSIDE = "/opt/lucie/build"  # where the repository in the image writes

app = typer.Typer(no_args_is_help=True, help="Container images: built, checked, put in place, run.")

NameArgument = Annotated[str, typer.Argument(help="lucie or lucie-train: a definition in containers/")]
SiteOption = Annotated[str, typer.Option("--site", help="a site of config/sites/")]


@app.command("build")
def image_build(
    name: NameArgument,
    given: Annotated[list[str] | None, typer.Option("--arg", help="NAME=VALUE, a template of the definition")] = None,
    binds: Annotated[list[str] | None, typer.Option("--bind", help="SOURCE:TARGET, seen while it is built")] = None,
    program: Annotated[str, typer.Option("--program", help="apptainer or singularity")] = "apptainer",
) -> None:
    """Build an image from the commit that is checked out, test it, and list it in containers/lock.yaml."""
    from lucie.hpc.container import LOCK, locked
    from lucie.hpc.images import build
    from lucie.terminal import line

    project = Project.find()
    for text in given or []:
        if "=" not in text:
            raise UsageError(f"'--arg {text}' is not NAME=VALUE.")
    values = {name: value for name, _, value in (text.partition("=") for text in given or [])}
    made = build(project, name, program, values, binds or [])
    line(name, f"{project.relative(made)}, sha256 {locked(project)[name].sha256[:12]}, listed in {LOCK}: commit that")


@app.command("verify")
def image_verify(
    name: NameArgument,
    image: Annotated[Path | None, typer.Option("--image", help="the .sif; without it, where the site has it")] = None,
    site: SiteOption = "slurm",
) -> None:
    """Say whether an image is the one of the lock, made from the definition and the lock that are here."""
    from lucie.hpc import container
    from lucie.hpc.images import labels, verify
    from lucie.hpc.sites import Site
    from lucie.terminal import line

    project = Project.find()
    path = image or container.folder(project, Site.load(project, site)) / f"{name}.sif"
    entry = verify(project, name, path)
    line(name, f"{path} is the image of the lock: commit {entry.commit[:12]}, base {entry.base}")
    for label, text in sorted(labels(path).items()):
        if label.startswith("lucie."):
            line(label, str(text))


@app.command("install")
def image_install(
    name: NameArgument,
    image: Annotated[Path, typer.Argument(help="the .sif")],
    site: SiteOption = "jean-zay",
) -> None:
    """Put an image where the site runs images from, if it is the one of the lock."""
    from lucie.hpc.images import install
    from lucie.hpc.sites import Site
    from lucie.terminal import line

    project = Project.find()
    line(name, f"in place: {install(project, Site.load(project, site), name, image)}")


@app.command("run", context_settings={"allow_interspersed_args": False})
def image_run(
    name: NameArgument,
    inside: Annotated[list[str], typer.Argument(metavar="command", help="and its own options: all after NAME is its")],
    into: Annotated[Path, typer.Option("--into", help="what is built inside comes here")] = Path("build/container"),
    site: SiteOption = "slurm",
    network: Annotated[bool, typer.Option("--network/--no-network", help="whether it sees any")] = True,
) -> None:
    """Run a command in an image, once it is known to be the one of the lock: lucie image run lucie lucie verify.

    Options of `image run` itself stand before the image's name.
    """
    from lucie.hpc import container
    from lucie.hpc.sites import Site

    project = Project.find()
    image = container.find(project, Site.load(project, site), name)
    if image is None:
        raise UsageError(f"{container.LOCK} lists no image {name}. Build it: lucie image build {name}")
    container.check(image)
    into.mkdir(parents=True, exist_ok=True)
    options = [] if network else ["--net", "--network=none"]
    words = inside[1:] if inside[0] == "--" else inside
    command = container.command(image, [f"{into.resolve()}:{INSIDE}"], {}, words, [*options, "--pwd=/opt/lucie"])
    code = subprocess.run(command, check=False).returncode
    raise typer.Exit(code or Exit.HELD)
