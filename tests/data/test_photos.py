"""The source that decodes photographs as they are asked for, and what it does where one cannot be read."""

import contextlib
import dataclasses
import itertools
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnet_alexnet.data.images.decode import decode
from resnet_alexnet.data.images.geometry import whole_image
from resnet_alexnet.data.loading.loader import eval_batches, train_chunks
from resnet_alexnet.data.photos import MOST_IN_A_ROW, READABLE, PhotoSource, load, map_in_threads
from resnet_alexnet.data.readers.image_folder import read_image_folder
from resnet_alexnet.errors import InputError
from tests.support.photo_sets import SIZE, create_source, damage, write_folder


def no_progress(items, length, description):
    return items


# Views


def test_the_view_for_testing_is_that_of_the_decoded_file(source):
    batch = source.gather(np.array([5, 30]))
    assert batch.keys() == {"image", "label"}
    for row, index in enumerate((5, 30)):
        data, label = source.photos.read(index)
        np.testing.assert_array_equal(batch["image"][row], source.test_crop(decode(data), None))
        assert batch["label"][row] == label
    assert batch["image"].shape == (2, SIZE, SIZE, 3)
    assert (batch["image"].dtype, batch["label"].dtype) == (np.uint8, np.int32)


def test_a_training_view_depends_on_seed_epoch_and_photograph_alone(source):
    indices = np.array([3, 17, 29, 8])
    batch = source.gather(indices, (1, 2))
    for row in range(4):
        alone = source.gather(indices[row : row + 1], (1, 2))
        np.testing.assert_array_equal(alone["image"][0], batch["image"][row])
    same_photograph = [source.gather(np.array([3]), draw)["image"] for draw in itertools.product(range(4), range(4))]
    assert len({image.tobytes() for image in same_photograph}) == 16


def test_training_views_are_those_of_whole_photographs(source):
    for epoch in range(5):
        batch = source.gather(np.arange(36), (3, epoch))
        for index in range(36):
            data, label = source.photos.read(index)
            expected = source.train_crop(decode(data), np.random.default_rng([3, epoch, index, 1]))
            np.testing.assert_array_equal(batch["image"][index], expected)
            assert batch["label"][index] == label


def test_two_photographs_of_one_epoch_have_independent_views():
    # Neither the index nor the epoch may leak into the other's stream: (seed, epoch, index) all differ in one place.
    keys = [(0, 0, 1), (0, 1, 0), (1, 0, 0), (0, 0, 0), (0, 2**31 - 1, 1), (2**31 - 1, 0, 1)]
    seen = []
    for seed, epoch, index in keys:
        drawn = {}

        def crop(image, rng, drawn=drawn):
            drawn["value"] = rng.random()
            return image

        photos = OnePhoto()
        PhotoSource(photos, (2, 2, 3), crop, crop).gather(np.array([index]), (seed, epoch))
        seen.append(drawn["value"])
        order = np.random.default_rng([seed, epoch]).random()
        assert drawn["value"] != order  # a view's stream is not that of an epoch's order either
    assert len(set(seen)) == len(keys)


class OnePhoto:
    """The same tiny photograph at every index."""

    classes, labels, channels = ("a", "b"), None, 3

    def __len__(self):
        return 5

    def read(self, index):
        return b"P6\n2 2\n255\n" + bytes(range(12)), 1

    def where(self, index):
        return f"photograph {index}"


def test_sources_survive_pickling(source):
    copy = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(
        copy.gather(np.arange(9), (0, 0))["image"], source.gather(np.arange(9), (0, 0))["image"]
    )


# Unreadable photographs


@pytest.fixture
def damaged(tmp_path):
    """Photographs 4 (ant/04), 23 (bee/11) and 35 (cat/11, the last) cannot be read."""
    folder = write_folder(tmp_path)
    damage(folder, "ant/04.jpg", "bee/11.jpg", "cat/11.jpg")
    return create_source(folder)


