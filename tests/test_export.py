"""Export: nanotron's checkpoints as transformers loads them, from every layout, to the last bit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_model
from hypothesis import given, settings
from hypothesis import strategies as st
from small_model import SHAPE, THETA, VOCABULARY

from lucie.errors import MismatchError, UsageError
from lucie.files import sha256
from lucie.tokenizer import bpe
from lucie.training import parity as parity_process
from lucie.training import progress
from lucie.training.export import export, to_transformers
from lucie.training.heldout import losses
from lucie.training.parity import LIMIT, parities, parity
from lucie.training.weights import read_weights

torch = pytest.importorskip("torch", reason="the packages of the group 'train' are not here")
pytest.importorskip("nanotron", reason="the packages of the group 'train' are not here")

LAYOUTS = {"one": (1, 1), "tensor": (2, 1), "pipeline": (1, 2)}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    with small_model.one_thread():
        yield


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_model.write_tokenizer(tmp_path_factory.mktemp("made") / "tokenizer")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """nanotron's checkpoints of the same weights, by layout, and one of them in half precision."""
    folder = tmp_path_factory.mktemp("nanotron")
    found = small_model.write_checkpoints(folder, LAYOUTS)
    half = folder / "half" / found["tensor"].name
    shutil.copytree(found["tensor"], half)
    for path in half.rglob("*.safetensors"):
        rewrite(path, lambda tensor: tensor.bfloat16())
    small_model.rewrite_manifest(half)
    return {**found, "half": half}


