import io
import os
import pickle
import re

import numpy as np
import pytest
from PIL import Image

from resnet_alexnet.data.images import decode
from resnet_alexnet.data.readers.image_folder import read_image_folder
from resnet_alexnet.data.readers.photo_files import SUFFIXES
from resnet_alexnet.errors import InputError
from tests.support.images import encode, photograph


def write_folder(root, **splits):
    """Files whose content is their own path, from split=("class/name", ...)."""
    for split, names in splits.items():
        for name in names:
            path = root / split / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(f"{split}/{name}".encode())
    return root


def refusal(root):
    with pytest.raises(InputError) as error:
        read_image_folder(root)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_photographs_are_listed_class_after_class_by_name(tmp_path):
    write_folder(
        tmp_path,
        train=("dog/b.PNG", "dog/a.jpg", "dog/a.bmp", "cat/x.JPEG", "cat/é.webp", "Ant/10.jpg", "Ant/9.jpg"),
        val=("dog/1.jpg", "cat/2.jpg", "Ant/3.jpg"),
    )
    splits = read_image_folder(tmp_path)
    assert list(splits) == ["train", "validation"]
    train = splits["train"]
    assert train.classes == splits["validation"].classes == ("Ant", "cat", "dog")
    expected = ["Ant/10.jpg", "Ant/9.jpg", "cat/x.JPEG", "cat/é.webp", "dog/a.bmp", "dog/a.jpg", "dog/b.PNG"]
    assert [train.where(index) for index in range(len(train))] == [str(tmp_path / "train" / name) for name in expected]
    assert train.labels.tolist() == [0, 0, 1, 1, 2, 2, 2]
    assert train.labels.dtype == np.int32
    labels = [0, 0, 1, 1, 2, 2, 2]
    for index, (name, label) in enumerate(zip(expected, labels, strict=True)):
        assert train.read(index) == (f"train/{name}".encode(), label)
    assert splits["validation"].read(2) == (b"val/dog/1.jpg", 2)


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_validation_and_test_folders_are_found_by_their_names(tmp_path, name):
    photos = ("a/1.jpg", "b/2.jpg")
    write_folder(tmp_path, train=photos, test=photos, extra=photos, **{name: photos})
    splits = read_image_folder(str(tmp_path))
    assert {split: photos.folder for split, photos in splits.items()} == {
        "train": str(tmp_path / "train"),
        "validation": str(tmp_path / name),
        "test": str(tmp_path / "test"),
    }


def test_hidden_and_other_files_are_passed_over(tmp_path, capsys):
    write_folder(tmp_path, train=("a/1.jpg", "a/._1.jpg", "a/Thumbs.db", "a/list.txt", "a/.deeper/2.jpg", "b/3.jpg"))
    write_folder(tmp_path, train=(".ipynb_checkpoints/1.jpg", "a/README", "a/desktop.ini", "a/.DS_Store"))
    (tmp_path / "train" / "README.jpg").write_bytes(b"beside the class folders")
    os.mkfifo(tmp_path / "train" / "a" / "pipe.jpg")  # reading it would wait for ever
    (tmp_path / "train" / "b" / "link.jpg").symlink_to(tmp_path / "train" / "a" / "pipe.jpg")
    photos = read_image_folder(tmp_path)["train"]
    assert (photos.classes, len(photos)) == (("a", "b"), 2)
    assert [photos.read(index)[0] for index in range(len(photos))] == [b"train/a/1.jpg", b"train/b/3.jpg"]
    left = f"left out of {tmp_path / 'train'}: 1 photographs beside the class folders\n"
    assert capsys.readouterr().out == left


def test_links_are_followed(tmp_path):
    write_folder(tmp_path / "elsewhere", photos=("1.jpg", "2.jpg"))
    write_folder(tmp_path / "data", train=("b/3.jpg",))
    (tmp_path / "data" / "train" / "a").symlink_to(tmp_path / "elsewhere" / "photos")
    (tmp_path / "data" / "train" / "b" / "4.jpg").symlink_to(tmp_path / "elsewhere" / "photos" / "1.jpg")
    photos = read_image_folder(tmp_path / "data")["train"]
    contents = [photos.read(index) for index in range(len(photos))]
    assert contents == [(b"photos/1.jpg", 0), (b"photos/2.jpg", 0), (b"train/b/3.jpg", 1), (b"photos/1.jpg", 1)]


