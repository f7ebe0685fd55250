"""Photographs whose classes are in a list, as data sets are published."""

import re

import pytest

from resnet_alexnet.data.readers import label_lists
from resnet_alexnet.data.readers.image_folder import read_image_folder
from resnet_alexnet.errors import InputError
from tests.support.archives import meta_mat, write_devkit


def write(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


def labeled(photos):
    return {photos.name(index): photos.classes[photos.labels[index]] for index in range(len(photos))}


def refusal(root):
    with pytest.raises(InputError) as error:
        read_image_folder(root)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "file,label\nb.jpg,owl\ndeep/a.jpg,cat\n",
        "\ufeffid;name;breed\n7;deep/a;cat\n8;b;owl\n".replace("id;name", "number;name"),
        "b.jpg\towl\na.jpg\tcat\n",
        'label,path\n"owl","b.jpg"\ncat,deep\\a.jpg\n',
        "Photo,Animal\nb.jpg,owl\na.jpg,cat\n",
    ],
)
def test_a_list_beside_the_photographs_has_their_classes(tmp_path, text):
    write(tmp_path, "b.jpg", "deep/a.jpg")
    (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
    splits = read_image_folder(tmp_path)
    assert list(splits) == ["train"]
    assert labeled(splits["train"]) == {"b.jpg": "owl", "deep/a.jpg": "cat"}
    assert splits["train"].read(1) == (b"b.jpg", 1)
    assert splits["train"].where(1) == str(tmp_path / "b.jpg")


def test_the_photographs_of_a_list_may_be_in_any_folder(tmp_path):
    write(tmp_path, "images/a/1.jpg", "images/b/1.jpg")
    (tmp_path / "labels.csv").write_text("file,label\nimages/a/1.jpg,cat\nimages/b/1.jpg,dog\n")
    assert labeled(read_image_folder(tmp_path)["train"]) == {"images/a/1.jpg": "cat", "images/b/1.jpg": "dog"}


def test_each_split_may_have_its_list(tmp_path, capsys):
    write(tmp_path, "train/1.jpg", "train/2.jpg", "val/1.jpg", "test/1.jpg", "test/2.jpg")
    (tmp_path / "train" / "labels.csv").write_text("file,label\n1.jpg,a\n2.jpg,b\n")
    (tmp_path / "val" / "labels.csv").write_text("file,label\n1.jpg,b\n")
    (tmp_path / "test.csv").write_text("Path,ClassId\ntest/2.jpg,a\n")  # beside the folder, with its name
    splits = read_image_folder(tmp_path)
    assert [labeled(photos) for photos in splits.values()] == [
        {"1.jpg": "a", "2.jpg": "b"},
        {"1.jpg": "b"},
        {"2.jpg": "a"},
    ]
    left = f"left out of {tmp_path / 'test'}: 1 photographs that {tmp_path / 'test.csv'} does not name\n"
    assert capsys.readouterr().out == left


@pytest.mark.parametrize("folder", ["train", ".", "train/images"])
def test_a_list_that_the_folders_contradict_is_told(tmp_path, capsys, folder):
    write(tmp_path / folder, "a/1.jpg", "b/2.jpg")
    (tmp_path / folder / "labels.csv").write_text("file,label\na/1.jpg,b\nb/2.jpg,a\n")
    photos = read_image_folder(tmp_path)["train"]
    assert [photos.classes[label] for label in photos.labels] == ["a", "b"]
    assert [photos.name(index)[-5:] for index in range(2)] == ["2.jpg", "1.jpg"]
    place = tmp_path / folder
    line = f"the classes in {place} are those of {place / 'labels.csv'}, not of the folders\n"
    assert capsys.readouterr().out == line
    (tmp_path / folder / "labels.csv").write_text("file,label\na/1.jpg,a\nb/2.jpg,b\n")
    read_image_folder(tmp_path)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["labels.csv", "train.csv"])
def test_a_list_beside_class_folders_is_not_read_and_told(tmp_path, capsys, name):
    write(tmp_path, "train/a/1.jpg", "train/b/2.jpg")
    (tmp_path / name).write_text("file,label\n1.jpg,b\n2.jpg,a\n")
    assert labeled(read_image_folder(tmp_path)["train"]) == {"a/1.jpg": "a", "b/2.jpg": "b"}
    assert capsys.readouterr().out == (
        f"{tmp_path / name} is not read for {tmp_path / 'train'}, which has class folders\n"
    )


