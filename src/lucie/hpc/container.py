"""Container images at run time: which one is meant, whether it is that one, and the command that runs in it.

    image = find(project, site, "lucie-train")          # None where the lock lists none
    command(image, [f"{tokens}:{tokens}:ro"], {"OMP_NUM_THREADS": "1"}, ["python", "-V"], ["--nv"])

containers/lock.yaml lists each image's sha256. What runs inside learns it as $LUCIE_CONTAINER_DIGEST, which every
manifest and stamp shows.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from lucie.config import read_yaml
from lucie.errors import MismatchError, UsageError
from lucie.files import sha256
from lucie.hpc.sites import Site
from lucie.manifest import CONTAINER_VARIABLE
from lucie.project import Project

LOCK = Path("containers/lock.yaml")


class Locked(BaseModel):
    """What the lock says of an image."""

    model_config = ConfigDict(extra="forbid")

    sha256: str  # of the .sif
    base: str  # what it was built from
    definition: str  # sha256 of its .def
    lock: str  # sha256 of requirements.lock
    pins: str | None = None  # sha256 of containers/train.lock
    commit: str  # that was built into it


class Image(BaseModel):
    """An image that is here."""

    model_config = ConfigDict(extra="forbid")

    name: str
    path: Path
    sha256: str  # that it must have
    program: str  # apptainer or singularity


def locked(project: Project) -> dict[str, Locked]:
    """The images of the lock, by name."""
    path = project.root / LOCK
    if not path.is_file():
        return {}
    try:
        return {name: Locked.model_validate(entry) for name, entry in (read_yaml(path)["images"] or {}).items()}
    except (ValidationError, KeyError, TypeError) as error:
        raise MismatchError(f"{LOCK} is damaged ({error}). Restore it from git.") from error


def folder(project: Project, site: Site) -> Path:
    """Where images run from at a site. Raises UsageError where the site names a variable that is not set."""
    if not site.images.variable:
        return project.build / "images"
    if site.images.variable not in os.environ:
        raise UsageError(
            f"Site '{site.name}' runs images only from ${site.images.variable}, which is not set here. "
            "Is this a node of it, with its modules loaded?"
        )
    return Path(os.environ[site.images.variable])


def installing(name: str, site: str) -> str:
    """The command that puts an image in place, for messages."""
    return f"lucie image install {name} {name}.sif --site {site}"


def find(project: Project, site: Site, name: str) -> Image | None:
    """The image of that name; None where the lock lists none. Raises UsageError where it is listed and not here."""
    known = locked(project).get(name)
    if known is None:
        return None
    path = folder(project, site) / f"{name}.sif"
    if not path.is_file():
        raise UsageError(
            f"{LOCK} lists image {name}, and {path} is not there. Put it there: {installing(name, site.name)} "
            "(or run without: --image none)"
        )
    return Image(name=name, path=path, sha256=known.sha256, program=site.images.program)


def check(image: Image) -> None:
    """Raises MismatchError where an image is not the one of the lock."""
    if not image.path.is_file() or sha256(image.path) != image.sha256:
        raise MismatchError(
            f"{image.path} is not the image that {LOCK} lists as {image.name} (sha256 {image.sha256[:12]}). "
            f"Nothing was started. Install the right one: {installing(image.name, 'SITE')} "
            f"(or build it anew: lucie image build {image.name})"
        )


def command(
    image: Image, binds: Sequence[str], variables: Mapping[str, str], inside: Sequence[str], options: Sequence[str] = ()
) -> list[str]:
    """A command inside the image, which sees these folders (SOURCE:TARGET) and variables, and no others of ours."""
    words = [image.program, "exec", "--cleanenv", "--no-home", *options]
    words += [word for bind in binds for word in ("--bind", bind)]
    for name, value in {**variables, CONTAINER_VARIABLE: image.sha256}.items():
        words += ["--env", f"{name}={value}"]
    return [*words, str(image.path), *inside]