def test_photographs_are_small_when_pickled_and_the_same_afterwards(tmp_path):
    names = [f"n{label:08d}/n{label:08d}_{number}.JPEG" for label in range(10) for number in range(100)]
    write_folder(tmp_path, train=names)
    photos = read_image_folder(tmp_path)["train"]
    data = pickle.dumps(photos)
    assert len(data) < len(photos) * (len("n00000000_99.JPEG") + 8 + 4) + 1000  # a name, an offset and a label each
    again = pickle.loads(data)
    assert [again.where(index) for index in (0, 99, 100, 999)] == [
        str(tmp_path / "train" / sorted(names)[index]) for index in (0, 99, 100, 999)
    ]
    assert again.read(999) == photos.read(999)


def test_file_names_that_are_not_utf8_are_read(tmp_path):
    write_folder(tmp_path, train=("a/1.jpg", "b/1.jpg"))
    try:
        (tmp_path / "train" / "a" / os.fsdecode(b"\xff.jpg")).write_bytes(b"there")
    except OSError:
        pytest.skip("this disk takes no such names")
    photos = read_image_folder(tmp_path)["train"]
    assert photos.read(1) == (b"there", 0)
    assert photos.where(1).endswith(r"\xff.jpg")


def test_a_photograph_that_went_away_is_named(tmp_path):
    write_folder(tmp_path, train=("a/1.jpg", "a/2.jpg", "b/3.jpg"))
    photos = read_image_folder(tmp_path)["train"]
    (tmp_path / "train" / "a" / "2.jpg").unlink()
    assert (photos.read(2), photos.size(2)) == ((b"train/b/3.jpg", 1), 13)
    message = f"{tmp_path / 'train' / 'a' / '2.jpg'} cannot be read (No such file or directory), though it existed"
    for look in (photos.read, photos.size):
        with pytest.raises(InputError, match=re.escape(message)):
            look(1)


def test_a_link_that_leads_to_no_file_is_an_unreadable_photograph(tmp_path):
    write_folder(tmp_path, train=("a/1.jpg", "b/2.jpg"))
    (tmp_path / "train" / "a" / "2.jpg").symlink_to(tmp_path / "nowhere.jpg")
    for name in ("a/loop.jpg", "c"):
        (tmp_path / "train" / name).symlink_to(tmp_path / "train" / name)
    photos = read_image_folder(tmp_path)["train"]
    assert (photos.classes, len(photos)) == (("a", "b"), 4)
    for index, reason in ((1, "No such file or directory"), (2, "Too many levels of symbolic links")):
        assert photos.size(index) > 0
        with pytest.raises(decode.UnreadableImageError, match=f"{reason}, a link that leads to no file"):
            photos.read(index)


def test_ordinary_files_and_folders_are_listed_without_a_look_at_each(tmp_path, monkeypatch):
    write_folder(tmp_path, train=[f"{name}/{number}.jpg" for name in "ab" for number in range(50)])
    looked = []
    monkeypatch.setattr(
        os, "stat", lambda path, *, stat=os.stat, **options: looked.append(path) or stat(path, **options)
    )
    read_image_folder(tmp_path)
    assert len(looked) < 10


# As photographs really come


def lines_about(folder):
    lines = []
    splits = read_image_folder(folder, report=lines.append)
    return splits, lines


def names_of(photos):
    return [photos.name(index) for index in range(len(photos))]


