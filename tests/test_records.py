"""Records: every table fits its schema and follows from the raw files, and what was changed by hand is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest
from conftest import edit

from lucie import records
from lucie.errors import MismatchError, UsageError
from lucie.project import Project
from lucie.records import build, evaluation, tokenizers
from lucie.records.composition import parse_name
from lucie.records.upstream import Upstream, load_pins

LOSSES = "input/training_losses"
BUILT = sorted(build.BUILDERS)
RAW = [
    "lucie/hugging_face/config.json",
    "lucie/stats_raw/stats_TheStack--c#.json",
    "lucie/evaluation/evaluation_baselines.csv",
]


@pytest.fixture
def spoilt(project: Project, tmp_path: Path) -> Project:
    """A project with a copy of the records, for a test to spoil."""
    shutil.copytree(project.records, tmp_path / "data" / "records")
    stages = tmp_path / "config" / "stages.yaml"
    stages.parent.mkdir()
    stages.write_text("stages: []\n", encoding="utf-8")
    return Project(tmp_path)


@pytest.fixture
def raw(project: Project, upstream: Path, tmp_path: Path) -> Path:
    """A folder of links to the raw files, for a test to replace some."""
    folder = tmp_path / "raw"
    for path in load_pins(project):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).symlink_to(upstream.resolve() / path)
    return folder


def problems(project: Project, folder: Path) -> dict[str, str]:
    """What `check` finds wrong."""
    return {name: problem for name, problem in build.check(project, folder) if problem}


# Tables and their schemas


def test_every_record_loads_with_the_types_of_its_schema(project: Project) -> None:
    index = pl.read_csv(project.records / "index.csv")
    rows = dict(index.select("record", "rows").iter_rows())
    assert list(rows) == records.record_names(project)
    for name in rows:
        schema, table = records.load_schema(project, name), records.load_record(project, name)
        assert table.height == rows[name] > 0, name
        assert dict(table.schema) == {column: records.TYPES[spec.type] for column, spec in schema.columns.items()}
        assert not [column for column in table.select(pl.col(pl.String)) if column.has_nulls()], name


def test_a_record_is_either_built_from_the_raw_files_or_transcribed(project: Project) -> None:
    names = records.record_names(project)
    assert [name for name in names if not name.startswith("transcribed/")] == BUILT


def test_a_table_with_another_header_is_named(spoilt: Project) -> None:
    edit(spoilt.records / f"{LOSSES}.csv", "wall_hours,gpu_hours", "gpu_hours,wall_hours")
    with pytest.raises(UsageError, match=r"training_losses\.csv has the columns"):
        records.load_record(spoilt, LOSSES)


@pytest.mark.parametrize(("number", "word"), [("main,1865,", "main,many,"), ("main,1865,", "main,1865.5,")])
def test_a_table_with_a_cell_that_is_no_number_of_its_type_is_named(spoilt: Project, number: str, word: str) -> None:
    edit(spoilt.records / f"{LOSSES}.csv", number, word)
    with pytest.raises(UsageError, match=r"training_losses\.csv does not fit its schema: could not parse"):
        records.load_record(spoilt, LOSSES)


def test_a_row_with_a_cell_too_many_is_an_error_that_names_the_table(spoilt: Project) -> None:
    edit(spoilt.records / f"{LOSSES}.csv", "main,1865,", "main,main,1865,")
    with pytest.raises(UsageError, match=r"training_losses\.csv, line 2: 7 cells"):
        records.load_record(spoilt, LOSSES)


def test_a_missing_table_is_named(spoilt: Project) -> None:
    (spoilt.records / f"{LOSSES}.csv").unlink()
    with pytest.raises(UsageError, match=r"training_losses\.csv is missing"):
        records.load_record(spoilt, LOSSES)


def test_a_misspelt_record_gets_the_nearest_right_name(project: Project) -> None:
    with pytest.raises(UsageError, match="Did you mean 'input/training_losses'"):
        records.load_record(project, "input/training_loses")


@pytest.mark.parametrize(("old", "new"), [("type: integer", "type: whole"), ("says:", "say:"), ("columns:", "rows:")])
def test_a_file_that_is_no_schema_is_named(spoilt: Project, old: str, new: str) -> None:
    edit(spoilt.records / f"{LOSSES}.yaml", old, new)
    with pytest.raises(UsageError, match=r"data/records/input/training_losses\.yaml is not a schema"):
        records.load_record(spoilt, LOSSES)


@pytest.mark.parametrize(
    ("name", "where", "source"),
    [
        ("input/model_config", {}, "lucie/hugging_face/config.json"),
        (LOSSES, {"phase": "main", "step": 1865}, "lucie/training_logs/1_pretraining.csv"),
        ("transcribed/launch_scripts", {"phase": "main", "parameter": "hidden_size"}, "main_slurm, line 59"),
        ("transcribed/launch_scripts", {"phase": ["main", "extension"]}, "main_slurm, rope_fork, extension_slurm"),
    ],
)
def test_the_source_of_a_record_is_its_raw_file_or_the_origin_of_its_rows(
    project: Project, name: str, where: dict[str, object], source: str
) -> None:
    assert records.source_of(project, name, where) == source


# The index


def test_the_index_is_that_of_the_committed_records(project: Project) -> None:
    assert list(build.index_problems(project)) == []


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        (f"{LOSSES}.csv", "5.540690021514893", "5.540690021514894"),
        (f"{LOSSES}.yaml", "unit: hours", "unit: days"),
        ("transcribed/model_card.csv", "753851", "753852"),
    ],
)
def test_an_edited_record_is_not_as_the_index_lists_it(spoilt: Project, file: str, old: str, new: str) -> None:
    edit(spoilt.records / file, old, new)
    expected = f"data/records/{file} is not the file that data/records/index.csv lists"
    assert list(build.index_problems(spoilt)) == [expected]


def test_a_missing_table_is_missed_by_the_index(spoilt: Project) -> None:
    (spoilt.records / f"{LOSSES}.csv").unlink()
    assert list(build.index_problems(spoilt)) == [f"data/records/{LOSSES}.csv is missing"]


def test_a_record_of_which_nothing_is_left_is_missed_by_the_index(spoilt: Project) -> None:
    for suffix in (".csv", ".yaml"):
        (spoilt.records / f"{LOSSES}{suffix}").unlink()
    found = list(build.index_problems(spoilt))
    assert found == [f"data/records/{LOSSES}{suffix} is missing" for suffix in (".csv", ".yaml")]


def test_a_record_that_the_index_does_not_list_is_named_and_so_is_a_table_without_schema(spoilt: Project) -> None:
    for suffix in (".csv", ".yaml"):
        shutil.copyfile(spoilt.records / f"{LOSSES}{suffix}", spoilt.records / f"input/more{suffix}")
    shutil.copyfile(spoilt.records / f"{LOSSES}.csv", spoilt.records / "published" / "alone.csv")
    assert list(build.index_problems(spoilt)) == [
        "data/records/input/more is not in data/records/index.csv",
        "data/records/published/alone.csv has no schema",
    ]


# Against the raw files


def test_every_record_follows_from_the_raw_files(project: Project, upstream: Path) -> None:
    checked = dict(build.check(project, upstream))
    assert set(checked) == set(records.record_names(project))
    assert set(checked.values()) == {""}


@pytest.mark.parametrize("path", RAW)
def test_a_raw_file_with_one_byte_changed_is_named(project: Project, raw: Path, path: str) -> None:
    content = bytearray((raw / path).read_bytes())
    content[len(content) // 2] ^= 1
    (raw / path).unlink()
    (raw / path).write_bytes(content)
    with pytest.raises(MismatchError) as caught:
        list(build.check(project, raw))
    assert str(raw / path) in str(caught.value)


@pytest.mark.parametrize("path", RAW)
def test_a_raw_file_that_is_missing_is_named(project: Project, raw: Path, path: str) -> None:
    (raw / path).unlink()
    with pytest.raises(UsageError) as caught:
        list(build.check(project, raw))
    assert f"{raw / path} is missing" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "old", "new", "line"),
    [
        (LOSSES, "phase,step", "phase,stop", 1),
        ("input/token_counts", "14313378731", "14313378732", 2),
        ("published/training_schedule", "main,3790,4114087936", "main,3790,4114087937", 3),
        ("published/model_header", "context_length,32000", "context_length,32001", 4),
    ],
)
def test_one_digit_changed_in_a_table_is_reported_with_its_line(
    spoilt: Project, upstream: Path, name: str, old: str, new: str, line: int
) -> None:
    edit(spoilt.records / f"{name}.csv", old, new)
    found = problems(spoilt, upstream)
    assert set(found) == {name, "index.csv"}
    assert found[name].startswith(f"line {line} is '")
    told, made = found[name].split("the raw files give")
    assert new in told
    assert old in made


def test_a_row_too_many_is_counted(spoilt: Project, upstream: Path) -> None:
    with (spoilt.records / "published" / "model_header.csv").open("a", encoding="utf-8") as file:
        file.write("num_epochs,1\n")
    assert problems(spoilt, upstream)["published/model_header"] == "5 lines; the raw files give 4"


def test_a_table_that_is_not_there_is_named_by_check(spoilt: Project, upstream: Path) -> None:
    (spoilt.records / f"{LOSSES}.csv").unlink()
    assert problems(spoilt, upstream)[LOSSES] == "the table is missing"


def test_a_record_that_no_code_builds_is_named_by_check(spoilt: Project, upstream: Path) -> None:
    for suffix in (".csv", ".yaml"):
        shutil.copyfile(spoilt.records / f"{LOSSES}{suffix}", spoilt.records / f"published/more{suffix}")
    assert problems(spoilt, upstream)["published/more"] == "no code builds it from the raw files"


def test_a_transcribed_row_of_an_unknown_origin_is_found_by_check(spoilt: Project, upstream: Path) -> None:
    edit(spoilt.records / "transcribed" / "launch_scripts.csv", "main_slurm,59", "hearsay,59")
    found = problems(spoilt, upstream)["transcribed/launch_scripts"]
    assert found == "origin hearsay is not in transcribed/origins.csv"


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("transcribed/launch_scripts", "main_slurm,59", "main_slurm,0"),
        ("transcribed/figure_labels", "title line 2", ""),
    ],
)
def test_a_transcribed_row_that_does_not_say_where_it_stands_is_found_by_check(
    spoilt: Project, upstream: Path, name: str, old: str, new: str
) -> None:
    edit(spoilt.records / f"{name}.csv", old, new)
    assert problems(spoilt, upstream).get(name) == "1 rows do not say where in the origin they stand"


def test_building_gives_the_committed_tables_and_index_byte_by_byte(
    project: Project, spoilt: Project, upstream: Path
) -> None:
    for name in [*BUILT, "index"]:
        (spoilt.records / f"{name}.csv").unlink()
    built = dict(build.build(spoilt, upstream))
    assert sorted(built) == BUILT
    assert built[LOSSES] == 484
    names = {path.relative_to(project.records) for path in project.records.rglob("*.*")}
    assert names == {path.relative_to(spoilt.records) for path in spoilt.records.rglob("*.*")}
    changed = [name for name in names if (project.records / name).read_bytes() != (spoilt.records / name).read_bytes()]
    assert changed == []


def test_a_table_built_with_other_columns_than_its_schema_is_refused(project: Project) -> None:
    with pytest.raises(UsageError, match="'published/model_header' was built with"):
        build.conform(project, "published/model_header", pl.DataFrame({"parameter": ["num_steps"]}))


# How raw files are read


@pytest.mark.parametrize(
    ("name", "parsed"),
    [
        ("RedPajama--fr--2021", ("RedPajama", "fr", "2021")),
        ("CroissantAligned--fr-en", ("CroissantAligned", "fr-en", "")),
        ("TheStack--c++", ("TheStack", "", "c++")),
        ("Gallica", ("Gallica", "", "")),
    ],
)
def test_a_raw_file_s_name_gives_source_language_and_part(name: str, parsed: tuple[str, str, str]) -> None:
    assert parse_name(name) == parsed


def test_both_evaluation_tables_name_the_same_pretrained_checkpoints(project: Project) -> None:
    progress = records.load_record(project, "published/evaluation_progress")
    phases = pl.col("phase").is_in(["main", "extension", "annealing"])
    current, earlier = (
        set(progress.filter(phases, version=version).select("phase", "experiment", "steps_in_phase").iter_rows())
        for version in evaluation.VERSIONS
    )
    assert current == earlier
    assert len(current) == 43


def test_repeated_rows_of_the_tokenizer_table_differ_in_times_only(project: Project, upstream: Path) -> None:
    rows = Upstream(upstream, load_pins(project)).rows(tokenizers.MEASURED)
    said = {json.dumps({key: value for key, value in row.items() if "time" not in key}) for row in rows}
    assert len(rows) > len(said) == records.load_record(project, "input/tokenizer_measurements").height


SPOILT_ROWS = {
    "a row too short": ("main_slurm,59", "main_slurm", "line 2: 5 cells where the schema has 6 columns"),
    "an empty number": ("main_slurm,59", "main_slurm,", "line 2: line is empty"),
}


@pytest.mark.parametrize("way", SPOILT_ROWS)
def test_a_spoilt_row_is_named_by_its_line(spoilt: Project, way: str) -> None:
    old, new, message = SPOILT_ROWS[way]
    edit(spoilt.records / "transcribed" / "launch_scripts.csv", old, new)
    with pytest.raises(UsageError, match=message):
        records.load_record(spoilt, "transcribed/launch_scripts")


def test_a_table_that_is_not_utf8_is_named(spoilt: Project) -> None:
    path = spoilt.records / "transcribed" / "launch_scripts.csv"
    path.write_bytes(path.read_bytes().replace(b"phase", b"phas\xe9", 1))
    with pytest.raises(UsageError, match=r"launch_scripts\.csv is not UTF-8"):
        records.load_record(spoilt, "transcribed/launch_scripts")


def test_a_missing_index_and_missing_pins_are_named(spoilt: Project) -> None:
    (spoilt.records / "index.csv").unlink()
    assert list(build.index_problems(spoilt)) == ["data/records/index.csv is missing. Restore it from git"]
    (spoilt.records / "sources.csv").unlink()
    with pytest.raises(UsageError, match=r"sources\.csv is missing"):
        load_pins(spoilt)
