"""A model of the step time of data-parallel training on many hosts, from rates that were measured elsewhere.

It measures nothing: it computes a table from the bytes of a network's all-reduce and the rates on the command line. The
last line is the table as JSON. docs/scaling.md has the model and its sources.
"""

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

TRAIN_IMAGES = 1_281_167  # ImageNet
BYTES = 4  # of a float32: parameters, gradients and statistics


@dataclass(frozen=True)
class Network:
    """The sizes of a network, in numbers of floats.

    Attributes:
        parameters: its parameters.
        statistics: its running statistics.
    """

    parameters: int
    statistics: int

    @property
    def reduced_bytes(self) -> int:
        """Bytes that a step reduces over all devices: gradients, running statistics, the loss and four sums."""
        return BYTES * (self.parameters + self.statistics + 5)

    @property
    def checkpoint_bytes(self) -> int:
        """Bytes of a checkpoint: parameters, momentum and running statistics."""
        return BYTES * (2 * self.parameters + self.statistics)


@dataclass(frozen=True)
class Rates:
    """What the model is computed from; see the flags."""

    images_per_second: float
    device_batch_size: int
    devices: int
    host_link: float
    link: float
    latency: float
    messages: int
    image_bytes: float
    images_per_core: float
    write: float


@dataclass(frozen=True)
class Row:
    """The table's line for a number of hosts. Times are in milliseconds, rates in images or gigabytes per second."""

    hosts: int
    batch_size: int
    all_reduce_ms: float
    step_ms: float
    efficiency_percent: float
    overlapped_efficiency_percent: float
    images_per_second: float
    epoch_seconds: float
    shared_storage_gb_per_second: float
    checkpoint_seconds: float


def all_reduce_seconds(size: float, hosts: int, rates: Rates) -> float:
    """Time to reduce `size` bytes: rings within the hosts, and a ring over the hosts for each device's share.

    Source: Patarasuk and Yuan 2009; the busbw of nccl-tests, doc/PERFORMANCE.md.
    """
    inside, shares = 2 * (rates.devices - 1) / rates.devices * size, 2 * (hosts - 1) / hosts * size / rates.devices
    latency = rates.messages * rates.latency * math.log2(max(1, hosts * rates.devices))
    return inside / rates.host_link + shares / rates.link + latency


def predict(network: Network, hosts: int, rates: Rates) -> Row:
    """The step on `hosts` hosts, of as many images per device as on one."""
    compute = rates.device_batch_size / rates.images_per_second
    reduce = all_reduce_seconds(network.reduced_bytes, hosts, rates)
    devices = hosts * rates.devices
    step = compute + reduce
    # At best the backward pass, two thirds of the arithmetic, hides the all-reduce, except for its last message.
    hidden = min(reduce * (1 - 1 / rates.messages), 2 / 3 * compute)
    return Row(
        hosts=hosts,
        batch_size=devices * rates.device_batch_size,
        all_reduce_ms=1e3 * reduce,
        step_ms=1e3 * step,
        efficiency_percent=100 * compute / step,
        overlapped_efficiency_percent=100 * compute / (step - hidden),
        images_per_second=devices * rates.device_batch_size / step,
        epoch_seconds=TRAIN_IMAGES * step / (devices * rates.device_batch_size),
        shared_storage_gb_per_second=devices * rates.device_batch_size / step * rates.image_bytes / 1e9,
        checkpoint_seconds=network.checkpoint_bytes / rates.write,
    )


def limits(network: Network, rates: Rates, *, largest_batch: int, storage: float) -> dict[str, str]:
    """What becomes the limit, and at how many hosts; in the order of the doc."""
    one = predict(network, 1, rates)
    needed = rates.devices * rates.images_per_second
    epoch = TRAIN_IMAGES / needed  # seconds on one host
    return {
        "cores to decode JPEGs": f"{needed / rates.images_per_core:,.0f} on each host, at any number of hosts",
        "shared storage": f"{storage * 1e9 / (needed * rates.image_bytes):,.1f} hosts",
        "batch": f"{largest_batch / one.batch_size:,.1f} hosts, at {largest_batch:,} images",
        "checkpoint of every epoch": f"{epoch / one.checkpoint_seconds:,.0f} hosts",
        "all-reduce": f"at most {all_reduce_seconds(network.reduced_bytes, 10**6, rates) * 1e3:,.1f} ms on 10^6 hosts",
    }


