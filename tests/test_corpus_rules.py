"""Rules about documents: their signals against slow definitions, their thresholds, licences, addresses, perplexity."""

from __future__ import annotations

import json
import math
import random
import shutil
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import chain, pairwise
from pathlib import Path

import polars as pl
import pytest
from conftest import ROOT, edit
from hypothesis import assume, example, given
from hypothesis import strategies as st

from lucie.corpus import language
from lucie.corpus.clean import Cleaning
from lucie.corpus.examine import Examined, Examiner, Models
from lucie.corpus.licences import Rights, rights
from lucie.corpus.perplexity import ALPHABET, ORDER, CharacterModel, Scale, half_of, prepared, scales_of
from lucie.corpus.pii import replaced
from lucie.corpus.recipe import Recipe
from lucie.corpus.rules import SIGNALS, THRESHOLDS, chunk_characters, minhash_settings, rule_set
from lucie.corpus.signals import BULLETS, ELLIPSES, SYMBOLS, normalised, repetition, signals
from lucie.corpus.web import BlockList, Robots, host, is_covered
from lucie.errors import UsageError
from lucie.project import Project
from lucie.records import load_record

pytestmark = pytest.mark.filterwarnings("ignore:.*registered_domain:DeprecationWarning")  # datatrove's

# Signals, defined slowly


def slow_words(text: str) -> list[str]:
    """Lower case, ASCII punctuation removed, accents apart from their letters."""
    kept = "".join(sign for sign in text.lower() if sign not in string.punctuation)
    return unicodedata.normalize("NFD", kept).split()


def slow_sentences(text: str) -> int:
    """Runs that begin at the edge of a word and end with full stops, exclamation and question marks, or the text."""

    def is_word(place: int) -> bool:
        return 0 <= place < len(text) and (text[place].isalnum() or text[place] == "_")

    found = place = 0
    while place < len(text):
        if is_word(place - 1) == is_word(place) or text[place] in ".!?":
            place += 1
            continue
        found += 1
        while place < len(text) and text[place] not in ".!?":
            place += 1
        while place < len(text) and text[place] in ".!?":
            place += 1
    return found


def slow_top(words: list[str], n: int) -> float:
    """The part of the characters in the n-gram that comes most often (the longest of these), if it comes twice."""
    counts = Counter(tuple(words[at : at + n]) for at in range(len(words) - n + 1))
    most = max(counts.values(), default=0)
    if most < 2:
        return 0.0
    return max(len("".join(gram)) for gram, times in counts.items() if times == most) * most / len("".join(words))


def slow_repeated(words: list[str], n: int) -> float:
    """The part of the characters in n-grams that were there before."""
    seen: set[tuple[str, ...]] = set()
    marked: set[int] = set()
    for at in range(len(words) - n + 1):
        gram = tuple(words[at : at + n])
        if gram in seen:
            marked |= set(range(at, at + n))
        seen.add(gram)
    return sum(len(words[at]) for at in marked) / max(1, len("".join(words)))


def part(some: float, all_: float) -> float:
    return some / all_ if all_ else 0.0


def slow_signals(text: str, listed: set[str]) -> dict[str, float]:
    words, raw = slow_words(text), text.split()
    lines = text.splitlines() or [""]
    bullets = [line for line in lines if line.strip() and line.strip()[0] in "•‣▶◀◦■□▪▫–"]  # noqa: RUF001
    ellipses = [line for line in lines if line.strip()[-3:] == "..." or line.strip()[-1:] == "…"]
    return {
        "words": len(words),
        "characters": len(text),
        "sentences": slow_sentences(text),
        "curly_brackets": part(sum(sign in "{}" for sign in text), len(text)),
        "lorem_ipsum": part(len(" ".join(words).split("lorem ipsum")) - 1, len(words)),
        "listed_words": len([word for word in words if word in listed]),
        "mean_word_length": part(len("".join(words)), len(words)),
        "symbols_per_word": part(sum(len(text.split(symbol)) - 1 for symbol in ("#", "...", "…")), len(words)),
        "bullet_lines": part(len(bullets), len(lines)),
        "ellipsis_lines": part(len(ellipses), len(lines)),
        "words_without_letter": part(len([word for word in raw if not any(map(str.isalpha, word))]), len(raw)),
        **{f"top_{n}gram": slow_top(words, n) for n in (2, 3, 4)},
        **{f"repeated_{n}grams": slow_repeated(words, n) for n in range(5, 11)},
    }


PIECES = [
    "a",
    "b",
    "Été",
    "e\u0301",
    "lorem",
    "ipsum",
    "{",
    "}",
    "#",
    "...",
    "…",
    ".",
    "!",
    "?",
    ",",
    "'",
    "_",
    "7",
    "12",
]
MARKS = [" ", " ", " ", "\n", "\n• ", "\n– ", "\r\n", "\u2028", "\x1d", "\xa0"]  # noqa: RUF001
TEXT = st.text(max_size=80) | st.lists(st.sampled_from(PIECES + MARKS), max_size=60).map("".join)
WORDS = st.lists(st.sampled_from(["a", "bb", "ccc", "d"]), max_size=60)


