"""Measures input throughput, ours against torchvision's and tf.data's, and how much of it the training loop keeps.

The last line of the output is one JSON object. See benchmarks/README.md.
"""

import datetime
import json
import os
import platform
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import input_lines
import numpy as np
import simplejpeg
from memory import lifetimes, measure_memory
from rich.console import Console
from rich.progress import Progress
from rounds import Line, Measured, Quiet, interleave
from table import (
    Rows,
    comparisons_rows,
    lifetimes_rows,
    lines_rows,
    memory_rows,
    print_tables,
    setup_rows,
    write_markdown,
)

from resnet_alexnet.cli import command, flags
from resnet_alexnet.errors import InputError
from resnet_alexnet.speed import machine

DESCRIPTION = """Measures input throughput: photographs to batches.

Compares ours with torchvision's and tf.data's, and measures how much of it the
training loop keeps. The last line of the output is a JSON object."""
NUMBERS = {
    "size": (224, "side of the crops, in pixels"),
    "batch_size": (64, "images per batch"),
    "images": (512, "images per line and round; four times as many for loaders and loops"),
    "rounds": (10, "rounds; every line runs once in each"),
    "quiet": (0, "seconds to spend, in total, on repeating turns that other processes disturbed"),
    "workers": (2, "worker processes or threads of the lines with several, and cores that they may use"),
}
PARTS = ("core", "loaders", "loop", "memory", "forms")
SUFFIXES = (".jpg", ".jpeg")
PEERS = {"torch_python": "torch", "tf_python": "tf"}


def create_parser() -> command.Parser:
    """Declares the flags of the command."""
    usage = "(--photos=DIR|ZIP [OPTIONS] | --results=FILE.json --markdown=FILE.md)"
    parser = command.Parser("python benchmarks/input.py", DESCRIPTION, usage=usage)
    parser.add_argument(
        "--photos", metavar="DIR|ZIP", default="", help="JPEGs: a folder, searched recursively, or a zip archive"
    )
    for name, (default, text) in NUMBERS.items():
        kind = flags.whole_number(min(default, 1))
        parser.add_argument(f"--{name}", metavar="N", type=kind, default=default, help=text)
    kind, shown = flags.list_of(flags.one_of(PARTS)), ",".join(PARTS)
    parser.add_argument("--parts", metavar="PART,...", type=kind, default=PARTS, help=f"parts to measure, of {shown}")
    for flag, name in PEERS.items():
        text = f"Python with benchmarks/requirements-{name}.txt; without it, {name} is left out"
        parser.add_argument(f"--{flag}", metavar="FILE", default="", help=text)
    text = "JSON file for the results, which are also the last line printed"
    parser.add_argument("--results", metavar="FILE.json", type=flags.path, help=text)
    text = "write the tables of --results to this file, between <!-- RESULTS --> and <!-- /RESULTS -->; measure nothing"
    parser.add_argument("--markdown", metavar="FILE.md", type=flags.path, help=text)
    return parser


def main(arguments: Sequence[str]) -> None:
    """The command."""
    given = vars(create_parser().parse(arguments))
    if given["markdown"]:
        if given["results"] is None:
            raise InputError("--results is missing: the file whose tables to write, such as --results=input.json")
        results = given["results"]
        write_markdown(given["markdown"], _tables(_read_results(results)), mark=results.stem)
        return
    numbers, parts = {name: given[name] for name in NUMBERS}, given["parts"]
    if numbers["images"] % numbers["batch_size"]:
        raise InputError(f"--images={numbers['images']} is not a multiple of --batch_size={numbers['batch_size']}")
    if given["results"] and not given["results"].parent.is_dir():
        raise InputError(f"--results={given['results']}: the folder does not exist; create it first")
    console = Console(stderr=True)
    for flag, name in PEERS.items():
        if given[flag] and not Path(given[flag]).is_file():
            raise InputError(f"--{flag}={given[flag]} is not a file: give the Python of an environment for this peer")
        if not given[flag]:
            console.print(f"{name} is left out; to include it, see benchmarks/requirements-{name}.txt and --{flag}")
    with tempfile.TemporaryDirectory() as folder:
        photos = _gather_photos(given["photos"], Path(folder), numbers["batch_size"])
        setting = input_lines.Setting(
            folder=folder,
            cores=machine.cores()[-numbers["workers"] :],
            torch_python=given["torch_python"],
            tf_python=given["tf_python"],
            **{name: numbers[name] for name in ("size", "batch_size", "workers")},
        )
        load = os.getloadavg()[0]
        measured = _measure(setting, parts, numbers, console)
        memory = _measure_memory(setting, numbers) if "memory" in parts else []
        ends = _lifetimes(setting, numbers, console) if "forms" in parts else []
    results = _results(setting, numbers, photos, measured) | {"memory": memory, "lifetimes": ends}
    results["hardware"]["load_before"] = round(load, 2)
    if given["results"]:
        given["results"].write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print_tables(Console(), *_tables(results))
    print(json.dumps(results))