def test_a_list_in_the_current_folder_is_read(tmp_path, monkeypatch):
    write(tmp_path, "1.jpg", "2.jpg")
    (tmp_path / "labels.csv").write_text("file,label\n1.jpg,a\n2.jpg,b\n")
    monkeypatch.chdir(tmp_path)
    assert labeled(read_image_folder(".")["train"]) == {"1.jpg": "a", "2.jpg": "b"}


def test_whole_numbers_with_and_without_a_point_are_one_class(tmp_path):
    write(tmp_path, "0.jpg", "1.jpg", "2.jpg", "3.jpg")
    (tmp_path / "labels.csv").write_text("file,label\n0.jpg,1\n1.jpg,1.0\n2.jpg,2.0\n3.jpg,1.5\n")
    assert list(labeled(read_image_folder(tmp_path)["train"]).values()) == ["1", "1", "1.5", "2.0"]


def test_one_list_may_be_for_all_splits(tmp_path):
    write(tmp_path, "train/1.jpg", "train/2.jpg", "val/1.jpg", "test/3.jpg")
    (tmp_path / "labels.csv").write_text("file,label\ntrain/1.jpg,a\n2,b\nval/1.jpg,b\n")
    splits = read_image_folder(tmp_path)
    assert {split: labeled(photos) for split, photos in splits.items()} == {
        "train": {"1.jpg": "a", "2.jpg": "b"},
        "validation": {"1.jpg": "b"},
    }


def test_tiny_imagenet(tmp_path):
    wnids = ("n01443537", "n01629819", "n01641577")
    write(tmp_path, *(f"train/{wnid}/images/{wnid}_0.JPEG" for wnid in wnids), "test/images/test_0.JPEG")
    write(tmp_path, *(f"val/images/val_{number}.JPEG" for number in range(3)))
    lines = [f"val_{number}.JPEG\t{wnids[-number]}\t0\t0\t9\t9\n" for number in range(3)]
    (tmp_path / "val" / "val_annotations.txt").write_text("".join(lines))
    splits = read_image_folder(tmp_path)
    assert list(splits) == ["train", "validation"]
    assert labeled(splits["train"]) == {f"{wnid}/images/{wnid}_0.JPEG": wnid for wnid in wnids}
    assert labeled(splits["validation"]) == {f"images/val_{number}.JPEG": wnids[-number] for number in range(3)}


def test_the_traffic_signs(tmp_path):
    write(tmp_path, *(f"Final_Training/Images/{name}/00000_00000.ppm" for name in ("00000", "00007", "00014")))
    write(tmp_path, "Final_Test/Images/00000.ppm", "Final_Test/Images/00001.ppm")
    (tmp_path / "Final_Test" / "Images" / "GT-final_test.csv").write_text(
        "Filename;Width;Height;Roi.X1;ClassId\n00000.ppm;53;54;6;14\n00001.ppm;42;45;5;0\n"
    )
    splits = read_image_folder(tmp_path)
    assert splits["train"].classes == ("00000", "00007", "00014")
    assert labeled(splits["test"]) == {"00000.ppm": "00014", "00001.ppm": "00000"}


@pytest.mark.parametrize("inner", ["", "ILSVRC", "ILSVRC/Data/CLS-LOC"])
def test_imagenet_as_kaggle_has_it(tmp_path, inner):
    place = "ILSVRC/Data/CLS-LOC"
    write(tmp_path, f"{place}/train/n01440764/n01440764_1.JPEG", f"{place}/train/n01443537/n01443537_1.JPEG")
    write(tmp_path, *(f"{place}/val/ILSVRC2012_val_0000000{number}.JPEG" for number in (1, 2)))
    (tmp_path / "LOC_val_solution.csv").write_text(
        "ImageId,PredictionString\nILSVRC2012_val_00000001,n01443537 1 2 3 4 n01443537 5 6 7 8 \n"
        "ILSVRC2012_val_00000002,n01440764 1 2 3 4\n"
    )
    splits = read_image_folder(tmp_path / inner)
    assert list(labeled(splits["validation"]).values()) == ["n01440764", "n01443537"]
    assert labeled(splits["validation"])["ILSVRC2012_val_00000001.JPEG"] == "n01443537"


