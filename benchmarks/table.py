"""Tables of a benchmark's results, for a terminal and for Markdown."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from memory import LIFETIME
from rich.console import Console
from rich.table import Table

from resnet_alexnet.speed.windows import format_spread
from resnet_alexnet.study.tables import Rows, read_document, replace_region, to_markdown, write_document


def lines_rows(results: Mapping[str, Any], *, unit: str = "images") -> Rows:
    """Returns the table of lines: name, description, cores and throughput."""
    header = (
        "line",
        "description",
        "cores",
        f"{unit}/s, median (min to max)",
        f"{unit} per second of CPU time",
        "other processes, % of CPU time",
    )
    return [
        header,
        *(
            (
                line["name"],
                line["about"],
                str(line["cores"]),
                format_spread(line["images_per_second"]),
                f"{line['images_per_cpu_second']['median']:,.0f}" if line["images_per_cpu_second"] else "",
                f"{line['others_percent']:g}",
            )
            for line in results["lines"]
        ),
    ]


def comparisons_rows(results: Mapping[str, Any], *, unit: str = "images") -> Rows:
    """Returns the table of comparisons: throughputs, ratio and goal."""
    header = ("comparison", f"ours, {unit}/s", f"peer, {unit}/s", "ratio, median (min to max)", "goal", "")
    return [
        header,
        *(
            (
                row["name"],
                f"{row['ours']:,.0f}",
                f"{row['peer']:,.0f}",
                format_spread(row["ratio"]),
                "" if row["goal"] is None else f"{row['goal']:g}",
                {True: "reached", False: "missed", None: ""}[row["met"]],
            )
            for row in results["comparisons"]
        ),
    ]


def memory_rows(results: Mapping[str, Any]) -> Rows:
    """Returns the table of loaders with many workers: time to the first batch, and memory."""
    header = (
        "loader",
        "first batch, s",
        "MB after the first round",
        "MB after the last round",
        "maximum MB",
        "MB of the largest worker",
    )
    return [
        header,
        *([line["name"], *(f"{value:,}" for value in list(line.values())[1:])] for line in results["memory"]),
    ]


def lifetimes_rows(results: Mapping[str, Any]) -> Rows:
    """Returns the table of worker processes: start, memory and end."""
    header = (
        "worker processes",
        "starts",
        "first batch, s",
        "CPU time of the workers until then, s",
        "MB of all processes",
        "MB of the largest worker",
        "processes left after SIGKILL",
        "shared memory names left",
    )
    return [
        header,
        *(
            (
                row["name"],
                str(row["starts"]),
                *(format_spread(row[key]) for key in LIFETIME[:4]),
                *(f"{row[key]['median']:g}" for key in LIFETIME[4:]),
            )
            for row in results.get("lifetimes", ())
        ),
    ]


def setup_rows(results: Mapping[str, Any]) -> Rows:
    """Returns the table of hardware, data, settings and versions."""
    hardware, photos, settings = results["hardware"], results["photos"], results["settings"]
    subsampling = ", ".join(f"{count} {name}" for name, count in photos["subsampling"].items())
    return [
        ("measured", results["date"]),
        ("processor", f"{hardware['processor']}, {hardware['cores']} cores, load {hardware['load_before']} before"),
        ("system", hardware["platform"]),
        (
            "photographs",
            f"{photos['count']} JPEG files ({subsampling}), {photos['mean_pixels']:,} pixels and "
            f"{photos['mean_bytes']:,} bytes on average",
        ),
        ("settings", ", ".join(f"{name} {value}" for name, value in settings.items())),
        ("versions", ", ".join(f"{name} {version}" for name, version in results["versions"].items())),
    ]


def step_lines_rows(results: Mapping[str, Any]) -> Rows:
    """Returns the table of the lines of steps: throughput, busy cores and memory."""
    header = (
        "line",
        "description",
        "images/s, median (min to max)",
        "images per second of CPU time",
        "cores busy",
        "peak MB",
        "other processes, % of CPU time",
    )
    return [
        header,
        *(
            (
                line["name"],
                line["about"],
                format_spread(line["images_per_second"]),
                f"{line['images_per_cpu_second']['median']:,.4g}",
                f"{line['busy_cores']:g}",
                f"{line.get('device_megabytes') or line['peak_megabytes'] or 0:,.0f}",
                f"{line['others_percent']:g}",
            )
            for line in results["lines"]
        ),
    ]


def step_setup_rows(results: Mapping[str, Any]) -> Rows:
    """Returns the table of what was measured, hardware, versions and checks."""
    hardware = results["hardware"]
    memory = [
        f"{part} {row['ours']:,} MB, torch {row['peer']:,} MB, ratio {row['ratio']:g}"
        for part, row in results["memory"].items()
    ]
    return [
        ("measured", f"{results['what']}, {results['date']}"),
        ("processor", f"{hardware['processor']}, {hardware['cores']} cores, load {hardware['load_before']} before"),
        ("device", str(hardware["device"])),
        ("rounds", str(results["n"])),
        ("compared first", "; ".join(results["checks"]) or "nothing: torch is not there"),
        ("peak memory", "; ".join(memory) or "not compared"),
        ("versions", ", ".join(f"{name} {version}" for name, version in results["versions"].items())),
    ]


def print_tables(console: Console, *tables: Rows) -> None:
    """Prints the tables, on a terminal as wide as that, else as Markdown."""
    for header, *rows in tables:
        if not console.is_terminal:
            print(to_markdown([header, *rows]))
            continue
        table = Table(*header)
        for row in rows:
            table.add_row(*row)
        console.print(table)


def write_markdown(path: Path, tables: Sequence[Rows], *, mark: str) -> None:
    """Writes the tables between the marks <!-- MARK --> and <!-- /MARK --> of a Markdown file.

    Raises:
        InputError: the file cannot be read or has no marks.
    """
    new = "\n".join(["", *map(to_markdown, tables), ""])
    write_document(path, replace_region(read_document(path), mark, new, path=path))
