"""Looks inside a trained network: features at a layer for a whole data set, their nearest neighbors, its kernels."""

import dataclasses
import math
import os
from collections.abc import Callable

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
MOST_MEMORY = 0.5  # of the machine's, that features may take


@dataclasses.dataclass(frozen=True)
class FeatureLayer:
    """Where features are taken: at a layer's output, or at its input.

    Attributes:
        path: the layer, such as stages.0.1.conv1.conv.
        at_input: take what goes into it.
        pool: "none" takes maps whole, "mean" their mean over the positions.
        shape: of one image's features; a map of one position, and a mean, is a vector.
    """

    path: str
    at_input: bool
    pool: str
    shape: tuple[int, ...]

    @property
    def name(self) -> str:
        """The layer as `find_layer` takes it."""
        return self.path + INPUT * self.at_input

    def take(self, value: Float[Array, "batch ..."]) -> Float32[Array, "batch ..."]:
        """The features of what was seen at the layer."""
        value = value.astype(jnp.float32)
        if self.pool == "mean" and value.ndim == 4:
            value = value.mean((1, 2))
        return value.reshape(value.shape[0], *self.shape)


def find_layer(network: TrainedModel, name: str = "", *, pool: str = "none") -> FeatureLayer:
    """Where to take features in a network.

    Args:
        network: the network.
        name: a layer's path as the summary has it; with ":input" behind it, what goes into the layer. Empty: what goes
            into the last linear layer, the last hidden features.
        pool: see `FeatureLayer`.

    Raises:
        InputError: there is no such layer, the nearest is named; or an unknown pool.

    Source: [K12] section 6.1, the last hidden layer's 4096 numbers.
    """
    check_name("--pool", pool, POOLS)
    size, channels = network.spec.preprocessing.image_size, network.spec.preprocessing.channels
    calls = {call.path: call for call in layer_calls(network.spec.abstract(), (size, size, channels))}
    name = name or classifier(list(calls.values())) + INPUT
    path = name.removesuffix(INPUT).replace("/", ".")
    if path not in calls:
        raise InputError(
            f"--layer={name}: {network.spec.model} has no such layer{nearest(path, calls)} "
            f"(allowed: {', '.join(list(calls)[:3])} and so on; --help says how to list them)"
        )
    at_input = name.endswith(INPUT)
    shape = calls[path].input_shape if at_input else calls[path].output_shape
    if pool == "mean" or math.prod(shape) == shape[-1]:
        shape = shape[-1:]
    return FeatureLayer(path, at_input, pool, shape)


def machine_memory() -> int:
    """Bytes of memory that this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def check_memory(layer: FeatureLayer, count: int, *, memory: int) -> None:
    """Raises InputError where the features of `count` images take too much of the machine's memory, in bytes."""
    needed = 4 * count * math.prod(layer.shape)
    if needed > MOST_MEMORY * memory:
        shape = " x ".join(map(str, layer.shape))
        raise InputError(
            f"--layer={layer.name}: {count:,} images of {shape} float32 numbers take {needed / 2**30:,.1f} GiB, more "
            f"than half of this machine's {memory / 2**30:,.1f} GiB: --pool=mean takes the mean over positions, and "
            "later layers are smaller"
        )


def collect(
    network: TrainedModel,
    source: Source,
    layer: FeatureLayer,
    *,
    batch_size: int,
    mesh: parallel.Mesh,
    progress: ProgressFn = no_progress,
    name: str = "images",
) -> tuple[Float32[np.ndarray, "images ..."], Int[np.ndarray, "images"]]:
    """Features of all images of a source, in its order, and their labels.

    Args:
        network: the network.
        source: the images, of the size and the views that the network takes.
        layer: where the features are taken.
        batch_size: images a step; rounded up to a multiple of the number of devices. No result depends on it.
        mesh: the devices.
        progress: shows how far it is.
        name: what to call the images there.
    """
    batch_size = math.ceil(batch_size / mesh.size) * mesh.size
    step = parallel.parallel_rows(_create_step(network, layer), mesh)
    params, batch_stats = (parallel.replicate(tree, mesh) for tree in (network.params, network.batch_stats))
    features = np.empty((len(source), *layer.shape), np.float32)
    labels = np.empty(len(source), np.int32)
    batches = loader.eval_batches(source, batch_size=batch_size, rows=parallel.process_rows(batch_size))
    shown = progress(batches, math.ceil(len(source) / batch_size), f"features of {name}")
    rows_and_images = (((batch["mask"], batch["label"]), {"image": batch["image"]}) for batch in shown)
    done = 0
    for (mask, label), found in parallel.run_batches(
        lambda _, batch: step(params, batch_stats, batch), rows_and_images, mesh
    ):
        rows = slice(done, done + mask.sum())
        labels[rows], features[rows] = label[mask], np.asarray(found)[mask]
        done = rows.stop
    return features, labels


def _create_step(network: TrainedModel, layer: FeatureLayer) -> Callable[[Tree, Tree, dict[str, jax.Array]], jax.Array]:
    """The features of a batch; the layers behind it are not part of the compiled program."""
    graphdef, normalize = network.spec.graphdef(), network.spec.preprocessing.normalize

    def step(params: Tree, batch_stats: Tree, batch: dict[str, jax.Array]) -> jax.Array:
        model = nnx.merge(graphdef, params, batch_stats)
        paths, seen = layer_paths(model), []

        def note(called: Layer, x: jax.Array, y: jax.Array) -> None:
            if paths[id(called)] == layer.path:
                seen.append(x if layer.at_input else y)

        with observe(note):
            model(normalize(batch["image"]))
        return layer.take(seen[0])

    return step
