"""The measurement of a recipe's steps as lines for people."""

from collections.abc import Iterator, Mapping
from typing import Any

from resnet_alexnet.speed.windows import format_spread

_TITLES = {"training": "training step", "inference": "inference step", "one image": "inference step, one image"}


def tables(results: Mapping[str, Any]) -> Iterator[tuple[str, list[tuple[str, object]]]]:
    """The tables of the results of `measure`, each as a title and its rows, (name, value)."""
    settings, devices = results["settings"], results["hardware"]["devices"]
    for name, line in results["steps"].items():
        yield _TITLES[name], list(_step_rows(line))
    roofline = results["roofline"]
    rows: list[tuple[str, object]] = [
        ("network", f"{results['what'].partition(',')[0]}, batch {settings['batch_size']}, {settings['precision']}"),
        ("device", f"{len(devices)} x {devices[0]}, {results['hardware']['cores']} CPU cores"),
        ("copies memory at", f"{roofline['bytes_per_second'] / 1e9:,.4g} GB/s, read and written"),
        ("multiplies matrices at", f"{roofline['flops_per_second'] / 1e12:,.3g} TFLOP/s"),
        ("peak memory", f"{results['peak_megabytes']:,} MB, compilation included"),
    ]
    if results["device_megabytes"]:
        rows.append(("peak memory of a device", f"{results['device_megabytes']:,} MB"))
    yield "this machine", rows


def _step_rows(line: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    yield "images/s, median (min to max)", format_spread(line["images_per_second"])
    yield "ms a step", format_spread(line["milliseconds"])
    yield "images per second of CPU time", format_spread(line["images_per_cpu_second"])
    yield "cores busy", line["busy_cores"]
    limit = f"{line['percent_of_limit']:g} % of {line['limit_images_per_second']:,.4g} images/s"
    yield "of the measured roofline", limit
    yield "work for an image, by hand", _work(line["gigaflops_per_image"], line["megabytes_per_image"])
    if line["compiled_gigaflops_per_image"]:
        compiled = _work(line["compiled_gigaflops_per_image"], line["compiled_megabytes_per_image"])
        yield "work for an image, by XLA", compiled
    yield "to trace and compile", f"{line['trace_seconds']:g} s and {line['compile_seconds']:g} s"
    if "init_seconds" in line:
        yield "to initialize", f"{line['init_seconds']:g} s"


def _work(gigaflops: float, megabytes: float) -> str:
    return f"{gigaflops:,.4g} GFLOP, {megabytes:,.4g} MB"
