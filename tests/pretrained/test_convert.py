"""The command that converts weights."""

import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy

from resnet_alexnet import pretrained
from resnet_alexnet.errors import InputError
from resnet_alexnet.pretrained import convert, weights
from tests.support.networks import create_network, published


@pytest.fixture
def files(tmp_path):
    """Published weights, and where to put ours."""
    path = tmp_path / "published.safetensors"
    path.write_bytes(safetensors.numpy.save(published().state_dicts[""]))
    return path, tmp_path / "ours.safetensors"


def run(*arguments, **flags):
    convert.main([*arguments, *(f"--{name}={value}" for name, value in flags.items())])


def test_published_weights_become_a_file_that_says_what_it_holds(files, capsys):
    source, target = files
    run(model="cifar_resnet8", input=source, output=target)
    output = capsys.readouterr().out.splitlines()
    assert output[0] == f"read {source}"
    assert output[1] == "  cifar_resnet8, 75,290 parameters, 10 logits (softmax)"
    assert "shortcut_padding=both" in output[2]
    assert output[3] == "  classes: airplane, automobile, bird, cat, ... truck"
    assert output[4] == "  images: 32 x 32 pixels, as they are"
    assert output[5] == "  mean: 123.7 116.3 103.5, of pixels from 0 to 255"
    assert output[-1].startswith(f"wrote {target}, 0.3 MB, in our names")
    ours, theirs = pretrained.load_network(target), pretrained.load_network(source, model="cifar_resnet8")
    assert ours.spec.to_json() == theirs.spec.to_json()
    np.testing.assert_array_equal(ours.params["head"]["kernel"], theirs.params["head"]["kernel"])


def test_converting_there_and_back_gives_the_same_arrays(files, tmp_path):
    source, target = files
    run(model="cifar_resnet8", input=source, output=target)
    run(input=target, output=tmp_path / "back.safetensors", names="torchvision")
    first, last = (safetensors.numpy.load_file(path) for path in (source, tmp_path / "back.safetensors"))
    assert first.keys() == last.keys()
    assert all(first[name].tobytes() == last[name].tobytes() for name in first)


def test_other_preprocessing_is_stated_by_flags(files, tmp_path, capsys):
    source, target = files
    (tmp_path / "classes.txt").write_text("".join(f"class {i}\n" for i in range(10)), "utf-8")
    flags = {"shorter_side": 40, "image_size": 36, "interpolation": "bicubic_antialiased", "mean": "0.5,0.25,0.125"}
    flags |= {"std": ".2,.4,1", "classes": tmp_path / "classes.txt"}
    run(model="cifar_resnet8", input=source, output=target, **flags)
    preprocessing = pretrained.load_network(target).spec.preprocessing
    assert (preprocessing.shorter_side, preprocessing.image_size) == (40, 36)
    assert preprocessing.interpolation == "bicubic_antialiased"
    np.testing.assert_allclose(preprocessing.mean, [127.5, 63.75, 31.875])
    np.testing.assert_allclose(preprocessing.std, [51, 102, 255])
    assert preprocessing.classes == tuple(f"class {i}" for i in range(10))
    assert "shorter side 40 pixels (bicubic_antialiased), center 36 x 36" in capsys.readouterr().out
    run(input=target, output=target, shorter_side=0)  # in its own place, and nothing else changes
    again = pretrained.load_network(target).spec.preprocessing
    assert (again.shorter_side, again.image_size, again.classes) == (None, 36, preprocessing.classes)


