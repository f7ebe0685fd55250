"""Runs whose test split is never read: eval.test='never'."""

import jax
import pytest

from resnet_alexnet.errors import InputError
from resnet_alexnet.evaluate import __main__ as evaluate
from resnet_alexnet.train import loop
from resnet_alexnet.train.experiment import create_experiment
from resnet_alexnet.workdir.metrics_log import TEST_ERROR, VAL_ERROR
from tests.support import tiny
from tests.support.photo_sets import write_folder
from tests.support.processes import log_lines


@pytest.fixture(autouse=True)
def on_one_device(monkeypatch):
    create = create_experiment
    monkeypatch.setattr(loop, "create_experiment", lambda config, *_, **__: create(config, jax.devices()[:1]))


def test_a_test_split_that_cannot_be_read_is_noticed_only_by_a_run_that_tests(tmp_path, capsys):
    folder = write_folder(tmp_path / "photos", per_class=10, size=(8, 8))
    kept = {path: path.read_bytes() for path in (folder / "train").rglob("*.jpg") if path.stem.endswith("1")}
    tests = [folder / "test" / path.parent.name / path.name for path in kept]
    for path in tests:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"no image")
    config = tiny.config(
        num_steps=1,
        dataset__name="image_folder",
        dataset__data_dir=str(folder),
        dataset__channels=3,
        dataset__validation_fraction=0.2,
        eval__test="never",
    )
    workdir = tmp_path / "run"
    loop.train_and_evaluate(config, workdir)
    assert "images: 24 train, 6 validation, in " in (said := capsys.readouterr().out)
    assert "not measured: eval.test is 'never' (evaluate --split=test measures it)" in said
    keys = {key for line in log_lines(workdir) for key in line}
    assert VAL_ERROR in keys
    assert not any(key.startswith("test/") for key in keys)

    loop.train_and_evaluate(config, workdir)  # finished: nothing is read
    config.eval.test = "end"
    with pytest.raises(InputError, match="image_folder test: none of the 3 images can be read"):
        loop.train_and_evaluate(config, workdir)
    for path, image in zip(tests, kept.values(), strict=True):
        path.write_bytes(image)
    capsys.readouterr()
    evaluate.main([f"--workdir={workdir}", "--split=test", "--batch_size=8"])
    assert "image_folder test" in capsys.readouterr().out
    loop.train_and_evaluate(config, workdir)  # the test alone is to come
    *_, tested, finished = log_lines(workdir)
    assert TEST_ERROR in tested
    assert finished == {"step": 1, "finished": True}
    assert "not measured" not in capsys.readouterr().out
    before = log_lines(workdir)
    config.eval.test = "never"
    loop.train_and_evaluate(config, workdir)
    assert log_lines(workdir) == before


def test_whether_to_test_is_checked_by_name():
    with pytest.raises(InputError, match=r"eval\.test is 'nevr', did you mean 'never'\? \(allowed: end, never\)"):
        create_experiment(tiny.config(eval__test="nevr"), jax.devices()[:1])
