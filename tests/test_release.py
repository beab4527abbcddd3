"""What leaves the house: the certificate, the zipped book, licences, and what others may cite and check."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, Lucie, edit

from lucie.errors import Exit, MismatchError
from lucie.files import sha256, sha256_of
from lucie.manifest import Manifest, load_values
from lucie.project import Project
from lucie.release import release_book

TEX = shutil.which("latexmk") and shutil.which("pdflatex")
needs_tex = pytest.mark.skipif(not TEX, reason="no TeX here: apt-get install texlive-latex-recommended latexmk lmodern")


@needs_tex
def test_the_certificate_is_a_page_that_says_what_was_rerun_and_what_differs(copy: Project, lucie: Lucie) -> None:
    from pypdf import PdfReader

    nothing = lucie(copy, "certificate")
    assert nothing.returncode == Exit.USAGE and "First: lucie reproduce" in " ".join(nothing.stderr.split())
    shutil.copytree(copy.results / "record", copy.build / "record")
    edit(copy.build / "record" / "values.json", "402008", "402009")
    for verb in ("certificate", "report"):
        edited = lucie(copy, verb)
        assert edited.returncode == Exit.MISMATCH
        assert "values.json, claire.debates.words is not what stage 'claire' made" in " ".join(edited.stderr.split())
    manifest = Manifest.load(copy.build / "record")
    for name, value in load_values(copy.build / "record").items():
        manifest.stages[value["stage"]].values[name] = sha256_of(value)
    manifest.save()

    def certified(*words: str) -> str:
        done = lucie(copy, "certificate", *words)
        assert done.returncode == Exit.HELD, done.stderr
        (page,) = PdfReader(copy.build / "certificate.pdf").pages
        return "".join(page.extract_text().split())

    text = certified()
    assert "Ireranwhatislistedabove" in text
    manifest = Manifest.load(copy.build / "record")
    for said in ("signature", sha256(manifest.folder / "manifest.json"), *manifest.stages, "106reproduced"):
        assert said in text, said
    assert "1differs(first:claire.debates.words)" in text
    text = certified("--published")
    assert "Nothingwasrerun" in text and "Ireran" not in text


def test_the_zip_is_the_book_of_the_results_and_always_the_same(
    copy: Project, lucie: Lucie, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")  # without TeX it is faster
    old = copy.build / "book" / "index.html"
    old.parent.mkdir(parents=True)
    old.write_text("old")
    packed, _ = release_book(copy)
    first = packed.read_bytes()
    assert release_book(copy)[0].read_bytes() == first
    with zipfile.ZipFile(packed) as archive:
        assert archive.testzip() is None
        assert {name.partition("/")[0] for name in archive.namelist()} == {"lucie-book"}
        assert {"lucie-book/README.txt", "lucie-book/claim/claire.totals.html"} <= set(archive.namelist())
        assert archive.read("lucie-book/index.html") != b"old"
    edit(copy.results / "record" / "values.json", "402008", "402009")
    with pytest.raises(MismatchError, match="claire"):
        release_book(copy)
    assert packed.read_bytes() == first
    assert lucie(copy, "release", "boook").returncode == Exit.USAGE


def test_every_file_has_a_licence() -> None:
    if subprocess.run(["git", "-C", ROOT, "rev-parse"], capture_output=True).returncode:
        pytest.skip("not a git checkout")
    reuse = Path(sys.executable).with_name("reuse")
    done = subprocess.run([reuse, "--root", ROOT, "lint"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_what_is_to_be_checked_and_cited_is_there() -> None:
    check = yaml.safe_load((ROOT / "codecheck.yml").read_text(encoding="utf-8"))
    assert check.keys() >= {"version", "paper", "manifest", "codechecker", "summary", "check_time", "certificate"}
    assert all((ROOT / entry["file"]).is_file() and entry["comment"] for entry in check["manifest"])
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0" and citation.keys() >= {"message", "title", "authors"}
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert version and version[1] == citation["version"]
