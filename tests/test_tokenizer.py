"""The tokenizer: sums of its training text, merges from entries, ratios, and the record's figures."""

from __future__ import annotations

import re

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lucie.project import Project
from lucie.records import load_record, tokenizer_files
from lucie.tokenizer import fertility, training_data, vocabulary

FILE = st.tuples(st.sampled_from(["fr", "en", "code"]), st.integers(1, 10**9), st.integers(1, 10**9))


@pytest.fixture
def entries(project: Project) -> dict[str, dict[str, int]]:
    table = load_record(project, "input/tokenizer_entries")
    return {name: vocabulary.entries(table.filter(tokenizer=name)) for name in table["tokenizer"].unique()}


@pytest.fixture
def ratios(project: Project) -> pl.DataFrame:
    return fertility.ratios(load_record(project, "input/tokenizer_measurements"))


@given(st.lists(FILE, min_size=1, max_size=9))
def test_languages_add_up_to_all_and_files_to_languages(counted: list[tuple[str, int, int]]) -> None:
    files = pl.DataFrame(
        [
            {"source": f"file {place}", "language": language, "pages": pages, "words": words, "characters": 5 * words}
            for place, (language, pages, words) in enumerate(counted)
        ]
    )
    summary = training_data.summary(files)
    grand = summary.filter(source="", language="").select(training_data.COUNTS)
    languages = summary.filter(pl.col("language") != "", source="")
    assert languages.select(training_data.COUNTS).sum().equals(grand)
    assert files.select(training_data.COUNTS).sum().equals(grand)
    assert summary.height == 1 + languages.height + files.height


def test_the_training_text_is_what_the_authors_counted_in_one_go(project: Project) -> None:
    summary = training_data.summary(load_record(project, "input/tokenizer_training_data"))
    total = summary.filter(source="", language="").row(0, named=True)
    published = load_record(project, "published/tokenizer_training_total")
    assert {quantity: total[quantity] for quantity in training_data.COUNTS} == dict(published.iter_rows())
    assert total["characters"] == 17_089_305_553


def test_every_printed_cell_has_one_of_ours(project: Project) -> None:
    summary = training_data.summary(load_record(project, "input/tokenizer_training_data"))
    cells = training_data.printed_quantities(summary)
    published = load_record(project, "published/tokenizer_training_table")
    both = published.join(cells, on=["source", "language", "quantity"], validate="1:1")
    assert both.height == published.height == cells.height == 95


@given(st.integers(1, 30))
def test_a_run_of_blanks_takes_a_merge_for_every_cut(longest: int) -> None:
    cuts = [(left, run - left) for run in range(1, longest + 1) for left in range(1, run)]
    kinds = {"merged": 7, "spaces": longest, "tabs": 1, "linebreaks": 1}
    assert vocabulary.merges(kinds) == 7 + len(cuts)


def test_merges_follow_from_the_entries(project: Project, entries: dict[str, dict[str, int]]) -> None:
    published = dict(load_record(project, "published/tokenizer_merges").select("tokenizer", "merges").iter_rows())
    assert {name: vocabulary.merges(kinds) for name, kinds in entries.items()} == published
    assert published["released"] - published["counting"] == 5
    assert {kinds["vocabulary"] for kinds in entries.values()} == {65_024}


def test_five_free_slots_were_filled_each_by_a_merge(project: Project) -> None:
    differences = load_record(project, "input/tokenizer_differences")
    renamed = differences.filter(pl.col("counting") != pl.col("released"))
    assert renamed["number"].to_list() == [260, 261, 262, 263, 264]
    assert (renamed["left"] + renamed["right"]).equals(renamed["released"], check_names=False)
    assert all(re.fullmatch(r"<unused\d>", entry) for entry in differences["counting"])


def test_the_released_tokenizer_has_the_signs_of_the_training_script(project: Project) -> None:
    spaced = load_record(project, "input/tokenizer_spaced_signs")
    options = load_record(project, "transcribed/tokenizer_options")
    script = options.filter(option="spaced_signs")["value"].item()
    assert vocabulary.signs(spaced, "released") == script
    added = [point for point in script.split() if point not in vocabulary.signs(spaced, "counting").split()]
    assert vocabulary.shown(added)["sign"].to_list() == ["{", "/", "<"]


@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        ("<s>", "special"),
        ("<|eot_id|>", "special"),
        ("<0x0A>", "byte"),
        ("<unused39>", "unused"),
        ("▁▁", "spaces"),
        ("\t", "tabs"),
        ("\n\n", "linebreaks"),
        ("7", "digit"),
        ("é", "character"),
        ("<", "character"),
        ("▁le", "merged"),
        ("<<", "merged"),
    ],
)
def test_an_entry_is_of_one_kind(entry: str, kind: str) -> None:
    assert tokenizer_files._kind(entry) == kind


@pytest.mark.parametrize(
    ("pattern", "sign"),
    [("(\\\n)(?=[ \\w])", "\n"), ("\\((?=[ \\w])", "("), ("(\\()(?=[ \\w])", "("), ("/(?=[ \\w])", "/")],
)
def test_a_rule_of_a_normaliser_gives_its_sign(pattern: str, sign: str) -> None:
    found = tokenizer_files.SPACED.fullmatch(pattern)
    assert found
    assert found[1] == sign


def test_other_rules_of_a_normaliser_give_none() -> None:
    assert not tokenizer_files.SPACED.fullmatch("[\\r\\x00]")
    assert not tokenizer_files.SPACED.fullmatch("[ \\u00A0]")


def test_the_ratios_of_the_record_are_those_published(project: Project, ratios: pl.DataFrame) -> None:
    published = load_record(project, "published/tokenizer_ratios")
    both = ratios.join(published, on=fertility.KEY, suffix="_published", validate="1:1")
    assert both.height == ratios.height == published.height == 180
    for column in ("tokens_per_word", "characters_per_token"):
        assert both[column].to_list() == [float(text) for text in both[f"{column}_published"]]


def test_the_best_rank_on_a_corpus_is_that_of_the_fewest_tokens(ratios: pl.DataFrame) -> None:
    ranked = fertility.ranked(ratios)
    for _, rows in ranked.group_by("dataset"):
        assert rows.filter(rank=1)["tokens"].unique().to_list() == [rows["tokens"].min()]
        assert rows["rank"].max() == 9


def test_fertility_of_a_language_lies_between_those_of_its_corpora(ratios: pl.DataFrame) -> None:
    wide = fertility.by_language(ratios)
    lucie = wide.filter(tokenizer="Lucie2.10")["French"].item()
    french = ratios.filter(tokenizer="Lucie2.10", language="French")["fertility"]
    assert french.min() < lucie < french.max()
    assert fertility.more_tokens(ratios, "Llama-2", "Lucie2.10", "French") == pytest.approx(
        wide.filter(tokenizer="Llama-2")["French"].item() / lucie - 1
    )


def test_one_corpus_was_measured_in_two_texts(project: Project) -> None:
    texts = fertility.several_texts(load_record(project, "input/tokenizer_measurements"))
    assert set(texts["dataset"]) == {"GallicaMonographies"}
    assert texts.sort("characters")["tokenizer"].to_list()[-1] == ["Lucie2.10"]
