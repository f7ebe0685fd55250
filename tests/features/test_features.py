"""The command that writes features and draws nearest neighbors."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from resnet_alexnet import pretrained
from resnet_alexnet.data.arrays import ArraySource
from resnet_alexnet.data.images import geometry
from resnet_alexnet.data.images.decode import decode
from resnet_alexnet.errors import InputError
from resnet_alexnet.features import __main__, neighbors
from resnet_alexnet.models.layers import observe
from resnet_alexnet.plots import grid
from resnet_alexnet.pretrained import weights
from resnet_alexnet.train import inputs
from tests.support import processes, tiny
from tests.support.photo_sets import write_folder
from tests.support.runs import write_run


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("features") / "run", tiny.config())


def test_the_file_holds_every_image_once_in_order(workdir, tmp_path, capsys):
    output, picture = tmp_path / "f.npz", tmp_path / "n.png"
    flags = ["--split=train", "--among=validation", f"--neighbors={picture}", "--queries=3", "--batch_size=7"]
    __main__.main([f"--workdir={workdir}", f"--output={output}", *flags])
    printed = capsys.readouterr().out
    assert f"wrote {output}: 180 x 64 at head:input\nwrote {picture}\n" in printed
    with np.load(output, allow_pickle=False) as arrays:
        assert arrays["features"].shape == (180, 64)
        assert arrays["features"].dtype == np.float32
        assert arrays["labels"].shape == (180,)
        assert arrays["names"].tolist() == [f"train/{number}" for number in range(180)]
        assert arrays["classes"].tolist() == [f"class_{label}" for label in range(10)]
        assert str(arrays["layer"]) == "head:input"
    with Image.open(picture) as drawn:
        assert drawn.width > 1.5 * drawn.height  # three rows of seven
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f.npz", "n.png"]


def test_photographs_of_another_set_in_the_views_of_the_network(tmp_path):
    folder = write_folder(tmp_path / "photos", per_class=4)
    write_folder(tmp_path / "photos", split="test", per_class=2)
    photos = {"augment__crop": "random_crop", "dataset__name": "image_folder", "dataset__data_dir": str(folder)}
    unset = {"dataset__num_classes": None, "dataset__num_examples": None, "dataset__channels": None}
    crops = {"preprocess__shorter_side": 28, "augment__scale": (28, 36), "augment__pad": 0}
    sizes = {"preprocess__image_size": 24, "batch_size": 8, "dataset__validation_fraction": 0.0}
    config = tiny.config(**photos, **unset, **crops, **sizes)
    workdir = write_run(tmp_path / "run", config)
    flags = ["--layer=stem.conv1.norm", "--pool=mean", "--config.preprocess.shorter_side=999"]
    # A set smaller than a batch of training has features all the same.
    flags.append("--config.batch_size=4096")
    __main__.main([f"--workdir={workdir}", f"--output={tmp_path / 'f.npz'}", *flags])
    with np.load(tmp_path / "f.npz") as arrays:
        assert arrays["features"].shape == (6, 16)
        assert arrays["labels"].tolist() == [0, 0, 1, 1, 2, 2]
        assert arrays["names"][3] == "test/bee/01.jpg"


def test_a_network_of_images_of_one_size_sees_the_whole_height_of_photographs(workdir, tmp_path):
    """As `predict` does: the center of the photograph resized to that size, not a patch of the large one."""
    preprocessing = pretrained.load_network(workdir).spec.preprocessing
    size = preprocessing.image_size
    (tmp_path / "photos" / "test" / "bands").mkdir(parents=True)
    bands = np.full((320, 400, 3), 255, np.uint8)
    bands[80:240] = 0
    Image.fromarray(bands).save(tmp_path / "photos" / "test" / "bands" / "x.png")
    config = tiny.config(dataset__name="image_folder", dataset__data_dir=str(tmp_path / "photos"))
    name, source = inputs.read_test_crops(config.dataset, "", replace(preprocessing, channels=3))
    assert name == "test"
    image = source.gather(np.array([0]))["image"][0]
    assert image.shape[:2] == (size, size)
    np.testing.assert_array_equal(image[:, 0, 0], np.repeat([255, 0, 0, 255], size // 4))


@pytest.mark.parametrize(("split", "flags"), [("test", ["--split=test"]), ("test", []), ("validation", [])])
def test_a_folder_without_training_photographs_has_features(workdir, tmp_path, split, flags):
    """In the crops that `evaluate` uses, and gray as the network takes them."""
    folder = write_folder(tmp_path / "photos", split="val" if split == "validation" else split, per_class=2)
    data = ["--config.dataset.name=image_folder", f"--config.dataset.data_dir={folder}"]
    __main__.main([f"--workdir={workdir}", f"--output={tmp_path / 'f.npz'}", *flags, *data])
    with np.load(tmp_path / "f.npz") as arrays:
        assert arrays["names"].tolist() == [
            f"{split}/{name}/{n:02}.jpg" for name in ("ant", "bee", "cat") for n in (0, 1)
        ]
        assert arrays["labels"].tolist() == [0, 0, 1, 1, 2, 2]
        features = arrays["features"]
    network = pretrained.load_network(workdir)
    preprocessing = network.spec.preprocessing.for_photographs()
    data = (folder / ("val" if split == "validation" else split) / "bee" / "01.jpg").read_bytes()
    image = geometry.resize_center_crop(decode(data, channels=1), None, size=8, shorter_side=8, interpolation="area")
    model, seen = network.module(), []
    with observe(lambda layer, x, y: seen.append(x)):
        model(preprocessing.normalize(image[np.newaxis]))
    np.testing.assert_allclose(features[3], seen[-1][0], rtol=1e-4, atol=1e-5)


def test_neighbors_stand_in_rows_behind_their_query_and_wrong_ones_are_framed(monkeypatch):
    drawn = []
    monkeypatch.setattr(grid, "draw", lambda rows, path, gap_after: drawn.append((rows, gap_after)))
    images = np.arange(6, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 1), np.uint8)
    labels = np.array([0, 1, 0, 1, 1, 0], np.int32)
    source = ArraySource(images, labels, ("cat", "dog"))
    positions = np.array([[0.0], [10], [1], [2], [12], [20]], np.float32)
    part = (source, positions, labels)
    neighbors.draw_neighbors(part, part, None, rows=2, same=True)
    ((rows, gap_after),) = drawn
    assert gap_after == 1
    assert [cell.image[0, 0, 0] for cell in rows[0]] == [0, 2, 3, 1, 4, 5]
    assert [cell.caption for cell in rows[0]] == ["cat", "cat\n1", "dog\n2", "dog\n10", "dog\n12", "cat\n20"]
    assert [bool(cell.frame) for cell in rows[0]] == [False, False, True, True, True, False]
    assert [cell.image[0, 0, 0] for cell in rows[1]] == [1, 4, 3, 2, 0, 5]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--output is missing"),
        (["--output=f.npy"], "--output=f.npy .allowed: a file that ends in .npz"),
        (["--output={tmp}/f.npz", "--layer=haed"], "cifar_resnet8 has no such layer, did you mean 'head'"),
        (["--output={tmp}/f.npz", "--split=val"], "split of synthetic is 'val'.* .allowed: train, test, val"),
        (["--output={tmp}/f.npz", "--step=7"], r"no checkpoint 7 .there are: 0"),
        (["--output={tmp}/f.npz", "--step=first"], "--step=first .allowed: last, best"),
        (["--output={tmp}/f.npz", "--queries=0"], "--queries=0 .allowed: a whole number from 1 to 50"),
        (["--output={tmp}/f.npz", "--neighbors=n.jpg"], "--neighbors=n.jpg .allowed: a file that ends in .png"),
        (["--output={tmp}/f.npz", "--weights=x"], "--workdir and --weights exclude each other"),
        (["--output={tmp}/f.npz", "--config.preprocess.image_size=9"], "takes images of 8 x 8 pixels"),
        (["--output={tmp}/f.npz", "--pol=mean"], "unknown flag --pol, did you mean '--pool'"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(workdir, tmp_path, flags, message):
    with pytest.raises(InputError, match=message) as error:
        __main__.main([f"--workdir={workdir}", *(flag.replace("{tmp}", str(tmp_path)) for flag in flags)])
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_weights_need_a_config_that_names_the_data(workdir, tmp_path):
    weights.save(pretrained.load_network(workdir), tmp_path / "w.safetensors")
    words = [f"--weights={tmp_path / 'w.safetensors'}", f"--output={tmp_path / 'f.npz'}"]
    with pytest.raises(InputError, match="--config is missing"):
        __main__.main(words)
    __main__.main([*words, *processes.words(tiny.config())])
    assert (tmp_path / "f.npz").exists()
