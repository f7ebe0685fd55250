"""Folders of splits with the names that they have in practice: what is taken as a split, and never as a class."""

import pytest

from resnet_alexnet.data.readers.image_folder import read_image_folder
from resnet_alexnet.data.readers.split_names import read_split_name
from resnet_alexnet.errors import InputError

CLASSES = ("cat/1.jpg", "dog/1.jpg")


def write(root, *folders, photographs=CLASSES):
    for folder in folders:
        for name in photographs:
            path = root / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
    return root


def read(root):
    """The folder of each split below `root`, and the classes."""
    splits = read_image_folder(root, report=lambda line: None)
    classes = {photos.classes for photos in splits.values()}
    return {split: photos.folder.removeprefix(f"{root}/") for split, photos in splits.items()}, classes


def refusal(root):
    with pytest.raises(InputError) as error:
        read_image_folder(root, report=lambda line: None)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("train_set", "test_set"),
        ("training_set/training_set", "test_set/test_set"),
        ("train/train", "test/test"),
        ("TRAIN", "Testing"),
        ("Training Data", "Testing Data"),
        ("trainset", "testset"),
        ("train2017", "test2017"),
        ("images_train", "images-test"),
        ("train/images", "test/images"),
        ("ILSVRC2012_img_train", "ILSVRC2012_img_test"),
        ("dogs-train-v2", "dogs-test-v2"),
        ("train/birds", "test/birds"),
        ("Train/TRAIN/train_set", "test"),
        (" train", "test "),
    ],
)
def test_splits_are_found_by_the_usual_names_of_their_folders(tmp_path, train, test):
    write(tmp_path, train, test)
    assert read(tmp_path) == ({"train": train, "test": test}, {("cat", "dog")})


@pytest.mark.parametrize("folder", ["val", "Validation", "valid_set", "dev", "validation/validation", "val images"])
def test_validation_folders_are_found_by_the_usual_names(tmp_path, folder):
    write(tmp_path, "train", folder)
    assert read(tmp_path)[0] == {"train": "train", "validation": folder}


def test_photographs_without_classes_beside_the_splits_are_no_split(tmp_path):
    write(tmp_path, "seg_train/seg_train", "seg_test/seg_test")
    write(tmp_path, "seg_pred/seg_pred", photographs=("1.jpg", "2.jpg"))
    assert read(tmp_path)[0] == {"train": "seg_train/seg_train", "test": "seg_test/seg_test"}


def test_the_plain_name_comes_first(tmp_path):
    write(tmp_path, "train", "train_old", "old_train", "old_test", "val", "val2")
    assert read(tmp_path)[0] == {"train": "train", "validation": "val"}
    write(tmp_path, "test_set", "test_images")
    assert "has the folders test_images, test_set: keep only one for test" in refusal(tmp_path)


def test_one_folder_alone_is_a_split_by_its_name(tmp_path):
    write(tmp_path, "seg_train/seg_train")
    assert read(tmp_path)[0] == {"train": "seg_train/seg_train"}
    write(tmp_path, "other")
    line = f"but seg_train, which is not taken as a class: set data_dir to {tmp_path / 'seg_train'} if its folders are"
    assert line in refusal(tmp_path)


def test_a_split_given_by_its_own_folder_is_that_split(tmp_path):
    write(tmp_path, "seg_train/seg_train", "seg_test/seg_test")
    for folder in (tmp_path / "seg_test", tmp_path / "seg_test" / "seg_test"):
        assert list(read(folder)[0]) == ["test"]
    assert list(read(tmp_path / "seg_train" / "seg_train")[0]) == ["train"]


@pytest.mark.parametrize("inner", ["x/train", "x/y/train", "x/y/z/train_set", "x/seg_train", "x/Training/train"])
def test_splits_further_down_are_refused_with_the_folder_to_give(tmp_path, inner):
    write(tmp_path, inner)
    below = tmp_path / inner.partition("/tra" if "/tra" in inner else "/seg" if "seg" in inner else "/Tra")[0]
    if inner == "x/Training/train":
        below = tmp_path / "x"
    assert refusal(tmp_path).endswith(f"down; set data_dir to {below}")


def test_splits_further_down_beside_another_folder_are_not_those_of_classes(tmp_path):
    write(tmp_path, "data/train")
    write(tmp_path, "docs")
    assert refusal(tmp_path).endswith(f"one level down; set data_dir to {tmp_path / 'data'}")


def test_splits_in_the_folders_of_the_classes_are_refused(tmp_path):
    write(tmp_path, "cat", "dog", photographs=("train/1.jpg", "test/2.jpg"))
    assert "has the splits in the folders of the classes (cat/train): make them train/cat, for each" in refusal(
        tmp_path
    )


def test_one_folder_of_classes_is_refused_with_the_folder_to_give(tmp_path):
    write(tmp_path, "PetImages")
    assert f"if its folders are classes, set data_dir to {tmp_path / 'PetImages'}" in refusal(tmp_path)


def test_names_with_a_word_of_splits_may_be_classes(tmp_path):
    write(tmp_path, "steam train", "test_tube", "Val", "contest", photographs=("1.jpg",))
    splits, classes = read(write(tmp_path / "deeper", "bus", "trainer", "car", photographs=("1.jpg", "val/2.jpg")))
    assert (list(splits), classes) == (["train"], {("bus", "car", "trainer")})
    assert read_split_name("steam train") == ("train", "steam*", False)
    assert [read_split_name(name) for name in ("contest", "trainer", "validate", "cat", "")] == [None] * 5


def test_a_test_split_with_one_class_keeps_it(tmp_path):
    write(tmp_path, "train")
    write(tmp_path, "test", photographs=("cat/2019/1.jpg",))
    assert read(tmp_path) == ({"train": "train", "test": "test"}, {("cat", "dog")})


def test_a_folder_of_classes_with_a_copy_of_itself_is_refused(tmp_path):
    write(tmp_path / "cells", "", "cells")
    message = f"{tmp_path / 'cells' / 'cells'} has the folders cat, dog, which lie beside it too: remove it"
    assert message in refusal(tmp_path / "cells")


@pytest.mark.parametrize("folders", [("train",), ("train/train",), ("train", "test")])
def test_a_copy_in_the_folder_of_a_split_is_refused(tmp_path, folders):
    write(tmp_path, *folders, f"{folders[-1]}/backup")
    message = f"{tmp_path / folders[-1] / 'backup'} has the folders cat, dog, which lie beside it too: remove it"
    assert message in refusal(tmp_path)


@pytest.mark.parametrize(
    "folders", [("fold1", "fold2"), ("train/color", "train/gray"), ("train/images", "train/masks")]
)
def test_folders_with_the_same_folders_are_told(tmp_path, folders):
    lines = []
    write(tmp_path, *folders)
    first, second = (folder.rpartition("/")[2] for folder in folders)
    photos = read_image_folder(tmp_path, report=lines.append)["train"]
    assert photos.classes == (first, second)
    line = f"warning: each of {first}, {second} in {photos.folder} has the folders cat, dog: are these the classes?"
    assert lines.count(line) == 1
    write(tmp_path / "test", *(folder.removeprefix("train/") for folder in folders))
    if "train" in folders[0]:  # the same of another split is not told again
        again = []
        read_image_folder(tmp_path, report=again.append)
        assert again == lines


def test_splits_further_down_beside_a_test_folder_are_named(tmp_path):
    write(tmp_path, "Dataset/train", "Dataset/valid")
    write(tmp_path, "test/test", photographs=("1.jpg",))
    assert refusal(tmp_path).endswith(f"it is one level down; set data_dir to {tmp_path / 'Dataset'}")