def test_photographs_are_found_at_any_depth(tmp_path):
    write_folder(
        tmp_path, train=("a/2.jpg", "a/2019/summer/1.jpg", "a/2019/3.jpg", "a/deeper.jpg/2.jpg", "b/images/4.JPEG")
    )
    photos = read_image_folder(tmp_path)["train"]
    assert names_of(photos) == [
        "a/2.jpg",
        "a/2019/3.jpg",
        "a/2019/summer/1.jpg",
        "a/deeper.jpg/2.jpg",
        "b/images/4.JPEG",
    ]
    assert photos.labels.tolist() == [0, 0, 0, 0, 1]
    assert photos.read(2) == (b"train/a/2019/summer/1.jpg", 0)


def test_every_suffix_that_pillow_decodes_is_a_photograph(tmp_path):
    suffixes = [suffix for suffix, kind in Image.registered_extensions().items() if kind in decode.FORMATS]
    unusual = {".j2c", ".jpc", ".jpf", ".jpx", ".pfm"}  # never seen among photographs
    assert set(suffixes) - unusual <= set(SUFFIXES)
    write_folder(
        tmp_path, train=[f"a/{number}{suffix.upper()}" for number, suffix in enumerate(SUFFIXES)] + ["b/1.jpg"]
    )
    assert len(read_image_folder(tmp_path)["train"]) == len(SUFFIXES) + 1


def test_images_of_other_kinds_are_counted_unless_their_content_is_a_photograph(tmp_path):
    heic, raw = b"\0\0\0\x18ftypheic\0\0\0\0", b"II*\0\x08\0\0\0"
    files = {"1.heic": heic, "2.HEIC": heic, "3.nef": raw, "4.svg": b"<svg/>", "notes.txt": b"", "5": b"text"}
    photograph_bytes = encode(photograph())
    files |= {"6.heic": photograph_bytes, "7": photograph_bytes, "8.jpg": photograph_bytes}
    for name in "ab":
        (tmp_path / "train" / name).mkdir(parents=True)
    for name, content in files.items():
        (tmp_path / "train" / "a" / name).write_bytes(content)
    (tmp_path / "train" / "b" / "1.jpg").write_bytes(photograph_bytes)
    splits, lines = lines_about(tmp_path)
    assert names_of(splits["train"]) == ["a/6.heic", "a/7", "a/8.jpg", "b/1.jpg"]
    left = "2 .heic, 1 .nef, 1 .svg, images of kinds that are not read; convert them to JPEG"
    assert lines == [f"left out of {tmp_path}: {left}"]


@pytest.mark.parametrize(
    "junk", ["__MACOSX", "@eaDir", "lost+found", "$RECYCLE.BIN", "#recycle", "System Volume Information"]
)
def test_what_systems_leave_behind_is_no_class(tmp_path, junk):
    write_folder(
        tmp_path, train=("a/1.jpg", "b/1.jpg", f"{junk}/thumb.jpg", f"a/{junk}/thumb.jpg"), **{junk: ("a/1.jpg",)}
    )
    splits, lines = lines_about(tmp_path)
    assert names_of(splits["train"]) == ["a/1.jpg", "b/1.jpg"]
    assert lines == [f"passed over in {tmp_path}: 3 {junk}, folders that systems leave behind"]


def test_links_that_lead_back_up_are_not_followed(tmp_path):
    write_folder(tmp_path, train=("a/1.jpg", "a/in/2.jpg", "b/1.jpg"))
    (tmp_path / "train" / "a" / "in" / "up").symlink_to("..")
    (tmp_path / "train" / "a" / "in" / "across").symlink_to("../../b")
    (tmp_path / "train" / "b" / "back").symlink_to("../a/in")
    photos = read_image_folder(tmp_path)["train"]
    assert names_of(photos) == ["a/1.jpg", "a/in/2.jpg", "a/in/across/1.jpg", "b/1.jpg", "b/back/2.jpg"]


def test_labels_go_by_name_where_a_split_lacks_a_class(tmp_path):
    write_folder(tmp_path, train=("a/1.jpg", "b/1.jpg", "c/1.jpg"), val=("c/1.jpg", "a/1.jpg"), test=("b/1.jpg",))
    (tmp_path / "val" / "b").mkdir()
    splits = read_image_folder(tmp_path)
    assert {split: photos.labels.tolist() for split, photos in splits.items()} == {
        "train": [0, 1, 2],
        "validation": [0, 2],
        "test": [1],
    }
    assert {photos.classes for photos in splits.values()} == {("a", "b", "c")}


