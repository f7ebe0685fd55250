"""A dry run: builds and compiles the training step for devices that one may not have, and says what it would take."""

import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from resnet_alexnet import parallel
from resnet_alexnet.data.loading import loader
from resnet_alexnet.paths import leaf_name
from resnet_alexnet.train.experiment import Experiment, create_experiment, resident_data
from resnet_alexnet.train.stand_in import create_stand_in
from resnet_alexnet.workdir.config import run_title

# LLVM's optimizations take most of the time to compile, and change neither the collectives nor the memory.
_FAST_COMPILATION = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
_DEVICES_PER_PROCESS = 8  # of the usual machine with several accelerators
_GROUPS = ("params", "batch_stats", "opt_state", "ema")


@dataclass(frozen=True)
class Compiled:
    """The training step, compiled for all devices. Sizes are those of one device.

    Attributes:
        arguments: bytes by argument: the parts of the state, "data" and "batch".
        collectives: the collectives of the program.
        temporaries: bytes of the intermediate results that exist at the same time.
        results: bytes of the results that do not take the place of an argument.
        seconds: time to compile.
    """

    arguments: dict[str, int]
    collectives: list[parallel.Collective]
    temporaries: int
    results: int
    seconds: float

    @property
    def total(self) -> int:
        """Bytes of all of it."""
        return sum(self.arguments.values()) + self.temporaries + self.results


def print_dry_run(config: ConfigDict, devices: int) -> None:
    """Prints what a run of `config` would compute, send and hold on that many devices. Takes no step, writes nothing.

    Call it before anything has asked jax for a device.

    Raises:
        InputError: see `create_experiment` and `create_stand_in`.
    """
    experiment = create_dry_experiment(config, parallel.create_fake_devices(devices))
    print(f"{run_title(config)}: dry run on {devices} fake devices; no data is read, no step taken, nothing written")
    for line in (*describe_batch(config, experiment), "", *describe_parameters(experiment)):
        print(line)
    print(f"\ncompiling the training step for {devices} devices; a deep network takes a minute or more", flush=True)
    compiled = compile_step(config, experiment)
    for line in (*describe_collectives(compiled, devices), "", *describe_memory(compiled)):
        print(line)


def create_dry_experiment(config: ConfigDict, devices: list[jax.Device]) -> Experiment:
    """The parts of a run, with a stand-in for its data."""
    return create_experiment(config, devices, read=create_stand_in)


def compile_step(config: ConfigDict, experiment: Experiment) -> Compiled:
    """Compiles one training step for the devices of the experiment."""
    state = jax.eval_shape(experiment.steps.create_state, experiment.model.start)
    source = experiment.inputs.splits.train
    data: dict[str, Any] = {}
    chunk = {"index": jax.ShapeDtypeStruct((1, config.batch_size), jnp.int32)}
    if experiment.steps.resident:
        data = jax.eval_shape(lambda: resident_data(source))
    else:
        image = jax.ShapeDtypeStruct((1, config.batch_size, *source.image_shape), jnp.uint8)
        chunk = {"image": image, "label": chunk["index"]}
    started = time.monotonic()
    compiled = experiment.steps.train_chunk.lower(state, data, chunk).compile(compiler_options=_FAST_COMPILATION)
    seconds = time.monotonic() - started
    (state_at, data_at, chunk_at), _ = compiled.input_shardings
    parts = {name: (getattr(state, name), getattr(state_at, name)) for name in _GROUPS}
    parts |= {"data": (data, data_at), "batch": (chunk, chunk_at)}
    memory = compiled.memory_analysis()
    return Compiled(
        arguments={name: parallel.device_bytes(*part)[0] for name, part in parts.items()},
        collectives=parallel.read_collectives(compiled.as_text() or ""),
        temporaries=memory.temp_size_in_bytes,
        results=memory.output_size_in_bytes - memory.alias_size_in_bytes,
        seconds=seconds,
    )


