"""The authors' raw files: read only as pinned, and fetched from a mirror or over HTTP."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from conftest import write

from lucie.errors import LucieError, MismatchError, UsageError
from lucie.pinned import Pin, fetch
from lucie.project import Project
from lucie.records.upstream import Upstream, load_pins

CONTENTS = {
    "config.json": "{}\n",
    "logs/a.csv": "step , loss\n 1,2.5 \n",
    "logs/stats_TheStack--c++.json": '{"n": 3}\n',
}
TEMPLATE = "{repository}/{commit}/{source_path}"


@pytest.fixture
def pins() -> dict[str, Pin]:
    """Three pinned files."""
    return {
        f"lucie/{name}": Pin(
            path=f"lucie/{name}",
            repository="authors/training",
            commit="c3b8b3a",
            source_path=f"assets/{name}",
            sha256=hashlib.sha256(content.encode()).hexdigest(),
            licence="CC0-1.0",
            bytes=len(content),
        )
        for name, content in CONTENTS.items()
    }


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    """A folder that holds the pinned files."""
    for name, content in CONTENTS.items():
        write(tmp_path / "mirror" / "lucie" / name, content)
    return tmp_path / "mirror"


@pytest.fixture
def into(tmp_path: Path) -> Path:
    return tmp_path / "into"


@pytest.fixture
def site(tmp_path: Path, pins: dict[str, Pin]) -> Path:
    """The folder that is served: repositories, commits and files as their host lays them out."""
    for pin in pins.values():
        write(served(tmp_path / "site", pin), CONTENTS[pin.path.removeprefix("lucie/")])
    return tmp_path / "site"


@pytest.fixture
def url(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a pinned file on a server of this machine."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(site))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/{TEMPLATE}"
        server.shutdown()


def served(site: Path, pin: Pin) -> Path:
    return site / TEMPLATE.format(repository=pin.repository, commit=pin.commit, source_path=pin.source_path)


def ignore(_: Pin) -> None:
    """Shows no progress."""


def contents(folder: Path) -> dict[str, str]:
    """All files of a folder, hidden ones too."""
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


FETCHED = {f"lucie/{name}": content for name, content in CONTENTS.items()}
WITHOUT_LOG = {name: content for name, content in FETCHED.items() if name != "lucie/logs/a.csv"}


# Reading


def test_every_pin_of_the_project_has_its_own_place_a_commit_and_a_sha256(project: Project) -> None:
    pins = load_pins(project)
    assert len(pins) == 842
    assert len({(pin.repository, pin.commit, pin.source_path) for pin in pins.values()}) == 842
    for pin in pins.values():
        assert re.fullmatch(r"[0-9a-f]{40}", pin.commit), pin.path
        assert re.fullmatch(r"[0-9a-f]{64}", pin.sha256), pin.path
        assert pin.bytes > 0
        assert not Path(pin.path).is_absolute() and ".." not in Path(pin.path).parts


def test_the_raw_files_are_those_pinned(project: Project, upstream: Path) -> None:
    pins = load_pins(project)
    raw = Upstream(upstream, pins)
    assert [path for path in pins if len(raw.read(path)) != pins[path].bytes] == []


def test_a_folder_that_is_not_there_is_named(tmp_path: Path, pins: dict[str, Pin]) -> None:
    with pytest.raises(UsageError, match=r"There is no folder .*nowhere.*lucie fetch upstream"):
        Upstream(tmp_path / "nowhere", pins)


def test_a_raw_file_that_is_not_pinned_is_not_read(mirror: Path, pins: dict[str, Pin]) -> None:
    write(mirror / "lucie" / "confg.json", "{}")
    with pytest.raises(UsageError, match=r"Did you mean 'lucie/config\.json'"):
        Upstream(mirror, pins).read("lucie/confg.json")


def test_a_raw_file_that_was_changed_or_is_missing_is_named(mirror: Path, pins: dict[str, Pin]) -> None:
    raw = Upstream(mirror, pins)
    assert raw.read("lucie/config.json") == b"{}\n"
    write(mirror / "lucie" / "config.json", "[]\n")
    with pytest.raises(MismatchError, match=r"lucie/config\.json is not the file pinned"):
        raw.read("lucie/config.json")
    (mirror / "lucie" / "config.json").unlink()
    with pytest.raises(UsageError, match=r"lucie/config\.json is missing"):
        raw.read("lucie/config.json")


def test_rows_come_without_padding_and_paths_without_those_of_folders_below(mirror: Path, pins: dict[str, Pin]) -> None:
    raw = Upstream(mirror, pins)
    assert raw.rows("lucie/logs/a.csv") == [{"step": "1", "loss": "2.5"}]
    assert raw.paths("lucie") == ["lucie/config.json"]


# From a mirror


def test_a_mirror_gives_all_files_and_the_second_time_none(mirror: Path, into: Path, pins: dict[str, Pin]) -> None:
    shown: list[Pin] = []
    assert fetch(pins, into, mirror, shown.append) == 3
    assert contents(into) == FETCHED
    shutil.rmtree(mirror)  # what is there is not asked for again
    assert fetch(pins, into, mirror, shown.append) == 0
    assert len(shown) == 6


def test_a_file_that_is_there_but_wrong_is_brought_again(mirror: Path, into: Path, pins: dict[str, Pin]) -> None:
    write(into / "lucie" / "config.json", "[]\n")
    assert fetch(pins, into, mirror, ignore) == 3
    assert contents(into) == FETCHED


def test_a_damaged_file_of_a_mirror_is_named_and_leaves_no_half_file(
    mirror: Path, into: Path, pins: dict[str, Pin]
) -> None:
    write(mirror / "lucie" / "logs" / "a.csv", "step")
    with pytest.raises(MismatchError, match=r"mirror/lucie/logs/a\.csv is not the pinned file"):
        fetch(pins, into, mirror, ignore)
    assert contents(into).items() <= WITHOUT_LOG.items()


def test_a_file_that_a_mirror_lacks_is_named(mirror: Path, into: Path, pins: dict[str, Pin]) -> None:
    (mirror / "lucie" / "logs" / "a.csv").unlink()
    with pytest.raises(UsageError, match=r"The mirror .* lacks lucie/logs/a\.csv"):
        fetch(pins, into, mirror, ignore)
    assert contents(into).items() <= WITHOUT_LOG.items()


def test_a_damaged_mirror_does_not_touch_what_is_there(mirror: Path, into: Path, pins: dict[str, Pin]) -> None:
    write(into / "lucie" / "logs" / "a.csv", "an older file")
    write(mirror / "lucie" / "logs" / "a.csv", "step")
    with pytest.raises(MismatchError):
        fetch(pins, into, mirror, ignore)
    assert contents(into)["lucie/logs/a.csv"] == "an older file"


# Over HTTP


def test_a_server_gives_all_files_and_the_second_time_none(
    url: str, site: Path, into: Path, pins: dict[str, Pin]
) -> None:
    assert fetch(pins, into, None, ignore, url=url) == 3
    assert contents(into) == FETCHED
    shutil.rmtree(site)  # what is there is not asked for again
    assert fetch(pins, into, None, ignore, url=url) == 0


@pytest.mark.parametrize("character", ["#", "+", " ", "?"])
def test_a_file_whose_name_an_address_must_quote_is_fetched(
    url: str, site: Path, into: Path, pins: dict[str, Pin], character: str
) -> None:
    name = f"c{character}.json"
    pin = replace(pins["lucie/config.json"], path=f"lucie/{name}", source_path=f"assets/{name}")
    write(served(site, pin), CONTENTS["config.json"])
    assert fetch({name: pin}, into, None, ignore, url=url) == 1
    assert contents(into) == {f"lucie/{name}": CONTENTS["config.json"]}


def test_wrong_content_from_a_server_is_a_mismatch_and_leaves_nothing(
    url: str, site: Path, into: Path, pins: dict[str, Pin]
) -> None:
    write(served(site, pins["lucie/logs/a.csv"]), "step,loss\n1,2.4\n")
    with pytest.raises(MismatchError, match=r"assets/logs/a\.csv is not the pinned file"):
        fetch(pins, into, None, ignore, url=url)
    assert contents(into).items() <= WITHOUT_LOG.items()


def test_a_file_that_a_server_lacks_is_named_with_the_way_out(
    url: str, site: Path, into: Path, pins: dict[str, Pin]
) -> None:
    served(site, pins["lucie/logs/a.csv"]).unlink()
    with pytest.raises(LucieError, match=r"(?s)lucie/logs/a\.csv could not be fetched.*404.*--mirror") as caught:
        fetch(pins, into, None, ignore, url=url)
    assert not isinstance(caught.value, MismatchError)
    assert contents(into).items() <= WITHOUT_LOG.items()


def test_without_a_server_the_way_out_is_named(
    into: Path, pins: dict[str, Pin], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    # A server that is closed again: nobody listens at its port.
    with ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as server:
        port = server.server_address[1]
    with pytest.raises(LucieError, match=r"(?s)could not be fetched.*--mirror"):
        fetch(pins, into, None, ignore, url=f"http://127.0.0.1:{port}/{TEMPLATE}")
    assert contents(into) == {}


def test_what_a_server_gave_replaces_a_wrong_file(url: str, into: Path, pins: dict[str, Pin]) -> None:
    write(into / "lucie" / "config.json", "[]\n")
    assert fetch(pins, into, None, ignore, url=url) == 3
    assert contents(into) == FETCHED
