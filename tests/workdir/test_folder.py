import json
import os
import subprocess
from pathlib import Path

import jax
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ml_collections import ConfigDict

from configs import default
from resnet_alexnet.errors import InputError
from resnet_alexnet.files import read_json, write_json
from resnet_alexnet.workdir import folder
from resnet_alexnet.workdir.config import flatten, from_json, load_config, to_json
from resnet_alexnet.workdir.folder import ENVIRONMENT_FILE, check_workdir, create_workdir, environment
from tests.support import tiny
from tests.support.files import snapshot

# How a run reads its data, not which data.
OF_THE_MACHINE = [
    f"dataset.{name}" for name in ("data_dir", "on_device", "in_memory", "workers", "max_unreadable", "max_pixels")
]

NAMES = st.text("abc_", min_size=1, max_size=3)
VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3)
TREES = st.recursive(
    st.dictionaries(NAMES, VALUES | st.lists(st.integers() | st.text(max_size=2), max_size=3), max_size=4),
    lambda tree: st.dictionaries(NAMES, tree, max_size=3),
    max_leaves=12,
)


def test_a_config_survives_the_trip_to_json_and_back_with_its_types():
    config = tiny.config(model__bn_group=2, schedule__boundaries=(10, 20))
    values = json.loads(json.dumps(to_json(config)))
    back = from_json(values)
    assert to_json(back) == values
    assert back.schedule.boundaries == (10, 20)
    assert type(back.schedule.boundaries) is tuple
    assert back.model.num_logits is None
    assert {name for name, value in flatten(values).items() if value is None} == {
        name for name, value in flatten(config.to_dict()).items() if value is None
    }


@given(TREES)
def test_any_tree_survives_the_trip(values):
    assert to_json(from_json(values)) == values


@given(TREES)
def test_flattening_keeps_every_value_under_its_path(values):
    for path, value in flatten(values).items():
        found = values
        for name in path.split("."):
            found = found[name]
        assert found == value


def test_a_new_folder_an_empty_one_and_one_that_was_just_begun_are_to_be_filled(tmp_path):
    config = tiny.config()
    assert not check_workdir(tmp_path / "new", config)
    assert not check_workdir(tmp_path, config)
    (tmp_path / ".config.json.tmp").write_text('{"batch')  # a process killed at its first breath
    assert not check_workdir(tmp_path, config)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["run", "."])
def test_a_path_that_the_locale_cannot_decode_is_refused_at_the_start(tmp_path, monkeypatch, name):
    parent = tmp_path / os.fsdecode(b"z\xfc")  # as Latin-1 writes "zü"
    parent.mkdir()
    monkeypatch.chdir(parent)
    with pytest.raises(
        InputError, match=r"is no text in utf-8, the encoding of file names here \(use another --workdir"
    ):
        check_workdir(Path(name), default.get_config())
    assert not list(parent.iterdir())


def test_a_folder_is_filled_and_then_recognized(tmp_path):
    config = tiny.config()
    create_workdir(tmp_path / "deep" / "run", config)
    assert sorted(os.listdir(tmp_path / "deep" / "run")) == ["config.json", "environment.json"]
    assert read_json(tmp_path / "deep" / "run" / "config.json") == to_json(config)
    assert check_workdir(tmp_path / "deep" / "run", config)
    assert check_workdir(tmp_path / "deep" / "run", from_json(to_json(config)))


FIELDS = flatten(default.get_config().to_dict())


@pytest.mark.parametrize("field", FIELDS)
def test_each_field_may_or_may_not_differ_when_a_run_goes_on(tmp_path, field):
    config = default.get_config()
    create_workdir(tmp_path, config)
    before = snapshot(tmp_path)
    values = to_json(config)
    *groups, name = field.split(".")
    place = values
    for group in groups:
        place = place[group]
    old, place[name] = place[name], 123_456 if isinstance(place[name], int) else "other"
    new = from_json(values)
    of_the_program = ("num_steps", "steps_per_call", "accumulate_steps", "model.scan", "model.remat")
    free = field in (*of_the_program, *OF_THE_MACHINE) or groups in (
        ["mesh"],
        ["log"],
        ["eval"],
        ["checkpoint"],
        ["guard"],
        ["hosts"],
    )
    if free:
        assert check_workdir(tmp_path, new)
    else:
        with pytest.raises(InputError) as error:
            check_workdir(tmp_path, new)
        assert str(error.value).endswith(f"another config: {field} is {place[name]!r}, was {old!r}")
    assert snapshot(tmp_path) == before


