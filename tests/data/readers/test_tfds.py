import itertools
import json
import multiprocessing
import pickle
import re
import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow_datasets as tfds

from resnet_alexnet.data.readers.tfds import find_tfds, read_tfds
from resnet_alexnet.errors import InputError
from tests.support.tfds_sets import FEATURES, NAMES, change_info, image_bytes, make_example, write_set


def contents(photos):
    return [photos.read(index)[0].decode() for index in range(len(photos))]


def images_of(split, numbers):
    return [image_bytes(split, number).decode() for number in numbers]


def refusal(name, data_dir, **options):
    with pytest.raises(InputError) as error:
        read_tfds(name, data_dir, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


# What is read


def test_records_come_in_order_over_all_shards_with_their_labels(tmp_path, capfd):
    write_set(tmp_path, {"train": [4, 1, 3], "validation": [2], "test": [5]})
    splits = read_tfds("animals", tmp_path)
    assert list(splits) == ["train", "validation", "test"]
    for split, count in (("train", 8), ("validation", 2), ("test", 5)):
        photos = splits[split]
        assert [photos.read(index) for index in range(len(photos))] == [
            (image_bytes(split, number), number % 3) for number in range(count)
        ]
        assert (photos.classes, photos.channels, photos.labels) == (NAMES, 3, None)
    assert capfd.readouterr() == ("", "")


def test_a_photograph_is_called_by_file_record_and_name(tmp_path):
    folder = write_set(tmp_path, {"train": [4, 3], "test": [2]})
    photos = read_tfds("animals", tmp_path, train_split="train[2:]", validation_fraction=0)["train"]
    shard = folder / "animals-train.array_record-0000"
    assert photos.where(1) == f"{shard}0-of-00002 record 3 (train_3.JPEG)"
    assert photos.where(3) == f"{shard}1-of-00002 record 1 (train_5.JPEG)"


@pytest.mark.parametrize(
    ("split", "numbers"),
    [
        ("train[:5]", range(5)),
        ("train[5:]", range(5, 10)),
        ("train[10%:]", range(1, 10)),
        ("train[-2:]", range(8, 10)),
        ("train[1:3]+train[8:]", (1, 2, 8, 9)),
        ("train[:1shard]", range(4)),
    ],
)
def test_splits_are_written_as_in_tfds(tmp_path, split, numbers):
    write_set(tmp_path, {"train": [4, 6], "test": [3]})
    splits = read_tfds("animals", tmp_path, train_split="test", test_split=split, validation_fraction=0)
    assert contents(splits["test"]) == images_of("train", numbers)
    assert contents(splits["train"]) == images_of("test", range(3))


def test_splits_may_be_added(tmp_path):
    write_set(tmp_path, {"train": [4], "validation": [3], "test": [2]})
    splits = read_tfds(
        "animals", tmp_path, train_split="train+validation", validation_split="test[:1]", test_split="test[1:]"
    )
    assert contents(splits["train"]) == images_of("train", range(4)) + images_of("validation", range(3))
    assert contents(splits["validation"]) == images_of("test", [0])


@pytest.mark.parametrize(("fraction", "held"), [(0.1, 1), (0.25, 2), (0.29, 2), (0.9, 9), (0, 0)])
def test_the_last_records_are_held_out_where_there_is_no_validation_split(tmp_path, fraction, held):
    write_set(tmp_path, {"train": [4, 6]})
    splits = read_tfds("animals", tmp_path, validation_fraction=fraction)
    assert contents(splits["train"]) == images_of("train", range(10 - held))
    assert "test" not in splits
    if held:
        assert contents(splits["validation"]) == images_of("train", range(10 - held, 10))
        assert splits["validation"].where(0) == splits["train"].where(10 - held)
    else:
        assert "validation" not in splits


def test_what_binary_fractions_round_down_is_held_out(tmp_path):
    write_set(tmp_path, {"train": [100]})
    assert len(read_tfds("animals", tmp_path, validation_fraction=0.29)["validation"]) == 29


def test_held_out_records_come_from_the_part_that_was_asked_for(tmp_path):
    write_set(tmp_path, {"train": [10]})
    splits = read_tfds("animals", tmp_path, train_split="train[2:8]", validation_fraction=0.5)
    assert contents(splits["train"]) == images_of("train", (2, 3, 4))
    assert contents(splits["validation"]) == images_of("train", (5, 6, 7))


def test_a_test_set_without_labels_is_left_out(tmp_path):
    def example(split, number):
        return make_example(split, number) | ({"label": -1} if split == "test" else {})

    folder = write_set(tmp_path, {"train": [4], "test": [3]}, example=example)
    assert list(read_tfds("animals", tmp_path, validation_fraction=0.5)) == ["train", "validation"]
    message = refusal("animals", tmp_path, test_split="test", validation_fraction=0)
    assert (
        f"{folder}/animals-test.array_record-00000-of-00001 record 0 (test_0.JPEG) has the label -1 (allowed: 0 to 2"
        in message
    )


def test_a_label_out_of_range_is_named_when_it_is_read(tmp_path):
    def example(split, number):
        return make_example(split, number) | ({"label": 3} if number == 2 else {})

    write_set(tmp_path, {"train": [4]}, features=FEATURES | {"label": tfds.features.Scalar(np.int64)}, example=example)
    # The set's record of its features is another's, with three classes.
    other = write_set(tmp_path / "other", {"train": [4]})
    for name in ("features.json", "label.labels.txt"):
        (tmp_path / "animals" / "1.0.0" / name).write_bytes((other / name).read_bytes())
    photos = read_tfds("animals", tmp_path, validation_fraction=0)["train"]
    assert photos.read(3)[1] == 0
    with pytest.raises(InputError, match=r"record 2 \(train_2.JPEG\) has the label 3 \(allowed: 0 to 2"):
        photos.read(2)


def test_gray_images_and_classes_without_names(tmp_path):
    features = {"image": tfds.features.Image(shape=(28, 28, 1)), "label": tfds.features.ClassLabel(num_classes=10)}
    write_set(tmp_path, {"train": [3]}, features=features, example=lambda _, number: {"image": b"i", "label": number})
    photos = read_tfds("animals", tmp_path, validation_fraction=0)["train"]
    assert (photos.channels, photos.classes) == (1, tuple("0123456789"))
    assert photos.read(2) == (b"i", 2)
    assert photos.where(2).endswith("record 2")


def test_other_features_are_not_in_the_way(tmp_path):
    features = {
        "photo": tfds.features.Image(shape=(None, None, 3)),
        "boxes": tfds.features.Sequence(
            {"box": tfds.features.BBoxFeature(), "kind": tfds.features.ClassLabel(num_classes=2)}
        ),
        "species": tfds.features.ClassLabel(names=NAMES),
        "image/filename": tfds.features.Text(),
        "mask": tfds.features.LabeledImage(labels=2, shape=(None, None, 1)),
    }

    def example(_, number):
        boxes = {"box": np.zeros((number, 4), np.float32), "kind": np.zeros(number, np.int64)}
        return {"photo": b"i", "species": number, "image/filename": "x.jpg", "boxes": boxes, "mask": b"m"}

    write_set(tmp_path, {"train": [3]}, features=features, example=example)
    photos = read_tfds("animals", tmp_path, validation_fraction=0)["train"]
    assert photos.read(2) == (b"i", 2)
    assert photos.where(2).endswith("record 2 (x.jpg)")


def test_supervised_keys_choose_between_several_images_and_labels(tmp_path):
    features = {
        "front": tfds.features.Image(shape=(None, None, 3)),
        "back": tfds.features.Image(shape=(None, None, 3)),
        "kind": tfds.features.ClassLabel(num_classes=2),
        "mood": tfds.features.ClassLabel(num_classes=3),
    }

    def example(_, number):
        return {"front": b"front", "back": b"back", "kind": 0, "mood": number}

    folder = write_set(tmp_path, {"train": [3]}, features=features, example=example)
    message = refusal("animals", tmp_path)
    assert (
        f"{folder} is not an image classification set: a record has 2 images (back, front) and 2 class labels"
        in message
    )
    keys = {"tuple": {"items": [{"featureKey": "back"}, {"featureKey": "mood"}]}}
    change_info(folder, supervisedKeys=keys)
    assert read_tfds("animals", tmp_path, validation_fraction=0)["train"].read(2) == (b"back", 2)


# Processes, threads and memory


def read_in_child(photos, queue):
    queue.put((contents(photos), photos.where(1)))


def test_photographs_are_read_in_spawned_processes(tmp_path):
    write_set(tmp_path, {"train": [4, 3]})
    photos = read_tfds("animals", tmp_path, validation_fraction=0)["train"]
    assert len(pickle.dumps(photos)) < 1000
    context = multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    child = context.Process(target=read_in_child, args=(photos, queue))
    child.start()
    assert queue.get() == (contents(photos), photos.where(1))
    child.join(timeout=60)
    assert child.exitcode == 0


def run_python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)


