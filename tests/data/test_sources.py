import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds

from resnet_alexnet.data import sources
from resnet_alexnet.data.arrays import ArraySource
from resnet_alexnet.data.images.geometry import resize_center_crop
from resnet_alexnet.data.measure import measure
from resnet_alexnet.data.photos import PhotoSource
from resnet_alexnet.data.selection import count_classes
from resnet_alexnet.data.sources import Crops, create_splits, draw_images
from resnet_alexnet.data.statistics import save_statistics
from resnet_alexnet.errors import InputError
from tests.support import tfds_sets
from tests.support.images import encode, photograph
from tests.support.photo_sets import damage, write_folder

# The embedded sample


def test_sample_is_held_out_4500_500():
    splits = create_splits("fashion_mnist")
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (4500, 500, 1000)
    assert np.bincount(splits.validation.labels).tolist() == [50] * 10


# Synthetic


def test_synthetic_has_the_sizes_asked_for_and_is_deterministic():
    options = {"image_size": 9, "channels": 2, "num_classes": 5, "num_examples": 50}
    splits, again = create_splits("synthetic", **options), create_splits("synthetic", **options)
    assert splits.train.images.shape == (45, 9, 9, 2)
    assert (len(splits.validation), len(splits.test)) == (5, 10)
    assert len(splits.train.classes) == 5
    for one, other in ((splits.train, again.train), (splits.validation, again.validation), (splits.test, again.test)):
        np.testing.assert_array_equal(one.images, other.images)
        np.testing.assert_array_equal(one.labels, other.labels)


def test_synthetic_dry_run_of_many_classes_needs_few_images():
    splits = create_splits("synthetic", image_size=8, num_classes=1000, num_examples=100)
    assert (len(splits.train), len(splits.validation), len(splits.train.classes)) == (90, 10, 1000)


def test_synthetic_can_be_learned_by_nearest_class_mean():
    splits = create_splits("synthetic", image_size=16, num_examples=400)
    train = splits.train.images.reshape(len(splits.train), -1).astype(float)
    test = splits.test.images.reshape(len(splits.test), -1).astype(float)
    means = np.stack([train[splits.train.labels == label].mean(0) for label in range(10)])
    predicted = ((test[:, None] - means) ** 2).sum(-1).argmin(1)
    assert (predicted == splits.test.labels).mean() > 0.99


def test_synthetic_splits_share_no_image():
    splits = create_splits("synthetic", image_size=8, num_examples=60)
    images = np.concatenate(
        [source.images.reshape(len(source), -1) for source in (splits.train, splits.validation, splits.test)]
    )
    assert len(np.unique(images, axis=0)) == len(images)


# Options


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("fashion_minst", {}, "did you mean 'fashion_mnist'"),
        (
            "imagefolder",
            {"data_dir": "x"},
            r"^dataset.name is 'imagefolder', did you mean 'image_folder'\? \(allowed: .*; 'x' holds no such set\)$",
        ),
        ("ImageFolder", {"data_dir": "."}, "did you mean 'image_folder'"),
        ("fashion_mnist", {"max_pixels": 0}, "dataset.max_pixels is 0 .allowed: 1 or more"),
        ("imagenet2012", {}, r"FILE.py:FUNCTION or a set of TFDS in dataset.data_dir, which is empty\)$"),
        ("image_folder", {"data_dir": "nowhere"}, "nowhere does not exist"),
        ("cifar10", {"data_dir": "x", "train_split": "train[:9]"}, "train_split='train.:9.' is for the sets of TFDS"),
        ("fashion_mnist", {"in_memory": "maybe"}, "dataset.in_memory is 'maybe'"),
        ("fashion_mnist", {"image_size": 32}, "image_size=32: fashion_mnist has 28, only photographs change it, by"),
        ("fashion_mnist", {"channels": 3}, "channels=3: fashion_mnist has 1"),
        ("fashion_mnist", {"data_dir": "nowhere"}, "nowhere.*is missing"),
        ("fashion_mnist", {"validation_fraction": 1}, "validation_fraction=1 .allowed"),
        ("fashion_mnist", {"validation_fraction": -0.1}, "validation_fraction=-0.1 .allowed"),
        ("fashion_mnist", {"validation_fraction": float("nan")}, "validation_fraction=nan .allowed"),
        ("fashion_mnist", {"validation_fraction": 0.001}, "holds out no image of fashion_mnist train.*has 500"),
        ("synthetic", {"data_dir": "somewhere"}, "data_dir='somewhere': synthetic data is made"),
        ("synthetic", {"image_size": 0}, "image_size=0"),
        ("synthetic", {"num_classes": -1}, "num_classes=-1"),
        ("synthetic", {"num_examples": 5}, "num_examples=0 for the validation split"),
    ],
)
def test_bad_options_are_one_clear_line(name, options, message):
    with pytest.raises(InputError, match=message) as error:
        create_splits(name, **options)
    assert "\n" not in str(error.value)