def test_in_training_the_next_readable_one_takes_its_place_and_label(damaged, source):
    batch, whole = damaged.gather(np.arange(36), (0, 0)), source.gather(np.arange(36), (0, 0))
    np.testing.assert_array_equal(np.flatnonzero(batch["unreadable"] != READABLE), [4, 23, 35])
    np.testing.assert_array_equal(batch["unreadable"][[4, 23, 35]], [4, 23, 35])
    assert batch["label"][[4, 23, 35]].tolist() == [0, 2, 0]  # ant/05, cat/00, and from the start again ant/00
    others = np.setdiff1d(np.arange(36), [4, 23, 35])
    for key in ("image", "label", "unreadable"):
        np.testing.assert_array_equal(batch[key][others], whole[key][others])


def test_wherever_the_crop_lies_it_is_replaced_and_the_next_one_has_the_draws_of_its_place(damaged):
    data, label = damaged.photos.read(5)
    for epoch in range(40):
        batch = damaged.gather(np.array([4]), (0, epoch))
        expected = damaged.train_crop(decode(data), np.random.default_rng([0, epoch, 4, 1]))
        assert (batch["unreadable"][0], batch["label"][0]) == (4, label)
        np.testing.assert_array_equal(batch["image"][0], expected)


def test_an_evaluation_stops_at_it_with_its_name(damaged):
    with pytest.raises(InputError, match=r"ant.04\.jpg cannot be read: .*; repair or remove it"):
        list(eval_batches(damaged, batch_size=8))


def run(source, report, **options):
    chunks = train_chunks(
        source, batch_size=6, seed=0, start_step=0, num_steps=18, report=report, **{"max_unreadable": 9, **options}
    )
    return [chunk for _, chunk in chunks]


@pytest.mark.parametrize("workers", [0, 2])
def test_each_is_reported_once_and_not_shown_to_the_step(damaged, workers):
    lines = []
    chunks = run(damaged, lines.append, workers=workers)  # three epochs
    assert all(chunk.keys() == {"image", "label"} for chunk in chunks)
    assert len(lines) == 3
    for name in ("ant/04.jpg", "bee/11.jpg", "cat/11.jpg"):
        assert sum(name in line.replace("\\", "/") for line in lines) == 1
    assert lines[-1].endswith("(3 replaced so far)")
    assert "cannot be read" in lines[0]


@pytest.mark.parametrize("workers", [0, 2])
def test_more_than_the_limit_stop_the_run(damaged, workers):
    with pytest.raises(
        InputError, match=r"3 training photographs could not be read, more than dataset.max_unreadable=2"
    ):
        run(damaged, lambda line: None, workers=workers, max_unreadable=2)


def test_the_order_of_the_others_stays(damaged, source):
    ours, theirs = run(damaged, lambda line: None), run(source, lambda line: None)
    same = sum(
        np.array_equal(a["image"][0, row], b["image"][0, row])
        for a, b in zip(ours, theirs, strict=True)
        for row in range(6)
    )
    assert same == 18 * 6 - 3 * 3


def test_a_set_of_anything_but_photographs_stops_soon(tmp_path):
    folder = write_folder(tmp_path, per_class=2)
    for path in folder.rglob("*.jpg"):
        path.write_bytes(b"not a photograph")
    with pytest.raises(InputError, match="and all 5 after it cannot be read"):
        create_source(folder).gather(np.array([0]), (0, 0))
    many = dataclasses.replace(create_source(folder), photos=ManyBad())
    with pytest.raises(InputError, match=f"and all {MOST_IN_A_ROW - 1} after it"):
        many.gather(np.array([7]), (0, 0))


class ManyBad(OnePhoto):
    def __len__(self):
        return 10**6

    def read(self, index):
        return b"", 0


# In memory


@pytest.fixture
def small(tmp_path):
    return write_folder(tmp_path, size=(16, 20))


def whole(folder):
    return PhotoSource(read_image_folder(folder)["train"], (16, 20, 3), whole_image, whole_image)


