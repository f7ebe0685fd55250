"""Measures the training step and the inference step of a recipe on this machine, beside the machine's roofline."""

import dataclasses
import os
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import jax
from ml_collections import ConfigDict

from resnet_alexnet.speed import machine
from resnet_alexnet.speed.roofline import Roofline, measure_roofline
from resnet_alexnet.speed.steps import Compilation, InferenceStep, TrainingStep, device_megabytes, random_batch
from resnet_alexnet.speed.windows import Window, spread, time_windows
from resnet_alexnet.speed.work import Kernel, network_kernels
from resnet_alexnet.train.experiment import Experiment, create_experiment
from resnet_alexnet.train.stand_in import create_stand_in
from resnet_alexnet.train.steps import DTYPES
from resnet_alexnet.workdir.folder import environment

_SHRINK = 16  # of the arrays for the roofline, in a trial


def measure(
    config: ConfigDict,
    *,
    windows: int,
    seconds: float,
    inference: bool = True,
    quick: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Measures the steps of a recipe on random images in the shapes of its data. Returns JSON values.

    Args:
        config: the recipe.
        windows: windows of each step.
        seconds: least length of a window.
        inference: whether to measure the inference step too, with the batch size of the recipe and with one image.
        quick: whether to measure the roofline on small arrays: a trial of the command, whose percentages mean nothing.
        say: is told what comes next.

    Raises:
        InputError: see `create_experiment` and `create_stand_in`.
    """
    experiment = create_experiment(config, read=create_stand_in)
    spec, mesh = experiment.model.spec, experiment.mesh
    hardware = machine.describe()
    say("measuring how fast the device copies memory and multiplies matrices")
    roofline = measure_roofline(config.precision, shrink=_SHRINK if quick else 1)
    batch = random_batch(experiment, config.batch_size)
    say("compiling the training step")
    step = TrainingStep(experiment, batch)

    def line(step: TrainingStep | InferenceStep, batch_size: int, *, train: bool) -> dict[str, Any]:
        measured = time_windows(step.run, images_per_step=step.images_per_call, windows=windows, seconds=seconds)
        kernels = count(experiment, config, batch_size=batch_size, train=train)
        calls = step.images_per_call // batch_size
        return summarize(measured, kernels, step.compilation, roofline, mesh.size, batch_size, calls)

    say(f"measuring {windows} windows of it")
    lines = {"training": {**line(step, config.batch_size, train=True), "init_seconds": round(step.init_seconds, 2)}}
    peak, on_device = machine.peak_megabytes(), device_megabytes()
    weights = step.weights()
    for name, size in {"inference": config.batch_size, "one image": mesh.size}.items() if inference else ():
        say(f"the same of the inference step, {size} at once")
        step = InferenceStep(experiment, weights, batch["image"][:size], precision=config.precision)
        lines[name] = line(step, size, train=False)
    what = f"{os.path.basename(spec.model)}, training step, batch {config.batch_size}, {config.precision}"
    training = lines["training"]
    ours, limit = training["images_per_second"]["median"], training["limit_images_per_second"]
    around = environment()
    return {
        **machine.result("benchmark", what, ours=ours, peer=limit, ratio=round(ours / limit, 3), n=windows),
        "settings": {"batch_size": config.batch_size, "precision": config.precision, "seconds": seconds},
        "roofline": dataclasses.asdict(roofline),
        "steps": lines,
        "peak_megabytes": round(peak),
        "device_megabytes": on_device and round(on_device),
        "hardware": {**hardware, "backend": around["backend"], "devices": around["devices"]},
        "versions": {"python": around["python"], **around["versions"]},
    }


def count(experiment: Experiment, config: ConfigDict, *, batch_size: int, train: bool) -> list[Kernel]:
    """The kernels of a step for one image, see `network_kernels`."""
    spec, preprocessing = experiment.model.spec, experiment.model.spec.preprocessing
    return network_kernels(
        spec.abstract(),
        (preprocessing.image_size, preprocessing.image_size, preprocessing.channels),
        batch_size=batch_size // experiment.mesh.size // (config.accumulate_steps if train else 1),
        activation_bytes=jax.numpy.dtype(DTYPES[config.precision]).itemsize,
        train=train,
    )


def summarize(
    windows: Sequence[Window],
    kernels: Sequence[Kernel],
    compilation: Compilation,
    roofline: Roofline,
    devices: int,
    batch_size: int,
    steps_per_call: int,
) -> dict[str, Any]:
    """What is reported of a step, as JSON values.

    Args:
        windows: the measurement.
        kernels: the work for one image.
        compilation: of the program, which may have several steps.
        roofline: of one device.
        devices: how many there are.
        batch_size: images of a step.
        steps_per_call: steps of the program.
    """
    throughput = [window.throughput for window in windows]
    limit = devices / roofline.seconds(kernels)
    images = batch_size * steps_per_call
    return {
        "images_per_second": spread(throughput),
        "images_per_cpu_second": spread([window.images / window.cpu_seconds for window in windows]),
        "milliseconds": spread([1000 * batch_size / value for value in throughput]),
        "busy_cores": round(statistics.median(window.busy_cores for window in windows), 2),
        "limit_images_per_second": float(f"{limit:.4g}"),
        "percent_of_limit": round(100 * statistics.median(throughput) / limit, 1),
        "trace_seconds": round(compilation.trace_seconds, 2),
        "compile_seconds": round(compilation.compile_seconds, 2),
        "gigaflops_per_image": _share(sum(kernel.flops for kernel in kernels), 1e9),
        "megabytes_per_image": _share(sum(kernel.bytes for kernel in kernels), 1e6),
        "compiled_gigaflops_per_image": _share(compilation.flops, 1e9 * images),
        "compiled_megabytes_per_image": _share(compilation.bytes, 1e6 * images),
    }


def _share(value: float | None, of: float) -> float | None:
    return None if value is None else float(f"{value / of:.4g}")
