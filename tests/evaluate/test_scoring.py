"""Scores by views, scales and networks, against slow loops that look at one view at a time."""

import jax
import numpy as np
import pytest

from resnet_alexnet import parallel
from resnet_alexnet.errors import InputError
from resnet_alexnet.evaluate import scoring
from resnet_alexnet.evaluate.protocol import TestProtocol
from resnet_alexnet.evaluate.scoring import score_images
from tests.support.images import photograph
from tests.support.networks import create_network
from tests.support.scores import scores_of_images
from tests.support.slow_views import slow_input, slow_ten_crops, slow_whole, softmax
from tests.support.torch_layers import F, TorchResNet, fc, torch

SIZES = [(40, 41), (50, 30), (30, 90), (60, 38)]  # the third is longer than any shape
PHOTOGRAPHS = [photograph(height, width, seed=number) for number, (height, width) in enumerate(SIZES)]


def scores_of(networks, images=PHOTOGRAPHS, **options):
    return scores_of_images(networks, images, **options)


class TorchCifarResNet(TorchResNet):
    """That of [H15] section 4.2, with projections."""

    def __init__(self, network):
        super().__init__(network.module(), train=False)

    def __call__(self, x):
        x = F.relu(self.conv_norm(x, self.model.stem.conv1, 1, 1))
        for stage, blocks in enumerate(self.model.stages):
            for i, block in enumerate(blocks):
                x = self.block(x, block, 2 if stage > 0 and i == 0 else 1)
        return fc(x.mean((2, 3)), self.model.head)


def slow_logits(network, view, forward, *, mirror=False):
    x = slow_input(network, view)[np.newaxis]
    x = x[:, :, ::-1] if mirror else x
    return forward(torch.tensor(x.transpose(0, 3, 1, 2).copy()))[0].numpy().astype(np.float64)


def slow_scores(network, views_of_scale, *, mirrored, forward):
    """The mean of the probabilities over the views of each scale, then over the scales."""
    means = []
    for views in views_of_scale:
        logits = [slow_logits(network, view, forward) for view in views]
        logits += [slow_logits(network, view, forward, mirror=True) for view in views if mirrored]
        means.append(np.mean([softmax(each) for each in logits], axis=0))
    return np.mean(means, axis=0)


@pytest.fixture(scope="module")
def resnet():
    return create_network(size=24, shorter_side=28, shortcut="B")


@pytest.fixture(scope="module")
def forward(resnet):
    return TorchCifarResNet(resnet)


@pytest.mark.parametrize("corners", ["square", "photograph"])
def test_ten_crops_are_those_of_a_slow_loop(resnet, forward, corners):
    (ours,) = scores_of([resnet], views="ten_crop", corners=corners)
    crops = [slow_ten_crops(image, 24, 28, corners) for image in PHOTOGRAPHS]
    slow = [slow_scores(resnet, [five], mirrored=True, forward=forward) for five in crops]
    np.testing.assert_allclose(ours, slow, rtol=1e-4, atol=1e-6)
    assert np.ptp(ours, axis=0).max() > 0.01


def test_several_scales_of_whole_photographs_are_those_of_a_slow_loop(resnet, forward):
    """As [H15] section 3.4 tests, at smaller scales; at 24 the square has the size of the mean image."""
    scales, images = (24, 40), PHOTOGRAPHS[:3]
    whole = [[slow_whole(image, scale) for scale in scales] for image in images]
    for mirrored in (True, False):
        (ours,) = scores_of([resnet], images, views="fully_convolutional", scales=scales, flip=mirrored)
        slow = [slow_scores(resnet, views, mirrored=mirrored, forward=forward) for views in whole]
        np.testing.assert_allclose(ours, slow, rtol=1e-4, atol=1e-6)


def test_the_mean_of_logits_is_another_mean(resnet, forward):
    (ours,) = scores_of([resnet], flip=True, average="logits")
    expected = []
    for image in PHOTOGRAPHS:
        center = slow_ten_crops(image, 24, 28, "square")[-1]
        logits = [slow_logits(resnet, center, forward, mirror=mirror) for mirror in (False, True)]
        expected.append(softmax(np.mean(logits, axis=0)))
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-6)
    (probabilities,) = scores_of([resnet], flip=True)
    assert np.abs(probabilities - ours).max() > 1e-4


