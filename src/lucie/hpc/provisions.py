"""What a training needs on a site beside Slurm: room for its checkpoints, its image, GPUs, and the data."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from rich.filesize import decimal

from lucie.corpus.recipe import Recipe as Corpus
from lucie.errors import LucieError, UsageError
from lucie.files import sha256
from lucie.hpc import container
from lucie.hpc.checks import Check
from lucie.hpc.scheduler import UnavailableError, ask
from lucie.hpc.sites import Site, Storage
from lucie.hub.mirror import MANIFEST, Mirror, is_there
from lucie.mixture.plan import PHASES
from lucie.project import Project
from lucie.scaling.layout import Layout, Work
from lucie.scaling.storage import checkpoint_bytes, checkpoint_files
from lucie.tokenizer.others import load_pins
from lucie.tokens.folder import TokenFolder
from lucie.training.recipe import Recipe


def storage_checks(site: Site, recipe: Recipe, folder: Path) -> Iterator[Check]:
    """The site's file systems, and room for all checkpoints where the training's folder is."""
    needed, files = checkpoints_of(recipe)
    for name, storage in site.storage.items():
        yield _storage(name, storage, needed, files)
    if site.quota:
        yield _quota(site.quota)
    if warning := purged(site, folder):
        yield Check("folder", "warn", warning)
    place = next(parent for parent in [folder, *folder.parents] if parent.is_dir())
    free, inodes = shutil.disk_usage(place).free, os.statvfs(place).f_favail
    says = f"{decimal(needed)} in {files:,} files for all checkpoints of recipe {recipe.name}; free in {place}: "
    says += f"{decimal(free)}, {inodes:,} files" if inodes else decimal(free)  # some file systems do not count them
    if needed > free or (inodes and files > inodes):
        yield Check("checkpoints", "fail", f"{says}. Name a folder on another disk, or raise checkpoint_every.")
    else:
        yield Check("checkpoints", "ok", f"{says}. A project's quota may be less")


def _storage(name: str, storage: Storage, needed: float, files: int) -> Check:
    place = os.environ.get(storage.variable, "")
    if not place or not Path(place).is_dir():
        return Check(name, "warn", f"not checked here: ${storage.variable} is no folder")
    if storage.purged_after_days:
        days = f"what is not read for {storage.purged_after_days} days is removed: nothing that shall stay"
        return Check(name, "warn", f"${storage.variable}: {days}")
    if storage.bytes and needed > storage.bytes:
        return Check(name, "warn", f"its quota of {decimal(storage.bytes)} does not hold all checkpoints")
    if storage.inodes and files > storage.inodes:
        says = f"its quota of {storage.inodes:,} files does not hold the {files:,} of checkpoints"
        return Check(name, "warn", f"{says}. Each becomes one with: lucie pack")
    return Check(name, "ok", f"${storage.variable}: quota {decimal(storage.bytes)}, {storage.inodes:,} files")


def _quota(command: str) -> Check:
    """What the site's own command says: only people can read it, as no page shows its format."""
    try:
        return Check("quota", "warn", f"read what is left yourself:\n{ask(*command.split()).rstrip()}")
    except UnavailableError as error:
        return Check("quota", "warn", f"not checked here: {error}")


def checkpoints_of(recipe: Recipe) -> tuple[int, int]:
    """Bytes and files of all checkpoints of a training."""
    size = files = 0
    for name in PHASES:
        phase, mix = recipe.phase(name), recipe.mix.phase(name)
        work = Work(recipe.architecture, mix.sequence_length, mix.sequences_per_batch)
        count = math.ceil(recipe.schedules[name].steps / phase.checkpoint_every)
        size += count * int(checkpoint_bytes(work))
        files += count * checkpoint_files(work, Layout(phase.parallelism, phase.micro_batch, phase.recompute))
    return size, files


def purged(site: Site, folder: Path) -> str:
    """Why a folder is a bad place for what shall stay; empty where it is not."""
    for storage in site.storage.values():
        root = os.environ.get(storage.variable)
        if storage.purged_after_days and root and folder.resolve().is_relative_to(Path(root).resolve()):
            return (
                f"{folder} lies in ${storage.variable}: what is not read for {storage.purged_after_days} days is "
                "removed there. Copy checkpoints that shall stay elsewhere."
            )
    return ""


