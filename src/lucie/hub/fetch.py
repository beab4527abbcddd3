"""Mirrors a dataset or a model of the Hugging Face hub into a plain folder, with the hub's own client.

A file arrives in `.fetching`, inside the folder; there its content is checked, and only then it is moved to its place.
So what is at its place is right, and a fetch that was stopped goes on with the rest. While it is not done, the list of
what it wants lies in `.fetching` too: it says which commit the files are of. MIRROR.json is written last.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

from filelock import FileLock, Timeout
from rich.filesize import decimal

from lucie.errors import LucieError, MismatchError, UsageError
from lucie.files import sha256
from lucie.hub.mirror import MANIFEST, Hub, Mirror, MirrorFile, is_there

ARRIVING = ".fetching"
DOWNLOADS_AT_ONCE = 8

Progress = Callable[[int], None]  # told how many bytes came; fewer than none where some must come again


# What there is


def listing(hub: Hub, only: Sequence[str] = (), endpoint: str | None = None) -> Mirror:
    """The files that are wanted of a dataset or a model, at the commit that its revision is now.

    Raises UsageError where there is no such repository, revision or file, LucieError where the hub cannot be asked.
    """
    client = _client(endpoint)
    with _in_sentences("The list of files", hub):
        commit = client.repo_info(hub.repository, repo_type=hub.kind, revision=hub.revision).sha
        tree = client.list_repo_tree(hub.repository, recursive=True, revision=commit, repo_type=hub.kind)
        files = {entry.path: _listed(entry) for entry in tree if hasattr(entry, "blob_id")}  # a folder has none
    found = Mirror(kind=hub.kind, repository=hub.repository, revision=hub.revision, commit=commit, files=files)
    return _wanted(found, hub, only)


def listing_of_mirror(hub: Hub, mirror: Path, only: Sequence[str] = ()) -> Mirror:
    """The files that are wanted, as a mirror of the repository holds them."""
    if not (mirror / MANIFEST).is_file():
        raise UsageError(f"{mirror} is not a finished mirror: it has no {MANIFEST}. Name one that has with --mirror.")
    held = Mirror.read(mirror / MANIFEST)
    _refuse_another_dataset(held, mirror, hub.repository, hub.revision)
    return _wanted(held, hub, only)


def _listed(entry: Any) -> MirrorFile:
    return MirrorFile(bytes=entry.size, sha256=entry.lfs.sha256 if entry.lfs else "", blob=entry.blob_id)


def _wanted(found: Mirror, hub: Hub, only: Sequence[str]) -> Mirror:
    by_recipe = found.choose(hub.files)
    return by_recipe.choose(only) if only else by_recipe


def _refuse_another_dataset(held: Mirror, folder: Path, repository: str, revision: str) -> None:
    if (held.repository, held.revision) != (repository, revision):
        raise UsageError(
            f"{folder} is a mirror of {held.repository} at {held.revision}, not of {repository} at {revision}. "
            "Name another folder."
        )


# Bringing it here


def fetch_hub(
    wanted: Mirror, into: Path, mirror: Path | None, progress: Progress, endpoint: str | None = None
) -> list[str]:
    """Bring the files into ``into``, from the hub or from a mirror folder; returns those that were not there yet.

    Files of the same commit that were fetched before are kept. Raises MismatchError for content that is not the listed
    one and where the revision has moved to another commit since, UsageError where the disk has too little room, and
    LucieError where a file cannot be had. What arrived before stays.
    """
    into.mkdir(parents=True, exist_ok=True)
    with _alone_in(into):
        kept = _kept(wanted, into)
        whole = wanted.model_copy(update={"files": dict(sorted({**wanted.files, **kept}.items()))})
        missing = [path for path in wanted.files if path not in kept]
        needed = sum(wanted.files[path].bytes for path in missing)
        _refuse_without_room(into, needed)
        progress(wanted.bytes - needed)
        if missing:
            _begin(whole, into)
            _Fetch(whole, into, mirror, _client(endpoint) if mirror is None else None, progress).bring(missing)
        _finish(whole, into)
    return missing


@contextmanager
def _alone_in(into: Path) -> Iterator[None]:
    try:
        with FileLock(into / ".lock", timeout=0):
            yield
    except Timeout:
        raise UsageError(f"Another fetch works on {into}. Wait until it is done, or stop it.") from None


def _kept(wanted: Mirror, into: Path) -> dict[str, MirrorFile]:
    """The files that an earlier fetch brought to their places, finished or not."""
    for path in (into / MANIFEST, into / ARRIVING / MANIFEST):
        if path.is_file():
            held = Mirror.read(path)
            _refuse_another_dataset(held, into, wanted.repository, wanted.revision)
            if held.commit != wanted.commit:
                raise MismatchError(
                    f"{wanted.revision} of {wanted.repository} was moved: it is commit {wanted.commit} now, and {into} "
                    f"holds files of {held.commit}. Fetch into another folder with --into, or remove this one."
                )
            return {name: file for name, file in held.files.items() if is_there(into, name, file)}
    if any(not path.name.startswith(".") for path in into.iterdir()):
        raise UsageError(f"{into} is not empty, and was not fetched by lucie. Name another folder with --into.")
    return {}


def _refuse_without_room(into: Path, needed: int) -> None:
    free = shutil.disk_usage(into).free
    if needed > free:
        raise UsageError(
            f"{into} needs {decimal(needed)} more, and its disk has {decimal(free)} free. Make room, name a folder on "
            "another disk with --into, or fetch a part of the files with --only."
        )


def _begin(whole: Mirror, into: Path) -> None:
    """From here on the folder is an unfinished mirror."""
    for left in (into / ARRIVING).rglob("*.incomplete"):  # of a client that was killed: it never goes on with these
        left.unlink()
    whole.write(into / ARRIVING / MANIFEST)
    (into / MANIFEST).unlink(missing_ok=True)


def _finish(whole: Mirror, into: Path) -> None:
    files = {
        path: MirrorFile(bytes=file.bytes, sha256=file.sha256 or sha256(into / path))
        for path, file in whole.files.items()
    }
    whole.model_copy(update={"files": files}).write(into / MANIFEST)
    shutil.rmtree(into / ARRIVING, ignore_errors=True)


class _StoppedError(Exception):
    """Another file failed, or the user stopped: this one need not go on."""


@dataclass(frozen=True)
class _Fetch:
    """Files on their way, several at a time."""

    whole: Mirror
    into: Path
    mirror: Path | None
    client: Any
    progress: Progress
    stop: Event = field(default_factory=Event)

    def bring(self, paths: Sequence[str]) -> None:
        with ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool:
            futures = [pool.submit(self._bring, path) for path in paths]
            try:
                for future in as_completed(futures):
                    future.result()
            except BaseException:
                self.stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _bring(self, path: str) -> None:
        file, target, came = self.whole.files[path], self.into / path, 0

        def tell(count: int) -> None:
            nonlocal came
            if self.stop.is_set():
                raise _StoppedError
            came += count
            self.progress(count)

        arrived = self._copy(path) if self.mirror else self._download(path, tell)
        if not _is_content_of(arrived, file):
            arrived.unlink()
            raise MismatchError(self._wrong(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        arrived.replace(target)
        tell(file.bytes - came)

    def _download(self, path: str, tell: Progress) -> Path:
        with _in_sentences(path, self.whole):
            arrived: str = self.client.hf_hub_download(
                self.whole.repository,
                path,
                repo_type=self.whole.kind,
                revision=self.whole.commit,
                local_dir=self.into / ARRIVING,
                tqdm_class=_bar(tell),
            )
        return Path(arrived)

    def _copy(self, path: str) -> Path:
        assert self.mirror is not None
        source, arrived = self.mirror / path, self.into / ARRIVING / path
        if not source.is_file():
            raise MismatchError(f"{source} is missing, and {MANIFEST} lists it. Name another mirror with --mirror.")
        try:
            arrived.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, arrived)
        except OSError as error:
            raise LucieError(f"{source} could not be copied to {self.into}: {error.strerror}.") from error
        return arrived

    def _wrong(self, path: str) -> str:
        if self.mirror:
            return (
                f"{self.mirror / path} is not the file that {MANIFEST} lists (its sha256 differs), so it was not kept. "
                "Mend the mirror, or leave --mirror out to use the network."
            )
        return (
            f"{path} of {self.whole.repository} arrived with another content than is listed at {self.whole.revision} "
            "(its sha256 differs), so it was not kept. Start again; what came before it is kept."
        )


def _is_content_of(path: Path, file: MirrorFile) -> bool:
    if file.sha256:
        return sha256(path) == file.sha256
    content = path.read_bytes()  # one that git holds itself, so a small one
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest() == file.blob


# The client


def _client(endpoint: str | None) -> Any:
    """The hub's own client; it says and asks nothing beside what is wanted of it."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise UsageError(
            f"The hub's client is not installed ({error}). Install it with: tools/setup.sh corpus"
        ) from error
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    return HfApi(endpoint=endpoint, library_name="lucie")


