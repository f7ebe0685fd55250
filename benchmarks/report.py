"""Writes the tables of docs/speed.md and README.md from the files in benchmarks/results, or prints them.

No number in them is typed by hand; a test compares the documents with what this writes.
"""

from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from goals import ALLOCATOR, PLAIN, Goal, Spread, all_goals, family, format_value
from rich.console import Console
from shares import KINDS, PRODUCTS
from table import Rows, print_tables, write_markdown

from resnet_alexnet.cli import command, flags
from resnet_alexnet.files import read_json
from resnet_alexnet.speed.windows import format_spread

DESCRIPTION = """Writes the tables of speed from the files of results.

Without a file to write, prints them."""
ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
VERSIONS = ("jax", "torch")  # that the table of steps has
# The marks of docs/speed.md; README.md has the second.
GOALS_MARK, STEPS_MARK, KERNELS_MARK, SHARES_MARK, FLOORS_MARK = "goals", "speed", "kernels", "shares", "floors"


def create_parser() -> command.Parser:
    """Declares the flags of the command."""
    parser = command.Parser("python benchmarks/report.py", DESCRIPTION, usage="[OPTIONS]")
    parser.add_argument(
        "--results", metavar="DIR", type=flags.run_folder, default=RESULTS, help="the folder with the files of results"
    )
    parser.add_argument(
        "--speed", metavar="FILE.md", type=flags.path, help="write the tables to this file, such as docs/speed.md"
    )
    parser.add_argument(
        "--readme", metavar="FILE.md", type=flags.path, help="write the table of steps to this file, such as README.md"
    )
    return parser


def main(arguments: Sequence[str]) -> None:
    """The command."""
    given = create_parser().parse(arguments)
    found = read_results(given.results)
    if given.speed is not None:
        write_markdown(given.speed, [goal_rows(found)], mark=GOALS_MARK)
        write_markdown(given.speed, [step_rows(found)], mark=STEPS_MARK)
        write_markdown(given.speed, [kernel_rows(found)], mark=KERNELS_MARK)
        write_markdown(given.speed, [share_rows(found)], mark=SHARES_MARK)
        write_markdown(given.speed, [floor_rows(found)], mark=FLOORS_MARK)
    if given.readme is not None:
        write_markdown(given.readme, [step_rows(found, short=True)], mark=STEPS_MARK)
    if given.speed is None and given.readme is None:
        tables = (step_rows(found), kernel_rows(found), share_rows(found), floor_rows(found), goal_rows(found))
        print_tables(Console(), *tables)


def read_results(folder: Path) -> dict[str, dict[str, Any]]:
    """The results by the names of their files, with those of the input, which have another folder."""
    files = {file.name: file for file in sorted(folder.glob("*.json"))}
    for goal in all_goals():
        if "/" in goal.file and (folder / goal.file).is_file():
            files[goal.file] = folder / goal.file
    return {name: read_json(file) for name, file in files.items()}


def goal_rows(found: dict[str, dict[str, Any]]) -> Rows:
    """The table of goals."""
    header = ("", "what", "compared with", "goal", "measured, median (min to max)", "", "n", "on", "command")
    rows = []
    for goal in all_goals():
        files = [results for name, results in found.items() if fnmatch(name, goal.file)]
        measured = [(results, value) for results in files if (value := goal.read(results)) is not None]
        rows += [_goal_row(goal, *each) for each in measured] or [_lacking_row(goal)]
    return [header, *rows]


def _lacking_row(goal: Goal) -> tuple[str, ...]:
    lacking = "not measured: needs a GPU" if goal.needs_gpu else "not measured yet"
    return (goal.line, goal.what, goal.beside, goal.text(), lacking, "", "", "", f"`{goal.command}`")


def _goal_row(goal: Goal, results: dict[str, Any], value: Spread) -> tuple[str, ...]:
    measured = "not done in time" if value["median"] == float("inf") else format_value(value, goal)
    reached = "reached" if goal.is_met(value["median"]) else "missed"
    return (
        goal.line,
        goal.what,
        goal.beside,
        goal.text(),
        measured,
        reached,
        str(results["n"]),
        f"{_hardware(results)}, {results['date']}",
        f"`{goal.command}`",
    )


def step_rows(found: dict[str, dict[str, Any]], *, short: bool = False) -> Rows:
    """The table of steps beside torch's; `short` has the medians only."""
    header = ("step", "batch", "ours, images/s", "torch, images/s", "ratio", "on")
    if not short:
        header = (*header[:-1], "ratio by CPU time", "cores busy, ours and torch", "others, %", "n", "on", "versions")
    table = [header]
    for results in found.values():
        if results["benchmark"] == "step":
            table += _step_rows(results, short=short)
    return table