def test_the_shorter_side_follows_the_image_size(tmp_path):
    network = create_network(size=16, shorter_side=20, mean=np.full(3, 120, np.float32))
    weights.save(network, tmp_path / "net.safetensors")
    for flags, expected in (
        ({"image_size": 32}, 40),
        ({"image_size": 8}, 10),
        ({"image_size": 8, "shorter_side": 9}, 9),
    ):
        run(input=tmp_path / "net.safetensors", output=tmp_path / "other.safetensors", **flags)
        preprocessing = pretrained.load_network(tmp_path / "other.safetensors").spec.preprocessing
        assert (preprocessing.image_size, preprocessing.shorter_side) == (flags["image_size"], expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "--input or --workdir is missing"),
        ({"input": "IN", "output": ""}, "--output is missing: the file to write"),
        ({"input": "IN", "workdir": "RUN"}, "--input and --workdir exclude each other"),
        ({"workdir": "RUN", "model": "resnet50"}, "--model does not go with --workdir"),
        ({"workdir": "RUN", "mean": "0.5"}, "--mean does not go with --workdir"),
        ({"workdir": "RUN"}, "is not a run folder"),
        ({"workdir": "runs"}, "--workdir=runs: no such folder"),
        ({"workdir": "RUN", "step": "first"}, "--step=first .allowed: last, best"),
        ({"input": "IN", "step": "3"}, "--step does not go with --input"),
        ({"input": "IN", "model": "cifar_resnet14"}, "holds the weights of cifar_resnet8, not of cifar_resnet14"),
        ({"input": "IN", "rename": "conv1"}, "--rename=conv1 .allowed: OLD=NEW"),
        ({"input": "IN", "rename": "net=x"}, "--rename=net=x changes no name"),
        ({"input": "IN", "rename": "(=x"}, "is not a regular expression"),
        ({"input": "IN", "state_dict": "ema"}, "has no state dict 'ema' .it has: ''"),
        ({"input": "IN", "shortcut": "B"}, "show shortcut='A'"),
        (
            {"workdir": "RUN", "rename": "a=b"},
            "--rename is for the weight files of other libraries: give it with --input",
        ),
        (
            {"input": "IN", "model": "cifar_resnet8", "names": "torch"},
            "--names=torch, did you mean 'torchvision'.*ours, torchvision",
        ),
        ({"input": "IN", "model": "cifar_resnet8", "output": "x.pth"}, "--output=x.pth .allowed: .* .safetensors"),
        ({"input": "IN", "model": "cifar_resnet8", "output": "no/x.safetensors"}, "in a folder that exists"),
        (
            {"input": "IN", "model": "cifar_resnet8", "image_size": "0"},
            "--image_size=0 .allowed: a whole number from 1 to 10,000",
        ),
        ({"input": "IN", "model": "cifar_resnet8", "shorter_side": "20"}, "does not fit into a shorter side of 20"),
        (
            {"input": "IN", "model": "cifar_resnet8", "interpolation": "cubic"},
            "--interpolation=cubic, did you mean 'bicubic'",
        ),
        ({"input": "IN", "model": "cifar_resnet8", "mean": "123,116,103"}, "--mean=123,116,103 .allowed: 3 numbers"),
        ({"input": "IN", "model": "cifar_resnet8", "mean": "0.5,0.5"}, "3 numbers from 0 to 1"),
        ({"input": "IN", "model": "cifar_resnet8", "std": "0,1,1"}, "--std=0,1,1 .allowed: 3 numbers from 0.001 to 1"),
        ({"input": "IN", "model": "cifar_resnet8", "mean": "0.5,x,0.5"}, "--mean=0.5,x,0.5"),
        ({"input": "IN", "model": "cifar_resnet8", "classes": "none.txt"}, "--classes=none.txt cannot be read"),
        ({"input": "IN", "model": "cifar_resnet8", "classes": "TWICE"}, "names 'a' more than once"),
        ({"input": "IN", "model": "cifar_resnet8", "classes": "TWO"}, "has 10 logits, but 2 class names"),
        ({"input": "IN", "modle": "cifar_resnet8"}, "did you mean '--model'"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(files, tmp_path, arguments, message):
    source, target = files
    (tmp_path / "twice.txt").write_text("a\nb\na\n")
    (tmp_path / "two.txt").write_text("a\nb\n")
    before = sorted(tmp_path.iterdir())
    places = {"IN": source, "RUN": tmp_path, "TWICE": tmp_path / "twice.txt", "TWO": tmp_path / "two.txt"}
    flags = {"output": target, **{name: places.get(value, value) for name, value in arguments.items()}}
    with pytest.raises(InputError, match=message) as error:
        run(**flags)
    assert "\n" not in str(error.value)
    assert sorted(tmp_path.iterdir()) == before


def test_the_command_ends_with_code_2_in_one_line(tmp_path):
    (tmp_path / "page.pth").write_text("<html>")
    command = [sys.executable, "-m", "resnet_alexnet.pretrained.convert", "--model=resnet50"]
    arguments = [f"--input={tmp_path / 'page.pth'}", f"--output={tmp_path / 'x.safetensors'}"]
    result = subprocess.run([*command, *arguments], capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr == f"error: {tmp_path / 'page.pth'} is a web page, not weights: download the file again\n"
    assert result.stdout == ""