def test_photographs_are_read_in_forked_processes(tmp_path):
    write_set(tmp_path, {"train": [4, 3]})
    result = run_python(f"""
import os
from resnet_alexnet.data.readers.tfds import read_tfds
from tests.support.tfds_sets import image_bytes
photos = read_tfds("animals", {str(tmp_path)!r}, validation_fraction=0)["train"]
photos.read(0)
child = os.fork()
if not child:
    os._exit([photos.read(index)[0] for index in range(7)] != [image_bytes("train", index) for index in range(7)])
assert os.waitpid(child, 0)[1] == 0
""")
    assert result.returncode == 0, result.stderr


def test_threads_may_read_at_the_same_time(tmp_path):
    write_set(tmp_path, {"train": [10] * 10})
    photos = read_tfds("animals", tmp_path, validation_fraction=0)["train"]
    order = np.random.default_rng(0).permutation(np.repeat(np.arange(100), 5)).tolist()
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(photos.read, order)) == [(image_bytes("train", index), index % 3) for index in order]


def test_a_set_may_have_more_files_than_the_usual_limit(tmp_path):
    write_set(tmp_path, {"train": [1] * 150})
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    code = f"""
import resource
from resnet_alexnet.data.readers.tfds import read_tfds
resource.setrlimit(resource.RLIMIT_NOFILE, (100, {hard}))
photos = read_tfds("animals", {str(tmp_path)!r}, validation_fraction=0)["train"]
assert [photos.read(index)[1] for index in range(150)] == [0, 1, 2] * 50
"""
    result = run_python(code)
    assert result.returncode == 0, result.stderr
    code = code.replace(f"(100, {hard})", "(100, 100)")
    result = run_python(code)
    assert "has 150 files, but a process may only open 100: raise ulimit -Hn" in result.stderr


