"""Checkpoints as one file each, where a disk counts files: `lucie pack` and `lucie unpack`.

    packed = pack(folder / "checkpoints" / "25000", archive)      # ARCHIVE/25000.tar, in place of the folder
    unpack(packed, folder)

A checkpoint of a large model is hundreds of files, and file systems of computing centres allow a project some hundred
thousand. The archive is an ordinary, uncompressed tar file (weights hardly compress), with the manifest first.
"""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Iterator
from hashlib import file_digest
from pathlib import Path

from pydantic import ValidationError

from lucie.errors import MismatchError, UsageError
from lucie.files import sha256
from lucie.training.checkpoints import MANIFEST, Manifest, read, steps
from lucie.training.run import RunFile

SUFFIX = ".tar"
WORKING = ".packing"  # begins the names of what is not whole


def pack_run(checkpoints: Path, archive: Path, keep: int) -> Iterator[Path]:
    """Pack all checkpoints but the last ones, oldest first; gives each archive when it is whole.

    Raises UsageError where none would be kept, or one with another content is there; MismatchError as `pack`.
    """
    if keep < 1:
        raise UsageError("The last checkpoint is not packed: a training goes on from it.")
    for left in checkpoints.glob(f"{WORKING}-*"):  # by one that was killed: packed and checked, or not yet unpacked
        shutil.rmtree(left)
    for step in steps(checkpoints)[:-keep]:
        yield pack(checkpoints / str(step), archive)


def pack(checkpoint: Path, archive: Path) -> Path:
    """Make an archive of a checkpoint, read it again, and remove the folder; returns the archive.

    Raises MismatchError where the checkpoint, or what was written, is not what its manifest says: the folder stays.
    """
    manifest, target = read(checkpoint), archive / f"{checkpoint.name}{SUFFIX}"
    archive.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        written = archive / f"{WORKING}-{target.name}"
        try:
            _write_archive(checkpoint, manifest, written)
            _check_archive(written, manifest)
            written.rename(target)
        finally:
            written.unlink(missing_ok=True)
    _check_archive(target, manifest)
    gone = checkpoint.with_name(f"{WORKING}-{checkpoint.name}")
    checkpoint.rename(gone)
    shutil.rmtree(gone)
    return target


def unpack(packed: Path, run: Path) -> Path:
    """Make the folder of a checkpoint in its training's folder again, from its archive, which stays; returns it.

    Raises UsageError where the checkpoint is there, the file is no archive, or the folder is of no or another training;
    MismatchError for a damaged archive.
    """
    manifest = _manifest(packed)
    if manifest.key != RunFile.read(run).key:
        raise UsageError(
            f"{packed} is of another training than {run}: recipe {manifest.recipe}, seed {manifest.seed}. "
            "Unpack it there."
        )
    target = run / "checkpoints" / str(manifest.step)
    if target.exists():
        raise UsageError(f"{target} is there already.")
    written = target.with_name(f"{WORKING}-{target.name}")
    shutil.rmtree(written, ignore_errors=True)
    try:
        _extract(packed, manifest, written)
        written.rename(target)
    finally:
        shutil.rmtree(written, ignore_errors=True)
    return target


def _write_archive(checkpoint: Path, manifest: Manifest, written: Path) -> None:
    try:
        with tarfile.open(written, "w", format=tarfile.PAX_FORMAT) as tar:
            for name in [MANIFEST, *manifest.files]:
                tar.add(checkpoint / name, name, filter=_anonymous)
    except FileNotFoundError as error:
        raise MismatchError(f"{error.filename} is missing: the checkpoint is damaged and was not packed.") from error


def _extract(packed: Path, manifest: Manifest, written: Path) -> None:
    with tarfile.open(packed) as tar:
        for name in [MANIFEST, *manifest.files]:  # no other names: an archive may hold any
            path = written / name
            if not path.resolve().is_relative_to(written.resolve()):
                raise MismatchError(f"{packed} lists {name}, which lies outside of the checkpoint.")
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                shutil.copyfileobj(_member(tar, name, packed), file)
            if name in manifest.files and sha256(path) != manifest.files[name]:
                raise MismatchError(f"{name} in {packed} is not what its manifest says: no checkpoint was made of it.")


def _check_archive(packed: Path, manifest: Manifest) -> None:
    if _manifest(packed) != manifest:
        raise MismatchError(f"{packed} is an archive of another checkpoint. Name another folder with --into.")
    with tarfile.open(packed) as tar:
        for name, digest in manifest.files.items():
            if file_digest(_member(tar, name, packed), "sha256").hexdigest() != digest:
                raise MismatchError(f"{name} in {packed} is not what its manifest says. The checkpoint stays.")


def _manifest(packed: Path) -> Manifest:
    try:
        with tarfile.open(packed) as tar:
            return Manifest.model_validate_json(_member(tar, MANIFEST, packed).read())
    except (OSError, tarfile.TarError, ValidationError) as error:
        raise UsageError(f"{packed} is no archive of a checkpoint: {error}.") from error


def _member(tar: tarfile.TarFile, name: str, packed: Path) -> tarfile.ExFileObject:
    try:
        found = tar.extractfile(name)
    except (KeyError, tarfile.TarError) as error:
        raise MismatchError(f"{packed} lacks {name}: it is damaged.") from error
    if found is None:
        raise MismatchError(f"{name} in {packed} is no file: it is damaged.")
    return found  # type: ignore[return-value]


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Equal checkpoints have equal archives: no owner and no time."""
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    return member