def _bar(tell: Progress) -> Any:
    """What the client takes for the class of its progress bars: it draws nothing and tells us of the bytes."""

    class Bar:
        def __init__(self, **_: Any) -> None:
            pass

        def __enter__(self) -> Bar:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def update(self, count: float | None = 1) -> None:
            tell(int(count or 0))

        def nothing(self, *_: Any, **__: Any) -> None:
            pass

        # It would show the bytes that cross the network too, which are fewer where they are packed.
        update_transfer = set_postfix_str = set_transfer_postfix_str = nothing

    return Bar


@contextmanager
def _in_sentences(what: str, wanted: Hub | Mirror) -> Iterator[None]:
    """What the client raises, said so that one knows what to do."""
    kind, repository, revision = wanted.kind, wanted.repository, wanted.revision
    import httpx2  # the client's own; it lets its errors through
    from huggingface_hub import errors

    try:
        yield
    except errors.OfflineModeIsEnabled as error:
        raise LucieError(
            "HF_HUB_OFFLINE is set, so the hub is not asked. Unset it, or name a folder that holds a mirror with "
            "--mirror DIR."
        ) from error
    except errors.GatedRepoError as error:
        raise UsageError(
            f"The {kind} {repository} is gated. Ask for access on its page of the hub, then set HF_TOKEN to a token "
            "of yours."
        ) from error
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        raise UsageError(
            f"The hub has no {kind} {repository}, or shows it to its members only (then set HF_TOKEN). Check "
            f"{'hub.repository in the recipe' if kind == 'dataset' else 'its name'}."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise UsageError(
            f"The {kind} {repository} has no revision {revision}. Check "
            f"{'hub.revision in the recipe' if kind == 'dataset' else 'its name'}."
        ) from error
    except (httpx2.HTTPError, OSError, RuntimeError) as error:  # RuntimeError: how its downloader in Rust fails
        reason = str(error.__cause__ or error).strip().partition("\n")[0]
        raise LucieError(
            f"{what} of {repository} could not be fetched: {reason}\n"
            "Check the network and start again: what arrived is kept. Or name a folder that holds a mirror with "
            "--mirror DIR."
        ) from error