def test_without_a_training_split_the_classes_are_those_of_all_splits(tmp_path):
    write_folder(tmp_path, val=("b/1.jpg",), test=("a/1.jpg", "c/1.jpg"))
    splits = read_image_folder(tmp_path)
    assert splits["validation"].classes == splits["test"].classes == ("a", "b", "c")
    assert splits["test"].labels.tolist() == [0, 2]


def test_a_split_without_photographs_is_told(tmp_path):
    write_folder(tmp_path, train=("a/1.jpg", "b/1.jpg"), test=("1.jpg",))
    for name in "ab":
        (tmp_path / "val" / name).mkdir(parents=True)
    splits, lines = lines_about(tmp_path)
    assert list(splits) == ["train"]
    assert lines == [
        f"{tmp_path / 'val'} has no photographs in class folders: there is no validation split",
        f"{tmp_path / 'test'} has 1 photographs, but no folders or list of their classes: there is no test split",
    ]


def test_folders_that_are_no_split_are_told(tmp_path):
    write_folder(tmp_path, train=("a/1.jpg", "b/1.jpg"), extra=("a/1.jpg",))
    assert lines_about(tmp_path)[1] == [f"not read in {tmp_path}: extra, which is the name of no split"]


def test_class_folders_alone_are_a_training_split(tmp_path):
    write_folder(tmp_path / "pets", cat=("1.jpg",), dog=("deep/2.jpg",))
    splits, lines = lines_about(tmp_path / "pets")
    assert {split: names_of(photos) for split, photos in splits.items()} == {"train": ["cat/1.jpg", "dog/deep/2.jpg"]}
    assert lines == [
        f"{tmp_path / 'pets'} has no folder train: its 2 folders are the classes of a training split: cat, dog"
    ]


def test_the_folder_of_one_split_is_that_split(tmp_path):
    write_folder(tmp_path, train=("a/1.jpg", "b/1.jpg"), val=("a/2.jpg",), test=("b/1.jpg",))
    for name, split in (("train", "training"), ("val", "validation"), ("test", "test")):
        splits, lines = lines_about(tmp_path / name)
        assert list(splits) == ["train" if name == "train" else split]
        assert f"the classes of a {split} split: " in lines[0]
        assert "; to use " in lines[0]
        assert lines[0].endswith(f"set data_dir to {tmp_path}")


def test_a_class_may_be_called_as_a_split(tmp_path):
    write_folder(tmp_path, train=("1.jpg",), bus=("1.jpg",), car=("1.jpg",))
    assert read_image_folder(tmp_path)["train"].classes == ("bus", "car", "train")


@pytest.mark.parametrize("names", [("Train", "Valid", "TEST"), ("training", "validation", "testing")])
def test_the_folders_of_splits_have_other_names(tmp_path, names):
    write_folder(tmp_path, **dict.fromkeys(names, ("a/1.jpg", "b/1.jpg")))
    assert list(read_image_folder(tmp_path)) == ["train", "validation", "test"]


def test_the_names_of_files_reach_messages_without_effect_on_a_terminal(tmp_path):
    write_folder(tmp_path, train=("a/\x1b[31mred\n.jpg", "b\x1b]0;title\x07/1.jpg", "B\x1b]0;title\x07/1.jpg"))
    splits, lines = lines_about(tmp_path)
    photos = splits["train"]
    assert photos.where(1) == f"{tmp_path}/train/a/\\x1b[31mred\\n.jpg"
    assert photos.read(1) == (b"train/a/\x1b[31mred\n.jpg", 1)
    assert len(lines) == 1
    assert lines[0].isprintable()


# Bad folders