def test_reading_imports_neither_tensorflow_nor_jax_and_importing_not_even_tfds(tmp_path):
    write_set(tmp_path, {"train": [3]})
    code = f"""
import sys
import resnet_alexnet.data.readers.tfds
assert "tensorflow_datasets" not in sys.modules
photos = resnet_alexnet.data.readers.tfds.read_tfds("animals", {str(tmp_path)!r}, validation_fraction=0)["train"]
photos.read(2)
assert not {{"tensorflow", "jax", "torch"}} & set(sys.modules)
"""
    result = run_python(code)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


# Where sets are found


def test_data_dir_is_any_folder_down_to_the_version(tmp_path):
    version = write_set(tmp_path, {"train": [1]})
    for data_dir in (tmp_path, tmp_path / "animals", version, str(version)):
        assert find_tfds("animals", data_dir) == version
        assert find_tfds("plants", data_dir) is None
    assert find_tfds("animals", "") is None
    assert find_tfds("animals", tmp_path / "nowhere") is None
    copied = version.rename(tmp_path / "copied")
    assert find_tfds("animals", copied) == find_tfds("animals:1.0.0", copied) == copied
    assert contents(read_tfds("animals", copied, validation_fraction=0)["train"]) == images_of("train", [0])


def test_the_newest_version_is_taken_unless_one_is_named(tmp_path):
    for version in ("2.0.0", "10.0.0", "9.9.9"):
        write_set(tmp_path, {"train": [1]}, version=version)
    assert find_tfds("animals", tmp_path) == tmp_path / "animals" / "10.0.0"
    assert find_tfds("animals", tmp_path / "animals") == tmp_path / "animals" / "10.0.0"
    assert find_tfds("animals:2.0.0", tmp_path) == tmp_path / "animals" / "2.0.0"
    assert find_tfds("animals:3.0.0", tmp_path) is None