@pytest.fixture(scope="module")
def exported(written: dict[str, Path], tokenizer: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("exported")
    return {name: export(checkpoint, tokenizer, folder / name) for name, checkpoint in written.items()}


@pytest.fixture
def spoiled(written: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of the checkpoint of two tensor-parallel processes, to be spoiled."""
    return Path(shutil.copytree(written["tensor"], tmp_path / "checkpoints" / written["tensor"].name))


def rewrite(path: Path, change: Callable[[Any], Any]) -> None:
    """Write a file of weights again, its tensor changed."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(path, framework="pt") as file:
        tensor, metadata = file.get_tensor("data"), file.metadata()
    save_file({"data": change(tensor).contiguous()}, path, metadata)


def digests(folder: Path) -> dict[str, str]:
    return {path.name: sha256(path) for path in folder.iterdir()}


# The same model


def test_every_layout_gives_the_same_bytes_and_so_does_a_second_export(
    written: dict[str, Path], exported: dict[str, Path], tokenizer: Path, tmp_path: Path
) -> None:
    wanted = digests(exported["one"])
    assert set(wanted) == {"model.safetensors", "config.json", "generation_config.json", *bpe.FILES}
    assert digests(exported["tensor"]) == digests(exported["pipeline"]) == wanted
    assert digests(export(written["one"], tokenizer, tmp_path / "again")) == wanted


def test_logits_are_those_of_nanotron_s_own_model(
    written: dict[str, Path], exported: dict[str, Path], tmp_path: Path
) -> None:
    batch = np.random.default_rng(1).integers(0, VOCABULARY, (3, SHAPE["max_position_embeddings"]))
    turned = Path(shutil.copytree(exported["one"], tmp_path / "turned"))
    config = json.loads((turned / "config.json").read_text("utf-8"))
    config["rope_parameters"]["rope_theta"] = THETA / 2
    (turned / "config.json").write_text(json.dumps(config))
    pairs = [(written[name], exported[name]) for name in written]
    found = parities(pairs, batch)
    assert set(found) == set(written.values()) and max(found.values()) < LIMIT
    assert parity(written["one"], turned, batch) > 100 * LIMIT, "another theta is another model"
    with pytest.raises(MismatchError, match=r"the token 400, .* a vocabulary of 400"):
        parity(written["one"], exported["one"], np.array([[VOCABULARY]]))


def test_nanotron_alone_does_not_read_the_weights_of_another_layout(written: dict[str, Path]) -> None:
    with (
        ProcessPoolExecutor(1, get_context("spawn"), parity_process._begin, (["shapes"],)) as process,
        pytest.raises(AssertionError, match=r"version mismatch at .*qkv_proj"),  # its word for a shape it cannot read
    ):
        process.submit(parity_process._logits_of_nanotron, written["tensor"], np.array([[1]])).result()


def test_plain_transformers_loads_it(exported: dict[str, Path]) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(exported["half"])
    words = AutoTokenizer.from_pretrained(exported["half"])
    config = model.config
    assert model.dtype == torch.bfloat16 and type(model).__name__ == "LlamaForCausalLM"
    assert {name: getattr(config, name) for name in SHAPE} == SHAPE
    assert config.rope_parameters["rope_theta"] == THETA
    assert json.loads((exported["half"] / "config.json").read_text("utf-8"))["rope_theta"] == THETA
    special = ("<s>", "</s>", "<pad>")
    for tokens in (config, model.generation_config):
        ids = tokens.bos_token_id, tokens.eos_token_id, tokens.pad_token_id
        assert list(ids) == words.convert_tokens_to_ids(special)
    assert words("Le petit chat.")["input_ids"] == bpe.load(exported["half"]).encode("Le petit chat.").ids


def test_every_checkpoint_of_a_run_is_measured_once(
    written: dict[str, Path], tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = small_model.write_token_files(tmp_path / "files", tokenizer)
    shutil.copytree(written["one"], tmp_path / "run" / "checkpoints" / "7")
    found = progress.held_out(tmp_path / "run", tokenizer, tokens, tmp_path / "exported")
    assert found.select("seed", "phase", "step", "tokens").unique().rows() == [(1, "main", 7, 0)]
    measured = losses(tmp_path / "exported" / "7", tokens)
    assert found["held_out"].equals(measured["tokens"].rename("held_out"))
    assert found.select(measured.drop("tokens").columns).equals(measured.drop("tokens"))
    with monkeypatch.context() as patched:
        patched.setattr(progress.heldout, "losses", None)
        assert progress.held_out(tmp_path / "run", tokenizer, tokens, tmp_path / "exported").equals(found)
    with pytest.raises(UsageError, match="There is no checkpoint"):
        progress.exports(tmp_path, tokenizer, tmp_path / "exported")


# The mapping


def pack(tensors: dict[str, Any], config: Any) -> dict[str, Any]:
    """transformers' tensors as nanotron lays them out: the way back, row by row."""
    head = config.hidden_size // config.num_attention_heads

    def neighbours(weight: Any) -> Any:
        order = [
            first + place // 2 + place % 2 * head // 2 for first in range(0, len(weight), head) for place in range(head)
        ]
        return weight[order]

    found = {
        "model.token_position_embeddings.pp_block.token_embedding.weight": tensors["model.embed_tokens.weight"],
        "model.final_layer_norm.pp_block.weight": tensors["model.norm.weight"],
        "model.lm_head.pp_block.weight": tensors["lm_head.weight"],
    }
    for layer in range(config.num_hidden_layers):
        there, here = f"model.layers.{layer}.", f"model.decoder.{layer}.pp_block."
        q, k, v, o, gate, up, down, before, after = (
            tensors[f"{there}{name}.weight"]
            for name in (
                *(f"self_attn.{letter}_proj" for letter in "qkvo"),
                *(f"mlp.{name}_proj" for name in ("gate", "up", "down")),
                "input_layernorm",
                "post_attention_layernorm",
            )
        )
        found |= {
            f"{here}attn.qkv_proj.weight": torch.cat([neighbours(q), neighbours(k), v]),
            f"{here}attn.o_proj.weight": o,
            f"{here}mlp.gate_up_proj.weight": torch.cat([gate, up]),
            f"{here}mlp.down_proj.weight": down,
            f"{here}input_layernorm.weight": before,
            f"{here}post_attention_layernorm.weight": after,
        }
    return found


def model_of(heads: int, shared: int, half_head: int, layers: int, inner: int) -> tuple[dict[str, Any], Any]:
    """The tensors of a random transformers model, all numbers different, and its configuration."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=11,
        hidden_size=2 * half_head * heads * shared,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads * shared,
        num_key_value_heads=heads,
    )
    tensors, start = {}, 0.0
    for name, tensor in LlamaForCausalLM(config).state_dict().items():
        tensors[name] = torch.arange(start, start + tensor.numel()).view(tensor.shape)
        start += tensor.numel()
    return tensors, config


@settings(max_examples=15)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 9))
def test_packing_and_export_undo_each_other(heads: int, shared: int, half_head: int, layers: int, inner: int) -> None:
    tensors, config = model_of(heads, shared, half_head, layers, inner)
    found = to_transformers(pack(tensors, config), config)
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


def test_tensors_that_do_not_fit_are_named() -> None:
    tensors, config = model_of(2, 2, 2, 2, 5)
    packed = pack(tensors, config)
    name = "model.decoder.1.pp_block.mlp.down_proj.weight"
    with pytest.raises(MismatchError, match=f"are missing: {name}"):
        to_transformers({other: tensor for other, tensor in packed.items() if other != name}, config)
    with pytest.raises(MismatchError, match=r"are left over: model\.decoder\.2\.bias"):
        to_transformers({**packed, "model.decoder.2.bias": packed[name]}, config)
    with pytest.raises(MismatchError, match=f"{name} has 15 rows, and the model needs 16"):
        to_transformers({**packed, name: packed[name][1:]}, config)
    with pytest.raises(MismatchError, match=r"down_proj\.weight has the shape \(16, 4\), the model \(16, 5\)"):
        to_transformers({**packed, name: packed[name][:, 1:]}, config)


# What cannot be exported


def shard(checkpoint: Path, rank: int = 1) -> Path:
    name = f"model_weight_pp-rank-0-of-1_tp-rank-{rank}-of-2.safetensors"
    return checkpoint / "model/model/decoder/1/pp_block/attn/qkv_proj" / name


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1]))


@pytest.mark.parametrize("harm", [cut, flip, Path.unlink], ids=["cut", "one bit", "missing"])
def test_a_damaged_checkpoint_is_refused(spoiled: Path, tokenizer: Path, harm: Callable[[Path], None]) -> None:
    harm(shard(spoiled))
    with pytest.raises(MismatchError, match=r"tp-rank-1-of-2\.safetensors is not what was written"):
        export(spoiled, tokenizer, spoiled.parent / "exported")
    assert not (spoiled.parent / "exported").exists()


def test_a_checkpoint_that_is_still_being_written_is_refused(spoiled: Path, tokenizer: Path) -> None:
    (spoiled / "lucie.json").unlink()
    with pytest.raises(MismatchError, match=r"lucie\.json is missing"):
        export(spoiled, tokenizer, spoiled.parent / "exported")


def test_weights_that_are_not_whole_are_refused(spoiled: Path) -> None:
    shutil.copyfile(shard(spoiled), shard(spoiled).with_name("model_weight_pp-rank-0-of-1_tp-rank-0-of-1.safetensors"))
    with pytest.raises(MismatchError, match=r"3 files of .*qkv_proj\.weight .* hold 3072 numbers of 2048"):
        read_weights(spoiled)
    shard(spoiled).with_name("model_weight_pp-rank-0-of-1_tp-rank-0-of-1.safetensors").unlink()
    shard(spoiled).unlink()
    with pytest.raises(MismatchError, match=r"1 files of .*qkv_proj\.weight .* hold 1024 numbers of 2048"):
        read_weights(spoiled)
    cut(shard(spoiled, 0))
    with pytest.raises(MismatchError, match="cannot be read"):
        read_weights(spoiled)
    shutil.rmtree(spoiled / "model")
    with pytest.raises(MismatchError, match="There are no weights"):
        read_weights(spoiled)


def test_the_tokenizer_has_to_go_with_the_model(written: dict[str, Path], tmp_path: Path) -> None:
    larger = small_model.write_tokenizer(tmp_path / "larger", VOCABULARY + 1)
    with pytest.raises(UsageError, match=r"has 401 entries, the model in .* 400"):
        export(written["one"], larger, tmp_path / "exported")
    (larger / bpe.FILES[1]).unlink()
    with pytest.raises(UsageError, match=f"There is no {bpe.FILES[1]}"):
        export(written["one"], larger, tmp_path / "exported")


def test_an_export_that_fails_leaves_what_was_there(
    written: dict[str, Path], tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    into = export(written["one"], tokenizer, tmp_path / "exported")
    before = digests(into)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(OSError, match="No space left"):
        export(written["half"], tokenizer, into)
    assert digests(into) == before and [path.name for path in tmp_path.iterdir()] == ["exported"]