def image_checks(project: Project, site: Site) -> Iterator[Check]:
    """Whether the images of the lock are where the site runs them from, and are those."""
    if not shutil.which(site.images.program):
        yield Check("container", "warn", f"not checked here: there is no {site.images.program}")
    known = container.locked(project)
    if not known:
        says = f"{container.LOCK} lists none: jobs run without. Build one: lucie image build lucie"
        yield Check("image", "warn", says)
        return
    try:
        folder = container.folder(project, site)
    except LucieError as error:
        yield Check("image", "warn", f"not checked here: {error}")
        return
    for name, entry in known.items():
        path = folder / f"{name}.sif"
        if not path.is_file():
            says = f"{path} is missing. Put it there: {container.installing(name, site.name)}"
            yield Check(f"image {name}", "fail", says)
        elif sha256(path) != entry.sha256:
            says = f"{path} is not the one of {container.LOCK}. Again: {container.installing(name, site.name)}"
            yield Check(f"image {name}", "fail", says)
        else:
            yield Check(f"image {name}", "ok", f"{path}, sha256 {entry.sha256[:12]}")
    held = len(list(folder.glob("*.sif")))
    if site.images.most and held > site.images.most:
        yield Check("images", "fail", f"{held} in {folder}, and the site allows {site.images.most}: remove some")


def gpu_check() -> Check:
    """The GPUs of this machine: a login node has none."""
    try:
        found = ask("nvidia-smi", "-L").splitlines()
    except UnavailableError as error:
        return Check("GPU", "warn", f"not checked here: {error}. On a compute node: srun ... lucie doctor")
    return Check("GPU", "ok", f"{len(found)}: {found[0].partition(' (')[0]}")


def data_checks(project: Project, recipe: Recipe, tokens: Path, data: Path | None = None) -> Iterator[Check]:
    """Token files of the training, and the mirrors that were fetched, by their manifests and sizes.

    ``data`` is where the corpus `full` was fetched to, if not into its own folder.
    """
    try:
        held = TokenFolder(tokens)
        held.check_vocabulary(recipe.architecture.vocab_size)
        yield Check("token files", "ok", f"{len(held.files)} kinds of text in {tokens}")
    except LucieError as error:
        yield Check("token files", "fail", str(error))
    yield from _corpus(project, recipe, data)
    pins, into = load_pins(project), project.root / "data" / "tokenizers"
    lacking = [name for name, pin in pins.items() if not _is(into / name, pin.sha256)]
    if lacking:
        says = f"{len(lacking)} of {len(pins)} files are missing in {into}: lucie fetch tokenizers"
        yield Check("tokenizers", "warn", says)
    else:
        yield Check("tokenizers", "ok", f"{len(pins)} files as pinned")


def _corpus(project: Project, recipe: Recipe, data: Path | None) -> Iterator[Check]:
    corpus = Corpus.load(project, "full")
    hub = corpus.hub
    if hub is None:
        return
    if data:
        corpus = corpus.model_copy(update={"folder": str(data.resolve())})
    try:
        if not corpus.path(project).is_dir():
            raise UsageError(
                f"There is no folder {corpus.folder}. Get it with: lucie fetch full --into {corpus.folder} "
                "(or name the one that it is in: --data)"
            )
        corpus.source(project)
        says = f"{hub.repository} at {hub.revision} is complete in {corpus.folder}"
        yield Check("mirror full", "ok", says)
    except LucieError as error:
        yield Check("mirror full", "fail" if recipe.tier == "full" else "warn", str(error))


def model_checks(project: Project) -> Iterator[Check]:
    """The released models that were mirrored, by their lists and sizes."""
    for folder in sorted((project.root / "data" / "models").glob("*/*")):
        name = f"{folder.parent.name}/{folder.name}"
        if not (folder / MANIFEST).is_file():
            yield Check("model", "warn", f"{folder} is not complete. Go on with: lucie fetch model {name}")
            continue
        files = Mirror.read(folder / MANIFEST).files
        lacking = [path for path, file in files.items() if not is_there(folder, path, file)]
        if lacking:
            says = f"{lacking[0]} of {name} is missing or cut off. Again: lucie fetch model {name}"
            yield Check("model", "fail", says)
        else:
            yield Check("model", "ok", f"{name}: {len(files)} files")


def _is(path: Path, digest: str) -> bool:
    return path.is_file() and sha256(path) == digest
