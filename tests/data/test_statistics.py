import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from resnet_alexnet.data.statistics import Moments, Statistics, load_statistics, save_statistics
from resnet_alexnet.errors import InputError

IMAGES = arrays(np.uint8, st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(1, 4), st.sampled_from([1, 3])))


def measure(images: np.ndarray) -> Statistics:
    moments = Moments()
    moments.add(images)
    return moments.finish()


def photographs(num_images: int = 40, height: int = 9, width: int = 7) -> np.ndarray:
    """Correlated channels of different means, as photographs have."""
    rng = np.random.default_rng(0)
    gray = rng.normal(size=(num_images, height, width, 1))
    pixels = 120 + 50 * gray + 20 * rng.normal(size=(num_images, height, width, 3)) + [10, 0, -15]
    return pixels.clip(0, 255).astype(np.uint8)


@given(IMAGES)
def test_statistics_are_those_of_all_pixels(images):
    statistics = measure(images)
    pixels = images.reshape(-1, images.shape[-1]).astype(np.float64)
    assert statistics.count == len(images)
    np.testing.assert_allclose(statistics.pixel_mean, images.astype(np.float64).mean(0), atol=1e-9)
    np.testing.assert_allclose(statistics.channel_mean, pixels.mean(0), atol=1e-9)
    np.testing.assert_allclose(statistics.channel_std, pixels.std(0), atol=1e-9)
    covariance = np.atleast_2d(np.cov(pixels.T, bias=True))
    np.testing.assert_allclose(statistics.covariance, covariance, atol=1e-9)


@given(IMAGES, st.data())
def test_parts_in_any_order_give_the_same_bits_as_the_whole(images, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(images)), max_size=4)))
    parts = data.draw(st.permutations(np.split(images, cuts)))
    merged = Moments()
    for part in parts:
        moments = Moments()
        if len(part):
            moments.add(part)
        merged.merge(pickle.loads(pickle.dumps(moments)))
    whole, joined = measure(images), merged.finish()
    assert whole.count == joined.count
    assert whole.pixel_mean.tobytes() == joined.pixel_mean.tobytes()
    assert whole.covariance.tobytes() == joined.covariance.tobytes()


def test_sums_of_a_whole_imagenet_do_not_overflow():
    white = Moments()
    white.add(np.full((1, 64, 64, 3), 255, np.uint8))
    # 64 * 64 pixels times 2**25 are more than ImageNet's 1,281,167 * 256 * 256.
    for _ in range(25):
        white.merge(pickle.loads(pickle.dumps(white)))
    statistics = white.finish()
    assert statistics.count == 2**25
    assert (statistics.pixel_mean == 255).all()
    assert (statistics.covariance == 0).all()


def test_one_value_everywhere_has_no_variance_at_all():
    assert (measure(np.full((7, 3, 3, 3), 201, np.uint8)).channel_std == 0).all()


@pytest.mark.parametrize(("size", "rows", "columns"), [(5, slice(2, 7), slice(1, 6)), (7, slice(1, 8), slice(0, 7))])
def test_central_is_the_middle_of_the_mean_image(size, rows, columns):
    statistics = measure(photographs(height=9, width=7))
    central = statistics.central(size)
    np.testing.assert_array_equal(central.pixel_mean, statistics.pixel_mean[rows, columns])
    assert central.covariance is statistics.covariance
    assert central.count == statistics.count


@pytest.mark.parametrize("size", [0, 8])
def test_central_of_more_than_there_is(size):
    with pytest.raises(InputError, match=f"9x7 pixels cannot be cropped to {size}x{size}"):
        measure(photographs(height=9, width=7)).central(size)


def test_images_of_two_sizes():
    moments = Moments()
    moments.add(np.zeros((1, 4, 4, 3), np.uint8))
    with pytest.raises(InputError, match="one size, but there are 4x4x3 and 4x5x3"):
        moments.add(np.zeros((1, 4, 5, 3), np.uint8))


def test_no_images():
    with pytest.raises(InputError, match="statistics need images"):
        Moments().finish()


@given(arrays(np.float64, array_shapes(min_dims=3, max_dims=3, max_side=4), elements=st.floats(0, 255)))
def test_a_file_gives_back_what_was_saved(tmp_path_factory, pixel_mean):
    path = tmp_path_factory.mktemp("statistics") / "statistics.npz"
    save_statistics(path, Statistics(3, pixel_mean, np.eye(pixel_mean.shape[-1])))
    loaded = load_statistics(path)
    assert loaded.count == 3
    assert loaded.pixel_mean.tobytes() == pixel_mean.tobytes()
    assert (loaded.covariance == np.eye(pixel_mean.shape[-1])).all()


def test_the_same_statistics_give_the_same_bytes_and_leave_nothing_else(tmp_path):
    statistics = measure(photographs())
    save_statistics(tmp_path / "a.npz", statistics)
    save_statistics(str(tmp_path / "b.npz"), statistics)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"a.npz", "b.npz"}


def good_arrays() -> dict[str, object]:
    return {"count": 1, "pixel_mean": np.zeros((4, 4, 3)), "covariance": np.eye(3)}


BAD_ARRAYS = {
    "something else": {"images": np.zeros(3)},
    "no covariance": {"count": 1, "pixel_mean": np.zeros((4, 4, 3))},
    "no images": good_arrays() | {"count": 0},
    "not a number": good_arrays() | {"pixel_mean": np.full((4, 4, 3), np.nan)},
    "a mean of channels": good_arrays() | {"pixel_mean": np.zeros(3)},
    "float32": good_arrays() | {"pixel_mean": np.zeros((4, 4, 3), np.float32)},
    "other channels": good_arrays() | {"covariance": np.eye(1)},
    "pickled": good_arrays() | {"pixel_mean": np.array([{}], object)},
}


@pytest.mark.parametrize("content", BAD_ARRAYS.values(), ids=BAD_ARRAYS)
def test_a_file_of_other_arrays_is_named(tmp_path, content):
    path = tmp_path / "statistics.npz"
    np.savez(path, **content)
    with pytest.raises(InputError, match=f"{path} is not a statistics file.*data.prepare"):
        load_statistics(path)


@pytest.mark.parametrize("damage", ["missing", "empty", "text", "folder", "npy", "cut", "flipped"])
def test_a_damaged_file_is_named(tmp_path, damage):
    path = tmp_path / "statistics.npz"
    save_statistics(path, measure(photographs()))
    data = bytearray(path.read_bytes())
    path.unlink()
    match damage:
        case "empty":
            path.touch()
        case "text":
            path.write_text("mean: 120")
        case "folder":
            path.mkdir()
        case "npy":
            with path.open("wb") as file:
                np.save(file, np.zeros(3))
        case "cut":
            path.write_bytes(data[: len(data) // 2])
        case "flipped":
            data[len(data) // 2] ^= 1
            path.write_bytes(data)
    with pytest.raises(InputError, match=f"^{path} (is not a statistics file|cannot be read).*data.prepare$"):
        load_statistics(path)
