"""Container images: built from containers/NAME.def at one commit, listed in containers/lock.yaml, put where a site runs
them.

    built = build(project, "lucie", "apptainer", {"BOOT": "localimage", "FROM": "base.sif"})
    verify(project, "lucie", built)        # MismatchError where it is not the one of the lock
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from lucie.errors import MismatchError, StageError, UsageError, unknown
from lucie.files import sha256, write_atomic
from lucie.hpc import container
from lucie.hpc.container import LOCK, Locked
from lucie.hpc.sites import Site
from lucie.project import Project


def definition(project: Project, name: str) -> Path:
    """containers/NAME.def. Raises UsageError for a name that has none."""
    path = project.root / "containers" / f"{name}.def"
    if not path.is_file():
        raise unknown("image", name, [other.stem for other in path.parent.glob("*.def")])
    return path


def arguments(path: Path) -> dict[str, str]:
    """The templates of a definition with their defaults, as its %arguments says."""
    section = re.search(r"^%arguments\n(.*?)^%", path.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    lines = section[1].splitlines() if section else []
    return {name: value for name, equals, value in (line.strip().partition("=") for line in lines) if equals}


def build(project: Project, name: str, program: str, given: Mapping[str, str] = {}, binds: Sequence[str] = ()) -> Path:
    """Build an image from the commit that is checked out, as an ordinary user, and list it in the lock.

    ``given`` takes the places of the definition's templates; ``binds`` are seen during the build (SOURCE:TARGET).
    Raises UsageError where something is not committed, StageError where the build or its test fails.
    """
    path = definition(project, name)
    if wrong := sorted(set(given) - set(arguments(path))):
        raise unknown("template", wrong[0], arguments(path))
    source, commit = checkout(project), project.commit.id
    values = {**arguments(path), **given}
    base = values["FROM"].rpartition("/")[2]
    if (local := Path(values["FROM"])).is_file():
        base = f"{local.name}@sha256:{sha256(local)}"
    pins = project.root / "containers" / "train.lock"
    digests = {"COMMIT": commit, "LOCK": sha256(project.root / "requirements.lock"), "PINS": sha256(pins), "BASE": base}
    values |= {"SOURCE": str(source), **{key: value for key, value in digests.items() if key in values}}
    image = project.build / "images" / f"{name}.sif"
    options = [word for key, value in values.items() for word in ("--build-arg", f"{key}={value}")]
    options += [word for bind in binds for word in ("--bind", bind)]
    call([program, "build", "--fakeroot", "--force", *options, str(image), str(path)], "The build")
    entry = Locked(
        sha256=sha256(image),
        base=base,
        definition=sha256(path),
        lock=digests["LOCK"],
        pins=digests["PINS"] if "PINS" in values else None,
        commit=commit,
    )
    write_lock(project, {**container.locked(project), name: entry})
    return image


def checkout(project: Project) -> Path:
    """A fresh clone of the commit that is checked out. Raises UsageError where something is not committed."""
    if changed := uncommitted(project):
        raise UsageError(
            f"An image holds a commit, and there are changes that are in none: {changed[0]}. Commit them first."
        )
    target = project.build / "images" / "source"
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    call(["git", "clone", "--quiet", "--depth=1", project.root.as_uri(), str(target)], "git clone")
    return target


def uncommitted(project: Project) -> list[str]:
    """What git lists as changed or new. The lock is none: each build of an image changes it.

    Raises UsageError outside of git.
    """
    if project.commit.id == "unknown":
        raise UsageError(f"An image holds a commit, and {project.root} is no git checkout. Clone the repository.")
    paths = [":!results", ":!build", f":!{LOCK}"]
    command = ["git", "-C", str(project.root), "status", "--porcelain", "--", *paths]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [line[3:] for line in listed.splitlines()]


def others(project: Project, commit: str) -> list[str]:
    """The tracked files, by their paths, that are not here as an image of that commit holds them.

    The lock is none: it lists the image, so it is always newer. Raises UsageError for a commit that is not here.
    """
    command = ["git", "-C", str(project.root), "diff", "--name-only", commit, "--", ":!results", f":!{LOCK}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UsageError(f"Git cannot tell what changed since commit {commit[:12]}: {done.stderr.strip()}")
    return done.stdout.splitlines()


def verify(project: Project, name: str, image: Path) -> Locked:
    """The lock's entry of an image. Raises MismatchError where the file, or what it was made from, is another."""
    entry = container.locked(project).get(name)
    if entry is None:
        raise MismatchError(f"{LOCK} lists no image {name}. Build it: lucie image build {name}")
    if not image.is_file() or sha256(image) != entry.sha256:
        raise MismatchError(f"{image} is not the image {name} of {LOCK} (sha256 {entry.sha256[:12]}).")
    if sha256(definition(project, name)) != entry.definition:
        raise MismatchError(f"containers/{name}.def changed since {image} was built. Build it again.")
    if sha256(project.root / "requirements.lock") != entry.lock:
        raise MismatchError(f"requirements.lock changed since {image} was built. Build it again.")
    return entry


