import itertools
import pickle
import tarfile

import numpy as np
import pytest

from resnet_alexnet.data.prepare import imagenet
from resnet_alexnet.data.prepare.imagenet import read_imagenet
from resnet_alexnet.data.readers.imagenet_devkit import read_devkit
from resnet_alexnet.errors import InputError
from tests.support import archives as made
from tests.support.archives import WNIDS, Archives


@pytest.fixture(scope="module")
def archives(tmp_path_factory) -> Archives:
    return made.write_archives(tmp_path_factory.mktemp("archives"))


def read(archives: Archives, **changed):
    paths = {"train": archives.train, "validation": archives.validation, "devkit": archives.devkit}
    paths = {name: str(path) for name, path in paths.items()}
    return read_imagenet(**{**paths, "allow_incomplete": True, **changed})


def test_every_photograph_is_read_from_the_archive_as_it_was_put_there(archives):
    splits, _ = read(archives)
    for split, photos in (("train", archives.train_photos), ("validation", archives.validation_photos)):
        read_back = pickle.loads(pickle.dumps(splits[split]))
        assert len(read_back) == len(photos)
        found = {read_back.name(index): read_back.read(index)[0] for index in range(len(read_back))}
        assert found == photos


def test_labels_are_indices_into_the_sorted_wordnet_ids(archives):
    splits, _ = read(archives)
    train, validation = splits["train"], splits["validation"]
    assert train.classes == validation.classes == tuple(sorted(WNIDS))
    for index, label in enumerate(train.labels):
        assert train.name(index).startswith(train.classes[label])
        assert train.read(index)[1] == label
    for index, label in enumerate(validation.labels):
        assert validation.classes[label] == archives.validation_wnids[validation.name(index)]
    assert len(set(validation.labels)) == len(WNIDS)


def test_words_are_those_of_the_devkit_without_wordnets_upper_nodes(archives):
    _, words = read(archives)
    assert words == dict(zip(WNIDS, made.WORDS, strict=True))
    assert read(archives, validation="", devkit="")[1] == {}


def test_where_names_the_archive_and_the_photograph(archives):
    train = read(archives)[0]["train"]
    assert train.where(0) == f"{archives.train}: {train.name(0)}"


def test_a_part_of_the_training_classes_takes_its_own_validation_photographs(archives, tmp_path):
    made.write_train_archive(tmp_path / "two.tar", {wnid: {f"{wnid}_1.JPEG": b"photo"} for wnid in WNIDS[1:3]})
    splits, _ = read(archives, train=str(tmp_path / "two.tar"))
    validation = splits["validation"]
    assert validation.classes == WNIDS[1:3]
    expected = {name for name, wnid in archives.validation_wnids.items() if wnid in WNIDS[1:3]}
    assert {validation.name(index) for index in range(len(validation))} == expected
    assert expected < set(archives.validation_photos)


def test_validation_alone_has_the_devkits_classes(archives):
    splits, _ = read(archives, train="")
    assert splits.keys() == {"validation"}
    assert splits["validation"].classes == WNIDS