def test_options_equal_to_the_data_are_accepted():
    splits = create_splits("fashion_mnist", image_size=28, channels=1)
    assert splits.train.image_shape == (28, 28, 1)


def test_binary_task_of_the_sample():
    splits = create_splits("fashion_mnist", classes=("Sneaker", "Ankle boot"))
    sizes = [np.bincount(source.labels).tolist() for source in (splits.train, splits.validation, splits.test)]
    assert sizes == [[450, 450], [50, 50], [100, 100]]
    everything = create_splits("fashion_mnist")
    sneakers = everything.test.images[everything.test.labels == 7]
    np.testing.assert_array_equal(splits.test.images[splits.test.labels == 0], sneakers)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (("Sneaker", "Ankel boot"), "did you mean 'Ankle boot'"),
        (("Sneaker",), "at least two"),
        (("Sneaker", "Sneaker"), "each once"),
    ],
)
def test_bad_classes_are_refused(classes, message):
    with pytest.raises(InputError, match=message):
        create_splits("fashion_mnist", classes=classes)


def test_data_imports_no_jax():
    code = "import sys, resnet_alexnet.data.loading.loader; sys.exit('jax' in sys.modules or 'grain' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


# Sets of files


@pytest.fixture
def folder(tmp_path):
    """36 training photographs and 9 test photographs of 16 x 20 pixels, in three classes."""
    write_folder(tmp_path, size=(16, 20))
    return write_folder(tmp_path, split="test", per_class=3, size=(16, 20))


VIEWS = Crops(
    10,
    train=lambda image, rng: resize_center_crop(image, rng, size=10, shorter_side=11, interpolation="bilinear"),
    test=lambda image, rng: resize_center_crop(image, rng, size=10, shorter_side=12, interpolation="bilinear"),
)


def all_of(source):
    return source.gather(np.arange(len(source)))


def assert_same_splits(ours, theirs):
    for one, other in ((ours.train, theirs.train), (ours.validation, theirs.validation), (ours.test, theirs.test)):
        assert one.classes == other.classes
        assert one.image_shape == other.image_shape
        for key, value in all_of(one).items():
            np.testing.assert_array_equal(value, all_of(other)[key])


