"""Openness: colours from answers, classes of licences, tokens by class."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lucie import openness
from lucie.corpus import composition
from lucie.corpus.composition import Part
from lucie.mixture import main as mixture
from lucie.project import Project
from lucie.records import load_record

RULE = pl.DataFrame({"conditions": [3, 2, 1, 0], "colour": ["green", "yellow", "orange", "red"]})


def rated(answers: list[str]) -> dict[str, str]:
    groups = pl.DataFrame({"group": ["g"], "model": ["M"]})
    given_answers = pl.DataFrame({"group": ["g"] * 3, "condition": ["licence", "methods", "data"], "met": answers})
    table = openness.rate(groups, given_answers, RULE)
    return dict(table.select("reading", "colour").iter_rows())


@given(st.lists(st.sampled_from(["yes", "partly", "no"]), min_size=3, max_size=3))
def test_a_colour_depends_on_how_many_conditions_are_met_and_not_on_which(answers: list[str]) -> None:
    colours = ["red", "orange", "yellow", "green"]
    yes, partly = answers.count("yes"), answers.count("partly")
    assert rated(answers) == {"strict": colours[yes], "lenient": colours[yes + partly]}
    assert rated(answers[::-1]) == rated(answers)


def test_the_models_of_the_slide_have_the_colours_of_the_talk(project: Project) -> None:
    names = ("model_groups", "openness_answers", "openness_rule")
    table = openness.rate(*(load_record(project, f"transcribed/{name}") for name in names))
    colour = {(row["model"], row["reading"]): row["colour"] for row in table.iter_rows(named=True)}
    for model, printed in load_record(project, "transcribed/openness_colours").select("model", "colour").iter_rows():
        assert colour[model, "strict"] == colour[model, "lenient"] == printed
    assert (colour["LLaMA", "strict"], colour["LLaMA", "lenient"]) == ("red", "yellow")


def test_a_licence_is_in_one_class_only() -> None:
    named = [licence for licences in openness.CLASSES.values() for licence in licences]
    assert len(named) == len(set(named))
    with pytest.raises(ValueError, match="'Beerware' is in no class"):
        openness.licence_class("Beerware")


def test_the_licence_of_the_data_set_counts_before_that_of_its_origin() -> None:
    stated = pl.DataFrame(
        {
            "source": ["A", "A", "B"],
            "role": ["extracted from", "data set", "extracted from"],
            "printed": ["CC BY-SA-NC 4.0", "CC BY-SA 4.0", "Open"],
        }
    )
    assert openness.licences_by_source(stated).rows() == [
        ("A", "CC BY-SA 4.0", "share-alike"),
        ("B", "Open", "called open"),
    ]


def part(source: str, language: str, tokens: int) -> Part:
    return Part(source, language, language, "web", documents=1, words=1, tokens=tokens, characters=1)


def test_parts_of_a_source_have_its_licence_and_a_source_without_one_is_an_error() -> None:
    by_source = pl.DataFrame({"source": ["Pile"], "licence": ["Other"], "class": ["own or mixed terms"]})
    table = openness.cells([part("Pile (X)", "en", 3), part("Pile (Y)", "en", 4), part("Pile (Y)", "en", 5)], by_source)
    assert table.select("source", "tokens").rows() == [("Pile (X)", 3), ("Pile (Y)", 9)]
    with pytest.raises(ValueError, match="No licence is stated for Web"):
        openness.cells([part("Web", "fr", 1)], by_source)


def test_every_token_of_the_record_has_a_class(project: Project) -> None:
    documents, tokens = load_record(project, "input/document_counts"), load_record(project, "input/token_counts")
    by_source = openness.licences_by_source(load_record(project, "transcribed/licences"))
    parts = composition.parts(documents, tokens)
    classes = openness.by_class(openness.cells(parts, by_source))
    assert classes["cells"].sum() == 86
    assert classes["tokens"].sum() == sum(part.tokens for part in parts) == 2_320_616_506_310
    assert classes["class"].to_list() == list(openness.CLASSES)
    percent = dict(classes.select("class", "percent").iter_rows())
    assert percent["not released"] == pytest.approx(0.2479, abs=1e-4)
    assert percent["non-commercial"] == pytest.approx(0.0634, abs=1e-4)


def test_weighted_tokens_are_those_of_the_training(project: Project) -> None:
    tokens = load_record(project, "input/token_counts")
    weights = mixture.weigh(tokens, load_record(project, "input/sampling_epochs"))
    seen = openness.weighted(tokens, weights)
    assert seen["tokens"].sum() == pytest.approx(3_121_744_220_736, abs=140)
    assert seen.columns == tokens.columns


def test_quoted_shares_of_llama_fill_the_whole_but_for_rounding(project: Project) -> None:
    llama = load_record(project, "transcribed/llama2_languages")
    assert llama.height == 28
    assert llama["percent"].sum() == pytest.approx(100, abs=28 * 0.005)