def _step_rows(results: dict[str, Any], *, short: bool) -> list[tuple[str, ...]]:
    """The rows of a file of results of step.py: its training and its inference step, by the clock."""
    settings, lines = results["settings"], {line["name"]: line for line in results["lines"]}
    title = "fastest" if settings["platform"] == "gpu" else "plain"
    by_name, rows = {row["name"]: row for row in results["comparisons"]}, []
    for part in ("training", "inference"):
        row = by_name.get(f"{part}, {title}")
        if row is None:
            continue
        name = f"{settings['model']}, {part}"
        if settings["precision"] != "float32":
            name += f", {settings['precision']}"
        ratio = f"{row['ratio']['median']:.2f}" if short else format_spread(row["ratio"])
        cells = (name, f"{settings['batch_size']:,}", f"{row['ours']:,.4g}", f"{row['peer']:,.4g}", ratio)
        on = f"{_hardware(results)}, {results['date']}"
        if short:
            rows.append((*cells, on))
            continue
        both = [lines[f"ours, {part}"], lines[row["peers"][0]]]
        by_cpu = by_name.get(f"{part}, {title}, by CPU time")
        rows.append(
            (
                *cells,
                format_spread(by_cpu["ratio"]) if by_cpu else "",
                " and ".join(f"{line['busy_cores']:g}" for line in both),
                f"{max(line['others_percent'] for line in both):g}",
                str(results["n"]),
                on,
                ", ".join(f"{name} {value}" for name, value in results["versions"].items() if name in VERSIONS),
            )
        )
    return rows


def kernel_rows(found: dict[str, dict[str, Any]]) -> Rows:
    """The table of convolutions and linear layers alone, beside the whole training steps of the same networks."""
    header = ("step", "batch", *(f"{what}, ms" for what in ("ours alone", "torch's alone", "our step", "torch's step")))
    rows = [(*header, "ratio if all else took no time")]
    for results in found.values():
        settings = results.get("settings", {})
        if results["benchmark"] != "kernels" or (step := found.get(f"step_{settings['model']}_cpu.json")) is None:
            continue
        pair = next(row for row in step["comparisons"] if row["name"] == "training, plain")
        batch = settings["batch_size"]
        whole = [1e3 * batch / pair[side] for side in ("ours", "peer")]
        times = (results["ours"], results["peer"], *whole)
        ratio = f"{whole[1] / results['ours']:.2f}"
        rows.append((settings["model"], f"{batch:,}", *(f"{time:,.0f}" for time in times), ratio))
    return rows


def share_rows(found: dict[str, dict[str, Any]]) -> Rows:
    """The table of what the time of a training step goes to, in percent of it."""
    table: Rows = [("step", "batch", "ms", *(f"{kind}, %" for kind in KINDS), "n", "on")]
    for results in found.values():
        if results["benchmark"] != "shares":
            continue
        settings, ms = results["settings"], {part["kind"]: part["ms"]["median"] for part in results["parts"]}
        shares = (f"{100 * ms[kind] / results['ours']:.1f}" for kind in KINDS)
        on = f"{_hardware(results)}, {results['date']}"
        table.append(
            (
                settings["model"],
                f"{settings['batch_size']:,}",
                f"{results['ours']:,.0f}",
                *shares,
                str(results["n"]),
                on,
            )
        )
    return table


def floor_rows(found: dict[str, dict[str, Any]]) -> Rows:
    """The table of what the goals for a training step on a CPU leave for all that is not one of its products."""
    times = ("ours", "torch's", "goal", "products", "all else", "left for all else")
    table: Rows = [("step", "compared with", *(f"{time}, ms" for time in times), "on")]
    goals = {"plain": ("torch", PLAIN), "allocator": ("torch that keeps freed memory", ALLOCATOR)}
    for name, shares in found.items():
        if shares["benchmark"] != "shares" or (step := found.get(name.replace("shares", "step", 1))) is None:
            continue
        model, batch = shares["settings"]["model"], shares["settings"]["batch_size"]
        products = sum(part["ms"]["median"] for part in shares["parts"] if part["kind"] in PRODUCTS)
        by_name = {row["name"]: row for row in step["comparisons"]}
        for which, (peer, bounds) in goals.items():
            row, bound = by_name.get(f"training, {which}"), bounds.get(family(model))
            if row is None or bound is None:
                continue
            ours, theirs = (1e3 * batch / row[side] for side in ("ours", "peer"))
            goal = theirs / bound
            values = (ours, theirs, goal, products, shares["ours"] - products, goal - products)
            on = f"{_hardware(step)}, {step['date']}"
            table.append((model, peer, *(f"{value:,.0f}" for value in values), on))
    return table


def _hardware(results: dict[str, Any]) -> str:
    """The hardware in a few words."""
    hardware = results["hardware"]
    device = hardware.get("device") or next(iter(hardware.get("devices", ())), "cpu")
    return device if device != "cpu" else f"{hardware['processor']}, {hardware['cores']} cores"


if __name__ == "__main__":
    command.run(main)
