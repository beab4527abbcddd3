"""The corpus sample: what each reader makes of a file, and how the whole is fetched, made and checked."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote

import pytest
from conftest import ROOT, Lucie, write

from lucie.corpus import sample_readers as readers
from lucie.corpus.sample import READERS, FinishedFile, RawFile, fetch_sample, load_subsets
from lucie.errors import Exit, LucieError, MismatchError, UsageError
from lucie.pinned import Pin
from lucie.project import Project
from lucie.rows import read_rows, write_csv

# Readers


def tei(body: str) -> bytes:
    head = "<teiHeader><p>Not of the text.</p></teiHeader>"
    return f'<TEI xmlns="http://www.tei-c.org/ns/1.0">{head}<text>{body}</text></TEI>'.encode()


def test_a_plain_file_is_one_document() -> None:
    assert readers.plain("Où ?\n\nIci.\n".encode()) == ["Où ?\n\nIci.\n"]


def test_a_tei_file_gives_a_document_for_each_innermost_division() -> None:
    first, second = "<div><head>I</head><p>One\n  <hi>two</hi>.</p><p> </p></div>", "<div><l>Three.</l></div>"
    body = f"<front><p>No.</p></front><body><div><head>Part</head>{first}{second}</div></body>"
    assert readers.tei(tei(body)) == ["I\nOne two.", "Three."]


def test_a_tei_file_without_divisions_is_one_document() -> None:
    assert readers.tei(tei("<body><p>One.</p><p>Two.</p></body>")) == ["One.\nTwo."]


def test_a_stage_direction_within_a_speech_comes_twice() -> None:
    assert readers.tei(tei("<body><div><p>Go! <stage>(Exit.)</stage> Gone.</p></div></body>")) == [
        "Go! (Exit.) Gone.\n(Exit.)"
    ]


def test_a_long_chapter_is_cut_at_the_end_of_a_line() -> None:
    lines = ["a" * 7_000, "b" * 4_000, "c" * 6_000]
    cut = readers.tei(tei("<body><div>" + "".join(f"<p>{line}</p>" for line in lines) + "</div></body>"))
    assert cut == ["\n".join(lines[:2]), lines[2]]
    assert readers.tei(tei(f"<body><div><p>{'a' * 16_000}</p></div></body>")) == ["a" * 16_000]


def test_a_long_line_is_cut_within() -> None:
    cut = readers.tei(tei(f"<body><div><head>I</head><p>{'a' * 30_000}</p></div></body>"))
    assert [len(piece) for piece in cut] == [12_000, 12_000, 6_002]


def test_xml_that_is_no_tei_is_refused() -> None:
    with pytest.raises(ValueError, match="without a TEI body"):
        readers.tei(b"<TEI><body><p>No namespace.</p></body></TEI>")


CONLLU = b"""# newdoc id = a
# text = One two.
1\tOne\t_

# text = Three.