def test_a_config_is_chosen_by_name_where_there_are_several(tmp_path):
    small = write_set(tmp_path, {"train": [1]}, config="small")
    for data_dir in (tmp_path, tmp_path / "animals", small.parent):
        assert find_tfds("animals", data_dir) == find_tfds("animals/small:1.0.0", data_dir) == small
    large = write_set(tmp_path, {"train": [1]}, config="large", version="2.0.0")
    assert find_tfds("animals/small", tmp_path) == small
    assert find_tfds("animals", large) == large
    assert "has animals in 2 configs: choose one of animals/{large,small}" in refusal("animals", tmp_path)


# What a user can get wrong


def test_a_set_that_is_not_there_is_told_how_to_make(tmp_path):
    build = f"tfds build plants --data_dir={tmp_path} --file_format=array_record (from an environment with tensorflow "
    message = refusal("plants", tmp_path)
    assert f"no TFDS set 'plants' in data_dir {tmp_path}, which has nothing; to build it: {build}" in message
    (tmp_path / "photos").mkdir()
    assert "which has photos; to build it" in refusal("plants", tmp_path)
    version = write_set(tmp_path, {"train": [1]})
    for data_dir in (tmp_path, tmp_path / "animals", version):
        assert f"in data_dir {data_dir}, which has animals; to build it" in refusal("plants", data_dir)
    assert f"no TFDS set 'animal', did you mean 'animals'? in data_dir {tmp_path}" in refusal("animal", tmp_path)
    assert f"data_dir {tmp_path / 'nowhere'} does not exist; to build it" in refusal("plants", tmp_path / "nowhere")
    assert f"data_dir {__file__} is a file; to build it" in refusal("plants", __file__)
    prepare = f"python -m resnet_alexnet.data.prepare --train=FILE --val=FILE --devkit=FILE --output={tmp_path}"
    assert refusal("imagenet2012", tmp_path).endswith(f"; to build it: {prepare}")


@pytest.mark.parametrize("name", ["1.0.0.incomplete", "incomplete.AB12CD_1.0.0"])
def test_a_set_whose_preparation_was_stopped_is_named(tmp_path, name):
    write_set(tmp_path, {"train": [1]}).rename(tmp_path / "animals" / name)
    assert f"{tmp_path / 'animals' / name} is incomplete; to build it: " in refusal("animals", tmp_path)


