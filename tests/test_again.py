"""What notebooks 03 and 04 run again: a tokenizer and token files from the clean corpus of a tier, end to end."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import polars as pl
import pytest
from conftest import ROOT

from lucie.errors import UsageError
from lucie.files import sha256
from lucie.inputs import input_file, input_files, product_files
from lucie.project import Project
from lucie.records import load_record
from lucie.tokenizer import again as tokenizers
from lucie.tokenizer.recipe import TokenizerRecipe
from lucie.tokens import again as tokens
from lucie.tokens.heldout import is_held_out
from lucie.training.again import interval
from lucie.training.recipe import Recipe

COLUMNS = ("source", "id", "language", "category", "text")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A checkout whose tier mini has a clean corpus: the documents of data/mini as they are."""
    root = tmp_path_factory.mktemp("built")
    for name in ("config", "data/mini"):
        shutil.copytree(ROOT / name, root / name)
    project = Project(root)
    rows = [
        {name: json.loads(line)[name] for name in COLUMNS}
        for path in sorted((root / "data" / "mini" / "documents").glob("*.jsonl"))
        for line in path.read_text("utf-8").splitlines()
    ]
    folder = project.build / "mini" / "work" / "clean_corpus" / "clean"
    folder.mkdir(parents=True)
    for number, part in enumerate(pl.DataFrame(rows).iter_slices(200)):
        part.write_parquet(folder / f"{number:05d}.parquet")
    give_out(project, "clean_corpus")
    return project


def give_out(project: Project, name: str) -> None:
    """Write the list of a product's files, as `Results.product` does."""
    folder = project.build / "mini" / "work" / name
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith(".")]
    listed = {path.relative_to(folder).as_posix(): {"sha256": sha256(path)} for path in files}
    path = project.build / "mini" / "products" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(listed))


@pytest.fixture(scope="module")
def trained(built: Project) -> tokenizers.Trained:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LUCIE_ROOT", str(built.root))
        found = tokenizers.train("mini", built.build / "mini" / "work" / "tokenizer")
    give_out(built, "tokenizer")
    return found


@pytest.fixture(scope="module")
def written(built: Project, trained: tokenizers.Trained) -> tokens.Written:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LUCIE_ROOT", str(built.root))
        return tokens.write("mini", built.build / "mini" / "work" / "tokens")


def test_what_a_tokenizer_is_measured_on_it_never_saw(trained: tokenizers.Trained) -> None:
    seen, unseen = set(trained.read), set(trained.held_out)
    assert seen and unseen and not seen & unseen
    assert all(is_held_out(text, trained.recipe.held_out_per_mille) for text in unseen)
    assert trained.come_back() == len(trained.unseen) == trained.counts["documents"].sum()


def test_it_has_the_released_one_s_fixed_entries_and_signs(trained: tokenizers.Trained, project: Project) -> None:
    kinds = trained.entries(load_record(project, "input/tokenizer_entries"))
    same = kinds.filter(pl.col("ours") == pl.col("released"))["kind"].to_list()
    assert set(same) >= {"special", "byte", "spaces", "tabs", "linebreaks", "digit"}
    signs = load_record(project, "input/tokenizer_spaced_signs").filter(tokenizer="released")["sign"].to_list()
    assert trained.signs() == signs


def test_tokenizers_that_were_fetched_are_measured_on_the_same_text(
    trained: tokenizers.Trained, project: Project
) -> None:
    measurements = load_record(project, "input/tokenizer_measurements")
    place = trained.project.root / "data" / "tokenizers" / "twin"
    shutil.copytree(trained.folder, place)
    shutil.copytree(trained.folder, place.with_name("other"))
    assert trained.others == {}  # the committed results of mini do not depend on what was fetched
    beside = trained.recipe.model_copy(update={"beside_others": True})
    again = tokenizers.Trained(trained.project, beside, trained.folder, trained.read, trained.held_out)
    table = again.fertilities(measurements)
    ours, twin = (table.filter(tokenizer=name).drop("tokenizer") for name in ("ours", "twin"))
    assert ours.equals(twin) and set(ours["language"]) == set(tokenizers.LANGUAGES)
    assert again.options_beside("twin")["same"].all()
    assert again.variants()["entries"].to_list() == [trained.tokenizer.get_vocab_size()]
    assert "Llama-2" in again.missing()["tokenizer"].to_list()
    shutil.rmtree(place.parent)


