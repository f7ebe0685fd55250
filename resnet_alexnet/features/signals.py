"""Signals of a network over its depth: how far the responses of its layers spread."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float32

from resnet_alexnet import parallel
from resnet_alexnet.data.loading import loader
from resnet_alexnet.data.sources import ProgressFn, Source, no_progress
from resnet_alexnet.models.layers import observe
from resnet_alexnet.models.normalization import BatchNorm
from resnet_alexnet.models.trace import layer_calls, layer_paths
from resnet_alexnet.paths import Tree
from resnet_alexnet.pretrained.network import ModelSpec, TrainedModel

_SHORTCUT = "shortcut"  # in the paths of projections, which the papers do not count as layers


@dataclasses.dataclass(frozen=True)
class WeightLayer:
    """A layer with a kernel.

    Attributes:
        path: such as stages.0.1.conv1.conv.
        index: its number in the network as the papers count layers, from 1; None for the projection of a shortcut.
        kernel_shape: the shape of its kernel.
    """

    path: str
    index: int | None
    kernel_shape: tuple[int, ...]


def weight_layers(spec: ModelSpec) -> list[WeightLayer]:
    """The layers of a network that have a kernel, in the order of the forward pass."""
    size, channels = spec.preprocessing.image_size, spec.preprocessing.channels
    kernels = {
        call.path: kernel.get_value().shape
        for call in layer_calls(spec.abstract(), (size, size, channels))
        if (kernel := getattr(call.layer, "kernel", None)) is not None
    }
    layers, index = [], 0
    for path, shape in kernels.items():
        is_counted = _SHORTCUT not in path.split(".")
        index += is_counted
        layers.append(WeightLayer(path, index if is_counted else None, shape))
    return layers


def create_response_spreads(
    spec: ModelSpec,
    source: Source,
    *,
    batch_size: int,
    mesh: parallel.Mesh,
    progress: ProgressFn = no_progress,
) -> Callable[[TrainedModel], dict[str, tuple[float, float]]]:
    """Creates the function that measures the responses of each layer, in evaluation mode. It is compiled once.

    Mean and standard deviation are over all images, positions and channels. The response of a layer is what the next
    nonlinearity or addition takes: its output, or that of the batch normalization that takes its output.

    Args:
        spec: the description of the networks.
        source: the images, already cropped to the size that the networks take.
        batch_size: images per step, rounded up to a multiple of the number of devices. Results do not depend on it.
        mesh: the devices.
        progress: shows the progress.

    Returns:
        (network) -> (mean, standard deviation) by the path of the layer, in the order of `weight_layers`.

    Source: [H15] figure 7: "the outputs of each 3x3 layer, after BN and before other nonlinearity (ReLU/addition)".
    """
    paths = [layer.path for layer in weight_layers(spec)]
    batch_size = parallel.padded_batch_size(batch_size, len(source), mesh)
    step = parallel.parallel_rows(_create_step(spec, paths), mesh)

    def measure(network: TrainedModel) -> dict[str, tuple[float, float]]:
        params, batch_stats = (parallel.replicate(tree, mesh) for tree in (network.params, network.batch_stats))
        batches = loader.eval_batches(source, batch_size=batch_size)
        shown = progress(batches, math.ceil(len(source) / batch_size), "batches, responses")
        masked = ((batch["mask"], {"image": batch["image"]}) for batch in shown)
        parts = [
            np.asarray(found)[mask]
            for mask, found in parallel.run_batches(lambda _, batch: step(params, batch_stats, batch), masked, mesh)
        ]
        means, variances = np.moveaxis(np.concatenate(parts).astype(np.float64), -1, 0)  # of each image and layer
        spreads = np.sqrt(variances.mean(0) + means.var(0))  # all images have equally many values
        return {path: (float(mean), float(std)) for path, mean, std in zip(paths, means.mean(0), spreads, strict=True)}

    return measure


def responses(model: Any, image: Array) -> dict[str, Array]:
    """The response of each layer with a kernel to normalized images, by its path; see `create_response_spreads`."""
    paths, found = layer_paths(model), {}
    outputs: list[tuple[Array, str]] = []  # of these layers, as objects: what the next layer takes is the same one

    def note(layer: Any, x: Array, y: Array) -> None:
        if isinstance(layer, BatchNorm | nnx.BatchNorm):
            found.update({path: y for output, path in outputs if output is x})
        elif getattr(layer, "kernel", None) is not None and id(layer) in paths:
            outputs.append((y, paths[id(layer)]))
            found[paths[id(layer)]] = y

    with observe(note):
        model(image)
    return found


def _create_step(
    spec: ModelSpec, paths: list[str]
) -> Callable[[Tree, Tree, dict[str, jax.Array]], Float32[Array, "rows layers moments"]]:
    """Creates the function that computes the mean and variance of each image's responses at each layer."""
    graphdef, normalize = spec.graphdef(), spec.preprocessing.normalize

    def step(params: Tree, batch_stats: Tree, batch: dict[str, jax.Array]) -> jax.Array:
        found = responses(nnx.merge(graphdef, params, batch_stats), normalize(batch["image"]))
        flat = [found[path].reshape(len(found[path]), -1) for path in paths]
        return jnp.stack([jnp.stack([x.mean(1), x.var(1)], axis=-1) for x in flat], axis=1)

    return step