@pytest.mark.parametrize("damage", ["missing", "empty", "cut"])
def test_a_set_that_was_not_made_to_the_end_is_named(tmp_path, damage):
    write_set(tmp_path, {"train": [1]})
    folder = write_set(tmp_path, {"train": [1]}, version="1.1.0")
    info = folder / "dataset_info.json"
    text = info.read_text()
    info.unlink()
    if damage != "missing":
        info.write_text(text[: len(text) // 2] if damage == "cut" else "")
    assert f"{folder} has no readable dataset_info.json: the set is incomplete or damaged" in refusal(
        "animals", tmp_path
    )


def test_another_format_is_told_how_to_convert(tmp_path):
    folder = write_set(tmp_path, {"train": [1]}, file_format="tfrecord")
    command = f"tfds convert_format --dataset_version_dir={folder} --out_file_format=array_record"
    assert f"{folder} has tfrecord files, which only TensorFlow reads" in refusal("animals", tmp_path)
    assert command in refusal("animals", tmp_path)
    change_info(folder, fileFormat="")  # as old versions of TFDS wrote it
    assert "has tfrecord files" in refusal("animals", tmp_path)


def test_a_set_that_was_converted_in_place_is_read(tmp_path):
    folder = write_set(tmp_path, {"train": [3]})
    change_info(folder, fileFormat="tfrecord", alternativeFileFormats=["array_record"])
    assert len(contents(read_tfds("animals", tmp_path, validation_fraction=0)["train"])) == 3


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"label": FEATURES["label"]}, "a record has 0 images and 1 class labels (label)"),
        ({"image": FEATURES["image"]}, "a record has 1 images (image) and 0 class labels"),
        ({"image": tfds.features.Image(shape=(8, 8, 1), dtype=np.uint16), "label": FEATURES["label"]}, "are uint16"),
    ],
)
def test_a_set_of_another_kind_is_refused(tmp_path, features, message):
    def example(_, number):
        return {key: {"image": b"i", "label": 0}[key] for key in features}

    folder = write_set(tmp_path, {"train": [1]}, features=features, example=example)
    assert message in refusal("animals", tmp_path)
    assert str(folder) in refusal("animals", tmp_path)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("train_split", "trian", "dataset.train_split='trian': Unknown split 'trian'"),
        ("train_split", "train[", "dataset.train_split='train[': Unrecognized split format: 'train['"),
        ("train_split", "train[:a]", "dataset.train_split='train[:a]': Unrecognized split format"),
        (
            "train_split",
            "train[200:]",
            "dataset.train_split='train[200:]': Requested slice [200:10] incompatible with 10",
        ),
        ("train_split", "train[:200%]", "dataset.train_split='train[:200%]': When unit=%"),
        ("train_split", "all[:5]", "dataset.train_split='all[:5]': 'all' does not support slice"),
        ("train_split", "train[3:3]", "dataset.train_split='train[3:3]': it has no records"),
        ("validation_split", "val", "dataset.validation_split='val': Unknown split 'val'"),
        ("test_split", "test[0%]", "dataset.test_split='test[0%]': Absolute or percent only support slice syntax"),
    ],
)
def test_a_split_that_is_not_there_or_badly_written_is_told_what_there_is(tmp_path, option, value, message):
    write_set(tmp_path, {"train": [10], "test": [1200]})
    refused = refusal("animals", tmp_path, **{option: value})
    assert message in refused
    assert "; animals has train (10), test (1,200); write parts as train[:90%]" in refused


@pytest.mark.parametrize(
    ("options", "both"),
    [
        ({"validation_split": "train[90%:]"}, "train_split='train' and dataset.validation_split='train[90%:]'"),
        (
            {"train_split": "train[:6]", "validation_split": "train[5:]"},
            "train_split='train[:6]' and dataset.validation_split",
        ),
        ({"train_split": "all"}, "train_split='all' and dataset.test_split='test'"),
        ({"validation_split": "test[:1]"}, "validation_split='test[:1]' and dataset.test_split='test'"),
    ],
)
def test_splits_with_records_in_common_are_refused(tmp_path, options, both):
    write_set(tmp_path, {"train": [4, 6], "test": [2]})
    assert f"dataset.{both}" in refusal("animals", tmp_path, **options)
    assert "have records in common" in refusal("animals", tmp_path, **options)


def test_splits_that_only_touch_are_accepted(tmp_path):
    write_set(tmp_path, {"train": [4, 6]})
    cuts = {"train_split": "train[:5]", "validation_split": "train[5:6]", "test_split": "train[6:]"}
    splits = read_tfds("animals", tmp_path, **cuts)
    assert list(itertools.chain(*map(contents, splits.values()))) == images_of("train", range(10))


