"""Successive halving: after some steps, only the best settings of a sweep go on."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean

from resnet_alexnet.errors import InputError
from resnet_alexnet.study.points import Point, Sweep
from resnet_alexnet.study.state import read_state


def check_rungs(sweep: Sweep, rungs: Sequence[int]) -> None:
    """Checks that runs can be compared after `rungs` steps and then go on.

    Raises:
        InputError: the steps do not rise or reach beyond a run, the points differ in num_steps, or their learning rate
            depends on it: the first steps of a longer run would not be those of the shorter one.
    """
    for point in sweep.points:
        steps = point.config.num_steps
        if list(rungs) != sorted(set(rungs)) or rungs[-1] >= steps:
            raise InputError(f"--rungs={','.join(map(str, rungs))} (allowed: rising steps below num_steps, {steps})")
        if steps != sweep.points[0].config.num_steps:
            raise InputError(f"--rungs: the points differ in num_steps, as {point.name}: they cannot be compared")
        if point.depends_on_num_steps:
            raise InputError(
                f"--rungs: the learning rate of {point.name} depends on num_steps, by schedule.name='cosine' "
                "(allowed: constant, steps, plateau, as with --config.schedule.name=constant)"
            )


def run_rungs(
    sweep: Sweep,
    workdir: Path,
    rungs: Sequence[int],
    *,
    reduction_factor: int,
    run: Callable[[Sequence[Point], int], None],
    say: Callable[[str], object],
) -> None:
    """Runs all points to the first rung, the best of them to the second, and so on; the last ones run to their end.

    A setting goes on with all its seeds, by its mean validation error after the steps of the rung. One in
    `reduction_factor` goes on, rounded up. A point that failed takes its setting out. What is decided depends only on
    what the runs wrote, so that a sweep that is started again decides the same.

    Args:
        sweep: the points.
        workdir: the folder of the sweep.
        rungs: the steps after which settings are compared; see `check_rungs`.
        reduction_factor: of how many settings one goes on.
        run: takes points to a number of steps.
        say: prints a message.

    Source: Jamieson and Talwalkar 2016.
    """
    points = list(sweep.points)
    for rung in rungs:
        run([point for point in points if read_state(workdir / point.name).error(at=rung) is None], rung)
        kept = best_settings(points, {point.name: read_state(workdir / point.name).error(at=rung) for point in points})
        kept = kept[: math.ceil(len({point.setting for point in points}) / reduction_factor)]
        dropped = [point.name for point in points if point.setting not in kept]
        points = [point for point in points if point.setting in kept]
        say(f"step {rung}: {len(points)} points go on; stopped early: {'; '.join(dropped) or 'none'}")
    run(points, sweep.points[0].config.num_steps)


def best_settings(points: Sequence[Point], errors: Mapping[str, float | None]) -> list[tuple]:
    """The settings of which every point has an error, the lowest mean first; at equal means, in the sweep's order."""
    by_setting: dict[tuple, list[float | None]] = {}
    for point in points:
        by_setting.setdefault(point.setting, []).append(errors[point.name])
    means = {
        setting: fmean(error for error in values if error is not None)
        for setting, values in by_setting.items()
        if None not in values
    }
    return sorted(means, key=means.__getitem__)
