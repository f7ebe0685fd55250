"""Scores as files: what was saved comes back, anything else is named; ensembles of the same split alone."""

import os
import zipfile

import numpy as np
import pytest

from resnet_alexnet.errors import InputError
from resnet_alexnet.evaluate import scores as module
from resnet_alexnet.evaluate.scores import check_same_split, load_scores, mean_scores
from tests.support.scores import make_scores


def test_what_is_saved_comes_back(tmp_path):
    scores = make_scores()
    scores.scores[2] = np.nan
    path = tmp_path / "a.npz"
    scores.save(path)
    back = load_scores(path)
    assert os.listdir(tmp_path) == ["a.npz"]
    np.testing.assert_array_equal(back.scores, scores.scores)
    np.testing.assert_array_equal(back.labels, scores.labels)
    assert (back.names, back.classes, back.settings) == (scores.names, scores.classes, scores.settings)
    assert (back.scores.dtype, back.labels.dtype, back.name) == (np.float32, np.int32, str(path))
    assert back.split_digest == scores.split_digest


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    make_scores().save(path)

    def fail(file, **arrays):
        file.write(b"half")
        raise OSError("no room")

    monkeypatch.setattr(module.np, "savez_compressed", fail)
    with pytest.raises(InputError, match=r"a\.npz cannot be written: no room"):
        make_scores(seed=1).save(path)
    assert os.listdir(tmp_path) == ["a.npz"]
    np.testing.assert_array_equal(load_scores(path).scores, make_scores().scores)


def test_a_score_takes_about_four_bytes(tmp_path):
    make_scores(2000, [f"class {number}" for number in range(50)]).save(tmp_path / "a.npz")
    assert (tmp_path / "a.npz").stat().st_size < 1.1 * 4 * 2000 * 50


def test_damaged_files_are_named(tmp_path):
    path = tmp_path / "a.npz"
    make_scores(100).save(path)
    whole = path.read_bytes()
    for position in range(0, len(whole) - 200, 97):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :])
        try:
            np.testing.assert_array_equal(load_scores(path).scores, make_scores(100).scores)
        except InputError as error:
            assert str(path) in str(error)  # noqa: PT017
    for data in (b"", b"text", whole[:-100], whole[:50]):
        path.write_bytes(data)
        with pytest.raises(InputError, match=r"a\.npz is no file of scores, or damaged"):
            load_scores(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": np.zeros(6, np.int32)}, "its arrays do not fit one another"),
        ({"labels": np.full(7, 3, np.int32)}, "damaged"),
        ({"labels": np.zeros(7)}, "its array labels is float64"),
        ({"scores": np.zeros((7, 3), np.int32)}, "its array scores is int32"),
        ({"scores": np.zeros(7, np.float32)}, "do not fit"),
        ({"scores": np.zeros((7, 4), np.float32)}, "do not fit"),
        ({"format": np.array("something else")}, "do not fit"),
        ({"settings": np.array("{")}, "does not say how they were made"),
        ({"settings": np.array("3")}, "does not say how they were made"),
        ({"settings": np.array('{"mean_of": []}')}, "does not say how they were made"),
        ({"settings": np.array('{"mean_of": 3}')}, "does not say how they were made"),
        ({"settings": np.array("{}")}, "its images or classes are not those that were saved"),
        ({"scores": np.full((7, 3), np.inf, np.float32)}, "not all of its scores are probabilities"),
        ({"names": np.array(["x"] * 7)}, "its images or classes are not those that were saved"),
        ({"names": np.array([["x"]] * 7, object)}, "no file of scores, or damaged"),
        ({"classes": None}, "no file of scores, or damaged"),
    ],
    ids=str,
)
def test_foreign_files_are_named(tmp_path, changes, message):
    path = tmp_path / "a.npz"
    make_scores().save(path)
    with np.load(path) as file:
        arrays = {**dict(file), **changes}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(InputError, match=message):
        load_scores(path)


def test_no_file_and_other_arrays_are_named(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.npz does not exist"):
        load_scores(tmp_path / "nothing.npz")
    with pytest.raises(InputError, match="is a folder"):
        load_scores(tmp_path)
    np.save(tmp_path / "one.npy", np.zeros(3))
    (tmp_path / "report.json").write_text("{}")
    for name in ("one.npy", "report.json"):
        with pytest.raises(InputError, match=r"is no file of scores, or damaged: it is no whole archive of arrays$"):
            load_scores(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as file:
        file.writestr("scores.npy", b"x")
    with pytest.raises(InputError, match=r"other\.zip is no file of scores, or damaged"):
        load_scores(tmp_path / "other.zip")


def test_an_ensemble_is_the_mean_of_its_networks():
    parts = [make_scores(seed=seed) for seed in range(3)]
    mean = mean_scores(parts)
    expected = np.mean([part.scores.astype(np.float64) for part in parts], axis=0)
    np.testing.assert_allclose(mean.scores, expected, rtol=1e-6)
    assert mean.settings == {"mean_of": [part.settings for part in parts]}
    assert mean.split_digest == parts[0].split_digest
    assert mean_scores(parts[:1]) is parts[0]


def test_an_ensemble_of_an_ensemble_counts_every_network_once():
    parts = [make_scores(seed=seed) for seed in range(4)]
    nested, flat = mean_scores([mean_scores(parts[:3]), parts[3]]), mean_scores(parts)
    np.testing.assert_allclose(nested.scores, flat.scores, rtol=1e-6)
    assert nested.settings == flat.settings


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"classes": ("ant", "bee")}, "b has 2 classes, a has 3"),
        ({"classes": ("ant", "cät", "bee")}, "class 1 of b is 'cät', that of a 'bee'"),
        ({"images": 8}, "b is of another split than a: it has 8 images, not 7"),
        (
            {"names": tuple(f"test/{number}.jpg" for number in range(7))},
            "it has the image test/0.jpg in place of test/00",
        ),
        ({"labels": np.full(7, 2, np.int32)}, "its label of test/00 é.jpg is cät, not ant"),
    ],
    ids=str,
)
def test_scores_of_another_split_are_refused(other, message):
    one, other = make_scores(name="a"), make_scores(name="b", **other)
    assert other.split_digest != one.split_digest
    with pytest.raises(InputError, match=message):
        check_same_split(one, other)
    with pytest.raises(InputError, match=message):
        mean_scores([one, other])