# Whatever the devices, batches and sizes


@pytest.mark.parametrize(
    "protocol",
    [{}, {"views": "ten_crop"}, {"views": "fully_convolutional", "scales": (32,)}],
    ids=lambda protocol: protocol.get("views", "center"),
)
def test_devices_and_batches_make_no_difference(resnet, protocol):
    images = [PHOTOGRAPHS[number % 3] for number in range(5)]
    one = scores_of([resnet], images, batch_size=1, **protocol)
    np.testing.assert_allclose(scores_of([resnet], images, batch_size=12, **protocol), one, rtol=1e-5, atol=1e-7)
    eight = scores_of([resnet], images, devices=8, batch_size=16, **protocol)
    np.testing.assert_allclose(eight, one, rtol=1e-5, atol=1e-7)


@pytest.fixture
def traces(monkeypatch):
    """The shapes for which a program is made; the network is replaced by something that compiles at once."""
    shapes = []

    def step(params, batch_stats, images, *, graphdef, normalize, mirrored, finish):
        shapes.append(images.shape)
        pixels = normalize(images.reshape(-1, *images.shape[2:])).mean((1, 2))
        return finish(pixels).reshape(*images.shape[:2], 3).mean(1)

    monkeypatch.setattr(scoring, "score_step", step)
    return shapes


def test_photographs_of_many_sizes_share_a_few_programs(traces):
    rng = np.random.default_rng(0)
    images = [np.full((*rng.integers(10, 120, 2), 3), value, np.uint8) for value in range(200)]
    networks = [create_network(size=16, seed=seed, mean=np.zeros((1, 1, 3), np.float32)) for seed in range(2)]
    scores = scores_of(networks, images, views="fully_convolutional", scales=(64, 96), batch_size=256)
    assert not np.isnan(scores).any()
    assert len(traces) == len(set(traces)) * 2  # once a network and shape, shard_map's own included
    assert 10 < len({shape[2:] for shape in traces}) <= 2 * 11
    for row, value in enumerate(range(200)):  # every image has its own pixels' scores
        np.testing.assert_allclose(scores[:, row], np.full((2, 3), 1 / 3), atol=1e-6, err_msg=str(value))


def test_every_image_has_its_own_scores_in_whatever_order_steps_fill(traces):
    network = create_network(size=16, mean=np.zeros((1, 1, 3), np.float32), std=40.0)
    rng = np.random.default_rng(1)
    colors = rng.integers(0, 256, (150, 3))
    images = [np.tile(c.astype(np.uint8), (*rng.integers(20, 40, 2), 1)) for c in colors]
    (scores,) = scores_of([network], images, views="fully_convolutional", scales=(64, 96, 32), batch_size=200)
    np.testing.assert_allclose(scores, [softmax(c / 40) for c in colors], rtol=1e-5, atol=1e-7)


def test_larger_views_make_smaller_steps_and_each_device_has_its_share(traces):
    network = create_network(size=16, mean=np.zeros((1, 1, 3), np.float32))
    images = [photograph(32, 32)] * 64
    for protocol, devices, rows in (
        ({"scales": (16,)}, 1, 20),
        ({"scales": (32,), "views": "ten_crop"}, 1, 2),
        ({"scales": (32,), "views": "fully_convolutional", "flip": False}, 1, 5),
        ({"scales": (16,)}, 8, 16),
        ({"scales": (64,), "views": "fully_convolutional"}, 8, 8),
    ):
        traces.clear()
        scores_of([network], images, batch_size=20, devices=devices, **protocol)
        assert {shape[0] * devices for shape in traces} == {rows}


def test_images_that_are_left_out_have_no_scores(resnet):
    images = [PHOTOGRAPHS[0], None, PHOTOGRAPHS[2], None]
    scores = scores_of([resnet], images)
    assert np.isnan(scores).all(-1).tolist() == [[False, True, False, True]]
    np.testing.assert_allclose(scores[:, [0, 2]], scores_of([resnet], [images[0], images[2]]), rtol=1e-5)