@pytest.mark.parametrize("unpacked", [True, False])
def test_imagenets_validation_photographs_with_the_devkit(tmp_path, unpacked):
    write(tmp_path, *(f"val/ILSVRC2012_val_0000000{number}.JPEG" for number in (3, 1, 2)))
    if unpacked:
        folder = tmp_path / "ILSVRC2012_devkit_t12" / "data"
        folder.mkdir(parents=True)
        (folder / "meta.mat").write_bytes(meta_mat())
        (folder / "ILSVRC2012_validation_ground_truth.txt").write_text("2\n1\n2\n")
    else:
        write_devkit(tmp_path / "ILSVRC2012_devkit_t12.tar.gz", [2, 1, 2])
    for data_dir in (tmp_path, tmp_path / "val"):
        photos = read_image_folder(data_dir)["validation"]
        first, second, third = (
            photos.classes[label] for _, label in sorted(zip(names(photos), photos.labels, strict=True))
        )
        assert first == third != second


def names(photos):
    return [photos.name(index) for index in range(len(photos))]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\n1.jpg,a\nno.jpg,a\n", "labels.csv names 1 photographs that are not in"),
        ("file,label\n1.jpg,a\n1.jpg,b\n", "has 1.jpg as b and as a: give each photograph one class"),
        ("file,label\n1.jpg,\n", "labels.csv line 2 has no file or no class: each line must be FILE,CLASS"),
        ("file,label\n1.jpg\n", "labels.csv line 2 has no file or no class"),
        ("file,label\n../../secret.jpg,a\n", r"not in .*, such as ../../secret.jpg: restore them"),
        ("file,label\n/etc/passwd,a\n", "such as /etc/passwd: restore them"),
        ("file,label\n\x1b[31m.jpg,a\n", r"such as \\x1b\[31m.jpg"),
        ("a,b,c\n1.jpg,10,cat\n", "labels.csv has the columns a, b, c: name that of the photographs file, and"),
        ("file,label\n", "labels.csv names no photograph"),
        ("", "labels.csv names no photograph"),
    ],
)
def test_a_list_that_does_not_fit_is_refused(tmp_path, text, message):
    write(tmp_path, "1.jpg", "sub/2.jpg")
    (tmp_path / "labels.csv").write_text(text)
    assert re.search(message, refusal(tmp_path))


def test_a_list_in_another_encoding_is_refused(tmp_path):
    write(tmp_path, "1.jpg")
    (tmp_path / "labels.csv").write_bytes("file,label\n1.jpg,Bär\n".encode("latin-1"))
    assert "labels.csv is not UTF-8 text: save it as UTF-8" in refusal(tmp_path)


def test_a_name_that_several_photographs_have_is_not_guessed(tmp_path):
    write(tmp_path, "a/1.jpg", "b/1.jpg")
    (tmp_path / "labels.csv").write_text("file,label\n1.jpg,cat\n")
    assert "or not alone with that name, such as 1.jpg" in refusal(tmp_path)


def test_a_name_that_two_splits_have_is_not_guessed(tmp_path):
    write(tmp_path, "train/00.jpg", "train/01.jpg", "test/00.jpg", "test/01.jpg")
    (tmp_path / "labels.csv").write_text("id,label\n00,cat\n01,dog\n")
    assert "labels.csv has 00, which is in train and in test: put the folder in front (train/00)" in refusal(tmp_path)
    (tmp_path / "labels.csv").write_text("id,label\ntrain/00,cat\ntrain/01,dog\n")
    assert list(read_image_folder(tmp_path)) == ["train"]