def describe_batch(config: ConfigDict, experiment: Experiment) -> list[str]:
    """The batch arithmetic of a run."""
    mesh, source = experiment.mesh, experiment.inputs.splits.train
    on_device = parallel.device_batch_size(config.batch_size, mesh, field="batch_size")
    micro = on_device // config.accumulate_steps
    steps = loader.steps_per_epoch(len(source), config.batch_size)
    group = experiment.model.spec.options.get("bn_group")
    groups = {
        None: f"the {micro} images of a micro-batch",
        "sync": f"the {config.batch_size // config.accumulate_steps} images of a micro-batch of all devices",
    }
    rows = [("images per update", f"{config.batch_size:,} (batch_size)")]
    if mesh.size % _DEVICES_PER_PROCESS == 0:
        per_process = config.batch_size * _DEVICES_PER_PROCESS // mesh.size
        rows.append((f"  per process of {_DEVICES_PER_PROCESS} devices", f"{per_process:,}"))
    rows += [
        ("  per device" if config.mesh.towers == 1 else "  per pair of devices", f"{on_device:,}"),
        ("  per micro-batch", f"{micro:,} (accumulate_steps={config.accumulate_steps})"),
    ]
    if jax.tree.leaves(experiment.model.spec.shapes()["batch_stats"]):
        rows.append(("  normalized together", groups.get(group) or f"{group:,} (model.bn_group)"))
    height, width, channels = source.image_shape
    rows += [
        ("image", f"{height} x {width} x {channels}, uint8; {config.precision} in the network"),
        ("training images", f"{len(source):,} in {len(source.classes):,} classes"),
        ("steps per epoch", f"{steps:,}"),
        ("steps", f"{config.num_steps:,}, {config.num_steps * config.batch_size / len(source):.1f} epochs"),
        ("data", "kept on each device" if experiment.steps.resident else "sent to the devices for each step"),
    ]
    return _columns(rows)


def describe_parameters(experiment: Experiment) -> list[str]:
    """The parameters of each part of the network."""
    counts: Counter[str] = Counter()
    arrays: Counter[str] = Counter()
    for path, leaf in jax.tree_util.tree_leaves_with_path(experiment.model.spec.shapes()["params"]):
        parts = leaf_name(path).split("/")
        part = ".".join(parts[: 2 if len(parts) > 1 and parts[1].isdigit() else 1])
        counts[part] += leaf.size
        arrays[part] += 1
    rows = [("parameters of", "arrays", "parameters")]
    rows += [(part, f"{arrays[part]:,}", f"{count:,}") for part, count in counts.items()]
    return _columns([*rows, ("all", f"{arrays.total():,}", f"{counts.total():,}")])


def describe_collectives(compiled: Compiled, devices: int) -> list[str]:
    """The collectives of a step by kind: how many, of how many bytes, and what each device sends."""
    rows = [("collectives of a step", "count", "bytes", "bytes that each device sends in a ring")]
    for kind in dict.fromkeys(collective.kind for collective in compiled.collectives):
        found = [collective for collective in compiled.collectives if collective.kind == kind]
        size, sent = (
            sum(sizes) for sizes in zip(*((c.bytes, parallel.sent_bytes(c, devices)) for c in found), strict=True)
        )
        rows.append((kind, f"{len(found):,}", f"{size:,}", f"{sent:,}"))
    return _columns(rows if len(rows) > 1 else [*rows, ("none", "0", "0", "0")])


def describe_memory(compiled: Compiled) -> list[str]:
    """The memory of a device, and what the estimate means."""
    names = {
        "params": "parameters",
        "batch_stats": "running statistics",
        "opt_state": "optimizer state",
        "ema": "moving averages",
        "data": "data set",
        "batch": "batch",
    }
    rows = [("memory of a device", "MB")]
    rows += [(text, _megabytes(compiled.arguments[name])) for name, text in names.items() if compiled.arguments[name]]
    rows += [
        ("temporaries (CPU's)", _megabytes(compiled.temporaries + compiled.results)),
        ("all", _megabytes(compiled.total)),
    ]
    return [
        *_columns(rows),
        f"compiled in {compiled.seconds:.0f} s. Parameters, state and batch take as much memory on any kind of device.",
        "The temporaries are those of XLA's CPU program. An accelerator has other layouts, fusions and workspaces:",
        "take them as a guide. None of this was measured on an accelerator.",
    ]


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f}"


def _columns(rows: list[tuple[str, ...]]) -> list[str]:
    """Rows as lines: the first column to the left, numbers in the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join([f"{row[0]:<{widths[0]}}", *(f"{c:>{w}}" for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
    return [line.rstrip() for line in lines]
