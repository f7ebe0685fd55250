"""Errors on corrupted images, against a loop over single images."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_alexnet import parallel, pretrained, robustness
from resnet_alexnet.data.arrays import ArraySource
from resnet_alexnet.data.corruptions import corrupt
from resnet_alexnet.errors import InputError
from resnet_alexnet.evaluate import __main__ as evaluate
from resnet_alexnet.evaluate.report import wilson_interval
from resnet_alexnet.evaluate.robustness import measure_robustness
from tests.support import tiny
from tests.support.networks import create_network
from tests.support.photo_sets import write_folder
from tests.support.runs import write_run


@pytest.fixture(scope="module")
def source():
    rng = np.random.default_rng(1)
    images, labels = rng.integers(0, 256, (21, 8, 8, 3), np.uint8), rng.integers(0, 3, 21).astype(np.int32)
    return ArraySource(images, labels, ("cat", "ant", "bee"))  # in another order than those of the network


@pytest.fixture(scope="module")
def network(source):
    """Random, but no class is always the best."""
    network = create_network(size=8, mean=np.full(3, 100, np.float32))
    logits = network.module()(network.spec.preprocessing.normalize(jnp.asarray(source.images)))
    head = {**network.params["head"], "bias": network.params["head"]["bias"] - np.mean(logits, axis=0)}
    return dataclasses.replace(network, params={**network.params, "head": head})


NAMES = ("noise", "shift", "jpeg")


@pytest.fixture(scope="module")
def by_hand(network, source):
    """The errors by (name of the corruption, severity)."""
    labels, normalize = np.array([2, 0, 1])[source.labels], network.spec.preprocessing.normalize
    model = jax.jit(lambda images: network.module()(normalize(images)))
    found = {}
    for name in NAMES:
        for severity in range(6):
            images = [corrupt(image, name, severity, seed=5, index=i) for i, image in enumerate(source.images)]
            wrong = int((np.argmax(model(jnp.asarray(np.stack(images))), axis=1) != labels).sum())
            found[name, severity] = {"top1_error": 100 * (wrong / 21), "top1_interval": wilson_interval(wrong, 21)}
    return found


@pytest.mark.parametrize(("devices", "batch_size"), [(1, 8), (8, 3), (3, 21)])
def test_errors_are_those_of_a_loop_on_any_number_of_devices(network, source, by_hand, devices, batch_size):
    mesh = parallel.create_mesh(jax.devices()[:devices])
    found = measure_robustness(network, source, corruptions=NAMES, seed=5, batch_size=batch_size, mesh=mesh)
    assert json.loads(json.dumps(found)) == found
    assert found["images"] == 21
    assert found["clean"] == by_hand["noise", 0]
    assert list(found["corruptions"]) == list(NAMES)
    means = []
    for name in NAMES:
        severities = found["corruptions"][name]["severities"]
        assert [each["severity"] for each in severities] == [1, 2, 3, 4, 5]
        for each in severities:
            expected = by_hand[name, each["severity"]]
            assert {key: each[key] for key in expected} == expected
        means.append(np.mean([each["top1_error"] for each in severities]))
        assert found["corruptions"][name]["mean_error"] == pytest.approx(means[-1])
    assert len(set(means)) == 3, "the network sees the corruptions"
    assert found["mean_error"] == pytest.approx(np.mean(means))
    assert [each["amount"] for each in found["corruptions"]["shift"]["severities"]] == [1, 1, 1, 2, 2]
    assert found["corruptions"]["noise"]["unit"] == "standard deviation in gray levels of 255"


def test_images_of_two_channels_are_refused(source):
    images = ArraySource(source.images[..., :2], source.labels, source.classes)
    with pytest.raises(InputError, match="images of 2 channels cannot be corrupted"):
        measure_robustness(create_network(size=8, channels=2), images, batch_size=8, mesh=parallel.create_mesh())


def test_the_command_writes_and_prints_what_it_finds(tmp_path, capsys):
    workdir, output = write_run(tmp_path / "run", tiny.config()), tmp_path / "r.json"
    robustness.main([f"--workdir={workdir}", f"--output={output}", "--split=validation", "--seed=3"])
    result = json.loads(output.read_text())
    settings = {"network": "cifar_resnet8", "step": "last", "dataset": "synthetic", "split": "validation", "seed": 3}
    assert {name: result[name] for name in settings} == settings
    assert list(result["corruptions"]) == ["noise", "blur", "jpeg", "contrast", "shift"]
    title, *rows = capsys.readouterr().out.splitlines()[-10:]
    assert title == "cifar_resnet8, top-1 error by severity of the corruption"
    printed = {row.split()[0]: row.split(maxsplit=1)[1] for row in rows}
    assert printed["images"] == "20, synthetic validation"
    assert printed["written"] == str(output)
    blurred = result["corruptions"]["blur"]
    numbers = "  ".join(f"{each['top1_error']:.2f}" for each in blurred["severities"])
    assert printed["blur"] == f"{numbers} %, mean {blurred['mean_error']:.2f} %"
    evaluate.main([f"--workdir={workdir}", "--split=validation", f"--output={tmp_path / 'evaluated'}"])
    report = json.loads((tmp_path / "evaluated" / "report.json").read_text())
    assert {name: report[name] for name in ("top1_error", "top1_interval")} == result["clean"]


def test_photographs_are_corrupted_in_the_crops_of_the_network(tmp_path, monkeypatch):
    folder = write_folder(tmp_path / "photos", split="test", per_class=3)
    network = create_network(size=16, shorter_side=20)
    monkeypatch.setattr(pretrained, "load_network", lambda path, **_: network)
    (tmp_path / "w.safetensors").touch()
    words = [f"--weights={tmp_path / 'w.safetensors'}", "--config=resnet18", "--config.dataset.name=image_folder"]
    words += [f"--config.dataset.data_dir={folder}", "--config.precision=float32"]
    robustness.main([*words, f"--output={tmp_path / 'r.json'}"])
    evaluate.main([*words, f"--output={tmp_path / 'evaluated'}"])
    result = json.loads((tmp_path / "r.json").read_text())
    assert result["clean"]["top1_error"] == json.loads((tmp_path / "evaluated/report.json").read_text())["top1_error"]
    assert result["corruptions"]["shift"]["severities"][4]["amount"] == 4  # of crops of 16 pixels


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--output=r.txt"], "--output=r.txt .allowed: a file that ends in .json"),
        (["--split=tset"], "split of synthetic is 'tset', did you mean 'test'"),
        (["--seed=-1"], "--seed=-1 .allowed: a whole number from 0"),
        (["--step=7"], "no checkpoint 7"),
    ],
)
def test_bad_input_is_one_line(tmp_path, flags, message):
    workdir = write_run(tmp_path / "run", tiny.config())
    with pytest.raises(InputError, match=message) as error:
        robustness.main([f"--workdir={workdir}", *flags])
    assert "\n" not in str(error.value)
