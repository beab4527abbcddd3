"""The mixes: weights of the token files, what the trainer laid out, the pie, the two later phases."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lucie.corpus import composition
from lucie.mixture import later, main
from lucie.mixture.main import weigh
from lucie.project import Project
from lucie.records import load_record

EPOCHS = pl.DataFrame({"language": ["fr", "en"], "category": ["web", "web"], "epochs": [1.5, 1.0]})


def files(*rows: tuple[str, str, str, int]) -> pl.DataFrame:
    """Token files: name, language, split, tokens."""
    return pl.DataFrame(rows, schema=["name", "language", "split", "tokens"], orient="row").with_columns(
        category=pl.lit("web")
    )


@pytest.fixture
def mix(project: Project) -> pl.DataFrame:
    """The weights that follow from the committed records."""
    return weigh(load_record(project, "input/token_counts"), load_record(project, "input/sampling_epochs"))


def test_a_weight_is_the_share_of_the_tokens_times_epochs() -> None:
    mix = weigh(files(("b", "en", "train", 7), ("a", "fr", "train", 2)), EPOCHS)
    assert mix.select("name", "epochs", "weighted_tokens").rows() == [("a", 1.5, 3), ("b", 1, 7)]
    assert mix["weight"].to_list() == pytest.approx([0.3, 0.7])


def test_validation_files_have_no_weight() -> None:
    mix = weigh(files(("a", "fr", "train", 2), ("v", "fr", "validation", 2)), EPOCHS)
    assert mix["name"].to_list() == ["a"]


@given(st.lists(st.tuples(st.sampled_from(["fr", "en"]), st.integers(1, 10**12)), min_size=1, max_size=30))
def test_weights_sum_to_one(counts: list[tuple[str, int]]) -> None:
    rows = [(f"file{number}", language, "train", tokens) for number, (language, tokens) in enumerate(counts)]
    assert weigh(files(*rows), EPOCHS)["weight"].sum() == pytest.approx(1, rel=1e-12)


def test_a_file_without_epochs_is_named() -> None:
    with pytest.raises(ValueError, match=r"No epochs for de web, which Wikipedia--de needs"):
        weigh(files(("a", "fr", "train", 2), ("Wikipedia--de", "de", "train", 2)), EPOCHS)


def test_the_record_gives_140_files_and_every_token_to_train_on(mix: pl.DataFrame) -> None:
    assert mix.height == 140
    assert mix["weighted_tokens"].sum() == 3_121_744_220_736
    assert mix["weight"].sum() == pytest.approx(1, rel=1e-12)


def test_the_published_weights_follow_from_the_record(project: Project, mix: pl.DataFrame) -> None:
    published = load_record(project, "published/training_mix").sort("name")
    assert mix["name"].equals(published["name"])
    assert mix["weighted_tokens"].equals(published["weighted_tokens"])
    assert mix["weight"].to_list() == pytest.approx(published["weight"].cast(pl.Float64).to_list(), rel=1e-14, abs=0)


def test_the_trainer_s_samples_and_passes_follow_for_every_file(project: Project, mix: pl.DataFrame) -> None:
    published = load_record(project, "published/blended_samples").select("name", "samples", "epochs")
    assert main.blend(mix, 762_144_586, 4096).equals(published)


def test_samples_need_the_division_by_the_sum_of_the_printed_weights(project: Project, mix: pl.DataFrame) -> None:
    # The nine decimals add up to a billionth more than one; without the division some files get one sample more.
    assert sum(Decimal(f"{weight:.9f}") for weight in mix["weight"]) == Decimal("1.000000001")


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=20), st.integers(1, 10**6))
def test_the_samples_laid_out_are_enough_and_the_passes_hold_them(counts: list[int], samples: int) -> None:
    rows = [(f"file{number:02}", "en", "train", tokens) for number, tokens in enumerate(counts)]
    mix = weigh(files(*rows), EPOCHS)
    blend = main.blend(mix, samples, sequence_length=8)
    assert blend["samples"].sum() >= samples
    assert ((mix["tokens"] * blend["epochs"]) > blend["samples"] * 8).all()
    assert ((mix["tokens"] * (blend["epochs"] - 1)) <= blend["samples"] * 8).all()


def test_the_totals_of_the_pies_follow_when_parts_are_rounded_and_rows_are_not(project: Project) -> None:
    parts = composition.parts(*(load_record(project, f"input/{name}_counts") for name in ("document", "token")))
    epochs = load_record(project, "input/sampling_epochs")
    released = composition.released(parts)
    assert [round(main.tokens_of_rounded_parts(p, epochs) / 1e9, 3) for p in (parts, released)] == [3121.743, 3110.235]
    passes = {(row["language"], row["category"]): Decimal(str(row["epochs"])) for row in epochs.iter_rows(named=True)}
    kind = {(part.source, part.language): (part.group, part.category) for part in released}
    rows = composition.composition(released).filter(level="subset", quantity="tokens")
    printed = [
        Decimal(row["rounded_parts"]) * passes[kind[row["source"], row["language"]]]
        for row in rows.iter_rows(named=True)
    ]
    assert round(sum(printed), 3) == Decimal("3110.236")


def test_the_pie_is_the_corpus_when_all_is_read_once(project: Project) -> None:
    parts = composition.parts(*(load_record(project, f"input/{name}_counts") for name in ("document", "token")))
    once = load_record(project, "input/sampling_epochs").with_columns(epochs=pl.lit(1.0))
    assert main.pie(parts, once)["percent"].to_list() == pytest.approx(composition.shares(parts)["percent"].to_list())


def test_shares_by_language_and_category_add_to_a_hundred(mix: pl.DataFrame) -> None:
    for table in (main.by_language(mix), main.by_category(mix)):
        assert table["percent"].sum() == pytest.approx(100)
        assert table["percent_before"].sum() == pytest.approx(100)
    assert main.by_category(mix)["epochs"].is_between(1, 3).all()


SPLIT = pl.DataFrame(
    {
        "name": ["RedPajama--fr--2023", "RedPajama--fr--2023", "b"],
        "length": ["long", "short", "short"],
        "language": ["fr", "fr", "en"],
        "category": "web",
        "tokens": [10, 100, 7],
        "documents": 1,
    }
)


def test_a_long_document_counts_ten_times_and_the_newest_crawl_stands_for_the_older() -> None:
    mix = weigh(
        files(
            ("RedPajama--fr--2014", "fr", "train", 2),
            ("RedPajama--fr--2023", "fr", "train", 2),
            ("b", "en", "train", 6),
        ),
        EPOCHS,
    )
    assert later.extend(mix, SPLIT)["weight"].to_list() == pytest.approx([0.25, 0.25, 0.5])


def test_a_file_that_was_not_split_is_named() -> None:
    mix = weigh(files(("b", "en", "train", 2), ("lost", "en", "train", 2)), EPOCHS)
    with pytest.raises(ValueError, match="document length for lost"):
        later.extend(mix, SPLIT)


def test_the_extension_keeps_every_category_and_prefers_long_documents(project: Project, mix: pl.DataFrame) -> None:
    extension = later.extend(mix, load_record(project, "input/length_split_counts"))
    assert extension["weight"].sum() == pytest.approx(1, rel=1e-12)
    assert extension.filter(length="long")["weight"].sum() == pytest.approx(0.7467, abs=5e-5)
    key = ["language", "category"]
    both = extension.group_by(key).agg(pl.sum("weight")).join(mix.group_by(key).agg(main=pl.sum("weight")), on=key)
    assert both["weight"].to_list() == pytest.approx(both["main"].to_list(), rel=1e-12)


def test_the_extension_is_that_of_a_second_computation(project: Project, mix: pl.DataFrame) -> None:
    name = "context_extension_mix_recomputed.csv"
    other = project.root.parent / "shared" / "reference" / "derived" / name
    if not Path(other).is_file():
        pytest.skip(f"the second computation is not here: {name}")
    theirs = pl.read_csv(other).with_columns(pl.col("name").str.strip_suffix("_text_document")).sort("name", "length")
    ours = later.extend(mix, load_record(project, "input/length_split_counts"))
    assert ours.select("name", "length").equals(theirs.select("name", "length"))
    assert ours["weight"].to_list() == pytest.approx(theirs["weight"].to_list(), rel=1e-12)


def test_four_files_were_filtered_again_before_the_extension(project: Project, mix: pl.DataFrame) -> None:
    tokens, split = (load_record(project, f"input/{name}_counts") for name in ("token", "length_split"))
    changed = later.refiltered(mix, tokens, split)
    names = ["GallicaMonographies", "GallicaPress--html", "Pile--PhilPapers", "Pile--Ubuntu_IRC"]
    assert changed["name"].to_list() == names
    assert (changed["epochs_factor"] > 1).all()
    assert later.version_notes(changed).height == 4 * len(names)


def test_annealing_is_half_mathematics(project: Project) -> None:
    mix = load_record(project, "input/annealing_mix")
    assert dict(later.annealing_kinds(mix).iter_rows())["math"] == pytest.approx(50)
    assert later.annealing_kinds(mix)["percent"].sum() == pytest.approx(100)
    assert dict(later.annealing_languages(mix).iter_rows())["fr"] == pytest.approx(10.6)
    with pytest.raises(ValueError, match="No kind of text for the annealing file Poems--en"):
        later.annealing_kinds(pl.DataFrame({"name": ["Poems--en"], "weight": [1.0]}))
