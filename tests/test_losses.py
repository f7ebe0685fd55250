"""The losses against their closed forms and against torch, also where numbers saturate."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from resnet_alexnet import losses
from resnet_alexnet.errors import InputError

BINARY = (losses.binary_cross_entropy, losses.binary_cross_entropy_with_logits)


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def _example(kind, n=12, classes=7):
    """Logits and targets of one kind: one-hot, soft (rows sum to 1) or multi-label."""
    rng = np.random.default_rng(len(kind))
    logits = rng.normal(scale=3.0, size=(n, classes)).astype(np.float32)
    labels = {
        "one_hot": np.eye(classes)[rng.integers(classes, size=n)],
        "soft": rng.dirichlet(np.ones(classes), size=n),
        "multi_label": rng.integers(2, size=(n, classes)),
    }[kind]
    return logits, labels.astype(np.float32)


@pytest.mark.parametrize("kind", ["one_hot", "soft", "multi_label"])
@pytest.mark.parametrize("name", ["binary_cross_entropy", "binary_cross_entropy_with_logits", "softmax_cross_entropy"])
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_values_and_gradients_equal_torch(torch, name, kind, reduction):
    functional = torch.nn.functional
    theirs = {
        "binary_cross_entropy": functional.binary_cross_entropy,
        "binary_cross_entropy_with_logits": functional.binary_cross_entropy_with_logits,
        "softmax_cross_entropy": functional.cross_entropy,
    }[name]
    ours = getattr(losses, name)
    inputs, labels = _example(kind)
    if name == "binary_cross_entropy":
        inputs = np.asarray(jax.nn.sigmoid(inputs))
    tensor = torch.tensor(inputs, requires_grad=True)
    value = theirs(tensor, torch.tensor(labels), reduction=reduction)
    value.sum().backward()
    np.testing.assert_allclose(ours(inputs, labels, reduction=reduction), value.detach(), rtol=2e-5, atol=1e-6)
    gradient = jax.grad(lambda x: ours(x, labels, reduction=reduction).sum())(jnp.asarray(inputs))
    np.testing.assert_allclose(gradient, tensor.grad, rtol=2e-4, atol=1e-6)


def test_softmax_with_class_numbers_equals_one_hot_and_torch(torch):
    logits, one_hot = _example("one_hot")
    numbers = one_hot.argmax(-1)
    expected = torch.nn.functional.cross_entropy(torch.tensor(logits), torch.tensor(numbers)).item()
    assert losses.softmax_cross_entropy(logits, numbers) == pytest.approx(expected, rel=1e-6)
    assert losses.softmax_cross_entropy(logits, one_hot) == pytest.approx(expected, rel=1e-6)


def test_softmax_of_equal_logits_is_ln_of_the_classes():
    assert losses.softmax_cross_entropy(jnp.zeros((3, 10)), jnp.arange(3)) == pytest.approx(np.log(10), rel=1e-6)


def test_softmax_with_a_class_number_past_the_last_is_loud():
    assert np.isnan(losses.softmax_cross_entropy(jnp.zeros((1, 10)), jnp.array([10])))


def test_probabilities_and_logits_give_the_same_loss():
    logits, labels = _example("soft")
    on_probabilities = losses.binary_cross_entropy(jax.nn.sigmoid(logits), labels, reduction="none")
    on_logits = losses.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    np.testing.assert_allclose(on_probabilities, on_logits, rtol=1e-4, atol=1e-6)


def test_logit_loss_is_the_formula_of_log_sigmoids():
    logits, labels = _example("multi_label")
    z, y = logits.astype(np.float64), labels.astype(np.float64)
    expected = -np.mean(y * -np.log1p(np.exp(-z)) + (1 - y) * -np.log1p(np.exp(z)))
    assert losses.binary_cross_entropy_with_logits(logits, labels) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("reduction", ["mean", "sum_classes"])
def test_logit_gradient_is_sigmoid_minus_label_over_the_count(reduction):
    logits, labels = _example("soft")
    gradient = jax.grad(losses.binary_cross_entropy_with_logits)(logits, labels, reduction=reduction)
    count = logits.size if reduction == "mean" else len(logits)
    np.testing.assert_allclose(gradient, (jax.nn.sigmoid(logits) - labels) / count, atol=1e-7)


@pytest.mark.parametrize("name", ["binary_cross_entropy", "binary_cross_entropy_with_logits"])
def test_gradient_by_the_label_is_minus_the_logit_over_the_count(name):
    logits, labels = _example("soft")
    gradient = jax.grad(losses.LOSSES[name], argnums=1)(logits, labels, reduction="mean")
    np.testing.assert_allclose(gradient, -logits / logits.size, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("loss", BINARY)
def test_sum_over_classes_is_classes_times_the_mean(loss):
    logits, labels = _example("multi_label")
    inputs = jax.nn.sigmoid(logits)
    mean = float(loss(inputs, labels))
    assert float(loss(inputs, labels, reduction="sum_classes")) == pytest.approx(7 * mean, rel=1e-5)
    one_class, flat = loss(inputs[:, 0], labels[:, 0]), loss(inputs[:, 0], labels[:, 0], reduction="sum_classes")
    assert flat == one_class


def test_two_class_softmax_is_binary_on_the_difference_of_logits():
    logits, one_hot = _example("one_hot", classes=2)
    binary = losses.binary_cross_entropy_with_logits(logits[:, 1] - logits[:, 0], one_hot[:, 1])
    assert losses.softmax_cross_entropy(logits, one_hot) == pytest.approx(float(binary), rel=1e-5)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("label", [0.0, 0.3, 1.0])
def test_nothing_is_nan_at_the_extremes(dtype, label):
    labels = jnp.full((4,), label, dtype)
    probabilities = jnp.array([0.0, 1.0, 1e-30, 0.5], dtype)
    logits = jnp.array([1e4, -1e4, 0.0, 88.0], dtype)
    cases = [
        (losses.binary_cross_entropy, probabilities),
        (losses.binary_cross_entropy_with_logits, logits),
        (lambda z, y: losses.binary_cross_entropy(jax.nn.sigmoid(z), y), logits),
        (losses.softmax_cross_entropy, logits[None]),
    ]
    for loss, inputs in cases:
        value, gradients = jax.value_and_grad(loss, argnums=(0, 1))(inputs, labels.reshape(inputs.shape))
        assert value.dtype == jnp.float32
        assert np.isfinite(value)
        assert all(np.isfinite(gradient.astype(jnp.float32)).all() for gradient in gradients)


def test_extreme_logits_cost_exactly_their_distance():
    logits, labels = jnp.array([1e4, -1e4, 1e4, -1e4]), jnp.array([0.0, 1.0, 1.0, 0.0])
    value = losses.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    np.testing.assert_array_equal(value, [1e4, 1e4, 0.0, 0.0])
    np.testing.assert_array_equal(losses.softmax_cross_entropy(logits[None, :2], jnp.array([1])), 2e4)


def test_certain_wrong_probability_costs_one_hundred_and_still_pulls():
    value, gradient = jax.value_and_grad(losses.binary_cross_entropy)(jnp.array([0.0]), jnp.array([1.0]))
    assert value == 100.0
    assert gradient[0] == pytest.approx(-1e12)


@pytest.mark.parametrize("loss", [*BINARY, losses.softmax_cross_entropy])
def test_bfloat16_inputs_are_computed_in_float32(loss):
    logits, labels = _example("soft")
    inputs = jax.nn.sigmoid(logits).astype(jnp.bfloat16)
    exact = loss(inputs.astype(jnp.float32), labels)
    assert loss(inputs, labels) == exact
    assert jax.grad(loss)(inputs, labels).dtype == jnp.bfloat16


@settings(max_examples=40)
@given(
    logits=hnp.arrays(np.float32, (3, 4), elements=st.floats(-1e4, 1e4, width=32)),
    labels=hnp.arrays(np.float32, (3, 4), elements=st.floats(0, 1, width=32)),
)
def test_losses_are_finite_and_never_negative(logits, labels):
    for name, loss in losses.LOSSES.items():
        value = loss(logits, labels, reduction="none")
        assert np.isfinite(value).all(), name
        assert (value >= 0).all(), name


@pytest.mark.parametrize("loss", BINARY)
def test_labels_that_would_broadcast_are_refused(loss):
    with pytest.raises(InputError, match=r"\(5,\).*\(5, 1\).*labels\[:, None\]"):
        loss(jnp.full((5, 1), 0.5), jnp.zeros(5))


def test_softmax_refuses_what_fits_neither_form():
    with pytest.raises(InputError, match=r"\(5,\).*\(5, 3\)"):
        losses.softmax_cross_entropy(jnp.zeros((5, 3)), jnp.zeros(5))
    with pytest.raises(InputError, match=r"\(4,\).*\(5, 3\)"):
        losses.softmax_cross_entropy(jnp.zeros((5, 3)), jnp.zeros(4, int))
    with pytest.raises(InputError, match="single logit"):
        losses.create_loss("softmax_cross_entropy")(jnp.zeros((5, 1)), jnp.zeros(5, int))


def test_targets_are_one_hot_rows_or_one_binary_column():
    np.testing.assert_array_equal(losses.targets(jnp.array([2, 0]), 3), [[0, 0, 1], [1, 0, 0]])
    np.testing.assert_array_equal(losses.targets(jnp.array([1, 0]), 1), [[1], [0]])
    assert losses.targets(jnp.array([1]), 1).dtype == losses.targets(jnp.array([1]), 2).dtype == jnp.float32
    with pytest.raises(InputError, match="float32"):
        losses.targets(jnp.zeros(3), 1)


def columns_taken(*counts):
    """Every loss with each number of columns that it takes: softmax has no single logit."""
    return [(name, n) for name in losses.LOSSES for n in counts if (name, n) != ("softmax_cross_entropy", 1)]


@pytest.mark.parametrize(
    ("name", "classes", "reduction"),
    [
        (name, classes, reduction)
        for name, classes in columns_taken(1, 4)
        for reduction in (["mean"] if name == "softmax_cross_entropy" else ["mean", "sum_classes"])
    ],
)
def test_loss_per_image_averages_to_the_named_loss(name, classes, reduction):
    numbers = jnp.array([0, 1, 1, 0, 1])
    logits = jax.random.normal(jax.random.key(0), (5, classes))
    per_image = jax.jit(losses.create_loss(name, reduction=reduction))
    named = losses.LOSSES[name](logits, losses.targets(numbers, classes), reduction=reduction)
    for labels in (numbers, losses.targets(numbers, classes)):
        value = per_image(logits.astype(jnp.float32), labels)
        assert value.shape == (5,)
        assert value.dtype == jnp.float32
        assert value.mean() == pytest.approx(float(named), rel=1e-6)


def test_unknown_names_are_refused_with_the_nearest():
    with pytest.raises(InputError, match=r"loss\.name.*did you mean 'softmax_cross_entropy'"):
        losses.create_loss("softmax_crossentropy")
    with pytest.raises(InputError, match=r"loss\.reduction of softmax_cross_entropy is 'sum_classes'"):
        losses.create_loss("softmax_cross_entropy", reduction="sum_classes")
    with pytest.raises(InputError, match="did you mean 'sum_classes'"):
        losses.create_loss("binary_cross_entropy", reduction="sum_class")
    for loss in losses.LOSSES.values():
        with pytest.raises(InputError, match="did you mean 'mean'"):
            loss(jnp.zeros((2, 3)), jnp.zeros((2, 3)), reduction="meen")


def test_a_class_number_that_is_no_class_makes_the_loss_nan():
    logits = jnp.zeros((3, 4))
    losses_per_image = losses.softmax_cross_entropy(logits, jnp.array([-1, 3, 4]), reduction="none")
    np.testing.assert_array_equal(jnp.isnan(losses_per_image), [True, False, True])


@pytest.mark.parametrize("smoothing", [0.1, 0.9])
@pytest.mark.parametrize("labels", ["numbers", "one_hot", "soft"])
def test_smoothed_softmax_equals_torch(torch, smoothing, labels):
    logits, rows = _example("soft" if labels == "soft" else "one_hot")
    given = rows.argmax(-1) if labels == "numbers" else rows
    tensor = torch.tensor(logits, requires_grad=True)
    expected = torch.nn.functional.cross_entropy(tensor, torch.tensor(given), label_smoothing=smoothing)
    expected.backward()
    loss = losses.create_loss("softmax_cross_entropy", label_smoothing=smoothing)
    value, gradient = jax.value_and_grad(lambda z: loss(z, jnp.asarray(given)).mean())(jnp.asarray(logits))
    assert float(value) == pytest.approx(expected.item(), rel=1e-5)
    np.testing.assert_allclose(gradient, tensor.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["binary_cross_entropy", "binary_cross_entropy_with_logits"])
@pytest.mark.parametrize("columns", [1, 7])
def test_smoothed_binary_loss_is_that_of_the_label_mixed_with_chance(name, columns):
    logits, _ = _example("soft", classes=columns)
    labels = np.arange(len(logits)) % max(columns, 2)
    rows = labels[:, None].astype(float) if columns == 1 else np.eye(columns)[labels]
    rows = 0.8 * rows + 0.2 / max(columns, 2)
    z = logits.astype(np.float64)
    expected = (rows * np.log1p(np.exp(-z)) + (1 - rows) * np.log1p(np.exp(z))).sum(1)
    smoothed = losses.create_loss(name, reduction="sum_classes", label_smoothing=0.2)
    np.testing.assert_allclose(smoothed(logits, jnp.asarray(labels)), expected, rtol=1e-4)


@pytest.mark.parametrize(("name", "columns"), columns_taken(1, 2, 5))
def test_smoothing_and_mixing_leave_the_loss_of_a_constant_answer(name, columns):
    classes = max(columns, 2)
    rows = losses.targets(jnp.arange(classes), columns)
    mixed = 0.3 * rows + 0.7 * jnp.roll(rows, 1, 0)
    answer = np.log(1 / classes) - (0 if name == "softmax_cross_entropy" else np.log(1 - 1 / classes))
    logits = jnp.full((classes, columns), answer)
    chance = losses.chance_loss(name, columns)
    for smoothing, labels in ((0.0, rows), (0.3, rows), (0.3, mixed)):
        value = losses.create_loss(name, label_smoothing=smoothing)(logits, labels).mean()
        assert float(value) == pytest.approx(chance, rel=1e-5)


def test_smoothing_does_not_hide_a_class_number_past_the_last():
    loss = losses.create_loss("softmax_cross_entropy", label_smoothing=0.1)
    assert np.isnan(loss(jnp.zeros((1, 10)), jnp.array([10])))


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, float("nan")])
def test_smoothing_out_of_its_range_is_refused(smoothing):
    with pytest.raises(InputError, match=rf"loss.label_smoothing is {smoothing} \(allowed: at least 0"):
        losses.create_loss("softmax_cross_entropy", label_smoothing=smoothing)


WEIGHTS = np.array([0.5, 2.0, 1.0, 0.25, 3.0, 1.5, 0.1], np.float32)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("labels", ["numbers", "one_hot", "soft"])
def test_class_weights_of_softmax_equal_torchs(torch, smoothing, labels):
    logits, rows = _example("soft" if labels == "soft" else "one_hot")
    given = rows.argmax(-1) if labels == "numbers" else rows
    theirs = torch.nn.CrossEntropyLoss(weight=torch.tensor(WEIGHTS), label_smoothing=smoothing, reduction="none")
    tensor = torch.tensor(logits, requires_grad=True)
    expected = theirs(tensor, torch.tensor(given))
    expected.sum().backward()
    loss = losses.create_loss("softmax_cross_entropy", label_smoothing=smoothing, class_weights=WEIGHTS.tolist())
    np.testing.assert_allclose(jax.jit(loss)(logits, given), expected.detach(), rtol=1e-5, atol=1e-6)
    gradient = jax.grad(lambda z: loss(z, jnp.asarray(given)).sum())(jnp.asarray(logits))
    np.testing.assert_allclose(gradient, tensor.grad, rtol=1e-4, atol=1e-6)
    if labels == "numbers":  # torch's mean divides by the sum of the weights, ours by the number of images
        mean = torch.nn.CrossEntropyLoss(weight=torch.tensor(WEIGHTS), label_smoothing=smoothing)
        value = loss(logits, given).sum() / WEIGHTS[given].sum()
        assert float(value) == pytest.approx(mean(torch.tensor(logits), torch.tensor(given)).item(), rel=1e-5)


@pytest.mark.parametrize("name", ["binary_cross_entropy", "binary_cross_entropy_with_logits"])
@pytest.mark.parametrize("columns", [1, 7])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_class_weights_of_logistic_units_are_factors_of_the_losses_of_the_classes(name, columns, smoothing):
    logits, _ = _example("soft", classes=columns)
    weights = WEIGHTS[: max(columns, 2)]
    plain, weighted = (
        losses.create_loss(name, label_smoothing=smoothing * (chosen is not None), class_weights=chosen)
        for chosen in (None, weights.tolist())
    )
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.ones(len(weights)), len(logits)).astype(np.float32)
    numbers = rng.integers(0, len(weights), len(logits))
    smooth = (1 - smoothing) * shares + smoothing / len(weights)
    each = [plain(logits, jnp.full(len(logits), label)) for label in range(len(weights))]
    expected = sum(smooth[:, label] * weights[label] * each[label] for label in range(len(weights)))
    given = shares[:, 1:] if columns == 1 else shares
    np.testing.assert_allclose(weighted(logits, jnp.asarray(given)), expected, rtol=1e-4, atol=1e-6)
    if not smoothing:
        np.testing.assert_allclose(
            weighted(logits, jnp.asarray(numbers)), weights[numbers] * plain(logits, numbers), rtol=1e-5
        )


@given(st.lists(st.integers(0, 50), min_size=2, max_size=9).filter(any))
def test_balanced_weights_give_each_class_the_same_share_and_a_mean_of_1(counts):
    weights = losses.balanced_weights(counts)
    shares = [count * weight for count, weight in zip(counts, weights, strict=True) if count]
    np.testing.assert_allclose(shares, sum(counts) / len(shares))
    assert sum(shares) == pytest.approx(sum(counts))
