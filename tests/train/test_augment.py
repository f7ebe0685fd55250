"""The device's part of the augmentation, against slow loops and its own statistics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from resnet_alexnet.errors import InputError
from resnet_alexnet.train import augment


@pytest.fixture(scope="module")
def keys():
    return jax.random.split(jax.random.key(0), 4000)


def numbered(size):
    """An image whose pixels all differ and none is zero."""
    return np.arange(1, size * size + 1, dtype=np.float32).reshape(size, size, 1)


def test_random_crop_is_a_window_of_the_padded_image_and_every_window_is_as_likely(keys):
    pad, size = 1, 4
    image = numbered(size)
    crops = np.asarray(augment.random_crop(jnp.broadcast_to(image, (len(keys), size, size, 1)), keys, pad))
    padded = np.pad(image, [(pad, pad), (pad, pad), (0, 0)])
    windows = [padded[y : y + size, x : x + size] for y in range(2 * pad + 1) for x in range(2 * pad + 1)]
    counts = [int((crops == window).all((1, 2, 3)).sum()) for window in windows]
    assert sum(counts) == len(keys)  # every crop is one of the windows
    expected = len(keys) / len(windows)
    chi_square = sum((count - expected) ** 2 / expected for count in counts)
    assert chi_square < 27.9  # 8 degrees of freedom, p = 0.0005


def test_random_flip_mirrors_half_of_the_images_left_to_right(keys):
    image = numbered(3)
    out = np.asarray(augment.random_flip(jnp.broadcast_to(image, (len(keys), 3, 3, 1)), keys))
    mirrored = (out == image[:, ::-1]).all((1, 2, 3))
    assert ((out == image).all((1, 2, 3)) | mirrored).all()
    assert abs(mirrored.mean() - 0.5) < 4 * 0.5 / len(keys) ** 0.5


def test_crop_and_flip_are_drawn_independently(keys):
    flips = np.asarray(
        augment.augment(jnp.broadcast_to(numbered(3), (len(keys), 3, 3, 1)), keys, flip=True)[:, 0, 0, 0] != 1
    )
    corner = np.asarray(augment.augment(jnp.broadcast_to(numbered(3), (len(keys), 3, 3, 1)), keys, pad=1)[:, 0, 0, 0])
    shifted = corner == 0
    assert abs(np.corrcoef(flips, shifted)[0, 1]) < 4 / len(keys) ** 0.5


def test_an_image_is_augmented_by_its_own_key_whatever_its_batch(keys):
    images = jnp.asarray(np.random.default_rng(1).normal(size=(8, 6, 6, 3)), jnp.float32)
    whole = augment.augment(images, keys[:8], pad=2, flip=True)
    parts = [augment.augment(images[i : i + 2], keys[i : i + 2], pad=2, flip=True) for i in range(0, 8, 2)]
    np.testing.assert_array_equal(whole, jnp.concatenate(parts))


def test_nothing_asked_for_changes_nothing(keys):
    images = jnp.ones((8, 4, 4, 1))
    np.testing.assert_array_equal(augment.augment(images, keys[:8]), images)


# Color

BASIS = np.array([[5.0, 1.0, -0.5], [4.0, -1.0, 1.0], [3.0, 0.5, 2.0]])


@pytest.fixture(scope="module")
def pixels():
    """Correlated colors, (pixels, 3), from 0 to 255."""
    rng = np.random.default_rng(3)
    return np.clip(rng.normal(120, 60, (500, 1)) + rng.normal(0, [20, 10, 30], (500, 3)), 0, 255)


def test_random_color_shifts_all_of_an_image_alike_with_the_covariance_of_the_basis(keys):
    out = np.asarray(augment.random_color(jnp.zeros((len(keys), 2, 3, 3)), keys, BASIS), np.float64)
    shifts = out[:, 0, 0]
    np.testing.assert_array_equal(out, np.broadcast_to(shifts[:, None, None], out.shape))
    draws = shifts @ np.linalg.inv(BASIS).T  # standard normal, if the covariance is basis basis^T
    np.testing.assert_allclose(draws.mean(0), 0, atol=4 / len(keys) ** 0.5)
    np.testing.assert_allclose(np.cov(draws.T), np.eye(3), atol=5 / len(keys) ** 0.5)
    for component in draws.T:
        assert scipy.stats.kstest(component, "norm").pvalue > 1e-3


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_random_color_is_the_papers_formula_pixel_by_pixel(keys, dtype):
    image = jnp.asarray(np.random.default_rng(2).normal(size=(4, 3, 2, 3)), dtype)
    out = augment.random_color(image, keys[:4], BASIS)
    assert out.dtype == dtype
    expected = np.asarray(image, np.float64)
    for n in range(4):
        alpha = np.asarray(jax.random.normal(keys[n], (3,)))
        for y in range(3):
            for x in range(2):
                for channel in range(3):
                    expected[n, y, x, channel] += sum(BASIS[channel, i] * alpha[i] for i in range(3))
    np.testing.assert_allclose(np.asarray(out, np.float64), expected, rtol=1e-5 if dtype == jnp.float32 else 1e-2)


def test_color_basis_is_eigenvectors_times_eigenvalues_of_pixels_from_0_to_1(pixels):
    basis = augment.color_basis("pca", np.cov(pixels.T, bias=True))
    values, vectors = np.linalg.eig(np.cov(pixels.T / 255, bias=True))
    for value, vector in zip(values, vectors.T, strict=True):
        shift = vector * value * 255
        assert min(np.abs(column - sign * shift).max() for column in basis.T for sign in (-1, 1)) < 1e-9


def test_the_authors_code_shifts_by_standard_deviations(pixels):
    covariance = np.cov(pixels.T, bias=True)
    basis = augment.color_basis("pca_std", covariance)
    np.testing.assert_allclose(basis @ basis.T, covariance, rtol=1e-9)  # a draw of 1 gives pixels' own covariance
    for seed in range(20):  # of images with one color, eigenvalues are 0 but for rounding
        color = np.random.default_rng(seed).random(3)
        assert np.isfinite(augment.color_basis("pca_std", np.outer(color, color))).all()


def test_the_communitys_first_component_is_gray_and_does_not_hang_on_the_data(pixels):
    basis = augment.color_basis("pca_community", np.cov(pixels.T))
    np.testing.assert_allclose(basis[:, 0] / 255, [-0.5675 * 0.2175, -0.5808 * 0.2175, -0.5836 * 0.2175])
    np.testing.assert_allclose(np.linalg.norm(basis, axis=0) / 255, [0.2175, 0.0188, 0.0045], rtol=1e-3)


def test_no_color_has_no_basis_and_what_is_not_offered_is_refused(pixels):
    assert augment.color_basis("none", np.eye(1)) is None
    with pytest.raises(InputError, match=r"augment.color is 'pca_community_', did you mean 'pca_community'"):
        augment.color_basis("pca_community_", np.eye(3))
    for name in augment.COLORS[1:]:
        with pytest.raises(InputError, match=rf"augment.color='{name}' needs images with 3 channels, but these have 1"):
            augment.color_basis(name, np.eye(1))


def test_color_leaves_the_draws_of_crop_and_flip_alone(keys):
    images = jnp.asarray(np.random.default_rng(1).normal(size=(8, 6, 6, 3)), jnp.float32)
    crop_keys, flip_keys = jnp.moveaxis(jax.vmap(jax.random.split)(keys[:8]), 1, 0)  # as if there were only these two
    without = augment.random_flip(augment.random_crop(images, crop_keys, 2), flip_keys)
    np.testing.assert_array_equal(augment.augment(images, keys[:8], pad=2, flip=True), without)
    colored = augment.augment(images, keys[:8], pad=2, flip=True, basis=BASIS)
    shift = np.asarray(colored - without)
    np.testing.assert_allclose(shift, np.broadcast_to(shift[:, :1, :1], shift.shape), atol=1e-5)
    assert np.abs(shift).min() > 0


# Mixing: the image of an even row is all 1, that of an odd row all 0, so that an even row's pixels are its weights.


def mix(image, label, keys, **alphas):
    """`augment.mix`, compiled: by itself it would be, operation by operation."""
    return jax.jit(lambda *args: augment.mix(*args, **alphas))(image, label, keys)


def mixed(keys, height=6, width=10, **alphas):
    """(weights of each pair's first image, its label share) by pair."""
    rows = jnp.arange(len(keys)) % 2
    image = jnp.broadcast_to(1.0 - rows[:, None, None, None], (len(keys), height, width, 2))
    image, label = mix(image, jax.nn.one_hot(rows, 2), keys, **alphas)
    np.testing.assert_allclose(image[::2] + image[1::2], 1, atol=1e-6)  # what one gives the other takes
    np.testing.assert_allclose(label[::2], label[1::2, ::-1], atol=1e-6)
    assert (image[..., 0] == image[..., 1]).all()
    return np.asarray(image[::2, :, :, 0]), np.asarray(label[::2, 0])


@pytest.mark.parametrize("alpha", [0.2, 4.0])
def test_mixup_averages_with_a_share_from_beta(keys, alpha):
    weights, share = mixed(keys, mixup=alpha)
    np.testing.assert_allclose(weights, np.broadcast_to(share[:, None, None], weights.shape), atol=1e-5)
    assert scipy.stats.kstest(share, scipy.stats.beta(alpha, alpha).cdf).pvalue > 1e-3


def test_cutmix_swaps_a_box_whose_clipped_area_is_the_others_share(keys):
    weights, share = mixed(keys, cutmix=1.0)
    assert set(np.unique(weights)) == {0.0, 1.0}
    np.testing.assert_allclose(weights.mean((1, 2)), share, atol=1e-6)
    rows, columns = (weights == 0).any(2), (weights == 0).any(1)
    np.testing.assert_array_equal(weights == 0, rows[:, :, None] & columns[:, None])  # one box
    for line in (*rows, *columns):
        assert np.count_nonzero(np.diff(line.astype(int), prepend=0, append=0)) in (0, 2)  # without holes
    assert 0.05 < (rows[:, 0] | rows[:, -1]).mean() < 0.95  # some are clipped, some are not


def test_cutmix_is_the_papers_box_pixel_by_pixel(keys):
    height, width = 7, 12

    @jax.jit
    @jax.vmap
    def draws(pair_key):
        _, share_key, box_key = jax.random.split(pair_key, 3)
        row_key, column_key = jax.random.split(box_key)
        row, column = jax.random.randint(row_key, (), 0, height), jax.random.randint(column_key, (), 0, width)
        return jax.random.beta(share_key, 0.7, 0.7), row, column

    weights, _ = mixed(keys[:400], height, width, cutmix=0.7)
    for pair, (share, *center) in enumerate(zip(*jax.device_get(draws(keys[:400:2])), strict=True)):
        expected, sides = np.ones((height, width)), []
        for size, middle in zip((height, width), center, strict=True):  # as in the paper's code
            cut = int(size * np.sqrt(1 - share))
            sides.append((max(middle - cut // 2, 0), min(middle + cut // 2, size)))
        for y in range(*sides[0]):
            for x in range(*sides[1]):
                expected[y, x] = 0
        np.testing.assert_array_equal(weights[pair], expected)


def test_with_both_half_of_the_pairs_take_a_box(keys):
    weights, share = mixed(keys, mixup=2.0, cutmix=1.0)
    averaged = (weights.min((1, 2)) > 0) & (weights.max((1, 2)) < 1)
    assert abs(averaged.mean() - 0.5) < 4 * 0.5 / len(weights) ** 0.5
    assert scipy.stats.kstest(share[averaged], scipy.stats.beta(2, 2).cdf).pvalue > 1e-3
    np.testing.assert_allclose(weights.mean((1, 2)), share, atol=1e-5)


@pytest.mark.parametrize("alphas", [{"mixup": 0.2, "cutmix": 1.0}, {"mixup": 1e-3}])
def test_labels_are_shared_with_the_neighbor_alone_and_sum_to_one(keys, alphas):
    n = 32
    image, label = mix(jnp.ones((n, 4, 4, 1)), jnp.eye(n), keys[:n], **alphas)
    np.testing.assert_allclose(image, 1, atol=1e-6)
    label = np.array(label)
    np.testing.assert_allclose(label.sum(1), 1, atol=1e-6)
    rows = np.arange(n)
    assert ((label[rows, rows] >= 0) & (label[rows, rows ^ 1] >= 0)).all()
    label[rows, rows] = label[rows, rows ^ 1] = 0
    assert not label.any()


def test_pairs_are_mixed_by_their_own_key_wherever_the_batch_is_divided(keys):
    rng = np.random.default_rng(1)
    images, labels = np.float32(rng.normal(size=(8, 6, 6, 3))), np.float32(rng.random((8, 5)))
    alphas = {"mixup": 0.5, "cutmix": 0.5}
    whole = mix(images, labels, keys[:8], **alphas)
    parts = [mix(images[i : i + 4], labels[i : i + 4], keys[i : i + 4], **alphas) for i in (0, 4)]
    for one, many in zip(whole, zip(*parts, strict=True), strict=True):
        np.testing.assert_allclose(one, np.concatenate(many), atol=1e-6)


def test_mixing_keeps_bfloat16_and_mixes_single_columns(keys):
    rng = np.random.default_rng(1)
    images, labels = rng.normal(size=(16, 6, 6, 3)), np.float32(rng.integers(0, 2, (16, 1)))
    alphas = {"mixup": 1.0, "cutmix": 1.0}
    image, label = mix(jnp.asarray(images, jnp.bfloat16), labels, keys[:16], **alphas)
    assert (image.dtype, label.dtype) == (jnp.bfloat16, jnp.float32)
    precise, rows = mix(np.float32(images), np.concatenate([labels, 1 - labels], 1), keys[:16], **alphas)
    np.testing.assert_allclose(np.asarray(image, np.float32), precise, atol=0.03)
    np.testing.assert_allclose(label, rows[:, :1], atol=1e-6)