def test_data_dir_must_be_a_folder(tmp_path):
    assert "image_folder needs data_dir: the layout is train/CLASS/PHOTO" in refusal("")
    assert "does not exist: it must be a folder" in refusal("a" * 300)
    assert f"{tmp_path / 'no'} does not exist: it must be a folder" in refusal(tmp_path / "no")
    (tmp_path / "file").touch()
    assert f"{tmp_path / 'file'} is a file: it must be a folder" in refusal(tmp_path / "file")


def test_another_layout_is_told_what_to_do(tmp_path):
    assert "has no folder train: the layout is train/CLASS/PHOTO" in refusal(tmp_path)
    (tmp_path / "Photos").mkdir()
    assert "the folders found are Photos" in refusal(tmp_path)
    write_folder(tmp_path / "outer" / "inner", train=("a/1.jpg",))
    assert f"one level down; set data_dir to {tmp_path / 'outer' / 'inner'}" in refusal(tmp_path / "outer")
    write_folder(tmp_path / "no_class", train=("1.jpg",))
    assert f"{tmp_path / 'no_class' / 'train'} has no class folders: the layout" in refusal(tmp_path / "no_class")


@pytest.mark.parametrize(("folder", "split"), [("val", "validation"), ("test", "test")])
def test_photographs_to_test_on_may_come_alone(tmp_path, folder, split):
    write_folder(tmp_path, **{folder: ("a/1.jpg", "b/1.jpg")})
    assert {name: photos.classes for name, photos in read_image_folder(tmp_path).items()} == {split: ("a", "b")}


def test_two_validation_folders_are_refused(tmp_path):
    photos = ("a/1.jpg", "b/1.jpg")
    write_folder(tmp_path, train=photos, val=photos, validation=photos)
    assert "has the folders val, validation: keep only one" in refusal(tmp_path)


@pytest.mark.parametrize("content", [(), ("b/notes.txt", "b/Thumbs.db")])
def test_a_class_without_photographs_is_named(tmp_path, content):
    write_folder(tmp_path, train=("a/1.jpg", *content))
    (tmp_path / "train" / "b").mkdir(exist_ok=True)
    assert f"{tmp_path / 'train' / 'b'} has no photographs (.jpg, .jpeg, .jpe, .jfif, .png, " in refusal(tmp_path)
    (tmp_path / "train" / "b" / "1.heic").write_bytes(b"\0\0\0\x18ftypheic")
    assert f"; left out of {tmp_path / 'train'}: 1 .heic, images of kinds that are not read" in refusal(tmp_path)


def test_classes_that_differ_between_splits_are_named(tmp_path):
    train = [f"{name}/1.jpg" for name in "abcdefghi"]
    write_folder(tmp_path, train=train, test=("a/1.jpg", "z/1.jpg"))
    assert f"{tmp_path / 'test'} has the classes z, which {tmp_path / 'train'} lacks" in refusal(tmp_path)
    (tmp_path / "test" / "z" / "1.jpg").unlink()
    assert read_image_folder(tmp_path)["test"].classes == tuple("abcdefghi")
    write_folder(tmp_path, test=("z/1.jpg",))
    write_folder(tmp_path, train=("z/1.jpg",))
    assert read_image_folder(tmp_path)["test"].classes == tuple("abcdefghiz")


def test_names_that_differ_only_in_case_are_told(tmp_path, capsys):
    write_folder(tmp_path, train=("cat/a.jpg", "cat/A.JPG", "dog/1.jpg", "Cat/1.jpg"))
    if len(os.listdir(tmp_path / "train" / "cat")) < 2:
        pytest.skip("this disk ignores case")
    photos = read_image_folder(tmp_path)["train"]
    assert (photos.classes, photos.labels.tolist()) == (("Cat", "cat", "dog"), [0, 1, 1, 2])
    assert capsys.readouterr().out.splitlines() == [
        f"warning: {tmp_path / 'train' / 'cat'} has A.JPG and a.jpg, which are one on disks that ignore case",
        f"warning: {tmp_path / 'train'} has the classes Cat and cat, which are one on disks that ignore case",
    ]