@given(TEXT)
@example("• a\n• b\n")
@example("Lorem ipsum. Lorem ipsum.")
@example("a a a")
def test_signals_are_those_of_their_slow_definitions(text: str) -> None:
    listed = {"a", "ete", "e\u0301te\u0301"}
    assert signals(text, listed) == pytest.approx(slow_signals(text, listed))


@given(WORDS)
def test_repetition_is_that_of_its_slow_definition(words: list[str]) -> None:
    found = repetition(words)
    assert all(found[f"top_{n}gram"] == pytest.approx(slow_top(words, n)) for n in (2, 3, 4))
    assert all(found[f"repeated_{n}grams"] == pytest.approx(slow_repeated(words, n)) for n in range(5, 11))


@given(st.lists(st.integers(0, 10**6).map(str), min_size=10, max_size=50, unique=True), st.integers(2, 4))
def test_words_that_come_once_repeat_nothing_and_words_that_come_again_repeat_all(words: list[str], times: int) -> None:
    assert set(repetition(words).values()) <= {0.0}
    again = repetition(words * times)
    assert all(again[f"repeated_{n}grams"] == pytest.approx(1 - 1 / times) for n in range(5, 11))


def test_hashes_of_ngrams_do_not_collide_in_a_long_text() -> None:
    words = [f"{n}" for n in range(100_000)]
    random.Random(1).shuffle(words)
    assert set(repetition(words).values()) == {0.0}


@given(TEXT)
def test_signals_are_finite_and_shares_lie_between_0_and_1(text: str) -> None:
    found = signals(text)
    assert all(math.isfinite(value) and value >= 0 for value in found.values())
    shares = [name for name in found if name.endswith(("lines", "letter", "gram", "grams", "brackets"))]
    assert all(found[name] <= 1 + 1e-9 for name in shares if not name.startswith("top_"))


@given(st.text(max_size=60))
def test_normalising_twice_is_normalising_once_and_forgets_case_blanks_and_composition(text: str) -> None:
    once = normalised(text)
    assert normalised(unicodedata.normalize("NFD", text)) == normalised(unicodedata.normalize("NFC", text))
    assert normalised(f" {text}\n\t".replace(" ", "  ")) == once


# Rules and their thresholds

PERPLEXITY = (20.0, 50.0)


def published(project: Project) -> list[str]:
    listed = load_record(project, THRESHOLDS)["corpora"].unique(maintain_order=True)
    return list(dict.fromkeys(name.strip() for corpora in listed for name in corpora.split(",")))


def test_every_published_rule_is_applied_or_named(project: Project) -> None:
    listed = load_record(project, THRESHOLDS)
    for name in published(project):
        rows = [
            row
            for row in listed.iter_rows(named=True)
            if name in [part.strip() for part in row["corpora"].split(",")] and row["drops"] != "parameter"
        ]
        if rows:
            found = rule_set(name, PERPLEXITY)
            assert len(found.rules) == len([row for row in rows if row["rule"] in SIGNALS])
            assert list(found.not_applied) == [row["rule"] for row in rows if row["rule"] not in SIGNALS]
            assert len({rule.name for rule in found.rules}) == len(found.rules), "names tell rules apart"
    applied = rule_set("RedPajama", PERPLEXITY)
    assert (len(applied.rules), applied.not_applied) == (24, ())
    assert rule_set("GallicaPress (v1.2)", PERPLEXITY).not_applied == ("OCR score",)


def test_a_rule_drops_beyond_its_threshold_and_not_at_it(project: Project) -> None:
    listed = load_record(project, THRESHOLDS).filter(pl.col("drops") != "parameter")
    tried = 0
    for row in listed.iter_rows(named=True):
        name = row["corpora"].split(",")[0].strip()
        below = row["drops"] == "below"
        for rule in rule_set(name, PERPLEXITY).rules:
            if rule.signals != SIGNALS.get(row["rule"]) or rule.below != below:
                continue
            if not rule.signals[0].startswith("perplexity"):
                assert rule.threshold == float(row["value"])
            step = -1e-6 if below else 1e-6
            assert not rule.drops(dict.fromkeys(rule.signals, rule.threshold))
            assert not rule.drops(dict.fromkeys(rule.signals, rule.threshold - step))
            assert rule.drops(dict.fromkeys(rule.signals, rule.threshold + step))
            assert not rule.drops({}), "a signal that is not there breaks no rule"
            tried += 1
    assert tried == listed.filter(listed["rule"].is_in(list(SIGNALS))).height > 30


def test_perplexity_is_held_to_our_own_bounds() -> None:
    found = {rule.name: rule for rule in rule_set("RedPajama", PERPLEXITY).rules}
    assert found["perplexity too low"].threshold == 20
    assert found["perplexity too high"].threshold == 50


