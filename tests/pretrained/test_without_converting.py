"""Weight files of torch where weights are named, without converting them first; and such without their last layers."""

import numpy as np
import pytest

from resnet_alexnet import kernels, pretrained
from resnet_alexnet.errors import InputError
from resnet_alexnet.features import __main__ as features
from resnet_alexnet.predict import __main__ as predict
from resnet_alexnet.pretrained import convert
from resnet_alexnet.train.experiment import create_experiment
from tests.support import tiny, torch_peers
from tests.support.networks import published
from tests.support.photo_sets import write_folder
from tests.support.torch_peers import torch


def save(path, arrays, *without):
    torch.save({name: torch.tensor(array) for name, array in arrays.items() if not name.startswith(without)}, path)
    return path


@pytest.fixture
def cifar(tmp_path):
    """A CIFAR ResNet of torch, whole and without its last layer."""
    arrays = published().state_dicts[""]
    return save(tmp_path / "whole.pth", arrays), save(tmp_path / "backbone.pth", arrays, "linear")


def test_photographs_are_classified_and_what_is_presumed_goes_to_standard_error(cifar, tmp_path, capsys):
    photos = write_folder(tmp_path / "photos", per_class=1)
    predict.main([f"--weights={cifar[0]}", "--model=cifar_resnet8", "--format=csv", "--topk=1", str(photos)])
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 1 + 3
    assert (
        "note: presumed, as the arrays do not show it (flags state it otherwise): shortcut_padding=both" in captured.err
    )
    assert "note: presumed images: 32 x 32 pixels, as they are; mean: 123.7" in captured.err
    with pytest.raises(InputError, match="holds the weights of cifar_resnet8, not of cifar_resnet14"):
        predict.main([f"--weights={cifar[0]}", "--model=cifar_resnet14", str(photos)])
    with pytest.raises(InputError, match="lacks fc: it cannot classify"):
        predict.main([f"--weights={cifar[1]}", str(photos)])


def test_what_is_read_of_a_file_and_how_is_stated_where_weights_are_named(cifar, tmp_path, capsys):
    arrays = {f"x.{name}": torch.tensor(array) for name, array in published().state_dicts[""].items()}
    zeros = {name: torch.zeros_like(array) for name, array in arrays.items()}
    torch.save({"a": arrays, "b": zeros}, tmp_path / "two.pth")
    photo = str(write_folder(tmp_path / "photos", per_class=1) / "train" / "ant" / "00.jpg")
    weights, named = f"--weights={tmp_path / 'two.pth'}", "--format=csv"
    with pytest.raises(InputError) as error:
        predict.main([weights, photo])
    remedy = f"for finetune.weights, write it anew: convert --input={tmp_path / 'two.pth'} --output=FILE.safetensors"
    assert f"choose one with --state_dict=NAME (it has: a.x, b.x); {remedy} --state_dict=NAME" in str(error.value)
    answers = []
    for flags in (
        [weights, "--state_dict=a.x"],
        [weights, r"--rename=^x\.=", "--state_dict=a"],
        [f"--weights={cifar[0]}"],
    ):
        predict.main([*flags, named, photo])
        answers.append(capsys.readouterr().out)
    assert answers[0] == answers[1] == answers[2]
    kernels.main([weights, "--state_dict=b.x", f"--output={tmp_path / 'k.png'}"])
    with pytest.raises(
        InputError, match="--stride_in is for the weight files of other libraries: give it with --weights"
    ):
        predict.main([f"--workdir={tmp_path}", "--stride_in=1x1", photo])


def config(weights, **fields):
    sizes = {"preprocess__image_size": 32, "dataset__channels": 3, "dataset__num_examples": 40}
    unset = {"model__shortcut": None, "model__shortcut_padding": None}
    return tiny.config(**{**sizes, **unset, "finetune__weights": str(weights), "dataset__num_classes": 4, **fields})


@pytest.mark.parametrize("whole", [True, False])
def test_a_run_starts_from_a_file_of_torch(cifar, whole):
    experiment = create_experiment(config(cifar[0 if whole else 1]))
    expected = pretrained.load_network(cifar[0]).leaves()
    taken = experiment.model.start
    assert expected.keys() - taken.keys() == {"params/head/kernel", "params/head/bias"}
    assert all(np.array_equal(leaf, expected[name]) for name, leaf in taken.items())
    assert experiment.model.spec.options["shortcut_padding"] == "both"
    stated = create_experiment(config(cifar[0], model__shortcut_padding="behind"))
    assert stated.model.spec.options["shortcut_padding"] == "behind"


def test_a_layer_that_the_file_lacks_has_to_be_new(cifar, tmp_path):
    arrays = published().state_dicts[""]
    part = save(tmp_path / "part.pth", arrays, "linear", "layer3.0.conv1", "layer3.0.bn1")
    with pytest.raises(InputError, match=r"lacks .*stages.2.0.conv1.conv.*name them in finetune.new_head"):
        create_experiment(config(part))
    experiment = create_experiment(config(part, finetune__new_head=("head", "stages.2")))
    assert not any("stages/2" in name for name in experiment.model.start)


def test_features_are_those_of_the_layers_that_are_there(cifar, tmp_path):
    photos = write_folder(tmp_path / "photos", per_class=2)
    write_folder(tmp_path / "photos", split="test", per_class=2)
    data = [
        "--config=resnet18",
        "--config.preprocess.image_size=32",
        "--config.dataset.name=image_folder",
        f"--config.dataset.data_dir={photos}",
    ]
    found = []
    for file in cifar:
        features.main([f"--weights={file}", f"--output={tmp_path / 'f.npz'}", *data, "--batch_size=8"])
        with np.load(tmp_path / "f.npz") as arrays:
            found.append(arrays["features"])
    assert found[0].shape == (6, 64)
    np.testing.assert_array_equal(*found)
    with pytest.raises(InputError, match="--layer=head: the weight file lacks head"):
        features.main([f"--weights={cifar[1]}", f"--output={tmp_path / 'f.npz'}", *data, "--layer=head"])


def test_the_kernels_of_alexnets_convolutions_alone_are_drawn(tmp_path):
    net = torch_peers.torchvision.models.alexnet().features
    torch.save(net.state_dict(), tmp_path / "features.pth")
    kernels.main([f"--weights={tmp_path / 'features.pth'}", f"--output={tmp_path / 'k.png'}"])
    assert (tmp_path / "k.png").stat().st_size > 1000
    last = {name: value for name, value in net.state_dict().items() if not name.startswith("0.")}
    torch.save(last, tmp_path / "features.pth")
    with pytest.raises(InputError, match="no network under names that are known"):
        kernels.main([f"--weights={tmp_path / 'features.pth'}", f"--output={tmp_path / 'k.png'}"])


def test_a_part_is_converted_for_fine_tuning_only(cifar, tmp_path, capsys):
    output = tmp_path / "part.safetensors"
    convert.main([f"--input={cifar[1]}", f"--output={output}"])
    assert "  lacks head: for fine-tuning, features and kernels only" in capsys.readouterr().out
    expected = pretrained.load_network(cifar[1], partial=True)
    again = pretrained.load_network(output, partial=True)
    assert again.missing == expected.missing
    assert not any("head" in name for name in create_experiment(config(output)).model.start)
    with pytest.raises(InputError, match=r"does not hold the weights of cifar_resnet8: 2 missing"):
        predict.main([f"--weights={output}", str(write_folder(tmp_path / "photos", per_class=1))])