def _measure(
    setting: input_lines.Setting, parts: Sequence[str], numbers: dict[str, int], console: Console
) -> dict[str, Measured]:
    """Measures every line of the chosen parts. The lines of a part are interleaved."""
    rounds, many = numbers["rounds"], input_lines.LOOP_IMAGES * numbers["images"]
    quiet = Quiet(numbers["quiet"])
    measured: dict[str, Measured] = {}
    with Progress(console=console) as progress:

        def part(name: str, lines: list[Line], images: int, rounds: int = rounds) -> dict[str, Measured]:
            task = progress.add_task(name, total=len(lines) * (rounds + 1))
            return interleave(lines, images=images, rounds=rounds, quiet=quiet, tick=lambda: progress.advance(task))

        if "core" in parts:
            measured |= part("one core", input_lines.core_lines(setting), numbers["images"])
        if "loaders" in parts:
            measured |= part("loaders", input_lines.loader_lines(setting), many)
        if "forms" in parts:
            measured |= part("partial decoding", input_lines.form_lines(setting), numbers["images"])
            measured |= part("processes", input_lines.process_lines(setting, setting.workers), many)
        if "loop" in parts:
            alone = part("input alone, for the stand-in's step", [input_lines.input_alone(setting)], many, rounds=3)
            (throughput,) = (line.summary()["images_per_second"]["median"] for line in alone.values())
            measured |= part("the loop", input_lines.loop_lines(setting, throughput), many)
    return measured


def _measure_memory(setting: input_lines.Setting, numbers: dict[str, int]) -> list[dict[str, Any]]:
    """Measures start-up time and memory of loaders with many worker processes."""
    batch = numbers["batch_size"]
    images = input_lines.MANY * batch  # one batch per worker
    return [
        measure_memory(line, batch=batch, images=images, rounds=numbers["rounds"])
        for line in input_lines.memory_lines(setting)
    ]


def _lifetimes(setting: input_lines.Setting, numbers: dict[str, int], console: Console) -> list[dict[str, Any]]:
    """Measures start, memory and end of our worker processes and of Grain's."""
    lines, batch = input_lines.process_lines(setting, input_lines.MANY), numbers["batch_size"]
    with Progress(console=console) as progress:
        task = progress.add_task("starts", total=len(lines) * numbers["rounds"])
        return lifetimes(
            lines,
            batch=batch,
            images=2 * input_lines.MANY * batch,
            starts=numbers["rounds"],
            tick=lambda: progress.advance(task),
        )


def _tables(results: dict[str, Any]) -> list[Rows]:
    """Returns the tables of the parts that were measured."""
    tables = [f(results) for f in (setup_rows, comparisons_rows, lines_rows, memory_rows, lifetimes_rows)]
    return [table for table in tables if len(table) > 1]


def _results(
    setting: input_lines.Setting, numbers: dict[str, int], photos: dict[str, Any], measured: dict[str, Measured]
) -> dict[str, Any]:
    found = [row for comparison in input_lines.comparisons(setting) if (row := comparison.of(measured))]
    first = found[0] if found else {"ours": None, "peer": None, "ratio": {"median": None}}
    versions = {"python": platform.python_version()}
    for line in measured.values():
        versions |= line.side["versions"]
    return {
        "benchmark": "input",
        "date": datetime.date.today().isoformat(),
        "ours": first["ours"],
        "peer": first["peer"],
        "ratio": first["ratio"]["median"],
        "n": numbers["rounds"],
        "settings": numbers,
        "photos": photos,
        "comparisons": found,
        "lines": [line.summary() for line in measured.values()],
        "hardware": {"processor": machine.processor(), "cores": os.cpu_count(), "platform": platform.platform()},
        "versions": versions,
    }


def _gather_photos(photos: str, folder: Path, batch_size: int) -> dict[str, Any]:
    """Copies the JPEG files of a folder or zip archive into the image folder `folder`. Returns statistics of the files.

    Raises:
        InputError: there are too few photographs, or a file is not a JPEG.
    """
    if not photos:
        raise InputError("--photos is missing: a folder or a zip archive of JPEG photographs")
    files = list(_files(Path(photos)))
    if len(files) < batch_size:
        raise InputError(f"--photos={photos} has {len(files)} JPEG photographs, fewer than --batch_size={batch_size}")
    shapes = []
    for number, (name, data) in enumerate(files):
        try:
            shapes.append(simplejpeg.decode_jpeg_header(data))
        except ValueError as error:
            raise InputError(f"--photos={photos}: {name} is not a JPEG ({error})") from None
        path = folder / "train" / str(number % 2) / f"{number:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return {
        "count": len(files),
        "mean_bytes": round(np.mean([len(data) for _, data in files])),
        "mean_pixels": round(np.mean([height * width for height, width, *_ in shapes])),
        "subsampling": dict(Counter(subsampling for *_, subsampling in shapes).most_common()),
    }


def _files(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yields name and content of each JPEG file in a folder or zip archive."""
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.suffix.lower() in SUFFIXES and file.is_file():
                yield file.name, file.read_bytes()
        return
    try:
        with zipfile.ZipFile(path) as archive:
            for name in sorted(archive.namelist()):
                if name.lower().endswith(SUFFIXES):
                    yield name, archive.read(name)
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(f"--photos={path} is neither a folder nor a zip archive: {error}") from None


def _read_results(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"--results={path} is not a result of this benchmark: {error}") from None


if __name__ == "__main__":
    command.run(main)