def test_a_rule_about_mean_and_median_asks_for_both() -> None:
    (rule,) = (rule for rule in rule_set("HAL", PERPLEXITY).rules if "perplexity_mean" in rule.signals)
    assert rule.drops({"perplexity_mean": 51.0, "perplexity_median": 51.0})
    assert not rule.drops({"perplexity_mean": 51.0, "perplexity_median": 49.0})
    assert not rule.drops({"perplexity_mean": 49.0, "perplexity_median": 51.0})


def test_a_rule_set_that_there_is_not_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"no published rule set 'Redpajama'\. Did you mean 'RedPajama'"):
        rule_set("Redpajama", PERPLEXITY)


def test_minhash_and_chunks_are_as_published() -> None:
    assert minhash_settings() == {"buckets": 14, "hashes per bucket": 8, "words per shingle": 5}
    assert chunk_characters() == 10_000


# Documents under rules


def examiner(
    project: Project,
    *settings: str,
    models: Models | None = None,
    scales: Mapping[tuple[str, str], Scale] | None = None,
) -> Examiner:
    recipe = Recipe.load(project, "mini", ["lists.words=", "lists.domains=", "lists.robots=", *settings])
    return Examiner(project, recipe, models or {}, scales or {})


def document(text: str, **columns: str) -> dict[str, str | None]:
    plain = {"language": "", "category": "web", "licence": "CC0", "url": "", "extra": ""}
    return {"text": text, **plain, **columns}


