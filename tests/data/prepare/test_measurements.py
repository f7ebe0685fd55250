import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resnet_alexnet.data.prepare.measurements import Measurements
from resnet_alexnet.data.prepare.recode import central_square
from resnet_alexnet.errors import InputError
from tests.support.images import photograph

SIZES = st.lists(st.sampled_from([(8, 8), (8, 9), (256, 8), (300, 270)]), min_size=1, max_size=4)


def measure(images: list[np.ndarray]) -> Measurements:
    measurements = Measurements()
    for image in images:
        measurements.add(image)
    return measurements


def test_photographs_are_measured_by_their_central_squares():
    images = [photograph(260 + seed, 300, seed=seed) for seed in range(4)]
    statistics = measure(images).finish()
    squares = np.stack([central_square(image) for image in images]).astype(np.float64)
    np.testing.assert_allclose(statistics.pixel_mean, squares.mean(0))
    np.testing.assert_allclose(statistics.channel_std, squares.std((0, 1, 2)))


def test_small_images_of_one_size_are_measured_as_they_are():
    images = [photograph(32, 32, seed=seed) for seed in range(5)]
    statistics = measure(images).finish()
    np.testing.assert_allclose(statistics.pixel_mean, np.stack(images).astype(np.float64).mean(0))


def test_large_images_of_one_size_are_measured_by_their_squares_too():
    assert measure([photograph(270, 256, seed=seed) for seed in range(2)]).finish().pixel_mean.shape == (256, 256, 3)


@pytest.mark.parametrize("odd", [(32, 33), (256, 256), (300, 32)])
@pytest.mark.parametrize("place", [0, 2, 4])
def test_one_image_of_another_size_makes_it_squares(odd, place):
    images = [photograph(32, 32, seed=seed) for seed in range(4)]
    images.insert(place, photograph(*odd, seed=9))
    assert measure(images).finish().pixel_mean.shape == (256, 256, 3)


@settings(max_examples=30)
@given(SIZES, st.data())
def test_parts_in_any_order_through_a_file_give_the_same_bits(sizes, data):
    images = [photograph(*size, seed=seed) for seed, size in enumerate(sizes)]
    whole = measure(images).finish()
    order = data.draw(st.permutations(range(len(images))))
    cut = data.draw(st.integers(0, len(images)))
    total = Measurements()
    for part in (order[:cut], order[cut:]):
        total.merge(Measurements.from_arrays(measure([images[index] for index in part]).to_arrays()))
    merged = total.finish()
    assert merged.count == whole.count
    assert merged.pixel_mean.tobytes() == whole.pixel_mean.tobytes()
    assert merged.covariance.tobytes() == whole.covariance.tobytes()


def test_nothing_measured():
    with pytest.raises(InputError, match="statistics need images"):
        Measurements().finish()