@pytest.mark.parametrize("classes", [(), ("cat", "ant")])
def test_an_image_folder_is_the_same_in_memory_and_streamed(folder, classes):
    options = {"data_dir": str(folder), "validation_fraction": 0.25, "classes": classes}
    held, streamed = (create_splits("image_folder", in_memory=choice, **options) for choice in ("auto", "no"))
    assert isinstance(held.train, ArraySource)
    assert isinstance(streamed.train, PhotoSource)
    assert (len(held.train), len(held.validation), len(held.test)) == ((27, 9, 9) if not classes else (18, 6, 6))
    assert_same_splits(held, streamed)
    for ours, theirs in zip(
        (measure(held.train).pixel_mean, measure(held.train).covariance),
        (measure(streamed.train).pixel_mean, measure(streamed.train).covariance),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_a_damaged_file_makes_no_difference_between_memory_and_streaming(folder):
    damage(folder, "ant/04.jpg", "cat/11.jpg")
    options = {"data_dir": str(folder), "validation_fraction": 0.0}
    lines = []
    held = create_splits("image_folder", in_memory="yes", max_unreadable=2, report=lines.append, **options)
    streamed = create_splits("image_folder", in_memory="no", **options)
    assert len(lines) == 2
    shown = streamed.train.gather(np.arange(36), (0, 0))
    for key in ("image", "label"):
        np.testing.assert_array_equal(all_of(held.train)[key], shown[key])
    np.testing.assert_array_equal(measure(held.train).pixel_mean, measure(streamed.train).pixel_mean)


def test_a_tfds_set_is_the_same_in_memory_and_streamed(tfds_root):
    held, streamed = (create_splits("animals", data_dir=str(tfds_root), in_memory=choice) for choice in ("yes", "no"))
    assert isinstance(held.train, ArraySource)
    assert (len(held.train), len(held.validation), len(held.test)) == (36, 4, 6)
    assert held.train.classes == ("ant", "bee", "cat")
    np.testing.assert_array_equal(all_of(held.train)["image"][7], photograph(12, 14, seed=7))
    assert_same_splits(held, streamed)


def test_tfds_splits_in_its_own_syntax(tfds_root):
    splits = create_splits(
        "animals",
        data_dir=str(tfds_root),
        train_split="train[:30]",
        validation_split="train[30:36]",
        test_split="train[36:]",
    )
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (30, 6, 4)
    np.testing.assert_array_equal(all_of(splits.validation)["image"][0], photograph(12, 14, seed=30))


def test_classes_of_a_tfds_set_can_be_chosen_in_memory_only(tfds_root):
    options = {"data_dir": str(tfds_root), "classes": ("cat", "ant")}
    splits = create_splits("animals", **options)
    assert set(splits.train.labels.tolist()) == {0, 1}
    np.testing.assert_array_equal(splits.train.images[0], photograph(12, 14, seed=0))  # an ant
    assert splits.train.labels[0] == 1
    with pytest.raises(InputError, match=r"classes cannot be selected in a streamed TFDS set"):
        create_splits("animals", in_memory="no", **options)


@pytest.mark.parametrize("name", ["image_folder", "animals"])
def test_photographs_are_cropped_when_they_are_read(tmp_path, tfds_root, name):
    if name == "image_folder":
        write_folder(tmp_path)  # of many sizes
    splits = create_splits(name, data_dir=str(tmp_path), crops=VIEWS)
    assert splits.train.image_shape == (10, 10, 3)
    with pytest.raises(InputError, match=r"in_memory='yes' needs augment\.crop='none'"):
        create_splits(name, data_dir=str(tmp_path), crops=VIEWS, in_memory="yes")


def test_photographs_of_many_sizes_need_a_crop(tmp_path):
    with pytest.raises(InputError, match=r"for photographs of different sizes set augment\.crop='random_crop'"):
        create_splits("image_folder", data_dir=str(write_folder(tmp_path)))


def test_large_sets_stay_on_disk(folder, monkeypatch):
    monkeypatch.setattr(sources, "MEMORY_BYTES", 27 * 16 * 20 * 3 - 1)
    splits = create_splits("image_folder", data_dir=str(folder), validation_fraction=0.25)
    assert isinstance(splits.train, PhotoSource)
    assert isinstance(splits.validation, ArraySource)


def test_stored_statistics_are_used_for_the_whole_training_set_alone(tfds_root):
    options = {"data_dir": str(tfds_root), "validation_fraction": 0.0}
    whole = create_splits("animals", **options)
    assert whole.statistics is None
    statistics = measure(whole.train)
    save_statistics(tfds_root / "animals" / "1.0.0" / "statistics.npz", statistics)
    stored = create_splits("animals", **options).statistics
    np.testing.assert_array_equal(stored.pixel_mean, statistics.pixel_mean)
    assert create_splits("animals", data_dir=str(tfds_root)).statistics is None  # a tenth is held out
    exchanged = {"train_split": "train[6:]+test", "test_split": "train[:6]"}  # as many as the whole
    for other in (exchanged, {"classes": ("ant", "bee", "cat")}):
        assert create_splits("animals", **options, **other).statistics is None


def test_published_files_and_a_tfds_set_share_a_name(tmp_path):
    tfds_sets.write_set(
        tmp_path,
        {"train": [9], "test": [3]},
        name="mnist",
        features={"image": tfds.features.Image(shape=(4, 4, 1)), "label": tfds.features.ClassLabel(num_classes=10)},
        example=lambda split, number: {"image": encode(photograph(4, 4, 1, seed=number), "PNG"), "label": number},
    )
    splits = create_splits("mnist", data_dir=str(tmp_path), validation_fraction=0.0)
    assert splits.train.image_shape == (4, 4, 1)
    assert splits.train.labels.tolist() == list(range(9))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="train-images-idx3-ubyte"):
        create_splits("mnist", data_dir=str(tmp_path / "empty"))


@pytest.mark.parametrize("split", ["test", "held out"])
def test_an_unreadable_photograph_to_evaluate_on_is_found_at_the_start(tmp_path, split):
    write_folder(tmp_path)
    if split == "test":
        write_folder(tmp_path, split="test", per_class=2)
    bad = tmp_path / ("test/bee/01.jpg" if split == "test" else "train/bee/11.jpg")
    bad.write_bytes(b"")
    with pytest.raises(InputError, match=rf"bee.{bad.name} cannot be read: the file is empty"):
        create_splits("image_folder", data_dir=str(tmp_path), crops=VIEWS)