def test_a_run_that_is_further_than_asked_for_is_not_cut_short(tmp_path):
    create_workdir(tmp_path, tiny.config())
    for step in ("9", "40", "41.orbax-checkpoint-tmp"):
        (tmp_path / "checkpoints" / step).mkdir(parents=True)
    assert check_workdir(tmp_path, tiny.config(num_steps=40))
    with pytest.raises(InputError, match=r"num_steps=39, but the run in .* has done 40"):
        check_workdir(tmp_path, tiny.config(num_steps=39))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is neither a run folder nor empty"),
        ("{", "config.json is not JSON"),
        ("[1]", "config.json is not a JSON object"),
        ('{"name": "of another program"}', "config.json is not the config.json of a run folder"),
        (b"\xff\xfe", "config.json is not JSON"),
    ],
)
def test_a_folder_that_is_not_a_runs_is_refused_and_left_alone(tmp_path, content, message):
    (tmp_path / "mine.txt").write_text("precious")
    if content is not None:
        (tmp_path / "config.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    before = snapshot(tmp_path)
    with pytest.raises(InputError, match=message):
        check_workdir(tmp_path, tiny.config())
    assert snapshot(tmp_path) == before


def test_a_folder_named_config_json_is_refused(tmp_path):
    (tmp_path / "config.json").mkdir()
    with pytest.raises(InputError, match="is neither a run folder nor empty"):
        check_workdir(tmp_path, tiny.config())


def test_what_cannot_be_a_folder_is_refused_and_leaves_nothing(tmp_path):
    file = tmp_path / "file"
    file.write_text("x")
    for bad in (file, tmp_path / ("n" * 300)):
        with pytest.raises(InputError, match="cannot be used as a folder"):
            check_workdir(bad, tiny.config())
    for bad in (file / "below", file / "far" / "below"):
        assert not check_workdir(bad, tiny.config())
        with pytest.raises(InputError, match=r"--workdir=.*below cannot be written: Not a directory"):
            create_workdir(bad, tiny.config())
    assert os.listdir(tmp_path) == ["file"]


def test_json_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    file = tmp_path / "config.json"
    write_json(file, {"a": 1})

    def crash(*_):
        raise OSError("no space left")

    monkeypatch.setattr("os.replace", crash)
    with pytest.raises(InputError, match="cannot be written: no space left"):
        write_json(file, {"a": 2})
    assert json.loads(file.read_text()) == {"a": 1}


def test_the_environment_tells_versions_devices_and_the_commit():
    found = environment()
    assert found["versions"]["jax"] == jax.__version__
    assert len(found["devices"]) == 8
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()
    assert found["git_commit"] in (commit or None, f"{commit}+changes")
    json.dumps(found)


def test_without_git_there_is_no_commit(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert environment()["git_commit"] is None


def test_unset_fields_of_a_saved_config_take_any_value():
    config = from_json({"model": {"dropout": None, "bn_group": None}}).lock()
    assert isinstance(config, ConfigDict)
    config.model.dropout = 0.5
    config.model.bn_group = "sync"
    assert to_json(config) == {"model": {"dropout": 0.5, "bn_group": "sync"}}


def test_other_hardware_is_noted_beside_the_first(tmp_path, monkeypatch):
    workdir = tmp_path / "run"
    create_workdir(workdir, tiny.config())
    file = workdir / ENVIRONMENT_FILE
    first = json.loads(file.read_text())
    create_workdir(workdir, tiny.config())
    assert json.loads(file.read_text()) == first
    for devices in (["other"], ["other"]):
        monkeypatch.setattr(folder, "environment", lambda devices=devices: {**first, "devices": devices})
        create_workdir(workdir, tiny.config())
    assert json.loads(file.read_text()) == {**first, "resumed_on": [{**first, "devices": ["other"]}]}


def test_a_path_whose_checkpoints_could_not_be_read_again_is_refused_at_the_start(tmp_path):
    with pytest.raises(InputError, match="has a bracket in its path: use another one"):
        check_workdir(tmp_path / "lr[0.1]", tiny.config())
    assert not (tmp_path / "lr[0.1]").exists()


def test_an_older_config_takes_the_defaults_of_younger_fields(tmp_path):
    config = tiny.config()
    values = to_json(config)
    del values["accumulate_steps"], values["mesh"], values["eval"]["test"]
    (tmp_path / "config.json").write_text(json.dumps(values))
    assert to_json(load_config(str(tmp_path / "config.json"))) == to_json(config)
    assert check_workdir(tmp_path, config)


def test_a_field_that_does_not_exist_any_more_is_named_with_the_nearest(tmp_path):
    values = to_json(tiny.config())
    values["optim"]["learn_rate"] = values["optim"].pop("learning_rate")
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(
        InputError, match=r"the field 'optim.learn_rate', which .* did you mean 'optim.learning_rate'\?"
    ):
        load_config(str(tmp_path / "config.json"))
