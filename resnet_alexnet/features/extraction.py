"""Extracts the features of a data set at a layer of a trained network."""

import dataclasses
import math
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Float32, Int

from resnet_alexnet import parallel
from resnet_alexnet.data.loading import loader
from resnet_alexnet.data.sources import ProgressFn, Source, no_progress
from resnet_alexnet.errors import InputError, check_name, nearest
from resnet_alexnet.models.layers import Layer, observe
from resnet_alexnet.models.trace import classifier, layer_calls, layer_paths
from resnet_alexnet.paths import Tree
from resnet_alexnet.pretrained.network import TrainedModel

INPUT = ":input"
POOLS = ("none", "mean")
MOST_MEMORY = 0.5  # the share of the machine's memory that features may take


@dataclasses.dataclass(frozen=True)
class FeatureLayer:
    """A layer whose output or input are the features.

    Attributes:
        path: the path of the layer, such as stages.0.1.conv1.conv.
        at_input: whether the features are the input of the layer, else its output.
        pool: "none" for whole feature maps, "mean" for their mean over positions.
        shape: shape of the features of one image. A map with one position, or its mean, is a vector.
    """

    path: str
    at_input: bool
    pool: str
    shape: tuple[int, ...]

    @property
    def name(self) -> str:
        """The name that `find_layer` takes."""
        return self.path + INPUT * self.at_input

    def take(self, value: Float[Array, "batch ..."]) -> Float32[Array, "batch ..."]:
        """Converts the output or input of the layer to features."""
        value = value.astype(jnp.float32)
        if self.pool == "mean" and value.ndim == 4:
            value = value.mean((1, 2))
        return value.reshape(value.shape[0], *self.shape)


def find_layer(network: TrainedModel, name: str = "", *, pool: str = "none") -> FeatureLayer:
    """Finds the layer of a network to take features from.

    Args:
        network: the network.
        name: the path of a layer, as in the summary of the model, for its output; followed by ":input", for its input.
            Empty for the input of the classifier, the last hidden features.
        pool: see `FeatureLayer`.

    Raises:
        InputError: the layer does not exist (the message names the nearest), its weights or those before it are not
            there, or `pool` is unknown.

    Source: [K12] section 6.1, the 4096 features of the last hidden layer.
    """
    check_name("--pool", pool, POOLS)
    size, channels = network.spec.preprocessing.image_size, network.spec.preprocessing.channels
    calls = {call.path: call for call in layer_calls(network.spec.abstract(), (size, size, channels))}
    name = name or classifier(list(calls.values())) + INPUT
    path = name.removesuffix(INPUT).replace("/", ".")
    if path not in calls:
        raise InputError(
            f"--layer={name}: {network.spec.model} has no such layer{nearest(path, calls)} "
            f"(allowed: {', '.join(list(calls)[:3])} and others; --help says how to list them)"
        )
    at_input = name.endswith(INPUT)
    check_present(network, list(calls)[: list(calls).index(path) + (not at_input)], what=f"--layer={name}")
    shape = calls[path].input_shape if at_input else calls[path].output_shape
    if pool == "mean" or math.prod(shape) == shape[-1]:
        shape = shape[-1:]
    return FeatureLayer(path, at_input, pool, shape)


def check_present(network: TrainedModel, needed: Iterable[str], *, what: str) -> None:
    """Raises InputError if the weight file of a network lacks arrays of a layer that `what` needs."""
    lacking = {name.partition("/")[2].rpartition("/")[0].replace("/", ".") for name in network.missing}
    if first := next((path for path in needed if path in lacking), None):
        raise InputError(f"{what}: the weight file lacks {first} (allowed: a layer before it, see models.summary)")


def machine_memory() -> int:
    """The memory of this machine in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def check_memory(layer: FeatureLayer, count: int, *, memory: int) -> None:
    """Raises InputError if the features of `count` images take too much of `memory`, the machine's memory in bytes."""
    needed = 4 * count * math.prod(layer.shape)
    if needed > MOST_MEMORY * memory:
        shape = " x ".join(map(str, layer.shape))
        raise InputError(
            f"--layer={layer.name}: {count:,} images of {shape} float32 numbers take {needed / 2**30:,.1f} GiB, more "
            f"than half of this machine's {memory / 2**30:,.1f} GiB: set --pool=mean for the mean over positions, or "
            "choose a later layer, which is smaller"
        )


def collect(
    network: TrainedModel, source: Source, layer: FeatureLayer, **options: Any
) -> tuple[Float32[np.ndarray, "images ..."], Int[np.ndarray, "images"]]:
    """Extracts the features of all images of a source at a layer; see `collect_layers`."""
    (features,), labels = collect_layers(network, source, [layer], **options)
    return features, labels


def collect_layers(
    network: TrainedModel,
    source: Source,
    layers: Sequence[FeatureLayer],
    *,
    batch_size: int,
    mesh: parallel.Mesh,
    progress: ProgressFn = no_progress,
    name: str = "images",
) -> tuple[list[Float32[np.ndarray, "images ..."]], Int[np.ndarray, "images"]]:
    """Extracts the features of all images of a source at some layers, in one pass.

    Args:
        network: the network.
        source: the images, already cropped to the size that the network takes.
        layers: where to take the features.
        batch_size: images per step, rounded up to a multiple of the number of devices. Results do not depend on it.
        mesh: the devices.
        progress: shows the progress.
        name: the name of the images in the progress display.

    Returns:
        The features at each layer, and the labels, in the order of the source.
    """
    batch_size = parallel.padded_batch_size(batch_size, len(source), mesh)
    step = parallel.parallel_rows(_create_step(network, layers), mesh)
    params, batch_stats = (parallel.replicate(tree, mesh) for tree in (network.params, network.batch_stats))
    features = [np.empty((len(source), *layer.shape), np.float32) for layer in layers]
    labels = np.empty(len(source), np.int32)
    batches = loader.eval_batches(source, batch_size=batch_size, rows=parallel.process_rows(batch_size, mesh))
    shown = progress(batches, math.ceil(len(source) / batch_size), f"features of {name}")
    rows_and_images = (((batch["mask"], batch["label"]), {"image": batch["image"]}) for batch in shown)
    done = 0
    for (mask, label), found in parallel.run_batches(
        lambda _, batch: step(params, batch_stats, batch), rows_and_images, mesh
    ):
        rows = slice(done, done + mask.sum())
        labels[rows] = label[mask]
        for array, part in zip(features, found, strict=True):
            array[rows] = np.asarray(part)[mask]
        done = rows.stop
    return features, labels


def _create_step(
    network: TrainedModel, layers: Sequence[FeatureLayer]
) -> Callable[[Tree, Tree, dict[str, jax.Array]], list[jax.Array]]:
    """Creates the function that computes the features of a batch. Later layers are not part of the compiled program."""
    graphdef, normalize = network.spec.graphdef(), network.spec.preprocessing.normalize

    def step(params: Tree, batch_stats: Tree, batch: dict[str, jax.Array]) -> list[jax.Array]:
        model = nnx.merge(graphdef, params, batch_stats)
        paths, seen = layer_paths(model), {}

        def note(called: Layer, x: jax.Array, y: jax.Array) -> None:
            seen.setdefault(paths[id(called)], (x, y))

        with observe(note):
            model(normalize(batch["image"]))
        return [layer.take(seen[layer.path][0 if layer.at_input else 1]) for layer in layers]

    return step