def test_a_list_with_a_column_of_splits_divides_a_flat_folder(tmp_path, capsys):
    write(tmp_path, *(f"images/{number}.jpg" for number in range(6)), "images/x.jpg")
    rows = ("0,cat,Train", "1,dog,training", "2,dog,val", "3,cat,test", "4,dog,TEST", "5,cat,train")
    (tmp_path / "labels.csv").write_text("\n".join(("file,label,split", *rows)))
    splits = read_image_folder(tmp_path)
    assert {split: labeled(photos) for split, photos in splits.items()} == {
        "train": {"images/0.jpg": "cat", "images/1.jpg": "dog", "images/5.jpg": "cat"},
        "validation": {"images/2.jpg": "dog"},
        "test": {"images/3.jpg": "cat", "images/4.jpg": "dog"},
    }
    assert splits["validation"].classes == ("cat", "dog")
    line = f"left out of {tmp_path}: 1 photographs that {tmp_path / 'labels.csv'} does not name\n"
    assert capsys.readouterr().out == line
    for rows, message in (
        (("0,cat,train", "1,dog,extra"), "labels.csv line 3 has the split 'extra' (allowed: train, val, test)"),
        (("0,cat,train", "1,dog"), "labels.csv line 3 has the split '' (allowed: train, val, test)"),
        (("0,cat,train", "images/0.jpg,cat,test"), "line 3 has images/0.jpg in the split test, which is in train too"),
        (("0,cat,train", "1,owl,test"), "has the classes owl only in splits that are not trained on"),
    ):
        (tmp_path / "labels.csv").write_text("\n".join(("file,label,split", *rows)))
        assert message in refusal(tmp_path)


@pytest.mark.parametrize("splits", [("train", "val", "test"), ("val", "test")])
def test_of_a_folder_that_a_list_divides_all_is_read_and_told_once(tmp_path, capsys, monkeypatch, splits):
    write(tmp_path, *(f"{number}.jpg" for number in range(len(splits) + 2)), "raw.heic")
    rows = "".join(f"{number}.jpg,cat,{split}\n" for number, split in enumerate(splits))
    (tmp_path / "labels.csv").write_text(f"file,label,split\n{rows}")
    assert read_counting(tmp_path, monkeypatch) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"left out of {tmp_path}: 1 .heic, images of kinds that are not read; convert them to JPEG",
        f"left out of {tmp_path}: 2 photographs that {tmp_path / 'labels.csv'} does not name",
    ]


def test_a_list_for_the_folders_beside_it_is_read_once(tmp_path, monkeypatch):
    write(tmp_path, "train/0.jpg", "val/1.jpg", "test/2.jpg")
    (tmp_path / "labels.csv").write_text("file,label\n0.jpg,a\n1.jpg,a\n2.jpg,a\n")
    assert read_counting(tmp_path, monkeypatch) == 1


def read_counting(folder, monkeypatch) -> int:
    """Reads the folder; returns how often its list was read."""
    parse, calls = label_lists.csv.reader, []
    monkeypatch.setattr(label_lists.csv, "reader", lambda *args, **options: calls.append(0) or parse(*args, **options))
    read_image_folder(folder)
    return len(calls)


def test_a_split_that_a_list_has_must_be_that_of_the_folder(tmp_path):
    write(tmp_path, "train/0.jpg", "train/1.jpg", "test/2.jpg")
    (tmp_path / "train" / "labels.csv").write_text("file,label,split\n0.jpg,cat,train\n1.jpg,dog,test\n")
    message = f"has 1.jpg in the split 'test', but {tmp_path / 'train'} is the train split: move it to the folder of"
    assert message in refusal(tmp_path)


def test_the_splits_of_a_list_tell_equal_names_in_two_folders_apart(tmp_path):
    write(tmp_path, "train/0.jpg", "train/1.jpg", "val/0.jpg")
    rows = "file,label,split\n0.jpg,cat,train\n1.jpg,dog,train\n0.jpg,dog,val\n"
    (tmp_path / "labels.csv").write_text(rows)
    splits = read_image_folder(tmp_path)
    assert {split: labeled(photos) for split, photos in splits.items()} == {
        "train": {"0.jpg": "cat", "1.jpg": "dog"},
        "validation": {"0.jpg": "dog"},
    }
    (tmp_path / "labels.csv").write_text(rows + "1.jpg,cat,val\n")
    message = "labels.csv names 1 photographs that no split has, such as 1.jpg of the split 'val': restore them"
    assert message in refusal(tmp_path)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('file,label\n0.jpg,"cat\n1.jpg,dog\n', 2),
        ('file,label\n0.jpg,cat\n"1.jpg,dog\n2.jpg",owl\n', 3),
        ('file,label\n0.jpg,"cat\n1.jpg,dog"\n2.jpg,owl\n', 2),
        ('file,label,split\n0.jpg,cat,"train\n1.jpg,dog,train"\n', 2),
        ('0.jpg,cat\n1.jpg,"dog\n', 2),
        ('file,label\n0.jpg,cat\n1.jpg,"big" dog\n', 3),
    ],
)
def test_a_quote_that_is_not_closed_is_named_by_its_line(tmp_path, text, line):
    write(tmp_path, "0.jpg", "1.jpg", "2.jpg")
    (tmp_path / "labels.csv").write_text(text)
    message = refusal(tmp_path)
    assert f"labels.csv line {line}" in message
    assert ("a quote is not closed on its line" in message) == ("big" not in text)