def test_networks_of_several_kinds_are_tested_in_one_pass(resnet):
    """Of other depth, size, channels and kind of scores; each is as alone."""
    gray = create_network("cifar_resnet14", size=16, channels=1, shorter_side=20, scores="sigmoid", seed=1)
    reads = []

    def read(index):
        reads.append(index)
        return PHOTOGRAPHS[index]

    options = {"protocol": TestProtocol(), "mesh": parallel.create_mesh(jax.devices()[:1]), "batch_size": 4}
    together = score_images([resnet, gray], read, 3, **options)
    assert sorted(reads) == [0, 1, 2]
    for network, scores in zip((resnet, gray), together, strict=True):
        np.testing.assert_array_equal(scores, score_images([network], read, 3, **options)[0])
    assert not np.allclose(together[1].sum(-1), 1, atol=1e-3)
    forced = score_images([gray], read, 3, **{**options, "protocol": TestProtocol(scores="softmax")})
    np.testing.assert_allclose(forced.sum(-1), 1, atol=1e-5)


@pytest.mark.parametrize("average", ["probabilities", "logits"])
def test_a_single_logit_gives_the_probabilities_of_two_classes(average):
    binary = {"classes": ("no", "yes"), "num_classes": 1, "scores": "sigmoid"}
    network = create_network(size=24, shorter_side=28, shortcut="B", **binary)
    (scores,) = scores_of([network], average=average)
    crops, forward = [slow_ten_crops(p, 24, 28, "square")[-1] for p in PHOTOGRAPHS], TorchCifarResNet(network)
    yes = 1 / (1 + np.exp([-slow_logits(network, crop, forward) for crop in crops]))
    np.testing.assert_allclose(scores, np.concatenate([1 - yes, yes], axis=1), rtol=1e-4, atol=1e-6)


def test_bfloat16_is_near(resnet):
    options = {"protocol": TestProtocol(), "mesh": parallel.create_mesh(jax.devices()[:1]), "batch_size": 4}
    rough = score_images([resnet], PHOTOGRAPHS.__getitem__, 2, precision="bfloat16", **options)
    exact = score_images([resnet], PHOTOGRAPHS.__getitem__, 2, **options)
    assert rough.dtype == np.float32
    assert 0 < np.abs(rough - exact).max() < 0.1


# What is refused


def test_networks_must_have_the_same_classes(resnet):
    other = create_network(size=24, shorter_side=28, classes=("ant", "cat", "bee"))
    with pytest.raises(InputError, match=r"class 1 is 'cat' in network 2 .*, but 'bee' in network 1"):
        scores_of([resnet, other])
    fewer = create_network(size=24, shorter_side=28, classes=("ant", "bee"))
    with pytest.raises(InputError, match=r"network 2 \(cifar_resnet8\) has 2 classes, but network 1 .* has 3"):
        scores_of([resnet, fewer])
    unnamed = create_network(size=24, shorter_side=28, num_classes=4)
    with pytest.raises(InputError, match="has 4 logits, but 3 class names"):
        scores_of([unnamed])


def test_an_image_that_no_network_takes_is_named():
    network = create_network(size=24)
    with pytest.raises(InputError, match="image 1: the image has 41 x 40 pixels, but the network takes 24 x 24"):
        scores_of([network], [photograph(24, 24), PHOTOGRAPHS[0]])
    with pytest.raises(InputError, match="image 0: it has 200 x 2 pixels; one side is 100 times"):
        scores_of([network], [np.zeros((2, 200, 3), np.uint8)], scales=(24,))


def test_an_unknown_precision_is_refused(resnet):
    options = {"protocol": TestProtocol(), "mesh": parallel.create_mesh(), "batch_size": 4}
    with pytest.raises(InputError, match="precision is 'float16'"):
        score_images([resnet], PHOTOGRAPHS.__getitem__, 2, precision="float16", **options)


def test_an_image_that_is_lost_is_noticed(resnet, monkeypatch):
    def lose(self, network, scale, indices, rows):
        self._parts[0] = 0
        return iter(())

    monkeypatch.setattr(scoring._Means, "add", lose)
    with pytest.raises(RuntimeError, match="1 images lack a scale"):
        scores_of([resnet])
