"""Runs whose photographs are streamed from files: the same as those in memory, stopped and resumed like them."""

import shutil
import signal

import jax
import pytest

from resnet_alexnet.errors import InputError
from resnet_alexnet.train import loop
from resnet_alexnet.train.experiment import create_experiment
from resnet_alexnet.workdir.metrics_log import read_metrics
from tests.support import kernels, processes, tiny
from tests.support.photo_sets import damage, write_folder
from tests.support.processes import MAIN, assert_same_run, lines_written, run, words

pytestmark = pytest.mark.slow


def folder_config(folder, **fields):
    """The tiny run on 60 photographs of 8 x 8 pixels, of which 9 are for validation."""
    return processes.resumable(
        dataset__name="image_folder",
        dataset__data_dir=str(folder),
        preprocess__image_size=8,
        dataset__channels=3,
        dataset__validation_fraction=0.15,
        schedule__warmup_until_error=60.0,
        **fields,
    )


@pytest.fixture(autouse=True, scope="module")
def exact():
    with kernels.fused():
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("photos"), per_class=20, size=(8, 8))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture(scope="module")
def in_memory(folder, cache, tmp_path_factory):
    """An undisturbed run of the whole set in memory."""
    workdir = tmp_path_factory.mktemp("in_memory") / "run"
    code, _, errors = run([*MAIN, *words(folder_config(folder)), f"--workdir={workdir}"], cache)
    assert code == 0, errors
    return workdir


def test_a_streamed_run_that_is_stopped_and_resumed_is_the_one_in_memory(folder, cache, in_memory, tmp_path):
    workdir = tmp_path / "run"
    stop, go_on = (folder_config(folder, dataset__in_memory="no", dataset__workers=count) for count in (2, 0))
    arguments = [*MAIN, *words(stop), f"--workdir={workdir}"]
    code, _, errors = run(arguments, cache, until=lines_written(workdir, 4), number=signal.SIGTERM)
    assert (code, errors.startswith("SIGTERM: saved a checkpoint at step")) == (75, True), errors
    code, output, errors = run([*MAIN, *words(go_on), f"--workdir={workdir}"], cache)
    assert code == 0, errors
    assert "resumed at step" in output
    assert_same_run(workdir, in_memory, folder_config(folder))


def test_a_killed_streamed_run_goes_on_too(folder, cache, in_memory, tmp_path):
    workdir = tmp_path / "run"
    config = folder_config(folder, dataset__in_memory="no", dataset__workers=1)
    arguments = [*MAIN, *words(config), f"--workdir={workdir}"]
    code, _, _ = run(arguments, cache, until=lines_written(workdir, 6), number=signal.SIGKILL)
    assert code == -signal.SIGKILL
    code, _, errors = run(arguments, cache)
    assert code == 0, errors
    assert_same_run(workdir, in_memory, config)


def test_the_record_says_what_the_run_got_and_what_its_device_needs(folder, cache, in_memory, tmp_path):
    config = folder_config(folder, dataset__in_memory="no", dataset__workers=0)
    code, output, errors = run([*MAIN, *words(config), f"--workdir={tmp_path / 'run'}"], cache)
    assert code == 0, errors
    (line, *_) = [line for line in read_metrics(tmp_path / "run" / "metrics.jsonl") if "input_wait_percent" in line]
    assert 0 < line["images_per_second"] <= line["step_images_per_second"]
    assert 0 <= line["input_wait_percent"] <= 100
    assert "device needs" in output
    assert "waits for input" in output
    in_memory_lines = read_metrics(in_memory / "metrics.jsonl")
    assert not any("input_wait_percent" in line for line in in_memory_lines)


def test_a_damaged_photograph_is_reported_once_and_too_many_stop_the_run(folder, cache, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "photos")
    damage(copy, "ant/03.jpg", "cat/01.jpg")
    config = folder_config(copy, dataset__in_memory="no", dataset__workers=1)
    code, output, errors = run([*MAIN, *words(config), f"--workdir={tmp_path / 'run'}"], cache)
    assert code == 0, errors
    for name in ("ant/03.jpg", "cat/01.jpg"):
        assert output.count(name) == 1
    config.dataset.max_unreadable = 1
    code, _, errors = run([*MAIN, *words(config), f"--workdir={tmp_path / 'other'}"], cache)
    assert code == 2
    assert errors.count("\n") == 1
    assert "2 training photographs could not be read, more than dataset.max_unreadable=1" in errors


def test_a_run_does_not_go_on_with_other_data(folder, tmp_path):
    photos = shutil.copytree(folder, tmp_path / "photos")
    config = folder_config(photos, num_steps=2)
    loop.train_and_evaluate(config, tmp_path / "run")
    config.num_steps = 4
    moved = photos.rename(tmp_path / "moved")
    config.dataset.data_dir = str(moved)
    loop.train_and_evaluate(config, tmp_path / "run")  # elsewhere, but the same
    config.num_steps = 6
    removed = (moved / "train" / "bee" / "00.jpg").read_bytes()
    (moved / "train" / "bee" / "00.jpg").unlink()
    with pytest.raises(InputError, match=r"numbers of images are .*'validation': 8.*, but were .*'validation': 9"):
        loop.train_and_evaluate(config, tmp_path / "run")
    (moved / "train" / "bee" / "00.jpg").write_bytes(removed)
    (moved / "train" / "cat").rename(moved / "train" / "aaa")
    with pytest.raises(InputError, match=r"classes are \['aaa', 'ant', 'bee'\], but were"):
        loop.train_and_evaluate(config, tmp_path / "run")
    (moved / "train" / "aaa").rename(moved / "train" / "cat")
    (moved / "train" / "bee" / "00.jpg").write_bytes((moved / "train" / "bee" / "01.jpg").read_bytes())
    with pytest.raises(InputError, match="the mean image of the training set has changed"):
        loop.train_and_evaluate(config, tmp_path / "run")


@pytest.mark.parametrize("devices", [1, 4])
def test_batches_are_those_of_one_device(folder, devices, tmp_path):
    config = folder_config(folder, dataset__in_memory="no", dataset__workers=1, num_steps=6, model__bn_group="sync")
    experiment = create_experiment(config, jax.devices()[:devices])
    states = [tiny.train(experiment, config, steps=6, resident=False)]
    reference = create_experiment(folder_config(folder, num_steps=6, model__bn_group="sync"), jax.devices()[:1])
    states.append(tiny.train(reference, config, steps=6))
    ours, theirs = (jax.device_get(state.params["head"]["kernel"]) for state in states)
    assert abs(ours - theirs).max() < (1e-6 if devices == 1 else 1e-3)


def test_too_small_a_set_is_refused_before_anything_is_written(folder, tmp_path):
    config = folder_config(folder, dataset__in_memory="no", batch_size=64)
    with pytest.raises(InputError, match="batch_size=64 is more than the 51"):
        loop.train_and_evaluate(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
