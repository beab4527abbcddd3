"""The training mix: weights of the token files."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