def test_what_is_held_out_is_in_no_file_to_train_on(trained: tokenizers.Trained, written: tokens.Written) -> None:
    counts = written.counts()
    assert counts["documents"].sum() == trained.seen()["documents"].sum()
    assert counts["documents_held_out"].sum() == trained.counts["documents"].sum()


def test_the_plan_says_what_the_order_gives(written: tokens.Written) -> None:
    plan = written.plan()
    for phase, ordered in written.ordered.items():
        rows = plan.filter(phase=phase)
        assert rows["sequences"].sum() == len(ordered)
        drawn = pl.Series([ordered.documents(index)["file"][0] for index in range(len(ordered))])
        names = rows.group_by("name").agg(pl.sum("sequences"))
        assert dict(drawn.value_counts().iter_rows()) == dict(names.filter(pl.col("sequences") > 0).iter_rows())
        assert written.farthest(phase) < 1
        assert ordered.check_manifest()
    assert tokens.by_language(plan).select("main", "extension", "annealing").sum().row(0) == pytest.approx((100,) * 3)


def test_an_item_that_was_trained_on_is_found(written: tokens.Written, built: Project) -> None:
    assert written.overlap().shared.is_empty()
    text = pl.read_parquet(written.shards[0], columns=["text"])["text"][0]
    path = built.root / "data" / "mini" / "items" / "cloze.jsonl"
    before = path.read_text("utf-8")
    path.write_text(before + json.dumps({"id": "known", "query": text, "answer": "x"}) + "\n", "utf-8")
    assert written.overlap().shared["item"].unique().to_list() == ["cloze/known"]
    path.write_text(before, "utf-8")


def test_inputs_are_called_by_what_they_are(built: Project, trained: tokenizers.Trained) -> None:
    folder = built.build / "mini"
    assert list(input_files(built, folder, "mix/mini")) == ["config/mixes/mini.yaml"]
    assert len(input_files(built, folder, "items/mini")) == 8
    assert input_files(built, folder, "fetched/tokenizers") == {}
    for called, path in input_files(built, folder, "product/tokenizer").items():
        assert called == "products/tokenizer.json"
        assert path == input_file(built, folder, called) == folder / called
    assert [path.name for path in product_files(built, "mini", "tokenizer", "tokenizer.json")] == ["tokenizer.json"]
    for name in ("product/nothing", "tokenizer/nothing"):
        with pytest.raises(UsageError, match="nothing"):
            input_files(built, folder, name)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("says: x\nvocabulary: 0\nheld_out_per_mille: 1\n", "vocabulary: Input should be greater"),
        ("says: x\nvocabulary: 9\nheld_out_per_mille: 1001\n", "held_out_per_mille: Input should be less"),
        ("says: x\nvocabulary: 9\n", "held_out_per_mille: Field required"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(tmp_path: Path, content: str, message: str) -> None:
    folder = tmp_path / "config" / "tokenizers"
    folder.mkdir(parents=True)
    (folder / "odd.yaml").write_text(content)
    with pytest.raises(UsageError, match=message):
        TokenizerRecipe.load(Project(tmp_path), "odd")
    with pytest.raises(UsageError, match=r"no tokenizer 'od'.*odd"):
        TokenizerRecipe.load(Project(tmp_path), "od")


def test_a_vocabulary_smaller_than_the_alphabet_is_refused(built: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    path = TokenizerRecipe.path(built, "mini")
    before = path.read_text()
    path.write_text(before.replace("4096", "300"))
    monkeypatch.setenv("LUCIE_ROOT", str(built.root))
    with pytest.raises(UsageError, match="A vocabulary of 300 has no room"):
        tokenizers.train("mini", built.root / "elsewhere")
    path.write_text(before)
    assert not (built.root / "elsewhere").exists()


@pytest.mark.parametrize("name", ["mini", "sample", "gpu", "full"])
def test_a_model_knows_the_entries_of_its_tier_s_tokenizer(project: Project, name: str) -> None:
    recipe = Recipe.load(project, name)
    assert recipe.architecture.vocab_size == TokenizerRecipe.load(project, recipe.tier).vocabulary


def test_one_more_seed_is_expected_in_the_interval() -> None:
    """Of normal numbers, 99 in 100 lie in the interval that the five before them give."""
    chance = random.Random(0)
    drawn = [[chance.gauss(5, 0.1) for _ in range(6)] for _ in range(4000)]
    inside = 0
    for *five, sixth in drawn:
        between = interval(five)
        assert between
        inside += between[0] <= sixth <= between[1]
    assert 0.985 < inside / len(drawn) < 0.995
    assert interval([5.0]) is None
