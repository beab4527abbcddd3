"""A stand-in for the Hugging Face hub on this machine: it answers what the hub's client asks to list and download.

    with serve() as hub:
        hub.add("datasets/owner/name", folder, revision="v1")
        ...                              # the client with endpoint=hub.url, or HF_ENDPOINT in its environment

A repository's commit is made from its content, so that a changed file moves the revision. Faults are planted in the
fields of `StandIn`; `requests` tells what was asked.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

BIG = (".parquet", ".safetensors", ".bin", ".gz", ".zst")  # kept outside of git there, and named by their sha256
POINTER_BYTES = 134

INFO = re.compile(r"/api/(?P<name>(?:datasets|models)/[^/]+/[^/]+)(?:/revision/(?P<revision>[^/]+))?")
TREE = re.compile(r"/api/(?P<name>(?:datasets|models)/[^/]+/[^/]+)/tree/(?P<revision>[^/]+)(?:/(?P<path>.+))?")
FILE = re.compile(r"/(?P<name>(?:datasets/)?[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)")


@dataclass(frozen=True)
class Repository:
    """A folder, as a repository of one revision; a gated one gives its files only to who shows the token."""

    folder: Path
    revision: str
    token: str = ""

    @property
    def files(self) -> dict[str, Path]:
        there = sorted(path for path in self.folder.rglob("*") if path.is_file())
        return {path.relative_to(self.folder).as_posix(): path for path in there}

    @property
    def commit(self) -> str:
        content = [(name, Digests.of(path).sha256) for name, path in self.files.items()]
        return hashlib.sha1(json.dumps(content).encode()).hexdigest()


@dataclass
class StandIn:
    """The repositories by kind and name (`datasets/owner/name`), and what goes wrong with their files, by path."""

    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    content: dict[str, bytes] = field(default_factory=dict)  # sent in the place of what is listed
    sizes: dict[str, int] = field(default_factory=dict)  # listed in the place of the true ones
    gone: set[str] = field(default_factory=set)  # listed, and not found
    broken: dict[str, int] = field(default_factory=dict)  # the connection breaks once, after so many bytes
    stalled: dict[str, int] = field(default_factory=dict)  # nothing comes after so many bytes, until `go_on`
    go_on: Event = field(default_factory=Event)

    def add(self, name: str, folder: Path, revision: str = "main", token: str = "") -> Repository:
        self.repositories[name] = Repository(folder, revision, token)
        return self.repositories[name]

    def asked_for(self, path: str) -> list[str]:
        """How a file's content was asked for: `GET`, or with the range."""
        return [line.partition(" /")[0] for line in self.requests if "GET" in line and line.endswith(f"/{path}")]