def test_a_set_in_memory_is_the_streamed_one(small):
    streamed = whole(small)
    loaded = load(streamed, name="small", max_unreadable=None, progress=no_progress, report=print)
    for key, value in streamed.gather(np.arange(36)).items():
        np.testing.assert_array_equal(loaded.gather(np.arange(36))[key], value)
    assert loaded.classes == streamed.classes


def test_a_set_in_memory_has_the_same_in_place_of_an_unreadable_one(small):
    damage(small, "ant/04.jpg")
    streamed, lines = whole(small), []
    loaded = load(streamed, name="small", max_unreadable=9, progress=no_progress, report=lines.append)
    expected = streamed.gather(np.arange(36), (0, 0))
    np.testing.assert_array_equal(loaded.images, expected["image"])
    np.testing.assert_array_equal(loaded.labels, expected["label"])
    assert len(lines) == 1
    assert "04.jpg" in lines[0]
    with pytest.raises(InputError, match=r"more than dataset\.max_unreadable=0"):
        load(streamed, name="small", max_unreadable=0, progress=no_progress, report=print)
    with pytest.raises(InputError, match=r"04\.jpg cannot be read"):
        load(streamed, name="small", max_unreadable=None, progress=no_progress, report=print)


def test_a_broken_link_counts_as_an_unreadable_photograph(small):
    (small / "train" / "ant" / "99.jpg").symlink_to(small / "gone.jpg")
    source, lines = whole(small), []
    loaded = load(source, name="small", max_unreadable=1, progress=no_progress, report=lines.append)
    expected = source.gather(np.arange(37), (0, 0))
    np.testing.assert_array_equal(loaded.images, expected["image"])
    assert expected["unreadable"].tolist() == [-1] * 12 + [12] + [-1] * 24
    assert "99.jpg cannot be read: No such file or directory, a link that leads to no file; the next" in lines[0]
    with pytest.raises(InputError, match=r"99\.jpg cannot be read: .*more than dataset\.max_unreadable=0"):
        load(source, name="small", max_unreadable=0, progress=no_progress, report=print)
    with pytest.raises(InputError, match=r"99\.jpg cannot be read: .*; repair or remove it"):
        source.check(12)


def test_an_image_of_another_size_is_named(small):
    write_folder(small, split="test", per_class=1, size=(17, 20))
    (small / "train" / "bee" / "03.jpg").write_bytes((small / "test" / "bee" / "00.jpg").read_bytes())
    with pytest.raises(
        InputError, match=r"bee.03\.jpg has 20 x 17 pixels, but other images 20 x 16: .* set augment.crop='random_crop'"
    ):
        load(whole(small), name="small", max_unreadable=9, progress=no_progress, report=print)


def test_the_whole_photograph_is_there_as_decoded_and_one_that_cannot_be_read_is_named(tmp_path):
    write_folder(tmp_path)
    source = create_source(tmp_path)
    image, label = source.example(1)
    np.testing.assert_array_equal(image, np.asarray(Image.open(source.where(1)).convert("RGB")))
    assert (image.dtype, label) == (np.uint8, int(source.photos.labels[1]))
    Path(source.where(1)).write_bytes(b"")
    with pytest.raises(InputError, match=re.escape(source.where(1)) + " cannot be read: the file is empty"):
        source.example(1)


# Threads


def test_threads_keep_the_order_and_do_not_run_ahead():
    started, taken = [], []

    def work(item):
        started.append(item)
        return item

    with contextlib.closing(map_in_threads(work, iter(range(40)), ahead=5)) as results:
        for result in results:
            taken.append(result)
            assert len(started) <= len(taken) + 5
    assert taken == list(range(40))


def test_threads_stop_early_and_hand_on_what_is_raised():
    started = []

    def work(item):
        started.append(item)
        if item == 3:
            raise InputError("the third")
        return item

    with contextlib.closing(map_in_threads(work, range(1000), ahead=4)) as results:
        assert next(results) == 0
    assert len(started) <= 8
    with pytest.raises(InputError, match="the third"):
        list(map_in_threads(work, range(1000), ahead=4))
    assert len(started) <= 24