def labels(image: Path) -> dict[str, Any]:
    """What an image says of itself. Raises StageError where no Apptainer or Singularity is here to ask it."""
    from spython.main import Client

    if not shutil.which("singularity"):  # Apptainer brings this name too, and spython knows no other
        raise StageError("There is no singularity here to ask the image.")
    found = Client.inspect(str(image))
    if "attributes" not in found:
        raise StageError(f"{image} cannot be read: {' '.join(found.get('message', []))}")
    said: dict[str, Any] = found["attributes"]["labels"]
    return said


def install(project: Project, site: Site, name: str, image: Path) -> Path:
    """Put an image of the lock where the site runs images from; returns where.

    Raises as `verify`, and MismatchError where it is not there afterwards.
    """
    entry = verify(project, name, image)
    target = container.folder(project, site) / f"{name}.sif"
    if target.is_file() and sha256(target) == entry.sha256:
        return target
    held = [path for path in target.parent.glob("*.sif") if path != target]
    if site.images.most and len(held) >= site.images.most:
        raise UsageError(f"{target.parent} holds {len(held)} images, and the site allows no more. Remove one.")
    if site.images.registering:
        register(project, site, name, image)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(image, target)
    if not target.is_file() or sha256(target) != entry.sha256:
        wrong = "is another file" if target.is_file() else "is not there"
        raise MismatchError(
            f"Image {name} was put in place, and {target} {wrong}. See what {target.parent} holds, remove what is old "
            f"there, and again: {container.installing(name, site.name)}"
        )
    return target


def register(project: Project, site: Site, name: str, image: Path) -> None:
    """Have the site's own command put an image in place. Raises UsageError where there is no such command."""
    program = shlex.split(site.images.registering)[0]
    if not shutil.which(program):
        raise UsageError(f"This is no node of {site.says}: there is no {program}.")
    with named(project, name, image) as file:
        command = site.images.registering.format(image=shlex.quote(str(file)))
        call(shlex.split(command), "Registering the image")


@contextmanager
def named(project: Project, name: str, image: Path) -> Iterator[Path]:
    """The image as a file NAME.sif: itself, or a link or copy for as long as it is needed."""
    if image.name == f"{name}.sif":
        yield image
        return
    folder = project.build / "images" / "named"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    file = folder / f"{name}.sif"
    try:
        try:
            file.hardlink_to(image.resolve())
        except OSError:  # on another file system
            shutil.copyfile(image, file)
        yield file
    finally:
        shutil.rmtree(folder)


def write_lock(project: Project, entries: Mapping[str, Locked]) -> None:
    """Write containers/lock.yaml, with the words at its head."""
    path = project.root / LOCK
    head = "".join(line for line in path.read_text("utf-8").splitlines(keepends=True) if line.startswith("#"))
    content = {"images": {name: entries[name].model_dump(exclude_none=True) for name in sorted(entries)}}
    write_atomic(path, head + yaml.safe_dump(content, sort_keys=False))


def call(command: Sequence[str], what: str) -> None:
    """Run a command in the terminal. Raises UsageError where it is missing, StageError where it fails."""
    if not shutil.which(command[0]):
        raise UsageError(f"{what} needs {command[0]}, which is not here.")
    code = subprocess.run(command, check=False).returncode
    if code:
        raise StageError(f"{what} failed: {shlex.join(command[:3])} ... ended with {code}. Its words are above.")