def test_splits_of_different_sizes_are_refused(folder):
    write_folder(folder, split="val", per_class=1, size=(17, 20))
    with pytest.raises(InputError, match=r"validation images are \(17, 20, 3\), training images \(16, 20, 3\)"):
        create_splits("image_folder", data_dir=str(folder))


def test_too_many_unreadable_images_on_the_way_into_memory_are_refused(folder):
    damage(folder, "ant/04.jpg", "cat/10.jpg")
    options = {"data_dir": str(folder), "validation_fraction": 0.0, "report": lambda line: None}
    with pytest.raises(InputError, match=r"2 training photographs could not be read, more than"):
        create_splits("image_folder", max_unreadable=1, **options)
    create_splits("image_folder", max_unreadable=2, **options)


def test_a_folder_of_photographs_that_is_taken_for_a_tfds_set_is_told_so(folder):
    with pytest.raises(InputError, match=r"which has test, train; if these are .* set dataset\.name=image_folder"):
        create_splits("imagenet2012", data_dir=str(folder))


# What a split lacks


def test_each_split_tells_which_classes_it_lacks(tmp_path):
    write_folder(tmp_path, per_class=12, classes=("ant", "bee"), size=(16, 20))
    for number in range(6):
        (tmp_path / "train" / "cat\x1b[2J").mkdir(exist_ok=True)
        (tmp_path / "train" / "cat\x1b[2J" / f"{number}.jpg").write_bytes(encode(photograph(16, 20, seed=number)))
    write_folder(tmp_path, split="test", per_class=3, classes=("bee",), size=(16, 20))
    lines = []
    splits = create_splits("image_folder", data_dir=str(tmp_path), crops=VIEWS, report=lines.append)
    assert lines == [
        r"the test split has no image of 2 of the 3 classes: ant, cat\x1b[2J",
        r"the validation split has no image of 1 of the 3 classes: cat\x1b[2J",
    ]
    assert [count_classes(source).tolist() for source in (splits.train, splits.validation, splits.test)] == [
        [11, 11, 6],
        [1, 1, 0],
        [0, 3, 0],
    ]


def test_the_counts_of_classes_of_records_are_not_known(tfds_root):
    source = create_splits("animals", data_dir=str(tfds_root), in_memory="no").train
    assert source.labels is None
    assert count_classes(source) is None


def test_larger_photographs_are_unreadable_by_the_limit(tmp_path):
    write_folder(tmp_path, size=(40, 50))
    with pytest.raises(InputError, match="cannot be read: it has 50 x 40 pixels, more than max_pixels=1,999"):
        create_splits("image_folder", data_dir=str(tmp_path), crops=VIEWS, max_pixels=1999)
    splits = create_splits("image_folder", data_dir=str(tmp_path), crops=VIEWS, max_pixels=2000)
    assert splits.train.gather(np.arange(2), (0, 0))["unreadable"].tolist() == [-1, -1]


# Samples


def test_a_sample_has_some_images_once_in_order_with_their_labels(folder, tfds_root):
    records = create_splits("animals", data_dir=str(tfds_root), in_memory="no").train
    photographs = create_splits("image_folder", data_dir=str(folder), crops=VIEWS).train
    arrays = create_splits("synthetic", num_examples=50, num_classes=3).train
    for source in (records, photographs, arrays):
        whole = source.gather(np.arange(len(source)))
        assert draw_images(source, len(source), seed=0) is source
        drawn = draw_images(source, 7, seed=3)
        assert (len(drawn), drawn.image_shape, drawn.classes) == (7, source.image_shape, source.classes)
        some = drawn.gather(np.arange(7))
        places = [np.flatnonzero((whole["image"] == image).all((1, 2, 3))).tolist() for image in some["image"]]
        assert places == sorted(places)
        assert sorted({place for (place,) in places}) == [place for (place,) in places]
        assert some["label"].tolist() == whole["label"][[place for (place,) in places]].tolist()
        np.testing.assert_array_equal(some["image"], draw_images(source, 7, seed=3).gather(np.arange(7))["image"])
        other = draw_images(source, 7, seed=4).gather(np.arange(7))["image"]
        assert not np.array_equal(some["image"], other)
