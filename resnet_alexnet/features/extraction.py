"""Looks inside a trained network: features at a layer for a whole data set, their nearest neighbours, its kernels."""

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
from resnet_alexnet.data.sources import Source, Track, untracked
from resnet_alexnet.errors import InputError, check_name, nearest
from resnet_alexnet.models.layers import Layer, observe
from resnet_alexnet.models.trace import classifier, layer_calls, layer_paths
from resnet_alexnet.paths import Tree
from resnet_alexnet.pretrained.network import Network

INPUT = ":input"
POOLS = ("none", "mean")
MOST_MEMORY = 0.5  # of the machine's, that features may take


@dataclasses.dataclass(frozen=True)
class Probe:
    """Where features are taken: at a layer's output, or at its input.

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
        """The layer as `create_probe` takes it."""
        return self.path + INPUT * self.at_input

    def take(self, value: Float[Array, "batch ..."]) -> Float32[Array, "batch ..."]:
        """The features of what was seen at the layer."""
        value = value.astype(jnp.float32)
        if self.pool == "mean" and value.ndim == 4:
            value = value.mean((1, 2))
        return value.reshape(value.shape[0], *self.shape)


def create_probe(network: Network, name: str = "", *, pool: str = "none") -> Probe:
    """Where to take features in a network.

    Args:
        network: the network.
        name: a layer's path as the summary has it; with ":input" behind it, what goes into the layer. Empty: what goes
            into the last linear layer, the last hidden features.
        pool: see `Probe`.

    Raises:
        InputError: there is no such layer, the nearest is named; or an unknown pool.

    Source: [K12] section 6.1, the last hidden layer's 4096 numbers.
    """
    check_name("--pool", pool, POOLS)
    size, channels = network.description.preprocessing.image_size, network.description.preprocessing.channels
    calls = {call.path: call for call in layer_calls(network.description.abstract(), (size, size, channels))}
    name = name or classifier(list(calls.values())) + INPUT
    path = name.removesuffix(INPUT).replace("/", ".")
    if path not in calls:
        raise InputError(
            f"--layer={name}: {network.description.model} has no such layer{nearest(path, calls)} "
            f"(allowed: {', '.join(list(calls)[:3])} and so on; --help says how to list them)"
        )
    at_input = name.endswith(INPUT)
    shape = calls[path].input_shape if at_input else calls[path].output_shape
    if pool == "mean" or math.prod(shape) == shape[-1]:
        shape = shape[-1:]
    return Probe(path, at_input, pool, shape)


def machine_memory() -> int:
    """Bytes of memory that this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def check_memory(probe: Probe, count: int, *, memory: int) -> None:
    """Raises InputError where the features of `count` images take too much of the machine's memory, in bytes."""
    needed = 4 * count * math.prod(probe.shape)
    if needed > MOST_MEMORY * memory:
        shape = " x ".join(map(str, probe.shape))
        raise InputError(
            f"--layer={probe.name}: {count:,} images of {shape} float32 numbers take {needed / 2**30:,.1f} GiB, more "
            f"than half of this machine's {memory / 2**30:,.1f} GiB: --pool=mean takes the mean over positions, and "
            "later layers are smaller"
        )


def collect(
    network: Network,
    source: Source,
    probe: Probe,
    *,
    batch_size: int,
    mesh: parallel.Mesh,
    track: Track = untracked,
    name: str = "images",
) -> tuple[Float32[np.ndarray, "images ..."], Int[np.ndarray, "images"]]:
    """Features of all images of a source, in its order, and their labels.

    Args:
        network: the network.
        source: the images, of the size and the views that the network takes.
        probe: where the features are taken.
        batch_size: images a step; rounded up to a multiple of the number of devices. No result depends on it.
        mesh: the devices.
        track: shows how far it is.
        name: what to call the images there.
    """
    batch_size = math.ceil(batch_size / mesh.size) * mesh.size
    step = parallel.parallel_rows(_create_step(network, probe), mesh)
    params, batch_stats = (parallel.replicate(tree, mesh) for tree in (network.params, network.batch_stats))
    features = np.empty((len(source), *probe.shape), np.float32)
    labels = np.empty(len(source), np.int32)
    batches = loader.eval_batches(source, batch_size=batch_size, rows=parallel.process_rows(batch_size))
    done = 0
    for batch in track(batches, math.ceil(len(source) / batch_size), f"features of {name}"):
        mask = batch.pop("mask")
        rows = slice(done, done + mask.sum())
        labels[rows] = batch.pop("label")[mask]
        features[rows] = np.asarray(step(params, batch_stats, parallel.split_batch(batch, mesh)))[mask]
        done = rows.stop
    return features, labels


def _create_step(network: Network, probe: Probe) -> Callable[[Tree, Tree, dict[str, jax.Array]], jax.Array]:
    """The features of a batch; of the layers behind the probe's nothing is left in the compiled program."""
    graphdef, normalize = network.graphdef(), network.description.preprocessing.normalize

    def step(params: Tree, batch_stats: Tree, batch: dict[str, jax.Array]) -> jax.Array:
        model = nnx.merge(graphdef, params, batch_stats)
        paths, seen = layer_paths(model), []

        def note(layer: Layer, x: jax.Array, y: jax.Array) -> None:
            if paths[id(layer)] == probe.path:
                seen.append(x if probe.at_input else y)

        with observe(note):
            model(normalize(batch["image"]))
        return probe.take(seen[0])

    return step