def test_a_fraction_that_holds_nothing_out_is_refused(tmp_path):
    write_set(tmp_path, {"train": [10]})
    message = "validation_fraction=0.05 holds out none of the 10 images of 'train': raise it, or set 0"
    assert message in refusal("animals", tmp_path, validation_fraction=0.05)


def test_nothing_is_held_out_of_records_in_an_order_of_their_own(tmp_path):
    folder = write_set(tmp_path, {"train": [10]})
    change_info(folder, disableShuffling=True)
    assert f"the records of {folder} are not shuffled" in refusal("animals", tmp_path)
    assert len(read_tfds("animals", tmp_path, validation_fraction=0)["train"]) == 10


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("missing", "is missing: restore it"),
        ("empty", r"is damaged or incomplete \(.*at least 64KB.*; it should have 4 records\)"),
        ("half", r"is damaged or incomplete \(.*; it should have 4 records\)"),
        ("byte", r"is damaged or incomplete \(.*; it should have 4 records\)"),
        ("other", r"is damaged or incomplete \(it has 3 records; it should have 4 records\)"),
    ],
)
def test_a_missing_or_half_written_file_is_named_at_once(tmp_path, damage, message):
    folder = write_set(tmp_path, {"train": [3, 4]})
    first, second = sorted(folder.glob("animals-train*"))
    data = second.read_bytes()
    if damage == "missing":
        second.unlink()
    else:
        size = {"empty": 0, "half": len(data) // 2, "byte": len(data) - 1}.get(damage)
        second.write_bytes(first.read_bytes() if size is None else data[:size])
    assert re.search(f"{second} {message}", refusal("animals", tmp_path))
    assert len(read_tfds("animals", tmp_path, train_split="train[:3]", validation_fraction=0)["train"]) == 3


def test_a_set_without_any_of_the_splits_is_told_what_there_is(tmp_path):
    write_set(tmp_path, {"extra": [3]})
    assert "Should be one of ['extra']; animals has extra (3)" in refusal("animals", tmp_path)
    assert list(read_tfds("animals", tmp_path, train_split="extra", validation_fraction=0)) == ["train"]


def test_a_damaged_record_is_named_and_the_others_are_read(tmp_path):
    folder = write_set(tmp_path, {"train": [300]})
    (shard,) = folder.glob("animals-train*")
    photos = read_tfds("animals", tmp_path, validation_fraction=0)["train"]
    data = shard.read_bytes()
    position = data.index(image_bytes("train", 123))
    shard.write_bytes(data[:position] + b"X" + data[position + 1 :])
    message = rf"{shard} record 123 cannot be read \(.*hash mismatch.*\): restore the file, or build the set again"
    with pytest.raises(InputError, match=message):
        photos.read(123)
    assert photos.where(123) == f"{shard} record 123"
    assert photos.read(200) == (image_bytes("train", 200), 200 % 3)


def test_damaged_metadata_is_named(tmp_path):
    folder = write_set(tmp_path, {"train": [3]})
    (folder / "features.json").write_text("{")
    assert f"the metadata of {folder} (dataset_info.json, features.json) cannot be read" in refusal("animals", tmp_path)
    (folder / "features.json").unlink()
    assert f"the metadata of {folder} (dataset_info.json, features.json) cannot be read" in refusal("animals", tmp_path)


@pytest.mark.parametrize("names", ["ant\nbee\n", "ant\nbee\nant\n", "a\nb\nc\nd\n"])
def test_class_names_that_do_not_fit_are_refused(tmp_path, names):
    folder = write_set(tmp_path, {"train": [3]})
    (folder / "label.labels.txt").write_text(names)
    lines, count = len(names.split()), len(set(names.split()))
    message = f"{folder}/label.labels.txt has {lines} lines with {count} different class names, not 3"
    assert message in refusal("animals", tmp_path)


# Sets from strangers


def write_evil(folder, form):
    """Makes the set's list of features name a class of the module `evil`, in one of TFDS's forms."""
    path = folder / "features.json"
    features = json.loads(path.read_text())
    label = features["featuresDict"]["features"]["label"]
    if form == "today":
        label["pythonClassName"] = "evil.ClassLabel"
    elif form == "proto":
        del label["pythonClassName"]
        label["python_class_name"] = "evil.ClassLabel"
    elif form == "info":
        label["pythonClassName"] = "evil.ClassLabel"
        change_info(folder, features=features)
        return
    elif form == "top":
        features["pythonClassName"] = "evil.FeaturesDict"
    elif form == "old":
        kind = "tensorflow_datasets.core.features.features_dict.FeaturesDict"
        features = {"type": kind, "content": {"label": {"type": "evil.ClassLabel", "content": {"num_classes": 3}}}}
    else:
        old = {"label": {"type": "evil.ClassLabel", "content": {"num_classes": 3}}}
        features = {"pythonClassName": features["pythonClassName"], "jsonFeature": {"json": json.dumps(old)}}
    path.write_text(json.dumps(features))


@pytest.mark.parametrize("form", ["today", "proto", "top", "old", "in a text", "info"])
def test_nothing_that_a_set_names_is_imported(tmp_path, form, monkeypatch):
    folder = write_set(tmp_path / "sets", {"train": [3]})
    write_evil(folder, form)
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass ClassLabel: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    message = refusal("animals", tmp_path / "sets")
    assert f"the metadata of {folder} names the class evil." in message
    assert "which is not loaded (allowed: those of tfds.features: FeaturesDict, Image, " in message
    assert not (tmp_path / "ran").exists()
    assert "evil" not in sys.modules


def test_every_kind_of_feature_of_an_ordinary_set_is_known(tmp_path):
    features = FEATURES | {
        "box": tfds.features.BBoxFeature(),
        "parts": tfds.features.Sequence(
            {"name": tfds.features.Text(), "kind": tfds.features.ClassLabel(num_classes=2)}
        ),
        "more": {"area": tfds.features.Scalar(np.int64), "vector": tfds.features.Tensor(shape=(3,), dtype=np.float32)},
    }

    def example(split, number):
        parts = {"name": ["a"], "kind": [1]}
        more = {"area": 1, "vector": np.zeros(3, np.float32)}
        return make_example(split, number) | {"box": np.zeros(4, np.float32), "parts": parts, "more": more}

    write_set(tmp_path, {"train": [3]}, features=features, example=example)
    assert len(read_tfds("animals", tmp_path, validation_fraction=0)["train"]) == 3


@pytest.mark.parametrize("count", [0, 65_536, 10**15])
def test_a_number_of_classes_that_is_a_mistake_is_refused(tmp_path, count):
    folder = write_set(tmp_path, {"train": [3]})
    path = folder / "features.json"
    path.write_text(path.read_text().replace('"numClasses": "3"', f'"numClasses": "{count}"'))
    (folder / "label.labels.txt").unlink()
    assert f"{folder} has {count:,} classes of label (allowed: 1 to 65,535)" in refusal("animals", tmp_path)


def test_equal_class_names_are_refused(tmp_path):
    folder = write_set(
        tmp_path, {"train": [3]}, features=FEATURES | {"label": tfds.features.ClassLabel(num_classes=10)}
    )
    (folder / "label.labels.txt").write_text("cat\n" * 10)
    message = f"{folder}/label.labels.txt has 10 lines with 1 different class names, not "
    assert f"{message}10: " in refusal("animals", tmp_path)
    path = folder / "features.json"
    path.write_text(path.read_text().replace('"numClasses": "10"', '"numClasses": "1"'))
    assert f"{message}1: " in refusal("animals", tmp_path)


def test_class_names_that_are_not_utf8_are_refused(tmp_path):
    folder = write_set(tmp_path, {"train": [3]})
    (folder / "label.labels.txt").write_bytes(b"ant\nbee\nc\xe4t\n")
    assert f"{folder}/label.labels.txt is not UTF-8 text" in refusal("animals", tmp_path)
