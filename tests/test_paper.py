"""The report: no typed numbers, no unknown ones, and a PDF whose links lead somewhere."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import Lucie, edit

from lucie.claims import load_all
from lucie.config import read_yaml
from lucie.coverage import coverage
from lucie.errors import Exit, UsageError
from lucie.paper import NoTexError, build_report, verdicts
from lucie.paper.numbers import Numbers, escape, format_value, scientific
from lucie.project import Project
from lucie.verify import judge

TEX = shutil.which("latexmk") and shutil.which("pdflatex")
needs_tex = pytest.mark.skipif(not TEX, reason="no TeX here: apt-get install texlive-latex-recommended latexmk lmodern")


def test_the_text_holds_no_typed_numbers(project: Project) -> None:
    assert coverage(project).typed == []


def test_a_typed_number_is_found_with_its_line(copy: Project) -> None:
    edit(copy.paper / "sections" / "corpus.tex", "The published table has", "The published table, of 97 rows, has")
    found = coverage(copy)
    assert [text.partition(":")[2] for text in found.typed] == [" 97"]
    assert found.report < 100


def test_the_prose_of_the_notebooks_holds_no_results(project: Project) -> None:
    import json

    allowed = re.compile(r"Lucie-7B|Mistral-7B|Llama-3\.1-8B|Lucie2\.\d+|32,000-token|4,096")
    for notebook in sorted(project.notebooks.glob("*.ipynb")):
        for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "markdown":
                left = allowed.sub("", "".join(cell["source"]))
                assert not re.search(r"\d", left), f"{notebook.name}, cell {cell['id']}"


@pytest.mark.parametrize(
    ("value", "option", "printed"),
    [
        (2320616506310, "", r"2\,320\,616\,506\,310"),
        (2320616506310, ".3f/1e9", "2320.617"),
        (753851, "", r"753\,851"),
        (1220, "", "1220"),
        (486654.25, ".0f", r"486\,654"),
        (0.48502994, ".3f", "0.485"),
        (-12345, "", r"\ensuremath{-}12\,345"),
        (762144585.140625, ".2f", r"762\,144\,585.14"),
        ("a_b", "", r"a\_b"),
    ],
)
def test_numbers_are_formatted_in_python(value: float | int | str, option: str, printed: str) -> None:
    assert format_value(value, option) == printed


def test_deviations_and_text_are_typeset() -> None:
    assert scientific(5.879e-8) == r"\ensuremath{5.9\times10^{-8}}"
    assert scientific(0.0) == "0"
    assert escape(r"50 % of #1 & a_b \x") == r"50 \% of \#1 \& a\_b \textbackslash{}x"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (r"\val{corpus.tokens.totl}", "There is no value 'corpus.tokens.totl'"),
        (r"\verdict{corpus.non}", "There is no claim 'corpus.non'"),
        (r"\val[.3q]{corpus.n}", "corpus.x.tex, line 2"),
    ],
)
def test_an_unknown_number_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    source = tmp_path / "corpus.x.tex"
    source.write_text(f"first\n{text}\n")
    numbers = Numbers({"corpus.n": {"value": 1.0}}, {}, {})
    with pytest.raises(UsageError, match=re.escape(message)):
        numbers.macros([source])


def test_every_claim_in_the_lists_links_to_it(project: Project) -> None:
    judged = judge(project, project.results / "record", "record").verdicts
    lists = {"differs, explained": verdicts.discrepancies(judged), "not attempted": verdicts.unattempted(judged)}
    lists["quoted"] = lists["not attempted"]
    for verdict in judged:
        link = rf"\hyperlink{{claim.{verdict.claim}}}"
        assert link in lists.get(verdict.verdict, link)


def test_a_section_is_named_with_its_folder(tmp_path: Path) -> None:
    source = tmp_path / "sections" / "corpus.tex"
    source.parent.mkdir()
    source.write_text(r"\val{corpus.n}")
    with pytest.raises(UsageError, match=r"^paper/sections/corpus\.tex, line 1: "):
        Numbers({}, {}, {}).macros([source])


def test_without_tex_the_command_says_what_to_install(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(NoTexError, match="apt-get install texlive-latex-recommended"):
        build_report(project, project.results)


@needs_tex
def test_the_pdf_is_made_from_the_committed_results(copy: Project, lucie: Lucie) -> None:
    done = lucie(copy, "report", "--published")
    assert done.returncode == Exit.HELD, done.stderr
    log = (copy.build / "paper" / "main.log").read_text(errors="replace")
    assert "undefined" not in log, "a reference that leads nowhere"
    assert "name{value." not in log and "name{claim." not in log, "a link that leads nowhere"
    assert not re.search(r"Overfull \\hbox \((1[5-9]|[2-9]\d|\d{3,})", log), "a line well over the margin"
    text = subprocess.run(["pdftotext", "-layout", copy.build / "report.pdf", "-"], capture_output=True, text=True)
    if text.returncode == 0:
        assert "6 706 958 336" in text.stdout.replace("\u2009", " ").replace("\u202f", " ")
        assert "Discrepancies" in text.stdout


@needs_tex
def test_a_broken_report_names_the_place_and_keeps_the_old_pdf(copy: Project, lucie: Lucie) -> None:
    old = copy.build / "report.pdf"
    old.parent.mkdir()
    old.write_bytes(b"before")
    edit(copy.paper / "sections" / "corpus.tex", r"\section", r"\undefinedmacro \section")
    done = lucie(copy, "report", "--published")
    assert done.returncode == Exit.STAGE_FAILED
    assert "sections/corpus.tex:1" in done.stderr
    assert old.read_bytes() == b"before"


def test_every_published_item_and_cell_has_a_claim(project: Project) -> None:
    items = set(read_yaml(project.paper / "items.yaml"))
    assert items <= {claim.item for claim in load_all(project)}
    found = coverage(project)
    assert found.uncovered == []
    assert found.to_json()["percent"] == 100
