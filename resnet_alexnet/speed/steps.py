"""The training and the inference step of a run on random images: what the loop dispatches, without the loop."""

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np

from resnet_alexnet import metrics, parallel
from resnet_alexnet.data.arrays import ArraySource
from resnet_alexnet.evaluate.scoring import score_step
from resnet_alexnet.paths import Tree
from resnet_alexnet.train.experiment import Experiment
from resnet_alexnet.train.steps import DTYPES
from resnet_alexnet.train.throughput import STEPS_IN_FLIGHT, STEPS_IN_FLIGHT_ON_CPU

Batch = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Compilation:
    """What a step took to compile, and what XLA counts in it.

    Attributes:
        trace_seconds: from Python to XLA's input.
        compile_seconds: from there to the program.
        flops: XLA's own count for the program, over all devices; None if it has none.
        bytes: likewise, the bytes that its kernels read and write.
        memory: the bytes that its arguments, intermediate results and results take on each device at once.
    """

    trace_seconds: float
    compile_seconds: float
    flops: float | None
    bytes: float | None
    memory: int


def device_megabytes() -> float | None:
    """The most memory that jax has held at once on its first device, in MB; None if the device does not count it."""
    counted = jax.devices()[0].memory_stats()
    return counted["peak_bytes_in_use"] / 1e6 if counted and "peak_bytes_in_use" in counted else None


def random_batch(experiment: Experiment, batch_size: int, *, seed: int = 0) -> dict[str, np.ndarray]:
    """A batch of random uint8 images and labels in the shapes of the training set of an experiment."""
    source, rng = experiment.inputs.splits.train, np.random.default_rng(seed)
    image = rng.integers(0, 256, (batch_size, *source.image_shape), np.uint8)
    return {"image": image, "label": rng.integers(0, len(source.classes), batch_size).astype(np.int32)}


class TrainingStep:
    """The training step, on one batch again and again, dispatched as the loop dispatches it.

    Attributes:
        images_per_call: images of a dispatch, which may have several steps.
        steps_per_call: steps of a dispatch.
        init_seconds: what it took to compile and compute the first state.
        program: the compiled step.
        compilation: of it.
        resident_bytes: of the training set, where it is kept on each device.
    """

    def __init__(self, experiment: Experiment, batch: Batch, *, start: Mapping[str, np.ndarray] | None = None):
        """Creates the first state and compiles the step.

        Args:
            experiment: the experiment. If it keeps its training set on the device, random images stand in for that.
            batch: the images and labels; of resident data only their number counts.
            start: initial arrays by name, in place of random ones, as in `Model.start`.
        """
        mesh, steps = experiment.mesh, experiment.steps
        started = time.perf_counter()
        arguments = (start or experiment.model.start,)
        self._state = parallel.sharded(steps.create_state, mesh, steps.state_specs, *arguments)
        jax.block_until_ready(self._state)
        self.init_seconds = time.perf_counter() - started
        self.steps_per_call = steps.steps_per_call
        self.images_per_call = self.steps_per_call * len(batch["label"])
        self._mesh, self._data, self._chunk = mesh, {}, _repeat(batch, self.steps_per_call)
        if steps.resident:
            self._data, self._chunk = _resident(experiment, self.steps_per_call, len(batch["label"]))
        self.resident_bytes = sum(array.nbytes for array in self._data.values())
        started = time.perf_counter()
        lowered = steps.train_chunk.lower(self._state, self._data, self._place())
        traced = time.perf_counter()
        self.program = lowered.compile()
        self.compilation = _compilation(self.program, mesh, traced - started, time.perf_counter() - traced)
        on_cpu = mesh.devices.flat[0].platform == "cpu"
        self._in_flight = STEPS_IN_FLIGHT_ON_CPU if on_cpu else STEPS_IN_FLIGHT

    def run(self, calls: int) -> None:
        """Takes the steps of some dispatches and waits for the last one. As in the loop, few are in flight at once."""
        waiting: deque[jax.Array] = deque()
        for _ in range(calls):
            if len(waiting) == self._in_flight:
                waiting.popleft().block_until_ready()
            self._state, done = self.program(self._state, self._data, self._place())
            waiting.append(done)
        if waiting:
            waiting[-1].block_until_ready()

    def mean_loss(self) -> float:
        """The mean training loss of all steps so far, in nats."""
        return metrics.error_rates(jax.device_get(self._state.sums))["loss"]

    def weights(self) -> tuple[Tree, Tree]:
        """The parameters and running statistics now. They are gone once a further step is taken."""
        return self._state.params, self._state.batch_stats

    def _place(self) -> dict[str, jax.Array]:
        return parallel.split_batch(self._chunk, self._mesh, axis=1)