def prose(words: int, sentences: int = 5, length: int = 5) -> str:
    """A text of so many different words of the same length, in so many sentences, that breaks no rule."""
    made = ["".join(chr(97 + n // 26**place % 26) for place in reversed(range(length))) for n in range(words)]
    cuts = [words * n // sentences for n in range(sentences + 1)]
    return " ".join(" ".join(made[a:b]) + "." for a, b in pairwise(cuts))


REDPAJAMA = ("rule_sets={web: [RedPajama]}",)
BASE = prose(100)
EDGES: dict[str, tuple[str, str]] = {  # the rule: a text just within it, one just beyond
    "words too low": (prose(50), prose(49)),
    "words too high": (prose(100_000), prose(100_001)),
    "mean word length too low": (prose(100, length=3), prose(99, length=3) + " zz."),
    "mean word length too high": (prose(100, length=10), prose(99, length=10) + " " + "z" * 11 + "."),
    "sentences too low": (prose(100, sentences=3), prose(100, sentences=2)),
    "curly brackets too high": (BASE, BASE + "}"),
    "lorem ipsum too high": (BASE + " Lorem, and ipsum.", BASE + " Lorem-\nIpsum Lorem: IPSUM."),
    "symbols per word too high": (BASE + "#" * 10, BASE + "#" * 11),
    "bullet lines too high": ("• " + BASE.replace(" ", "\n• ", 8) + "\nlast.", "• " + BASE.replace(" ", "\n• ", 9)),
    "ellipsis lines too high": (
        BASE.replace(" ", "...\n", 2).replace(" ", "…\n", 1).replace(" ", "\n", 6),
        BASE.replace(" ", "...\n", 2).replace(" ", "…\n", 2).replace(" ", "\n", 5),
    ),
    "words without letter too high": (prose(70) + " 7" * 0 + "".join(f" {n}" for n in range(30)), prose(69)
                                      + "".join(f" {n}" for n in range(31))),
}  # fmt: skip


@pytest.mark.parametrize("name", EDGES)
def test_a_text_just_within_a_rule_is_kept_and_one_just_beyond_is_dropped(project: Project, name: str) -> None:
    within, beyond = EDGES[name]
    found = examiner(project, *REDPAJAMA)
    assert name not in found.examine(document(within)).broken
    assert name in found.examine(document(beyond)).broken


def test_a_sound_text_breaks_no_rule_and_stays_as_it_is(project: Project) -> None:
    found = examiner(project, *REDPAJAMA).examine(document(BASE))
    assert (found.broken, found.reason, found.text) == ([], "", BASE)


def repeated(words: int, again: int) -> str:
    """So many different words of which the last ``again`` were there before."""
    return prose(words - again) + " " + " ".join(prose(words - again).replace(".", "").split()[:again]) + "."


@pytest.mark.parametrize(("n", "most"), [(n, 20 - n) for n in range(5, 11)])
def test_repeated_words_are_dropped_above_the_part_published(project: Project, n: int, most: int) -> None:
    """Of 100 words of one length as many may be repeated as the threshold is percent: 15 of 5-grams, 10 of 10-grams."""
    found = examiner(project, *REDPAJAMA)
    name = f"repeated {n}grams too high"
    assert name not in found.examine(document(repeated(100, most))).broken
    assert name in found.examine(document(repeated(100, most + 1))).broken


@pytest.mark.parametrize(("n", "percent"), [(2, 20), (3, 18), (4, 16)])
def test_the_most_frequent_words_are_dropped_above_the_part_published(project: Project, n: int, percent: int) -> None:
    found = examiner(project, *REDPAJAMA)
    gram = [f"z{letter}zzz" for letter in "abcd"[:n]]
    for times in range(2, 12):
        words = prose(100).replace(".", "").split()
        # 100 words of which ``times`` runs are the same, each between two others.
        runs = [[*gram, words.pop()] for _ in range(times)]
        text = " ".join([*chain(*runs), *words[: 100 - times * (n + 1)]]) + ". A. B. C."
        top = signals(text)[f"top_{n}gram"]
        assert top == pytest.approx(times * n * 5 / 503)
        dropped = f"top {n}gram too high" in found.examine(document(text)).broken
        assert dropped == (times * n * 5 / 503 > percent / 100)


def test_the_first_rule_of_the_record_is_the_reason_and_all_are_told(project: Project) -> None:
    found = examiner(project, *REDPAJAMA).examine(document("{ # # #"))
    assert found.reason == found.broken[0] == "sentences too low"
    assert {"curly brackets too high", "words too low"} <= set(found.broken)


def test_a_listed_word_is_found_in_any_case_beside_any_punctuation_and_not_within_others(project: Project) -> None:
    found = examiner(project, *REDPAJAMA, "lists.words=data/mini/lists/words.txt")
    for text, broken in (("a Gromblard!", True), ("«gromblard»", False), ("gromblards", False), ("(KROTZMAL)", True)):
        reasons = found.examine(document(f"{BASE} {text}")).broken
        assert ("listed words too high" in reasons) == broken, text


def test_rules_that_cannot_be_applied_are_named(project: Project) -> None:
    bare = examiner(project, *REDPAJAMA)
    page = document(BASE)
    named = ["address blocked", "address covered", "language score too low", "listed words too high",
             "perplexity too high", "perplexity too low", "robots forbid"]  # fmt: skip
    assert bare.not_applied(page, bare.examine(page)) == named
    lists = [f"lists.{name}=data/mini/lists/{file}" for name, file in
             (("words", "words.txt"), ("domains", "domains.txt"), ("robots", "robots.jsonl"))]  # fmt: skip
    model = CharacterModel.train([BASE])
    full = examiner(project, *REDPAJAMA, *lists, models={"fr": (model, model)})
    page = document(BASE, language="fr", url="https://archives-des-forums.example/")
    assert full.not_applied(page, full.examine(page)) == []
    dropped = document(BASE, licence="CC BY-NC")
    assert full.not_applied(dropped, full.examine(dropped)) == []


@pytest.mark.parametrize(
    ("spoken", "died", "kept"),
    [
        ("fr", 1944, True),
        ("fr", 1945, False),
        ("de", 1954, True),
        ("de", 1955, False),
        ("", 1954, True),
        ("fr", None, True),
    ],
)
def test_authors_must_be_dead_for_80_years_in_french_and_70_otherwise(
    project: Project, spoken: str, died: int | None, kept: bool
) -> None:
    extra = json.dumps({"author_death": died} if died else {})
    found = examiner(project, "rule_sets={book: [Gutenberg]}", "reference_year=2024")
    examined = found.examine(document("Text.", language=spoken, category="book", extra=extra))
    assert examined.broken == ([] if kept else ["years since death too low"])


@pytest.mark.parametrize("extra", ["", "no JSON", "[1]", '{"author_death": null}', '{"author_death": "unknown"}', "7"])
def test_an_author_of_whom_nothing_is_known_breaks_no_rule(project: Project, extra: str) -> None:
    found = examiner(project, "rule_sets={book: [Gutenberg]}")
    assert found.examine(document("Text.", language="fr", category="book", extra=extra)).broken == []


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project with records of its own."""
    root = tmp_path / "elsewhere"
    shutil.copytree(ROOT / "config", root / "config")
    shutil.copytree(ROOT / "data" / "records", root / "data" / "records")
    monkeypatch.setenv("LUCIE_ROOT", str(root))
    return Project(root)


def test_thresholds_come_from_the_record_and_change_what_the_work_is_made_from(
    elsewhere: Project, tmp_path: Path
) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.jsonl").write_text('{"text": "a"}\n')

    def key() -> str:
        recipe = Recipe.load(elsewhere, str(tmp_path / "texts"))
        return Cleaning(elsewhere, recipe, tmp_path / "into").key

    text, before = prose(55), key()
    assert key() == before
    assert examiner(elsewhere, *REDPAJAMA).examine(document(text)).broken == []
    edit(elsewhere.records / f"{THRESHOLDS}.csv", "Gopher,words,document,below,50,", "Gopher,words,document,below,56,")
    assert examiner(elsewhere, *REDPAJAMA).examine(document(text)).broken == ["words too low"]
    assert key() != before


# Licences


@pytest.mark.parametrize(
    ("licence", "kind"),
    [
        *((name, Rights.OPEN) for name in (
            "CC0", "CC0-1.0", "CC-BY-4.0", "cc-by", "CC BY-SA 3.0", "CC_BY_SA", "https://creativecommons.org CC BY 4.0",
            "public domain", "Public-Domain", "Domaine public", "No copyright", "No Known Copyright", "Etalab 2.0",
            "Licence Ouverte / Open Licence 2.0", "Open Government Licence", "MIT", "MIT License", "Apache-2.0",
            "BSD-3-Clause", "GPL-3.0", "LGPL-2.1", "AGPL-3.0", "The Unlicense", "EUPL-1.2", "GFDL", "ODC-By", "ODbL",
        )),
        *((name, Rights.NONCOMMERCIAL) for name in (
            "CC-BY-NC-4.0", "CC BY-NC-SA 4.0", "cc_by_nc_sa", "noncommercial", "Non-Commercial use", "non commercial",
            "No commercial use permitted", "Not for commercial use",
        )),
        *((name, Rights.CLOSED) for name in (
            "All rights reserved", "all-rights-reserved", "Tous droits réservés", "proprietary", "Copyright 2020 X",
            "CC-BY-ND-4.0", "CC BY-NC-ND 4.0", "no derivatives", "NoDerivs",
        )),
        *((name, Rights.UNKNOWN) for name in (
            None, "", " ", "-", "unknown", "not-specified", "see website", "limited use", "Permitted for research",
            "submitted by the author", "not reopened", "fair use",
        )),
    ],
)  # fmt: skip
def test_a_licence_is_open_noncommercial_closed_or_unknown(licence: str | None, kind: Rights) -> None:
    assert rights(licence) == kind
    assert rights(licence.upper() if licence else licence) == kind


def test_one_setting_says_which_licences_are_kept(project: Project) -> None:
    for kept, reason in (("[open]", "licence noncommercial"), ("[open, noncommercial]", "")):
        found = examiner(project, *REDPAJAMA, f"rights={kept}").examine(document(BASE, licence="CC-BY-NC-SA-4.0"))
        assert found.reason == reason


# Addresses


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Write to jean.dupont@mairie.example!", "Write to <email>!"),
        ("mailto:a+b@c.co.uk, A@B.ORG", "mailto:<email>, <email>"),
        ("the server 8.8.8.8:53 or 1.1.1.1.", "the server <ip>:53 or <ip>."),
        ("at home 192.168.1.17, 10.0.0.1, 172.16.3.4, 127.0.0.1", None),
        ("not routed: 169.254.1.1 100.64.0.1 0.0.0.0 255.255.255.255", None),
        ("no addresses: a@b, @user, 300.1.1.1, 1.2.3, 12:30", None),
        ("left by others: <email> and <ip>", None),
        ("", None),
    ],
)  # fmt: skip
def test_emails_and_public_ip_addresses_are_replaced_and_counted(text: str, clean: str | None) -> None:
    found, counts = replaced(text)
    assert found == (text if clean is None else clean)
    assert counts["<email>"] == found.count("<email>") - text.count("<email>")
    assert counts["<ip>"] == found.count("<ip>") - text.count("<ip>")


def test_addresses_are_replaced_in_pages_and_nowhere_else(project: Project) -> None:
    found = examiner(project, "rule_sets={}", "web=[web]")
    page = found.examine(document("Write to a@b.example.", category="web"))
    assert (page.text, page.replaced) == ("Write to <email>.", Counter({"<email>": 1}))
    book = found.examine(document("Write to a@b.example.", category="book"))
    assert (book.text, book.replaced) == ("Write to a@b.example.", Counter())


BROKEN_ADDRESSES = [
    "http://[broken",
    "http://a:port/",
    "no address",
    "http://",
    "//x",
    "mailto:x",
    "http://\u2100.com/",
]


@pytest.mark.parametrize("url", BROKEN_ADDRESSES)
def test_a_broken_address_is_nobodys(url: str) -> None:
    assert host(url) in ("", "a", "x", "\u2100.com")
    assert BlockList(["bad.example"], integrated=False).why_blocked(url) is None
    assert Robots({}).allows(url) is None


def test_a_broken_address_does_not_stop_the_work(project: Project) -> None:
    lists = ("lists.robots=data/mini/lists/robots.jsonl", "lists.domains=data/mini/lists/domains.txt")
    found = examiner(project, *REDPAJAMA, *lists)
    reasons = [found.examine(document(BASE, url=url)).reason for url in BROKEN_ADDRESSES]
    assert set(reasons) == {"robots unknown"}


@pytest.mark.parametrize(
    ("url", "blocked"),
    [
        ("http://bad.example", True),
        ("https://bad.example/page?a=b#c", True),
        ("https://www.bad.example:8080/", True),
        ("https://deep.down.bad.example/", True),
        ("https://user:word@bad.example/", True),
        ("HTTPS://WWW.BAD.EXAMPLE/Page", True),
        ("https://notbad.example/", False),
        ("https://bad.example.org/", False),
        ("https://good.example/bad.example/", False),
        ("https://good.example/?from=http://bad.example", False),
    ],
)
def test_a_blocked_domain_blocks_its_pages_and_no_others(url: str, blocked: bool) -> None:
    assert (BlockList(["bad.example"], integrated=False).why_blocked(url) is not None) == blocked


@pytest.mark.parametrize(
    ("url", "spoken", "covered"),
    [
        ("https://fr.wikipedia.org/wiki/Lucie", "fr", True),
        ("https://en.wikipedia.org/wiki/Lucie", "fr", False),
        ("https://en.wikipedia.org/wiki/Lucie", "en", True),
        ("https://fr.wiktionary.org/", "fr", True),
        ("https://fr.wiktionary.org/", "en", False),
        ("https://www.theses.fr/1", "fr", True),
        ("https://arxiv.org/abs/1", "en", True),
        ("https://arxiv.org/abs/1", "de", False),
        ("https://de.wikipedia.org/", "de", True),
        ("https://www.europarl.europa.eu/", "es", True),
        ("https://www.europarl.europa.eu/", "fr", False),
        ("https://lucie.example/", "", False),
    ],
)
def test_pages_that_another_part_of_the_corpus_holds_depend_on_the_language(
    url: str, spoken: str, covered: bool
) -> None:
    assert is_covered(url, spoken) == covered


ROBOTS = {
    "open.example": "",
    "all.example": "User-agent: *\nAllow: /\n",
    "none.example": "User-agent: *\nDisallow: /\n",
    "crawler.example": "User-agent: CCBot\nDisallow: /\n\nUser-agent: *\nAllow: /\n",
    "other.example": "User-agent: GPTBot\nDisallow: /\n",
    "part.example": "User-agent: *\nDisallow: /private/\n",
    "spared.example": "User-agent: *\nDisallow: /\n\nUser-agent: ccbot\nAllow: /\n",
    "page.example": "<html>Not found</html>",
}


@pytest.mark.parametrize(
    ("site", "allowed"),
    [
        ("open.example", True),
        ("all.example", True),
        ("none.example", False),
        ("crawler.example", False),
        ("other.example", True),
        ("part.example", True),
        ("spared.example", True),
        ("page.example", True),
        ("unknown.example", None),
        ("www.none.example", None),
    ],
)
def test_robots_are_asked_for_ccbot_at_the_root_of_the_site(site: str, allowed: bool | None) -> None:
    found = Robots(ROBOTS)
    for url in (f"https://{site}/private/page", f"http://{site.upper()}:80", f"https://{site}/"):
        assert found.allows(url) is allowed


def test_robots_are_read_from_json_lines_whatever_they_hold(tmp_path: Path) -> None:
    path = tmp_path / "robots.jsonl"
    entry = {"domain": "none.example", "text": "# a\u2028b\x85c\nUser-agent: *\nDisallow: /\n"}
    path.write_text(json.dumps(entry, ensure_ascii=False) + "\n", encoding="utf-8")
    assert Robots.load(path).allows("https://none.example/") is False
    for wrong in ("[]", '{"domain": "a"}', "{", '"a"'):
        path.write_text(wrong)
        with pytest.raises(UsageError, match=r"robots\.jsonl is not a list of robots\.txt files"):
            Robots.load(path)


# Language


def texts_of(spoken: str, count: int) -> list[str]:
    """Sound texts of our own corpus."""
    path = ROOT / "data" / "mini" / "documents" / f"wiki.{spoken}.jsonl"
    found = [json.loads(line)["text"] for line in path.read_text("utf-8").split("\n") if line]
    return sorted(found, key=len)[-count:]


@pytest.mark.parametrize("spoken", language.SINGLE)
def test_a_text_scores_high_in_its_language_and_low_in_the_others(spoken: str) -> None:
    for text in texts_of(spoken, 3):
        assert language.identify(text)[0] == spoken
        assert language.score_of(text, spoken) > 0.65
        assert all(language.score_of(text, other) < 0.3 for other in language.SINGLE if other != spoken)


def test_a_text_without_words_is_in_no_language() -> None:
    assert language.identify(" \n\x00".strip("\x00")) == ("", 0.0)
    assert language.score_of("", "fr") == 0


@given(st.text(max_size=200))
def test_no_text_stops_the_identifier(text: str) -> None:
    assert 0 <= language.score_of(text, "fr") <= 1


# Perplexity


def plain_chances(texts: list[str], order: int = ORDER) -> Callable[[str, str], float]:
    """Witten and Bell's interpolation, as the textbook has it: the chance of a character after a context."""
    seen: dict[str, Counter[str]] = {}
    for text in texts:
        padded = "\0" * (order - 1) + prepared(text)
        for at in range(order - 1, len(padded)):
            for length in range(order):
                seen.setdefault(padded[at - length : at], Counter())[padded[at]] += 1

    def chance(context: str, character: str) -> float:
        found = 1 / (ALPHABET + 1)
        for length in range(order):
            counts = seen.get(context[len(context) - length :])
            if counts:
                kinds = len(counts)
                found = (counts[character] + kinds * found) / (counts.total() + kinds)
        return found

    return chance


def plain_perplexity(chance: Callable[[str, str], float], text: str) -> float:
    padded = "\0" * (ORDER - 1) + prepared(text)
    places = range(ORDER - 1, len(padded))
    logs = [math.log(chance(padded[at - ORDER + 1 : at], padded[at])) for at in places]
    return math.exp(-sum(logs) / len(logs)) if logs else 1.0


SHORT = st.text(st.sampled_from("abc é1\u4e00"), max_size=30)


@given(st.lists(SHORT, max_size=6), SHORT)
def test_perplexity_is_that_of_the_textbook(texts: list[str], text: str) -> None:
    assume(any(prepared(held) for held in texts))
    found = CharacterModel.train(texts).perplexity(text)
    assert found == pytest.approx(plain_perplexity(plain_chances(texts), text))


@given(st.lists(st.text(st.sampled_from("abcd"), min_size=1, max_size=30), min_size=1, max_size=6), SHORT)
def test_the_chances_after_any_context_sum_to_1(texts: list[str], before: str) -> None:
    model = CharacterModel.train(texts)
    before = prepared(before)

    def chance(character: str) -> float:
        whole = model.perplexity(before + character) ** -(len(before) + 1)
        return whole / model.perplexity(before) ** -len(before)

    known = sum(map(chance, model.alphabet))
    # Characters that were never seen share what is left; one of them stands for all.
    assert known + (ALPHABET + 1 - len(model.alphabet)) * chance("z") == pytest.approx(1)


def test_more_characters_than_have_a_number_are_one() -> None:
    letters = [chr(0x4E00 + n) for n in range(ALPHABET + 50)]
    model = CharacterModel.train(["".join(letters) + "".join(letters[:ALPHABET])])
    assert model.alphabet == "".join(letters[:ALPHABET])
    assert model.perplexity(letters[-1]) == model.perplexity("z")
    assert math.isfinite(model.perplexity("".join(letters)))


def test_a_model_that_was_saved_is_the_same(tmp_path: Path) -> None:
    model = CharacterModel.train(texts_of("fr", 4))
    model.save(tmp_path / "fr.npz")
    other = CharacterModel.load(tmp_path / "fr.npz")
    assert other.alphabet == model.alphabet
    assert [path.name for path in tmp_path.iterdir()] == ["fr.npz"]
    for text in (*texts_of("fr", 6), *texts_of("de", 2), "", "\u4e00"):
        assert other.perplexity(text) == model.perplexity(text)


def test_a_model_of_nothing_finds_nothing_surprising() -> None:
    for texts in ([], [""], [" \n"]):
        assert CharacterModel.train(texts).perplexity("anything") == 1
    assert CharacterModel.train(["a"]).perplexity("") == 1


def garbled(text: str, part: float, seed: int) -> str:
    """The text with a part of its letters exchanged, as a bad scan has them."""
    chance = random.Random(seed)
    return "".join(
        chance.choice("rnmcliIeoutfj1;.") if sign.isalpha() and chance.random() < part else sign for sign in text
    )


def test_garbled_text_scores_higher_and_the_more_so_the_more_is_garbled() -> None:
    texts = texts_of("fr", 16)
    model = CharacterModel.train(texts[:8])
    scores = [[model.perplexity(garbled(text, part, 1)) for part in (0, 0.1, 0.3, 0.9)] for text in texts[8:]]
    assert all(found == sorted(found) for found in scores)
    lightly = [model.perplexity(garbled(text, 0.03, 1)) for text in texts[8:]]
    assert sum(map(math.log, lightly)) > 1.02 * sum(math.log(found[0]) for found in scores)


def test_copies_are_in_the_same_half_and_halves_are_alike() -> None:
    texts = [text for spoken in language.SINGLE for text in texts_of(spoken, 50)]
    halves = [half_of(text) for text in texts]
    assert 0.3 < sum(halves) / len(halves) < 0.7
    assert [half_of(text.upper() + "\n!") for text in texts] == halves
    changed = [half_of(text.replace(text.split()[7], "changed", 1)) for text in texts]
    assert sum(one == other for one, other in zip(changed, halves, strict=True)) > 0.9 * len(texts)
    assert {half_of(""), half_of(" ")} <= {0, 1}


def test_a_few_garbled_texts_do_not_move_the_scale() -> None:
    sound = [10 + n / 10 for n in range(40)]
    before = scales_of({"web": sound})["web"]
    after = scales_of({"web": [*sound, 900.0, 1000.0]})["web"]
    assert after.centre == pytest.approx(before.centre, abs=0.02)
    assert after.bounds(4)[1] < 40
    low, high = before.bounds(4)
    assert low < min(sound) < max(sound) < high


def test_categories_have_a_centre_of_their_own_and_share_a_spread() -> None:
    found = scales_of({"web": [10, 11, 12], "book": [100, 110, 121], "one": [5]})
    assert [math.exp(found[name].centre) for name in ("web", "book", "one")] == pytest.approx([11, 110, 5])
    assert len({scale.spread for scale in found.values()}) == 1
    assert scales_of({"web": [7.0]})["web"].spread > 0


# Chunks of scanned texts


def chunk(seed: int) -> str:
    """A chunk of sound French, of exactly the published length."""
    texts = texts_of("fr", 16)
    random.Random(seed).shuffle(texts)
    return (" ".join(texts) * 2)[: chunk_characters()]


@pytest.fixture(scope="module")
def french() -> CharacterModel:
    return CharacterModel.train([chunk(n) for n in range(3)])


def examine_chunks(
    project: Project, french: CharacterModel, rules: str, chunks: list[str], spread: float = 0.05
) -> Examined:
    scale = Scale(math.log(french.perplexity(chunk(0))), spread)
    found = examiner(
        project,
        f"rule_sets={{book: [{rules}]}}",
        models={"fr": (french, french)},
        scales={("fr", "book"): scale},
    )
    return found.examine(document("".join(chunks), language="fr", category="book"))


def test_a_long_document_loses_just_the_chunk_that_is_garbled(project: Project, french: CharacterModel) -> None:
    first, last = chunk(1), chunk(2)
    found = examine_chunks(project, french, "GallicaPress", [first, garbled(chunk(3), 0.3, 1), last])
    assert (found.text, found.chunks_cut, found.reason) == (first + last, 1, "")
    short = examine_chunks(project, french, "GallicaPress", [first, garbled(chunk(3)[:500], 0.3, 1)])
    assert (short.text, short.chunks_cut) == (first, 1)


def test_a_document_of_garbled_chunks_is_dropped(project: Project, french: CharacterModel) -> None:
    found = examine_chunks(project, french, "GallicaPress", [garbled(chunk(n), 0.3, n) for n in range(3)])
    assert found.reason == "perplexity too high"
    assert found.chunks_cut == 3


def test_a_chunk_in_another_language_is_cut(project: Project, french: CharacterModel) -> None:
    german = (" ".join(texts_of("de", 20)) * 3)[: chunk_characters()]
    found = examine_chunks(project, french, "GallicaPress", [chunk(1), german, chunk(2)], spread=100)
    assert (found.text, found.chunks_cut) == (chunk(1) + chunk(2), 1)
    alone = examine_chunks(project, french, "GallicaPress", [german], spread=100)
    assert alone.broken == ["language score too low"]


def test_the_first_two_chunks_of_a_thesis_are_spared(project: Project, french: CharacterModel) -> None:
    bad = [garbled(chunk(n), 0.3, n) for n in range(4)]
    good = [chunk(n) for n in range(4)]
    found = examine_chunks(project, french, "Theses", [bad[0], bad[1], good[2], bad[3]])
    assert (found.text, found.chunks_cut, found.reason) == (bad[0] + bad[1] + good[2], 1, "")
    found = examine_chunks(project, french, "Theses", bad[:2])
    assert (found.chunks_cut, found.reason) == (0, "")


def test_a_short_thesis_is_dropped_by_words_and_by_characters(project: Project, french: CharacterModel) -> None:
    found = examine_chunks(project, french, "Theses", [prose(999, length=12)])
    assert found.broken == ["words too low"]
    assert examine_chunks(project, french, "Theses", [prose(1000, length=12)]).broken == []
    assert examine_chunks(project, french, "Theses", [prose(1000, length=5)]).broken == ["characters too low"]


def test_a_document_is_dropped_where_both_mean_and_median_of_its_chunks_are_high(
    project: Project, french: CharacterModel
) -> None:
    good, bad = [chunk(n) for n in range(3)], [garbled(chunk(n), 0.5, n) for n in range(3)]
    assert examine_chunks(project, french, "HAL", [good[0], bad[1], good[2]]).broken == []  # the median is low
    assert examine_chunks(project, french, "HAL", [bad[0], good[1], bad[2]]).broken == ["perplexity too high"]


def test_a_kind_of_text_without_a_scale_is_not_judged_by_perplexity(project: Project, french: CharacterModel) -> None:
    found = examiner(project, "rule_sets={book: [GallicaPress]}", models={"fr": (french, french)})
    for text in (chunk(1), garbled(chunk(1), 0.05, 1)):
        assert found.examine(document(text, language="fr", category="book")).broken == []


def test_a_document_is_scored_by_the_model_of_the_other_half(project: Project) -> None:
    text = texts_of("fr", 1)[0]
    own, other = CharacterModel.train([text] * 3), CharacterModel.train(texts_of("de", 3))
    models = (own, other) if half_of(text) == 0 else (other, own)
    found = examiner(project, *REDPAJAMA, models={"fr": models}).examine(document(text, language="fr"))
    assert found.signals["perplexity"] == pytest.approx(other.perplexity(text))
    assert found.signals["perplexity"] > 10 * own.perplexity(text)


def test_marks_that_rules_look_for_are_those_of_the_data_card() -> None:
    assert set(BULLETS) == set("•‣▶◀◦■□▪▫–")  # noqa: RUF001
    assert set(ELLIPSES) == {"...", "…"}
    assert set(SYMBOLS) == {"#", "...", "…"}
