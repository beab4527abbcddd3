"""The parameters of a Llama model, counted from its configuration."""

from __future__ import annotations

import pytest

from lucie.project import Project
from lucie.records import load_record
from lucie.training.architecture import count_parameters

TINY = {
    "vocab_size": "10",
    "hidden_size": "4",
    "num_hidden_layers": "2",
    "num_attention_heads": "2",
    "num_key_value_heads": "1",
    "intermediate_size": "6",
    "tie_word_embeddings": "false",
}


def counts(config: dict[str, str]) -> dict[str, int]:
    return dict(count_parameters(config).select("weights", "parameters").iter_rows())


def test_lucie_7b_has_6_706_958_336_parameters(project: Project) -> None:
    config = dict(load_record(project, "input/model_config").iter_rows())
    assert sum(counts(config).values()) == 6_706_958_336


def test_a_tiny_model_has_the_parameters_counted_by_hand() -> None:
    assert counts(TINY) == {
        "token embeddings": 40,  # 10 words of 4
        "attention: queries, outputs": 64,  # 2 layers of two 4 x 4
        "attention: keys, values": 32,  # 2 layers of two 4 x 2: one key head serves both query heads
        "feed-forward": 144,  # 2 layers of three 4 x 6
        "RMS norms": 20,  # two a layer and one at the end, of 4
        "output head": 40,
    }


def test_shares_add_to_a_hundred_percent() -> None:
    assert count_parameters(TINY)["percent"].sum() == pytest.approx(100)


def test_tied_embeddings_drop_the_head_and_nothing_else() -> None:
    assert counts({**TINY, "tie_word_embeddings": "true"}) == {**counts(TINY), "output head": 0}


def test_with_as_many_key_heads_as_heads_keys_cost_what_queries_cost() -> None:
    whole = counts({**TINY, "num_key_value_heads": "2"})
    assert whole["attention: keys, values"] == whole["attention: queries, outputs"]


def test_a_hidden_size_that_heads_do_not_divide_is_an_error() -> None:
    with pytest.raises(ValueError, match="hidden_size 4 is not a multiple of num_attention_heads 3"):
        count_parameters({**TINY, "num_attention_heads": "3"})