def measure_network(name: str) -> Network:
    """The sizes of one of our networks for ImageNet."""
    import jax
    from flax import nnx

    from resnet_alexnet import models

    model = nnx.eval_shape(lambda: models.create_model(name, num_classes=1000, rngs=nnx.Rngs(0)))
    sizes = (
        sum(leaf.size for leaf in jax.tree.leaves(nnx.to_pure_dict(nnx.state(model, kind))))
        for kind in (nnx.Param, nnx.BatchStat)
    )
    return Network(*sizes)


def markdown(rows: Sequence[Row]) -> list[str]:
    """The table of the doc."""
    header = (
        "hosts",
        "batch",
        "all-reduce, ms",
        "step, ms",
        "efficiency, %",
        "with overlap, %",
        "images/s",
        "epoch, s",
        "storage, GB/s",
    )
    lines = [header, ("---:",) * len(header)]
    lines += [
        (
            f"{row.hosts:,}",
            f"{row.batch_size:,}",
            f"{row.all_reduce_ms:.2f}",
            f"{row.step_ms:.1f}",
            f"{row.efficiency_percent:.1f}",
            f"{row.overlapped_efficiency_percent:.1f}",
            f"{row.images_per_second:,.0f}",
            f"{row.epoch_seconds:.1f}",
            f"{row.shared_storage_gb_per_second:,.1f}",
        )
        for row in rows
    ]
    return ["| " + " | ".join(line) + " |" for line in lines]


def create_parser() -> argparse.ArgumentParser:
    """The flags: one for each rate, with its source in docs/scaling.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="resnet50", help="one of resnet_alexnet.models.MODELS")
    parser.add_argument("--images_per_second", type=float, required=True, help="of one device, measured alone")
    parser.add_argument(
        "--device_batch_size", type=int, required=True, help="images per device, at which it was measured"
    )
    parser.add_argument("--hosts", default="1,2,4,8,16,32,64", help="numbers of hosts")
    parser.add_argument("--devices", type=int, default=8, help="per host")
    parser.add_argument("--host_link", type=float, default=370, help="GB/s from a device to the others of its host")
    parser.add_argument("--link", type=float, default=48, help="GB/s from a device to other hosts")
    parser.add_argument("--latency", type=float, default=12, help="microseconds, times log2 of the devices")
    parser.add_argument("--messages", type=int, default=2, help="all-reduces of a step, after XLA has combined them")
    parser.add_argument("--image_bytes", type=float, default=101_466, help="of a photograph on disk")
    parser.add_argument(
        "--images_per_core", type=float, default=853, help="photographs that a core decodes in a second"
    )
    parser.add_argument("--storage", type=float, default=10, help="GB/s that a file system gives to all hosts together")
    parser.add_argument("--write", type=float, default=1, help="GB/s at which a checkpoint is written")
    parser.add_argument("--largest_batch", type=int, default=8192, help="images per step with which the recipe works")
    return parser


def main(words: Sequence[str] | None = None) -> None:
    """Prints the table, the limits, and both as JSON."""
    options = create_parser().parse_args(words)
    network = measure_network(options.model)
    rates = Rates(
        images_per_second=options.images_per_second,
        device_batch_size=options.device_batch_size,
        devices=options.devices,
        host_link=1e9 * options.host_link,
        link=1e9 * options.link,
        latency=1e-6 * options.latency,
        messages=options.messages,
        image_bytes=options.image_bytes,
        images_per_core=options.images_per_core,
        write=1e9 * options.write,
    )
    rows = [predict(network, int(hosts), rates) for hosts in options.hosts.split(",")]
    found = limits(network, rates, largest_batch=options.largest_batch, storage=options.storage)
    print(f"{options.model}: {network.reduced_bytes:,} bytes are reduced in a step, on any number of devices\n")
    print("\n".join(markdown(rows)) + "\n")
    print(
        "\n".join(
            ["| limit | reached at |", "| --- | --- |", *(f"| {name} | {text} |" for name, text in found.items())]
        )
    )
    print("\n" + json.dumps({"model": options.model, "rates": asdict(rates), "rows": [asdict(row) for row in rows]}))


if __name__ == "__main__":
    main()