class InferenceStep:
    """The step that scores images in `evaluate` and `predict`: uint8 images to logits, one batch again and again.

    Attributes:
        images_per_call: images of a batch.
        compilation: of the step.
    """

    def __init__(self, experiment: Experiment, weights: tuple[Tree, Tree], image: np.ndarray, *, precision: str):
        """Compiles the step.

        Args:
            experiment: has the network and the devices.
            weights: the parameters and running statistics, as in the state of the experiment.
            image: the images of the batch.
            precision: "float32" or "bfloat16".
        """
        step = partial(
            score_step,
            graphdef=experiment.model.graphdef,
            normalize=partial(experiment.model.spec.preprocessing.normalize, dtype=DTYPES[precision]),
            mirrored=False,
            finish=lambda logits: logits,
        )
        mesh = experiment.mesh
        self._weights, self._mesh = parallel.replicate(weights, mesh), mesh
        self._batch = {"image": image[:, np.newaxis]}  # one view of each
        self.images_per_call = len(image)
        started = time.perf_counter()
        lowered = parallel.parallel_rows(step, mesh).lower(*self._weights, self._place())
        traced = time.perf_counter()
        self._call = lowered.compile()
        self.compilation = _compilation(self._call, mesh, traced - started, time.perf_counter() - traced)

    def run(self, calls: int) -> None:
        """Scores the batch some times. The logits of each are awaited, as whoever asked for them would."""
        for _ in range(calls):
            self._call(*self._weights, self._place()).block_until_ready()

    def logits(self) -> np.ndarray:
        """The logits of the batch."""
        return np.asarray(self._call(*self._weights, self._place()))

    def _place(self) -> jax.Array:
        return parallel.split_batch(self._batch, self._mesh)["image"]


def _repeat(batch: Batch, count: int) -> dict[str, np.ndarray]:
    """A chunk of the same batch several times."""
    return {name: np.stack([array] * count) for name, array in batch.items() if name in ("image", "label")}


def _resident(
    experiment: Experiment, steps_per_call: int, batch_size: int
) -> tuple[dict[str, jax.Array], dict[str, np.ndarray]]:
    """Random images on the devices in place of the training set, and a chunk of numbers of them."""
    source = experiment.inputs.splits.train
    assert isinstance(source, ArraySource)
    data = random_batch(experiment, len(source))
    indices = np.random.default_rng(0).integers(0, len(source), (steps_per_call, batch_size))
    return parallel.replicate(data, experiment.mesh), {"index": indices.astype(np.int32)}


def _compilation(compiled: Any, mesh: parallel.Mesh, trace_seconds: float, compile_seconds: float) -> Compilation:
    counted = compiled.cost_analysis() or {}  # of one device
    flops, size = (counted.get(name) for name in ("flops", "bytes accessed"))
    held = compiled.memory_analysis()
    memory = (
        held.argument_size_in_bytes + held.temp_size_in_bytes + held.output_size_in_bytes - held.alias_size_in_bytes
    )
    return Compilation(trace_seconds, compile_seconds, flops and flops * mesh.size, size and size * mesh.size, memory)