# newdoc id = b
# text_en = No
# text = Four.
"""


def test_a_conllu_file_gives_the_documents_that_it_marks() -> None:
    assert readers.conllu(CONLLU) == ["One two. Three.", "Four."]
    with pytest.raises(ValueError, match="before the first '# newdoc'"):
        readers.conllu(b"# text = One.\n")


@pytest.mark.parametrize(
    ("size", "documents"), [(1, ["One two.", "Three.", "Four."]), (2, ["One two. Three.", "Four."])]
)
def test_sentences_are_grouped(size: int, documents: list[str]) -> None:
    assert readers.grouped_sentences(CONLLU, size=size) == documents


def test_a_wikitext_file_gives_its_articles() -> None:
    raw = b" \n = First = \n \n Text . \n \n = = Section = = \n \n More . \n \n = Second = \n \n Text . \n"
    assert [text.strip() for text in readers.wikitext(raw)] == [
        "",
        "= First = \n \n Text . \n \n = = Section = = \n \n More .",
        "= Second = \n \n Text .",
    ]


def test_the_first_problems_are_read_with_their_solutions() -> None:
    raw = b"".join(json.dumps({"question": f"{n}+1?", "answer": str(n + 1)}).encode() + b"\n" for n in range(3))
    assert readers.gsm8k(raw, first=2) == ["0+1?\n1", "1+1?\n2"]
    assert readers.gsm8k(raw, first=9) == ["0+1?\n1", "1+1?\n2", "2+1?\n3"]


def test_a_dialogue_has_each_utterance_above_its_translation() -> None:
    said = [("Bonjour.", "Hello."), ("Hm.", None), ("", "What?"), ("Bye.", "Salut.")]
    utterances = {
        str(n): {"original_text": text, "reference_translation": translation}
        for n, (text, translation) in enumerate(said)
    }
    raw = json.dumps({"utterances": utterances}).encode()
    assert readers.dialogue_pairs(raw) == ["Bonjour.\nHello.\nHm.\nBye.\nSalut."]


# A small sample: two subsets of the real names, since a name chooses the reader

LAW = "Jedes Gesetz hat einen Anfang, eine Mitte und ein Ende. Größe: 1\u202f%.\n"
TALE = '<TEI xmlns="http://www.tei-c.org/ns/1.0"><text><body><div><head>I</head></div>{}</body></text></TEI>'
CHAPTER = "<div><p>There was once a miller who had three sons.</p></div>"
COMMIT = "77abca2ceea3b7b89ea70afb13b5dd55415eb124"
TEMPLATE = "{repository}/{commit}/{source_path}"
RAW_FILES = {
    ("gesetze", "laws/gesetze", "b/bgb/index.md"): LAW,
    ("gesetze", "laws/gesetze", "a/ao #1/index.md"): LAW * 2,
    ("eltec-en", "novels/english", "level1/tale.xml"): TALE.format(CHAPTER),
}
FINISHED = {"gesetze/gesetze.jsonl", "eltec-en/eltec-en.jsonl"}


def raw_row(subset: str, repository: str, path: str, content: str) -> RawFile:
    digest = hashlib.sha256(content.encode()).hexdigest()
    language, category, licence = ("de", "Legislative", "CC0") if subset == "gesetze" else ("en", "Book", "CC BY 4.0")
    return RawFile(subset, language, category, repository, COMMIT, path, licence, digest, len(content.encode()))


def line(row: RawFile, number: int, text: str) -> str:
    """A document as it must be written, spelled out."""
    return (
        f'{{"id": "{row.subset}/{row.path.split("/")[-1]}/{number}", "text": {json.dumps(text, ensure_ascii=False)}, '
        f'"meta": {{"lang": "{row.language}", "category": "{row.category}", '
        f'"source": "github.com/{row.repository}", "path": "{row.path}", "licence": "{row.licence}"}}}}\n'
    )


ROWS = [raw_row(*key, content) for key, content in RAW_FILES.items()]
CONTENTS = {
    "gesetze": line(ROWS[0], 0, LAW.strip()) + line(ROWS[1], 0, (LAW * 2).strip()),
    # The first chapter is a bare heading: too short for a document, but it has its number.
    "eltec-en": line(ROWS[2], 1, "There was once a miller who had three sons."),
}


def write_tables(root: Path, rows: list[RawFile], contents: dict[str, str]) -> Project:
    """A project that pins these files and no others."""
    raw, finished = list(RawFile.__dataclass_fields__), list(FinishedFile.__dataclass_fields__)
    write_csv(root / "config/corpora/sample.csv", raw, [[getattr(row, name) for name in raw] for row in rows])
    digests = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in contents.items()}
    write_csv(
        root / "config/corpora/sample_files.csv",
        finished,
        [[name, text.count("\n"), len(text.encode()), digests[name]] for name, text in contents.items()],
    )
    return Project(root)


@pytest.fixture
def small(tmp_path: Path) -> Project:
    return write_tables(tmp_path / "project", ROWS, CONTENTS)


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    """A folder of the raw files, laid out as their host does."""
    for row, content in zip(ROWS, RAW_FILES.values(), strict=True):
        write(tmp_path / "mirror" / row.pin.path, content)
    return tmp_path / "mirror"


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """A folder of the finished files."""
    for name, content in CONTENTS.items():
        write(tmp_path / "finished" / name / f"{name}.jsonl", content)
    return tmp_path / "finished"


@pytest.fixture
def into(tmp_path: Path) -> Path:
    return tmp_path / "into"


@pytest.fixture
def url(mirror: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a raw file on a server of this machine, which serves the mirror."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(mirror))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/{TEMPLATE}"
        server.shutdown()


def ignore(_: Pin) -> None:
    """Shows no progress."""


def finished_in(folder: Path) -> dict[str, str]:
    """The finished files of a folder, and whatever else is beside the raw ones."""
    names = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {
        name.as_posix(): (folder / name).read_text(encoding="utf-8")
        for name in names
        if name.parts[0] != ".raw" and name.name != "LICENCES.csv"
    }


ALL = {f"{name}/{name}.jsonl": content for name, content in CONTENTS.items()}


# Making it


def test_a_mirror_of_raw_files_makes_all_subsets_and_the_second_time_none(
    small: Project, mirror: Path, into: Path
) -> None:
    shown: list[Pin] = []
    assert [s.finished.subset for s in fetch_sample(small, into, mirror, shown.append)] == ["gesetze", "eltec-en"]
    assert finished_in(into) == ALL
    shutil.rmtree(into / ".raw")  # what is finished needs no raw files
    assert fetch_sample(small, into, mirror / "gone", shown.append) == []
    assert sum(pin.bytes for pin in shown) == 2 * sum(row.bytes for row in ROWS)


def test_a_mirror_of_finished_files_needs_no_raw_files(small: Project, finished: Path, into: Path) -> None:
    shown: list[Pin] = []
    assert len(fetch_sample(small, into, finished, shown.append)) == 2
    assert finished_in(into) == ALL
    assert not (into / ".raw").exists()
    assert len(shown) == 3


def test_a_mirror_may_hold_some_of_both(small: Project, mirror: Path, finished: Path, into: Path) -> None:
    shutil.copytree(finished / "gesetze", mirror / "gesetze")
    shutil.rmtree(mirror / "laws")
    assert len(fetch_sample(small, into, mirror, ignore)) == 2
    assert finished_in(into) == ALL


def test_a_server_gives_all_subsets(small: Project, url: str, into: Path) -> None:
    assert len(fetch_sample(small, into, None, ignore, url=url)) == 2
    assert finished_in(into) == ALL


def test_the_licences_go_with_the_texts(small: Project, mirror: Path, into: Path) -> None:
    fetch_sample(small, into, mirror, ignore)
    with (into / "LICENCES.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["subset", "licence", "repository", "commit"],
            ["eltec-en", "CC BY 4.0", "novels/english", COMMIT],
            ["gesetze", "CC0", "laws/gesetze", COMMIT],
        ]


def test_an_interrupted_fetch_goes_on(small: Project, url: str, mirror: Path, into: Path) -> None:
    last = mirror / ROWS[2].pin.path
    content = last.read_text()
    last.unlink()
    with pytest.raises(LucieError, match=r"tale\.xml could not be fetched"):
        fetch_sample(small, into, None, ignore, url=url)
    assert set(finished_in(into)) == {"gesetze/gesetze.jsonl"}
    shutil.rmtree(mirror / "laws")  # what is there is not asked for again
    write(last, content)
    assert [s.finished.subset for s in fetch_sample(small, into, None, ignore, url=url)] == ["eltec-en"]
    assert finished_in(into) == ALL


def test_a_fetch_stopped_within_a_subset_goes_on_from_its_raw_files(
    small: Project, url: str, mirror: Path, into: Path
) -> None:
    gone = mirror / ROWS[1].pin.path
    content = gone.read_text()
    gone.unlink()
    with pytest.raises(LucieError, match="could not be fetched"):
        fetch_sample(small, into, None, ignore, url=url)
    assert finished_in(into) == {}
    assert (into / ".raw" / ROWS[0].pin.path).read_text() == LAW
    (mirror / ROWS[0].pin.path).unlink()
    write(gone, content)
    fetch_sample(small, into, None, ignore, url=url)
    assert finished_in(into) == ALL


def test_a_finished_file_that_was_changed_is_made_again(small: Project, mirror: Path, into: Path) -> None:
    write(into / "gesetze" / "gesetze.jsonl", "{}\n")
    assert len(fetch_sample(small, into, mirror, ignore)) == 2
    assert finished_in(into) == ALL


# What is not as pinned


def test_a_raw_file_that_is_not_the_pinned_one_is_named(small: Project, mirror: Path, into: Path) -> None:
    write(mirror / ROWS[0].pin.path, "Kein Gesetz.\n")
    with pytest.raises(MismatchError, match=r"bgb/index\.md is not the pinned file"):
        fetch_sample(small, into, mirror, ignore)
    assert finished_in(into) == {}


def test_a_wrong_answer_of_a_server_is_a_mismatch(small: Project, url: str, mirror: Path, into: Path) -> None:
    write(mirror / ROWS[1].pin.path, "Kein Gesetz.\n")
    with pytest.raises(MismatchError, match=r"index\.md is not the pinned file") as caught:
        fetch_sample(small, into, None, ignore, url=url)
    assert "ao #1" in unquote(str(caught.value))
    assert finished_in(into) == {}


def test_a_damaged_finished_file_of_a_mirror_is_named_and_what_is_here_stays(
    small: Project, finished: Path, into: Path
) -> None:
    write(into / "gesetze" / "gesetze.jsonl", "older\n")
    write(finished / "gesetze" / "gesetze.jsonl", "{}\n")
    with pytest.raises(MismatchError, match=r"(?s)gesetze\.jsonl would not be the file pinned.*Replace .*finished"):
        fetch_sample(small, into, finished, ignore)
    assert finished_in(into) == {"gesetze/gesetze.jsonl": "older\n"}


def test_a_subset_that_does_not_come_out_as_pinned_is_not_kept(tmp_path: Path, mirror: Path, into: Path) -> None:
    project = write_tables(tmp_path / "project", ROWS, CONTENTS | {"gesetze": CONTENTS["gesetze"] + "\n"})
    with pytest.raises(MismatchError, match=r"gesetze/gesetze\.jsonl would not be .*sample_files\.csv.*not kept"):
        fetch_sample(project, into, mirror, ignore)
    assert finished_in(into) == {}


def test_a_mirror_that_lacks_a_subset_is_told_what_it_may_hold(small: Project, mirror: Path, into: Path) -> None:
    shutil.rmtree(mirror / "novels")
    with pytest.raises(UsageError, match=r"neither eltec-en/eltec-en\.jsonl nor its raw files, such as novels/english"):
        fetch_sample(small, into, mirror, ignore)
    (mirror / ROWS[1].pin.path).unlink()
    with pytest.raises(UsageError, match=r"The mirror .* lacks laws/gesetze/.*ao #1/index\.md"):
        fetch_sample(small, into.with_name("other"), mirror, ignore)


@pytest.mark.parametrize(
    ("subset", "content"),
    [
        ("eltec-en", "<TEI><body></TEI>"),
        ("eltec-en", "<TEI/>"),
        ("gesetze", "Gr\udce9n"),  # the lone byte of another encoding
        ("gsm8k-train", '{"question": "1+1?"}\n'),
        ("gsm8k-train", '{"question": \n'),
        ("diabla", "{}"),
        ("ud-en-ewt", "# text = A sentence of no document.\n"),
    ],
)
def test_a_raw_file_that_a_reader_cannot_read_is_named(tmp_path: Path, into: Path, subset: str, content: str) -> None:
    raw = content.encode("utf-8", "surrogateescape")
    row = RawFile(subset, "en", "Book", "a/b", COMMIT, "folder/file", "CC0", hashlib.sha256(raw).hexdigest(), len(raw))
    place = tmp_path / "mirror" / row.pin.path
    place.parent.mkdir(parents=True)
    place.write_bytes(raw)
    project = write_tables(tmp_path / "project", [row], {subset: ""})
    with pytest.raises(UsageError, match=rf"a/b/{COMMIT}/folder/file .*cannot be read as a file of {subset}"):
        fetch_sample(project, into, tmp_path / "mirror", ignore)
    assert finished_in(into) == {}


# The tables of pins


def test_a_subset_without_reader_pin_or_raw_file_is_named(tmp_path: Path) -> None:
    for rows, contents, error in (
        (ROWS, {"gesetze": ""}, "'eltec-en'"),
        (ROWS[:2], CONTENTS, "no raw file of eltec-en"),
        ([*ROWS, raw_row("gesetz", "a/b", "c", "")], CONTENTS | {"gesetz": ""}, "'gesetz'. Did you mean 'gesetze'"),
    ):
        with pytest.raises(UsageError, match=error):
            load_subsets(write_tables(tmp_path, rows, contents))


@pytest.mark.parametrize(
    ("table", "error"),
    [
        ("subset,documents,sha256\n", "has the columns subset, documents, sha256; they must be subset, documents, by"),
        ("subset,documents,bytes,sha256\na,1,2\n", "line 2: 3 cells where the table has 4 columns"),
        ("subset,documents,bytes,sha256\na,1,2,b\na,-1,2,b\n", "line 3: documents is '-1'"),
    ],
)
def test_a_damaged_table_is_named_with_its_line(tmp_path: Path, table: str, error: str) -> None:
    with pytest.raises(UsageError, match=rf"table\.csv.*{error}"):
        read_rows(write(tmp_path / "table.csv", table), FinishedFile)


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"sample_files\.csv is missing. Restore it from git"):
        load_subsets(Project(tmp_path))


def test_the_sample_is_pinned_whole(project: Project) -> None:
    subsets = load_subsets(project)
    files = [file for subset in subsets for file in subset.files]
    assert {subset.finished.subset for subset in subsets} == set(READERS)
    assert (len(subsets), len(files), len({file.pin.path for file in files})) == (17, 394, 394)
    assert sum(subset.finished.bytes for subset in subsets) == 29_077_657
    for file in files:
        assert re.fullmatch(r"[0-9a-f]{40}", file.commit), file.path
        assert re.fullmatch(r"[0-9a-f]{64}", file.sha256), file.path
        assert file.licence and file.bytes > 0
        assert not Path(file.path).is_absolute() and ".." not in Path(file.path).parts


def test_the_pinned_files_are_those_of_the_shared_sample(project: Project) -> None:
    folder = ROOT.parent / "shared" / "corpora" / "open-sample"
    if not folder.is_dir():
        pytest.skip(f"the sample is not here: no {folder.parent.name}/{folder.name} in {ROOT.parent.name}/shared/")
    for subset in load_subsets(project):
        content = (folder / subset.finished.path).read_bytes()
        found = (content.count(b"\n"), len(content), hashlib.sha256(content).hexdigest())
        assert found == (subset.finished.documents, subset.finished.bytes, subset.finished.sha256), subset.finished.path


# The command


def test_the_verb_makes_the_sample_and_says_so_in_a_line(toy: Project, mirror: Path, lucie: Lucie) -> None:
    write_tables(toy.root, ROWS, CONTENTS)
    done = lucie(toy, "fetch", "sample", "--mirror", str(mirror))
    assert done.returncode == Exit.HELD, done.stderr
    assert finished_in(toy.root / "data" / "sample") == ALL
    assert "2 subsets, 2 of them new: 3 documents, 0.0 MB in data/sample, all as pinned" in done.stdout
    assert "0 of them new" in lucie(toy, "fetch", "sample").stdout  # and needs no network


def test_the_verb_ends_as_files_that_are_not_as_pinned_do(toy: Project, mirror: Path, lucie: Lucie) -> None:
    write_tables(toy.root, ROWS, CONTENTS)
    write(mirror / ROWS[0].pin.path, "Kein Gesetz.\n")
    assert lucie(toy, "fetch", "sample", "--mirror", str(mirror)).returncode == Exit.MISMATCH


def test_making_the_sample_imports_no_data_frames() -> None:
    code = "import sys, lucie.corpus.sample; print([m for m in ('polars', 'pyarrow', 'pooch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
