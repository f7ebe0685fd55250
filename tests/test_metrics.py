"""The masked sums against a slow loop, and their independence from how a set is cut into batches."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resnet_alexnet import metrics
from resnet_alexnet.errors import InputError


def _loop(logits, labels, mask, losses):
    """The sums, image by image: classes sorted by falling logit, the lower class first on ties."""
    classes = logits.shape[1]
    sums = {"count": 0.0, "loss": 0.0, "top1_errors": 0.0} | ({"top5_errors": 0.0} if classes >= 5 else {})
    for row, label, counts, loss in zip(logits, labels, mask, losses, strict=True):
        if not counts:
            continue
        broken = any(np.isnan(value) for value in row)
        order = sorted(range(classes), key=lambda k: (-row[k], k))
        sums["count"] += 1
        sums["loss"] += float(loss)
        if classes == 1:
            sums["top1_errors"] += broken or int(row[0] > 0) != label
            continue
        sums["top1_errors"] += broken or label not in order[:1]
        if classes >= 5:
            sums["top5_errors"] += broken or label not in order[:5]
    return sums


def _random_set(seed, n, classes):
    """Logits from a few values, so that ties are common; some NaN, some infinite."""
    rng = np.random.default_rng(seed)
    logits = rng.integers(-2, 3, size=(n, classes)).astype(np.float32)
    logits[rng.random((n, classes)) < 0.02] = np.nan
    logits[rng.random((n, classes)) < 0.02] = np.inf
    labels = rng.integers(max(classes, 2), size=n)
    return logits, labels, rng.random(n) < 0.8, rng.random(n).astype(np.float32)


@pytest.mark.parametrize("classes", [1, 2, 4, 5, 6, 12])
def test_sums_equal_a_slow_loop(classes):
    arrays = _random_set(classes, 200, classes)
    sums = jax.jit(metrics.batch_sums)(*arrays)
    expected = _loop(*arrays)
    assert sums.keys() == expected.keys() == metrics.zero_sums(classes).keys()
    for name, value in expected.items():
        assert sums[name].dtype == jnp.float32
        assert sums[name].shape == ()
        assert sums[name] == pytest.approx(value, rel=1e-5), name


@pytest.mark.parametrize("classes", [2, 4, 5, 6, 12])
def test_ranks_one_image_at_a_time_and_the_same_in_numpy_and_jax(classes):
    scores, labels, _, _ = _random_set(classes, 200, classes)
    labels[:20] = np.arange(-10, 10)  # some are no class
    expected = [
        classes
        if np.isnan(row).any() or not 0 <= label < classes
        else np.argsort(-row, kind="stable").tolist().index(label)
        for row, label in zip(scores, labels, strict=True)
    ]
    ranks = metrics.label_rank(scores, labels)
    assert isinstance(ranks, np.ndarray)
    assert ranks.tolist() == expected
    for rank in (metrics.label_rank, jax.jit(metrics.label_rank)):
        assert rank(jnp.asarray(scores), jnp.asarray(labels)).tolist() == expected
    errors = metrics.top_errors(scores, labels)
    assert errors.keys() == ({"top1", "top5"} if classes >= 5 else {"top1"})
    for name, wrong in errors.items():
        assert wrong.tolist() == [rank >= int(name[3:]) for rank in expected]


def test_ties_are_resolved_as_top_k_does():
    logits, labels, mask, losses = _random_set(3, 300, 9)
    logits = np.nan_to_num(logits, nan=1.0)
    _, best = jax.lax.top_k(logits, 5)
    sums = metrics.batch_sums(logits, labels, np.ones_like(mask), losses)
    assert sums["top1_errors"] == (best[:, 0] != labels).sum()
    assert sums["top5_errors"] == 300 - (best == labels[:, None]).sum()


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("classes", [1, 3, 5, 8])
@pytest.mark.parametrize("label", [0, 1])
def test_nan_logits_are_errors_and_masked_rows_add_nothing(classes, label, dtype):
    # Row 0: NaN, though its label holds the largest number. Row 1: right. Rows 2 and 3: padding full of rubbish.
    right = (jnp.full((classes,), -1.0) if label == 0 or classes > 1 else jnp.zeros(classes)).at[label].set(7.0)
    if classes == 1:
        right = jnp.array([7.0 if label else -7.0])
    broken = right.at[0 if label or classes == 1 else 1].set(jnp.nan)
    logits = jnp.stack([broken, right, jnp.full(classes, jnp.nan), jnp.full(classes, jnp.inf)]).astype(dtype)
    labels = jnp.array([label, label, -1, 99])
    losses = jnp.array([1.0, 0.5, jnp.nan, jnp.inf])
    sums = metrics.batch_sums(logits, labels, jnp.array([1.0, 1.0, 0.0, 0.0]), losses)
    assert sums["count"] == 2
    assert sums["loss"] == 1.5
    assert sums["top1_errors"] == 1
    if classes >= 5:
        assert sums["top5_errors"] == 1


@pytest.mark.parametrize("label", [-1, 6])
def test_a_label_that_is_no_class_is_an_error(label):
    sums = metrics.batch_sums(jnp.eye(1, 6, 5), jnp.array([label]), jnp.array([True]), jnp.zeros(1))
    assert sums["top1_errors"] == sums["top5_errors"] == 1


def test_rows_of_class_weights_count_by_their_largest():
    logits, numbers, mask, losses = _random_set(5, 50, 6)
    soft = 0.9 * np.eye(6, dtype=np.float32)[numbers] + 0.1 / 6
    assert metrics.batch_sums(logits, soft, mask, losses) == metrics.batch_sums(logits, numbers, mask, losses)
    logits, numbers, mask, losses = _random_set(5, 50, 1)
    column = numbers[:, None].astype(np.float32)
    assert metrics.batch_sums(logits, column, mask, losses) == metrics.batch_sums(logits, numbers, mask, losses)


def _pad(array, size, value):
    """`array` with rows of `value` after it, `size` rows in all."""
    return np.concatenate([array, np.full((size - len(array), *array.shape[1:]), value, array.dtype)])


@settings(max_examples=25)
@given(seed=st.integers(0, 1000), cuts=st.lists(st.integers(0, 23), max_size=6))
def test_rates_do_not_depend_on_how_the_set_is_cut(seed, cuts):
    logits, labels, _, losses = _random_set(seed, 23, 6)
    batch_sums = jax.jit(metrics.batch_sums)
    whole = metrics.error_rates(_loop(logits, labels, np.ones(23), losses))
    sums = metrics.zero_sums(6)
    for start, stop in itertools.pairwise([0, *sorted(cuts), 23]):
        part = slice(start, stop)
        mask = np.arange(25) < stop - start
        padded = (_pad(logits[part], 25, np.nan), _pad(labels[part], 25, 0), mask, _pad(losses[part], 25, np.nan))
        sums = metrics.add_sums(sums, batch_sums(*padded))
    assert metrics.error_rates(sums) == pytest.approx(whole, rel=1e-5)


def test_rates_are_percent_and_plain_floats():
    sums = {"count": 8, "loss": 4, "top1_errors": 2, "top5_errors": 1}
    rates = metrics.error_rates({name: jnp.float32(value) for name, value in sums.items()})
    assert rates == {"loss": 0.5, "top1_error": 25.0, "top5_error": 12.5}
    assert all(type(rate) is float for rate in rates.values())
    assert metrics.error_rates({name: sums[name] for name in ("count", "loss", "top1_errors")}).keys() == {
        "loss",
        "top1_error",
    }


def test_no_image_is_an_error():
    with pytest.raises(InputError, match="no image was counted"):
        metrics.error_rates(metrics.zero_sums(10))


def test_shapes_that_would_broadcast_are_refused():
    with pytest.raises(InputError, match=r"losses \(4, 1\)"):
        metrics.batch_sums(jnp.zeros((4, 3)), jnp.zeros(4, int), jnp.ones(4), jnp.zeros((4, 1)))
