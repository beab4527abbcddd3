"""The book: every link in it and in its PDF leads somewhere, a real browser reads it, broken results stop it."""

from __future__ import annotations

import functools
import http.server
import json
import re
import shutil
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import browser
import pytest
from conftest import Lucie, copy_into, edit

from lucie.book import Book, build_book, cells
from lucie.book.contents import Contents
from lucie.book.pages import deviation, grouped
from lucie.claims import Unjudged, load_all
from lucie.errors import Exit, LucieError, MismatchError
from lucie.files import sha256
from lucie.judge import Judge
from lucie.manifest import Manifest, load_values
from lucie.project import Project
from lucie.quotes import quotes

TEX = shutil.which("latexmk") and shutil.which("pdflatex")
needs_tex = pytest.mark.skipif(not TEX, reason="no TeX here: apt-get install texlive-latex-recommended latexmk lmodern")
needs_browser = pytest.mark.skipif(not browser.CHROMIUM, reason=browser.MISSING)
LARGEST = 20_000_000  # bytes, of the book


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Book:
    """The book of the committed results."""
    project = copy_into(tmp_path_factory.mktemp("book") / "copy")
    return build_book(project, project.results)


class Links(HTMLParser):
    """The links, the anchors and the resources of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.ids: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids += [given["id"]] if "id" in given else []
        self.links += [given["href"]] if tag == "a" else []
        self.loaded += [given[name] for name in ("src", "href") if name in given and tag in ("img", "script", "link")]


@pytest.fixture(scope="module")
def pages(made: Book) -> dict[Path, Links]:
    return {path: Links(path.read_text(encoding="utf-8")) for path in made.folder.rglob("*.html")}


def leads_somewhere(pages: dict[Path, Links], page: Path, link: str) -> bool:
    address, anchor = urldefrag(link)
    target = (page.parent / unquote(address.partition("?")[0])).resolve() if address else page
    return target.is_file() and (not anchor or anchor in pages[target].ids)


def test_every_link_leads_somewhere_and_nothing_is_loaded_from_elsewhere(pages: dict[Path, Links]) -> None:
    assert len(pages) > 300
    for page, found in pages.items():
        assert len(found.ids) == len(set(found.ids)), page
        for link in found.links + found.loaded:
            if link.startswith("https://"):
                assert link not in found.loaded and re.match(r"https://(github\.com|huggingface\.co)/", link), link
            else:
                assert leads_somewhere(pages, page, link), f"{page.name}: {link}"


def test_every_claim_has_its_page_with_what_is_needed_to_doubt_it(made: Book, project: Project) -> None:
    claims = load_all(project)
    assert {path.stem for path in (made.folder / "claim").iterdir()} == {claim.id for claim in claims}
    text = (made.folder / "claim" / "pretraining.parameters.html").read_text(encoding="utf-8")
    entry = Manifest.load(project.results / "record").stages["pretraining"]
    inputs = {**entry.ingredients.inputs, **entry.ingredients.code}
    for said in (*inputs, *inputs.values(), entry.commit, entry.key, "6\u202f706\u202f958\u202f336", "container"):
        assert said in text, said
    assert "#architecture" in text


def test_what_is_quoted_is_shown(made: Book, project: Project) -> None:
    judging = Judge(project, project.results / "record")
    for claim in load_all(project):
        if isinstance(claim, Unjudged) and judging.verdict(claim).verdict == "quoted":
            text = (made.folder / "claim" / f"{claim.id}.html").read_text(encoding="utf-8")
            (quote, *_) = quotes(project, claim)
            assert f"<td>{grouped(quote.rows[0][-1])}</td>" in text, claim.id
            assert "Where the published number is from" in text, claim.id
    values = load_values(project.results / "mini")
    text = (made.folder / "claim" / "mini.filtering.html").read_text(encoding="utf-8")
    for name, entry in values.items():
        assert entry["stage"] != "filtering" or entry.get("varies") or f">{name}</a>" in text, name


def test_units_and_what_differs_are_seen_at_once(made: Book) -> None:
    tokens = (made.folder / "claim" / "ledger.luciole.initial_tokens.html").read_text(encoding="utf-8")
    assert "3.5 trillion tokens" in tokens and "samples of 4096 tokens" in tokens
    assert "3\u202f002\u202f228\u202f277\u202f248 tokens" in tokens
    text = (made.folder / "claim" / "corpus.composition.subsets.exact.html").read_text(encoding="utf-8")
    opened, folded = text.split("<details open>")[1].split("<details>")[:2]
    assert "differs, explained" in opened and "reproduced" not in opened
    assert "reproduced" in folded and "differs, explained" not in folded


@pytest.mark.parametrize("home", ["index.html", "accueil.html"])
def test_every_claim_has_its_square_and_its_notebook_or_none(made: Book, pages: dict[Path, Links], home: str) -> None:
    squares = [link for link in pages[made.folder / home].links if link.startswith("claim/")]
    assert sorted(squares) == sorted(f"claim/{path.name}" for path in (made.folder / "claim").iterdir())
    claims = (made.folder / "claims.html").read_text(encoding="utf-8")
    assert set(re.findall('data-stage="([^"]*)"', claims)) <= set(re.findall('<option value="([^"]+)"', claims))


def test_the_book_is_small_and_its_figures_speak(made: Book, project: Project) -> None:
    assert made.bytes < LARGEST
    for tier in ("record", "mini"):
        for stage in Manifest.load(project.results / tier).stages.values():
            page = made.folder / "notebook" / tier / f"{Path(next(iter(stage.ingredients.notebook))).stem}.html"
            text = page.read_text(encoding="utf-8")
            for shown in stage.shown.values():
                assert shown["kind"] != "figure" or f'alt="{shown["alt"]}"' in text.replace("&#x27;", "'")


@needs_tex
def test_every_link_of_the_report_leads_to_a_page_of_the_book(made: Book, pages: dict[Path, Links]) -> None:
    from pypdf import PdfReader

    reader = PdfReader(made.folder / "report.pdf")
    notes = [note.get_object() for page in reader.pages for note in page.get("/Annots", [])]
    links = [str(note["/A"]["/URI"]) for note in notes if "/URI" in note.get("/A", {})]
    wrong = [link for link in links if not leads_somewhere(pages, made.folder / "report.pdf", link)]
    assert wrong == []
    assert len(links) > 900 and len(set(links)) > 500
    assert links.count("claim/claire.samples.html") > 1, "in the list of what was not tried, and in the table"
    uses = (made.folder.parent / "paper" / "cells.tex").read_text().count("lucie.cell.")
    text = "".join(page.extract_text() for page in reader.pages)
    assert 0 < text.count("[cell]") <= uses


def test_without_tex_there_is_a_book_without_the_report(copy: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    made = build_book(copy, copy.results)
    assert "latexmk" in made.without
    assert "report.pdf" not in (made.folder / "index.html").read_text(encoding="utf-8")


def test_colours_can_be_read_in_both_themes(project: Project) -> None:
    def light(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    text = (project.root / "book" / "static" / "book.css").read_text(encoding="utf-8")
    themes = [dict(re.findall(r"--(\w+): (#\w+);", block)) for block in re.findall(r"--paper: .*?\}", text, re.DOTALL)]
    assert len(themes) == 3
    for theme in themes:
        colours = {
            name: "#" + "".join(c * 2 for c in value[1:]) if len(value) == 4 else value for name, value in theme.items()
        }
        for name in set(colours) - {"paper", "tint", "line", "mark"}:
            for ground in ("paper", "tint"):
                pale, deep = sorted((light(colours[name]), light(colours[ground])), reverse=True)
                assert (pale + 0.05) / (deep + 0.05) >= 4.5, f"{name} on {ground}"


def test_numbers_and_tables_are_shown_as_they_are() -> None:
    assert [grouped(text) for text in ("6706958336", "-12345", "1220", "12.85", "12 cells")] == [
        "6\u202f706\u202f958\u202f336",
        "\u221212\u202f345",
        "1220",
        "12.85",
        "12 cells",
    ]
    assert [deviation(number) for number in (None, 0.0, -0.0051234)] == ["", "0", "\u22120.00512"]
    shown = cells.table("<table><tr><th>a</th><th>b</th></tr><tr><td>x</td><td>1 200.5</td></tr></table>")
    assert '<td>x</td><td class="n">1 200.5</td>' in shown
    assert "<script>" not in cells.markdown("<script>1</script> **b**")


def in_build(copy: Project) -> None:
    """What is published as if it had just been run: nothing there is held against a published manifest."""
    copy.results.replace(copy.build)


def ran_otherwise(copy: Project, before: str, after: str) -> None:
    """As if a run had left another notebook in build/."""
    in_build(copy)
    name = "notebooks/05_pretraining.ipynb"
    edit(copy.build / "record" / name, before, after)
    manifest = Manifest.load(copy.build / "record")
    manifest.stages["pretraining"].outputs[name] = sha256(copy.build / "record" / name)
    manifest.save()


def without_notebook(copy: Project) -> str:
    (copy.results / "record" / "notebooks" / "05_pretraining.ipynb").unlink()
    return "results/record lacks the executed notebook notebooks/05_pretraining.ipynb of stage 'pretraining'"


def without_value(copy: Project) -> str:
    in_build(copy)
    path = copy.build / "record" / "values.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    del values["pretraining.parameters"]
    path.write_text(json.dumps(values), encoding="utf-8")
    return "Claim 'pretraining.parameters' needs value 'pretraining.parameters' of stage 'pretraining'"


def without_claim(copy: Project) -> str:
    in_build(copy)
    edit(copy.paper / "claims" / "mini.yaml", "stage: footprint", "stage: scaling")
    return "of stage 'footprint' in tier 'mini' has no claim"


def without_cell(copy: Project) -> str:
    ran_otherwise(copy, '"id": "architecture"', '"id": "renamed"')
    return "value 'pretraining.parameters' names a cell that no notebook there has"


def without_alternative_text(copy: Project) -> str:
    ran_otherwise(copy, '"alt": "Training loss', '"was": "Training loss')
    return "has no alternative text"


@pytest.mark.parametrize(
    "spoil", [without_notebook, without_value, without_claim, without_cell, without_alternative_text]
)
def test_broken_results_stop_the_book_with_a_sentence(copy: Project, spoil: object) -> None:
    says = spoil(copy)  # type: ignore[operator]
    with pytest.raises(LucieError, match=re.escape(says)):
        build_book(copy, copy.build)
    assert not (copy.build / "book").exists()


LACKING = {
    ("book/glossary.yaml", r", signifie: .*\}"): "book/glossary.yaml, term 1 ('annealing'): signifie: Field required",
    ("book/words.yaml", r"  skip: .*"): "book/words.yaml lacks 'en.skip'",
    ("book/words.yaml", r"    title: .*"): "book/words.yaml lacks 'en.home_text.title'",
    ("book/words.yaml", r"cells\(\""): "book/words.yaml, ",
    ("book/templates/search.html", r"\{% extends"): "book/templates/search.html",
    ("book/templates/macros.html", None): "book/templates/macros.html is missing",
    ("book/templates/search.html", None): "book/templates/search.html is missing",
    ("book/static/book.css", None): "book/static/book.css is missing",
    ("book/static/theme.js", None): "book/static/theme.js is missing",
    ("CITATION.cff", None): "CITATION.cff is missing",
}


@pytest.mark.parametrize(("path", "cut"), LACKING)
def test_what_the_book_lacks_is_named(
    copy: Project, path: str, cut: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")  # the report is not what is tested
    spoiled = copy.root / path
    if cut is None:
        spoiled.unlink()
    else:
        text = spoiled.read_text(encoding="utf-8")
        spoiled.write_text(re.sub(cut, "}" if "signifie" in cut else "{%" if "%" in cut else "", text, count=1))
    with pytest.raises(LucieError, match=re.escape(LACKING[path, cut])):
        build_book(copy, copy.results)
    assert not (copy.build / "book").exists()


def test_a_value_that_no_tier_holds_stops_the_book(copy: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    edit(copy.root / "book" / "words.yaml", 'value("', 'value("no.such.')
    with pytest.raises(LucieError, match=r"book/words\.yaml, .*There is no value 'no\.such\."):
        build_book(copy, copy.results)


def test_an_edited_result_is_a_mismatch_and_the_old_book_stays(copy: Project, lucie: Lucie) -> None:
    old = copy.build / "book" / "index.html"
    old.parent.mkdir(parents=True)
    old.write_text("before")
    edit(copy.results / "record" / "values.json", "6706958336", "6706958337")
    done = lucie(copy, "book")
    assert done.returncode == Exit.MISMATCH
    assert "values.json, pretraining.parameters is not what stage 'pretraining' made" in " ".join(done.stderr.split())
    assert old.read_text() == "before"
    with pytest.raises(MismatchError):
        Contents.load(copy, copy.results)


@pytest.fixture(scope="module")
def address(made: Book) -> Iterator[str]:
    """The book on a server of this machine."""
    handler = functools.partial(Quiet, directory=str(made.folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def page(tmp_path: Path, address: str) -> Iterator[browser.Page]:
    """A browser; after the test nothing may have been complained of, or asked for elsewhere."""
    with browser.browser(tmp_path) as page:
        page.resize(1280, 900)
        yield page
        assert page.complaints == []
        assert page.requests
        assert [asked for asked in page.requests if not asked.startswith((address, "file://", "about:"))] == []


HITS = "[...document.querySelectorAll('#hits a')].map(a => a.getAttribute('href'))"


@needs_browser
def test_a_claim_is_two_clicks_from_home_and_its_cell_a_third(page: browser.Page, address: str) -> None:
    page.open(address)
    page.click(".tiers .v-reproduced")
    assert page.evaluate("location.search") == "?tier=record&verdict=reproduced"
    shown = page.evaluate(
        "[...document.querySelectorAll('#claims tbody tr:not([hidden])')].map(r => r.dataset.verdict)"
    )
    assert len(shown) > 50 and set(shown) == {"reproduced"}
    page.click("#claims tr:not([hidden]) a")
    assert page.evaluate("location.pathname").startswith("/claim/")
    page.click("a.go")
    assert page.evaluate("document.querySelector('.cell:target') !== null")
    page.evaluate("scrollTo(0, 0)")
    assert page.evaluate("document.querySelector('.judged a') !== null")


@needs_browser
@pytest.mark.parametrize("number", ["6706958336", "6 706 958 336", "6,706,958,336"])
def test_search_finds_a_number_however_it_is_written(page: browser.Page, address: str, number: str) -> None:
    page.open(address + "claim/claire.totals.html")
    page.press("/", text="/")
    assert page.evaluate("document.activeElement.id") == "q"
    page.type(number)
    page.press("Enter", 13, "\r")
    page.wait_for("document.querySelector('#hits a')")
    assert "claim/pretraining.parameters.html" in page.evaluate(HITS)
    page.evaluate(
        "{ const q = document.querySelector('#searching input'); q.value = 'xyzzyx'; "
        "q.dispatchEvent(new Event('input', {bubbles: true})) }"
    )
    assert page.evaluate(HITS) == []


@needs_browser
def test_filters_work_together_and_accents_do_not_matter(page: browser.Page, address: str) -> None:
    page.open(address + "claims.html?stage=corpus_statistics")
    everything = page.evaluate("document.querySelectorAll('#claims tbody tr:not([hidden])').length")
    page.evaluate(
        "{ const f = document.getElementById('filters'); f.elements.text.value = 'PERSEE'; "
        "f.dispatchEvent(new Event('input')) }"
    )
    left = page.evaluate("document.querySelectorAll('#claims tbody tr:not([hidden])').length")
    assert 0 < left < everything
    assert page.evaluate("document.getElementById('found').textContent").startswith(f"{left} of ")


@needs_browser
def test_it_reads_from_files_on_a_phone_and_in_the_dark(page: browser.Page, made: Book) -> None:
    for dark in (False, True):
        page.resize(390, 844, dark=dark, phone=True)
        for name in (
            "index.html",
            "accueil.html",
            "claims.html",
            "claim/corpus.composition.totals.exact.html",
            "claim/mini.word_order.html",
            "notebook/record/07_evaluation.html",
            "discrepancies.html",
            "glossary.html",
            "about.html",
            "search.html?q=fertility",
        ):
            page.open(f"file://{made.folder}/{name}")
            assert page.evaluate("document.documentElement.scrollWidth") <= 390, name
            ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (ground == "rgb(255, 255, 255)") != dark
        assert page.evaluate(HITS), "search works without a server"


@needs_browser
def test_the_keyboard_is_enough_and_what_is_linked_is_shown(page: browser.Page, address: str) -> None:
    page.open(address)
    page.press("Tab", 9)
    assert page.evaluate("document.activeElement.className") == "skip"
    stops = page.evaluate("[...document.querySelectorAll('main a')].filter(a => a.tabIndex >= 0).length")
    assert stops < 60, "the squares of the picture are no stops: the list of claims has the same links"
    page.evaluate("document.getElementById('theme').click()")
    page.open(address + "notebook/record/05_pretraining.html#pretraining.parameters")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark", "the choice is kept"
    page.wait_for("document.getElementById('pretraining.parameters').checkVisibility()")
