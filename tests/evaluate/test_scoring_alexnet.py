"""AlexNet as [K12] tests it, and as convolutions over whole photographs, against loops of torch and numpy."""

import numpy as np
import pytest

from tests.support.images import photograph
from tests.support.networks import create_network
from tests.support.scores import scores_of_images
from tests.support.slow_views import slow_input, slow_ten_crops, slow_whole, softmax
from tests.support.torch_layers import F, conv, pool, tensor, torch

PHOTOGRAPHS = [photograph(80, 81, seed=1), photograph(70, 120, seed=2)]


def torch_maps(model, x):
    """The last maps of the two towers."""
    x = pool(norm(F.relu(conv(x, model.conv1, 4, 2))))
    x = pool(norm(F.relu(conv(x, model.conv2, 1, 2, groups=2))))
    x = F.relu(conv(x, model.conv3, 1, 1))
    x = F.relu(conv(x, model.conv4, 1, 1, groups=2))
    return pool(F.relu(conv(x, model.conv5, 1, 1, groups=2)))


def norm(x):
    """Each tower by itself, and alpha as in the paper's formula."""
    towers = [F.local_response_norm(half, 5, alpha=5e-4, beta=0.75, k=2.0) for half in x.chunk(2, dim=1)]
    return torch.cat(towers, dim=1)


def torch_owt_maps(model, x):
    x = pool(F.relu(conv(x, model.conv1, 4, 2)))
    x = pool(F.relu(conv(x, model.conv2, 1, 2)))
    x = F.relu(conv(x, model.conv3, 1, 1))
    x = F.relu(conv(x, model.conv4, 1, 1))
    return pool(F.relu(conv(x, model.conv5, 1, 1)))


def slow_logits(network, model, maps, view):
    """The classifier of a window of the last map at a time, and the mean over the windows."""
    x = maps(model, torch.tensor(slow_input(network, view).transpose(2, 0, 1)[np.newaxis].copy()))[0].numpy()
    weights = {name: tensor(getattr(model, name).kernel).numpy() for name in ("fc6", "fc7", "fc8")}
    biases = {name: tensor(getattr(model, name).bias).numpy() for name in weights}
    side, logits = weights["fc6"].shape[0], []
    for row in range(x.shape[1] - side + 1):
        for column in range(x.shape[2] - side + 1):
            window = x[:, row : row + side, column : column + side].transpose(1, 2, 0)
            hidden = np.maximum(window.reshape(-1) @ weights["fc6"].reshape(window.size, -1) + biases["fc6"], 0)
            hidden = np.maximum(hidden @ weights["fc7"] + biases["fc7"], 0)
            logits.append(hidden @ weights["fc8"] + biases["fc8"])
    return np.mean(logits, axis=0), len(logits)


@pytest.fixture(scope="module")
def alexnet():
    """Of 63 pixels, so that its first fully connected layer sees one pixel of the last map."""
    return create_network("alexnet", size=63, shorter_side=72)


def test_ten_crops_are_the_papers(alexnet):
    """[K12] section 4.1: five patches and their reflections, the mean of the softmax layer's predictions."""
    model, expected = alexnet.module(), []
    for image in PHOTOGRAPHS:
        crops = slow_ten_crops(image, 63, 72, "square")
        # A mirrored input is the mirrored crop less the mirrored mean.
        mean = alexnet.spec.preprocessing.mean
        crops += [crop[:, ::-1] - mean[:, ::-1] + mean for crop in crops]
        logits = [slow_logits(alexnet, model, torch_maps, crop)[0] for crop in crops]
        expected.append(np.mean([softmax(each) for each in logits], axis=0))
    (ours,) = scores_of_images([alexnet], PHOTOGRAPHS, views="ten_crop")
    np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-5)
    assert np.ptp(ours, axis=0).max() > 1e-3


def test_whole_photographs_are_windows_of_the_last_map_one_at_a_time(alexnet):
    model = alexnet.module()
    (ours,) = scores_of_images([alexnet], PHOTOGRAPHS, views="fully_convolutional", scales=(96,), flip=False)
    logits, windows = zip(
        *(slow_logits(alexnet, model, torch_maps, slow_whole(image, 96)[0]) for image in PHOTOGRAPHS), strict=True
    )
    assert windows == (4, 8)
    np.testing.assert_allclose(ours, [softmax(each) for each in logits], rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_torchvisions_alexnet_takes_whole_maps_instead_of_shrinking_them():
    network = create_network("alexnet_owt", size=224, shorter_side=256)
    image, model = photograph(230, 260, seed=3), network.module()
    (ours,) = scores_of_images([network], [image], views="fully_convolutional", scales=(224,), flip=False)
    logits, windows = slow_logits(network, model, torch_owt_maps, slow_whole(image, 224)[0])
    assert windows == 2
    np.testing.assert_allclose(ours, [softmax(logits)], rtol=1e-3, atol=1e-5)