def test_a_name_in_a_list_for_all_splits_that_no_split_has_is_refused(tmp_path):
    write(tmp_path, "train/0.jpg", "train/1.jpg", "val/2.jpg")
    (tmp_path / "labels.csv").write_text("file,label\n0.jpg,a\n1.jpg,b\n2.jpg,b\nx.jpg,b\n")
    assert "labels.csv names 1 photographs that no split has, such as x.jpg: restore them" in refusal(tmp_path)


def test_names_that_a_list_has_for_class_folders_are_told(tmp_path, capsys):
    write(tmp_path, "train/a/0.jpg", "train/b/1.jpg", "val/2.jpg")
    (tmp_path / "labels.csv").write_text("file,label\ntrain/a/0.jpg,a\nval/2.jpg,b\n")
    assert labeled(read_image_folder(tmp_path)["validation"]) == {"2.jpg": "b"}
    assert capsys.readouterr().out.splitlines() == [
        f"{tmp_path / 'labels.csv'} is not read for {tmp_path / 'train'}, which has class folders",
        f"warning: {tmp_path / 'labels.csv'} names 1 photographs that are not in val, such as train/a/0.jpg",
    ]


def test_names_in_other_letters_are_told(tmp_path):
    write(tmp_path, "train/a0.jpg", "val/a1.jpg")
    (tmp_path / "labels.csv").write_text("file,label\nA0.jpg,a\nA1.jpg,b\n")
    message = "labels.csv names no photograph of .*train: it has A0.jpg, and the folder has a0.jpg; the names must be"
    assert re.search(message, refusal(tmp_path))


def test_classes_of_a_list_that_differ_only_in_case_are_told(tmp_path, capsys):
    write(tmp_path, "0.jpg", "1.jpg")
    (tmp_path / "labels.csv").write_text("file,label\n0.jpg,Cat\n1.jpg,cat\n")
    read_image_folder(tmp_path)
    assert "has the classes Cat and cat, which differ only in case" in capsys.readouterr().out


def test_two_numbers_of_one_class_are_refused(tmp_path):
    write(tmp_path, "train/01/0.jpg", "train/02/0.jpg", "test/0.jpg", "test/1.jpg")
    (tmp_path / "test" / "labels.csv").write_text("file,label\n0.jpg,1\n1.jpg,01\n")
    assert "test has the classes 1 and the same numbers with zeros in front" in refusal(tmp_path)
    (tmp_path / "test" / "labels.csv").write_text("file,label\n0.jpg,1\n1.jpg,2\n")
    assert labeled(read_image_folder(tmp_path)["test"]) == {"0.jpg": "01", "1.jpg": "02"}
    write(tmp_path, "train/001/0.jpg")
    assert "test has the classes 1, which" in refusal(tmp_path)


def test_a_list_of_names_makes_no_split(tmp_path, capsys):
    write(tmp_path, "train/0.jpg", "train/1.jpg", "test/0.jpg", "test/1.jpg")
    (tmp_path / "train.csv").write_text("id,label\n0,a\n1,b\n")
    (tmp_path / "test.csv").write_text("id\n0\n1\n")
    assert list(read_image_folder(tmp_path)) == ["train"]
    line = f"{tmp_path / 'test'} has 2 photographs, but no folders or list of their classes: there is no test split\n"
    assert capsys.readouterr().out == line
    (tmp_path / "train.csv").write_text("id\n0\n1\n")
    assert "train has no class folders" in refusal(tmp_path)