@pytest.mark.parametrize(("one", "other"), [("caf\xe9", "cafe\u0301"), ("cat", "cat "), ("\xc9", "e\u0301")])
def test_class_names_that_look_the_same_are_told(tmp_path, capsys, one, other):
    write_folder(tmp_path, train=(f"{one}/1.jpg", f"{other}/1.jpg", "dog/1.jpg"))
    if len(os.listdir(tmp_path / "train")) < 3:
        pytest.skip("this disk has one form of names")
    assert len(read_image_folder(tmp_path)["train"].classes) == 3
    both = " and ".join(map(ascii, sorted([one, other])))
    why = "which differ only in case, blanks around them or Unicode form"
    assert capsys.readouterr().out == f"warning: {tmp_path / 'train'} has the classes {both}, {why}\n"


def test_a_class_name_that_is_not_utf8_is_refused(tmp_path):
    write_folder(tmp_path, train=("a/1.jpg",))
    try:
        (tmp_path / "train" / os.fsdecode(b"\xff")).mkdir()
    except OSError:
        pytest.skip("this disk takes no such names")
    assert r"train/\xff is not UTF-8" in refusal(tmp_path)


def test_a_folder_that_cannot_be_listed_is_named(tmp_path):
    write_folder(tmp_path, train=("a/1.jpg", "b/1.jpg"))
    (tmp_path / "train" / "b").chmod(0)
    if os.access(tmp_path / "train" / "b", os.R_OK):
        pytest.skip("this user may read everything")
    try:
        assert f"{tmp_path / 'train' / 'b'} cannot be listed: Permission denied" in refusal(tmp_path)
    finally:
        (tmp_path / "train" / "b").chmod(0o700)


@pytest.mark.parametrize("test", [("1/0.jpg", "01/1.jpg"), ("1/0.jpg", "2/0.jpg")])
def test_class_folders_that_are_equal_as_numbers_are_not_the_same(tmp_path, test):
    write_folder(tmp_path, train=("01/0.jpg", "02/0.jpg"), test=test)
    assert "test has the classes 1" in refusal(tmp_path)


def test_images_whose_names_go_on_after_the_suffix_are_counted(tmp_path, capsys):
    write_folder(tmp_path, train=("a/0.jpg", "b/0.jpg", "a/0.jpg.txt", "b/0.png.json"))
    for name in ("1.jpg_large", "2.jpg.1", "3.jpg?w=300", "4.jpg!d", "5.PNG~"):
        (tmp_path / "train" / "a" / name).write_bytes(encode(photograph(), "PNG"))
    assert len(read_image_folder(tmp_path)["train"]) == 2
    line = f"left out of {tmp_path}: 4 .jpg*, 1 .png*, images with more behind the suffix; rename them\n"
    assert capsys.readouterr().out == line


@pytest.mark.parametrize(
    ("suffix", "kind"),
    [(".jif", "JPEG"), (".jfi", "JPEG"), (".jps", "JPEG"), (".j2c", "JPEG2000"), (".jpc", "JPEG2000")],
)
def test_rare_suffixes_of_jpegs_are_read(tmp_path, suffix, kind):
    write_folder(tmp_path, train=("a/0.jpg", "b/0.jpg"))
    data = io.BytesIO()
    Image.fromarray(photograph()).save(data, kind, **({"no_jp2": True} if kind == "JPEG2000" else {}))
    (tmp_path / "train" / "a" / f"1{suffix}").write_bytes(data.getvalue())
    photos = read_image_folder(tmp_path)["train"]
    assert len(photos) == 3
    decode.decode(photos.read(1)[0])


@pytest.mark.parametrize("name", ["LOST.DIR", "Temporary Items", "@Snapshot", "~snapshot", "FOUND.017", "__pycache__"])
@pytest.mark.parametrize("files", [(), ("x.jpg",)])
def test_more_of_what_systems_leave_behind_is_no_class(tmp_path, name, files):
    write_folder(tmp_path, train=("a/0.jpg", "b/0.jpg", *(f"{name}/{file}" for file in files)))
    (tmp_path / "train" / name).mkdir(exist_ok=True)
    assert read_image_folder(tmp_path)["train"].classes == ("a", "b")