def test_folders_and_other_tar_formats_are_as_good(archives, tmp_path):
    with tarfile.open(tmp_path / "val.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in archives.validation_photos.items():
            (tmp_path / "val").mkdir(exist_ok=True)
            (tmp_path / "val" / name).write_bytes(data)
        archive.add(tmp_path / "val", "val")  # with its folder, and times that need a pax header
    validation = read(archives, validation=str(tmp_path / "val.tar"))[0]["validation"]
    found = {validation.name(index): validation.read(index)[0] for index in range(len(validation))}
    assert found == archives.validation_photos


def test_the_challenges_counts_are_checked(archives, monkeypatch):
    with pytest.raises(InputError, match=rf"^{archives.train} has 4 classes, not 1,000: .*--allow_incomplete"):
        read(archives, allow_incomplete=False)
    monkeypatch.setattr(imagenet, "NUM_CLASSES", 4)
    with pytest.raises(InputError, match=rf"^{archives.train} has 24 photographs, not 1,281,167: .*--allow_incomplete"):
        read(archives, allow_incomplete=False)
    monkeypatch.setattr(imagenet, "NUM_TRAIN", 24)
    with pytest.raises(InputError, match=rf"^{archives.validation} has 8 photographs, not 50,000: "):
        read(archives, allow_incomplete=False)
    monkeypatch.setattr(imagenet, "NUM_VALIDATION", 8)
    assert {split: len(photos) for split, photos in read(archives, allow_incomplete=False)[0].items()} == {
        "train": 24,
        "validation": 8,
    }


def test_a_class_that_the_training_archive_lacks(archives, tmp_path):
    made.write_train_archive(tmp_path / "t.tar", {wnid: {f"{wnid}_1.JPEG": b"photo"} for wnid in WNIDS[1:]})
    with pytest.raises(
        InputError, match=r"t.tar lacks 1 of the devkit's classes, such as n01440764.tar: .*--allow_incomplete"
    ):
        read(archives, train=str(tmp_path / "t.tar"), allow_incomplete=False)


BAD_TRAIN = {
    "unknown class": (
        {"n00000001.tar": {"n00000001_1.JPEG": b"a"}},
        r"has n00000001.tar, a class that is not in ",
    ),
    "flat": ({"n01440764_1.JPEG": b"a"}, "has n01440764_1.JPEG instead of nXXXXXXXX.tar"),
    "other class": ({"n01440764.tar": {"n01443537_1.JPEG": b"a"}}, "has n01443537_1.JPEG instead of n01440764_N.JPEG"),
    "other file": ({"n01440764.tar": {"readme.txt": b"a"}}, "n01440764.tar has readme.txt instead of n01440764_N.JPEG"),
    "no photograph": ({"n01440764.tar": {}}, "n01440764.tar has no photograph"),
    "no tar inside": ({"n01440764.tar": b"x" * 600}, "n01440764.tar is cut off, damaged or not a tar"),
    "nothing": ({}, "is an empty archive"),
}


@pytest.mark.parametrize(("content", "message"), BAD_TRAIN.values(), ids=BAD_TRAIN)
def test_a_training_archive_that_is_not_one_is_named(archives, tmp_path, content, message):
    path = tmp_path / "train.tar"
    path.write_bytes(made.tar({n: made.tar(data) if isinstance(data, dict) else data for n, data in content.items()}))
    with pytest.raises(InputError, match=rf"^{path}.*{message}.*(published)$"):
        read(archives, train=str(path))


def repeated(names: list[str]) -> bytes:
    """A tar that has some names more than once."""
    parts = [made.tar({name: b"photo"})[:1024] for name in names]
    return b"".join(parts) + bytes(10240)


def test_what_occurs_twice_is_named(archives, tmp_path):
    path = tmp_path / "archive.tar"
    path.write_bytes(repeated(["ILSVRC2012_val_00000001.JPEG", "ILSVRC2012_val_00000002.JPEG"] * 2))
    with pytest.raises(InputError, match=f"^{path} has ILSVRC2012_val_0000000[12].JPEG 2 times"):
        read(archives, validation=str(path))
    path.write_bytes(made.tar({"n01440764.tar": repeated(["n01440764_7.JPEG"] * 3)}))
    with pytest.raises(InputError, match=f"^{path} has n01440764_7.JPEG 3 times"):
        read(archives, train=str(path))
    one = made.tar({"n01440764.tar": made.tar({"n01440764_7.JPEG": b"photo"})})
    path.write_bytes(one[: 512 + 10240] + one)
    with pytest.raises(InputError, match=f"^{path} has n01440764.tar twice"):
        read(archives, train=str(path))


@pytest.mark.parametrize(("flag", "other"), list(itertools.permutations(["train", "validation", "devkit"], 2)))
def test_one_archive_in_the_place_of_another(archives, flag, other):
    with pytest.raises(InputError, match=f"^{getattr(archives, other)} .*: give --"):
        read(archives, **{flag: str(getattr(archives, other))})


@pytest.mark.parametrize("kind", ["missing", "folder", "empty", "text"])
@pytest.mark.parametrize("flag", ["train", "validation", "devkit"])
def test_a_file_that_is_no_archive(archives, tmp_path, flag, kind):
    path = tmp_path / "file"
    match kind:
        case "folder":
            path.mkdir()
        case "empty":
            path.touch()
        case "text":
            path.write_text("<html>404</html>" * 100)
    with pytest.raises(
        InputError, match=rf"^{path} (is cut off|cannot be read|has no meta.mat).*: give --\w+=ILSVRC2012"
    ):
        read(archives, **{flag: str(path)})


@pytest.mark.parametrize("flag", ["train", "validation", "devkit"])
def test_an_archive_that_is_cut_off_anywhere(archives, tmp_path, flag):
    data = getattr(archives, flag).read_bytes()
    path = tmp_path / "cut"
    rng = np.random.default_rng(0)
    # The end mark, zeros up to a multiple of 10,240 bytes, is there twice over: cut before it.
    end = len(data.rstrip(b"\0")) if flag != "devkit" else len(data) - 9
    for length in [*rng.integers(1, end, 30), *range(512 * (end // 1024), 512 * (end // 1024) + 1024, 256), end]:
        path.write_bytes(data[:length])
        with pytest.raises(InputError, match=rf"^{path}.*: give --\w+=ILSVRC2012"):
            read(archives, **{flag: str(path)})


def test_a_damaged_header_does_not_end_the_archive_early(archives, tmp_path):
    data = bytearray(archives.validation.read_bytes())
    with tarfile.open(archives.validation) as archive:
        third = archive.getmembers()[2].offset
    data[third + 10] ^= 0xFF
    path = tmp_path / "val.tar"
    path.write_bytes(data)
    with pytest.raises(InputError, match=f"^{path} is cut off, damaged .* at byte {third:,}"):
        read(archives, validation=str(path))


def test_an_archive_that_shrinks_while_it_is_read(archives, tmp_path):
    path = tmp_path / "val.tar"
    path.write_bytes(archives.validation.read_bytes())
    photos = read(archives, validation=str(path))[0]["validation"]
    path.write_bytes(b"")
    with pytest.raises(InputError, match=rf"^{path}: {photos.name(3)} is cut off"):
        photos.read(3)
    path.unlink()
    with pytest.raises(InputError, match=rf"^{path}: {photos.name(3)} cannot be read: No such file"):
        photos.read(3)


BAD_DEVKIT = {
    "no mat": ({"meta": b"MATLAB 5.0 MAT-file, and then nothing"}, "damaged meta.mat"),
    "words": ({"ground_truth": b"1\n2\nthree\n"}, "damaged meta.mat or ILSVRC2012_validation_ground_truth.txt"),
    "other classes": ({"ground_truth": b"1\n2\n5\n"}, "has classes that are not in meta.mat"),
}


@pytest.mark.parametrize(("files", "message"), BAD_DEVKIT.values(), ids=BAD_DEVKIT)
def test_a_devkit_that_is_damaged(tmp_path, files, message):
    made.write_devkit(tmp_path / "kit", **{"ground_truth": [1, 2], **files})
    with pytest.raises(InputError, match=f"^{tmp_path / 'kit'}.*{message}"):
        read_devkit(str(tmp_path / "kit"), remedy="give --devkit=FILE")


def test_a_devkit_that_lacks_a_file(tmp_path):
    (tmp_path / "kit").write_bytes(made.tar({"ILSVRC2012_devkit_t12/data/meta.mat": made.meta_mat()}, mode="w:gz"))
    with pytest.raises(InputError, match=r"kit has no ILSVRC2012_validation_ground_truth.txt: give --devkit="):
        read_devkit(str(tmp_path / "kit"), remedy="give --devkit=FILE")


def test_fewer_classes_known_than_photographs(archives, tmp_path):
    made.write_devkit(tmp_path / "kit", [1, 2])
    with pytest.raises(InputError, match="has the classes of 2 photographs: give both files of ILSVRC2012"):
        read(archives, devkit=str(tmp_path / "kit"))


def test_what_must_be_given(archives):
    with pytest.raises(InputError, match="no archive: give --train="):
        read_imagenet(devkit=str(archives.devkit))
    with pytest.raises(InputError, match="--val needs the devkit"):
        read_imagenet(validation=str(archives.validation))


def test_what_a_mac_adds_to_an_archive_is_passed_over(archives, tmp_path):
    left = {".DS_Store": b"x", "._n01440764.tar": b"x", "__MACOSX/n01440764.tar": b"x"}
    inner = {wnid: {} for wnid in WNIDS}
    for name, data in archives.train_photos.items():
        inner[name.partition("_")[0]] |= {f"._{name}": b"x", name: data}
    train, validation = tmp_path / "train.tar", tmp_path / "val.tar"
    train.write_bytes(made.tar({**left, **{f"{wnid}.tar": made.tar(photos) for wnid, photos in inner.items()}}))
    validation.write_bytes(made.tar({"._ILSVRC2012_val_00000001.JPEG": b"x", **archives.validation_photos}))
    splits, _ = read(archives, train=str(train), validation=str(validation))
    assert {split: len(photos) for split, photos in splits.items()} == {
        "train": len(archives.train_photos),
        "validation": len(archives.validation_photos),
    }