@contextmanager
def serve() -> Iterator[StandIn]:
    """A hub without repositories, while it is needed."""
    hub = StandIn()
    handler = type("Answering", (_Answer,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        hub.url = f"http://127.0.0.1:{server.server_address[1]}"
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        try:
            yield hub
        finally:
            hub.go_on.set()
            server.shutdown()


@dataclass(frozen=True)
class Digests:
    """By what a file is known: big ones by their sha256, small ones by git's id."""

    sha256: str
    blob: str

    @classmethod
    def of(cls, path: Path) -> Digests:
        status = path.stat()
        return _digests(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=10_000)
def _digests(path: Path, size: int, _: int) -> Digests:
    content = path.read_bytes()
    return Digests(hashlib.sha256(content).hexdigest(), hashlib.sha1(b"blob %d\0" % size + content).hexdigest())


class _RefusedError(Exception):
    """The answer is an error: its status, and the code by which the client tells what it is."""


class _Answer(BaseHTTPRequestHandler):
    hub: StandIn
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        path = unquote(address.path)
        self.hub.requests.append(" ".join(filter(None, (self.command, self.headers.get("Range"), path))))
        try:
            if match := TREE.fullmatch(path):
                recursive = parse_qs(address.query).get("recursive", ["false"])[0].lower() == "true"
                self._json(self._tree(self._repository(match), match["path"] or "", recursive))
            elif match := INFO.fullmatch(path):
                self._json(self._info(match["name"], self._repository(match)))
            elif match := FILE.fullmatch(path):
                self._file(self._repository(match), match["path"])
            else:
                raise _RefusedError(HTTPStatus.NOT_FOUND, "RepoNotFound")
        except _RefusedError as error:
            self._send(error.args[0], b"", {"X-Error-Code": error.args[1], "X-Error-Message": error.args[1]})

    def _repository(self, match: re.Match[str]) -> Repository:
        name = match["name"] if match["name"].count("/") == 2 else f"models/{match['name']}"
        found = self.hub.repositories.get(name)
        if found is None:
            raise _RefusedError(HTTPStatus.UNAUTHORIZED, "RepoNotFound")  # as there: it may be a private one
        if match["revision"] not in (None, found.revision, found.commit):
            raise _RefusedError(HTTPStatus.NOT_FOUND, "RevisionNotFound")
        return found

    def _info(self, name: str, repository: Repository) -> dict[str, Any]:
        siblings = [{"rfilename": path} for path in repository.files]
        owned = name.partition("/")[2]
        return {"id": owned, "sha": repository.commit, "gated": bool(repository.token), "siblings": siblings}

    def _tree(self, repository: Repository, under: str, recursive: bool) -> list[dict[str, Any]]:
        """All at once: the hub gives pages of a thousand."""
        start = f"{under}/" if under else ""
        entries: dict[str, dict[str, Any]] = {}
        for path in (path for path in repository.files if path.startswith(start)):
            parts = path.removeprefix(start).split("/")
            for depth in range(1, len(parts) if recursive else min(2, len(parts))):
                folder = start + "/".join(parts[:depth])
                entries[folder] = {"type": "directory", "path": folder, "size": 0, "oid": repository.commit}
            if recursive or len(parts) == 1:
                entries[path] = self._entry(path, repository.files[path])
        if not entries:
            raise _RefusedError(HTTPStatus.NOT_FOUND, "EntryNotFound")
        return list(entries.values())

    def _entry(self, path: str, file: Path) -> dict[str, Any]:
        size, digests = self.hub.sizes.get(path, file.stat().st_size), Digests.of(file)
        entry = {"type": "file", "path": path, "size": size, "oid": digests.blob}
        if path.endswith(BIG):
            entry["lfs"] = {"oid": digests.sha256, "size": size, "pointerSize": POINTER_BYTES}
        return entry

    def _file(self, repository: Repository, path: str) -> None:
        if repository.token and self.headers.get("Authorization") != f"Bearer {repository.token}":
            raise _RefusedError(HTTPStatus.UNAUTHORIZED, "GatedRepo")
        if path not in repository.files or path in self.hub.gone:
            raise _RefusedError(HTTPStatus.NOT_FOUND, "EntryNotFound")
        file = repository.files[path]
        digest = Digests.of(file).sha256 if path.endswith(BIG) else Digests.of(file).blob
        content = self.hub.content.get(path) or file.read_bytes()
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
        headers = {"ETag": f'"{digest}"', "X-Repo-Commit": repository.commit, "Accept-Ranges": "bytes"}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        status = HTTPStatus.PARTIAL_CONTENT if start else HTTPStatus.OK
        self._send(status, content[start:], headers, "application/octet-stream", path)

    def _json(self, value: Any) -> None:
        self._send(HTTPStatus.OK, json.dumps(value).encode(), {})

    def _send(
        self, status: HTTPStatus, body: bytes, headers: dict[str, str], kind: str = "application/json", path: str = ""
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        stops = self.hub.broken.get(path, self.hub.stalled.get(path))
        with suppress(ConnectionError):  # who asked may be gone
            self.wfile.write(body[:stops])
        if stops is not None:
            self.close_connection = True
            if self.hub.broken.pop(path, None) is None:
                self.hub.go_on.wait()
