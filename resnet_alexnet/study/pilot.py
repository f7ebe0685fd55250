"""Trial runs of a few steps, which say how much a study can do in a given time."""

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from resnet_alexnet.errors import InputError
from resnet_alexnet.study.budget import SIZES, ArmCost, plan, show_time
from resnet_alexnet.study.design import PHOTOGRAPHS, Budget
from resnet_alexnet.study.execute import PILOT, check_folder, plan_studies, read_planned
from resnet_alexnet.study.execution import Execution
from resnet_alexnet.study.points import Point
from resnet_alexnet.study.runner import Runner
from resnet_alexnet.study.state import RunState, read_state
from resnet_alexnet.workdir.config import LOG_FILE

_STEPS = 8  # of a trial run
_LOG_EVERY = 2  # the first of them compile
_OF_THE_BUDGET = ("num_steps", "preprocess.image_size")
_OWN = {  # fields of trial runs, as words
    "log.every_steps": str(_LOG_EVERY),
    "eval.every_steps": str(_STEPS),
    "eval.test": "never",
    "checkpoint.every_steps": "0",
}


def find_budget(config: str, overrides: Sequence[str], seconds: int, workdir: Path, execution: Execution) -> Budget:
    """The budget of the studies in a folder; of a new folder, from trial runs of every arm, one after the other.

    Args:
        config: of the study, as --config names it.
        overrides: words such as "--config.dataset.data_dir=DIR".
        seconds: for all runs.
        workdir: the folder.
        execution: where runs are done: those of a cluster are tried there.

    Raises:
        InputError: the folder has another budget, a trial run failed, or the time is too short.
    """
    if check_folder(workdir):
        there = read_planned(workdir).budget
        if there is None or there.seconds != seconds:
            was = "no budget" if there is None else f"--budget={show_time(there.seconds)}"
            raise InputError(f"--workdir={workdir} has studies with {was} (give the same, or use another folder)")
        return there
    for field in _OF_THE_BUDGET:
        if given := next((word for word in overrides if word.startswith(f"--config.{field}=")), None):
            raise InputError(f"{given}: with --budget, {field} is what fits into the time (leave one of the two out)")
    trial = Budget(seconds, SIZES[0], _STEPS, 1)
    planned = plan_studies([config], PHOTOGRAPHS, overrides, trial).counted(lambda _: RunState())
    points = [dataclasses.replace(point, words=_shortened(point.words)) for point in planned]
    print(f"trial runs of {_STEPS} steps: {len(points)}", flush=True)
    runner = Runner(workdir / PILOT, dataclasses.replace(execution, jobs=1, gpus=execution.gpus[:1], retries=0))
    costs, started = [], time.monotonic()
    for point in points:
        runner.run([point])
        costs.append(_read_cost(point, workdir / PILOT / point.name))
    batch_size = points[0].config.batch_size
    return plan(seconds, costs, batch_size=batch_size, spent=time.monotonic() - started)


def _shortened(words: Sequence[str]) -> tuple[str, ...]:
    """The words of a run with the fields of trial runs in place of its own."""
    kept = (word for word in words if word.partition("=")[0] not in {f"--config.{name}" for name in _OWN})
    return (*kept, *(f"--config.{name}={value}" for name, value in _OWN.items()))


def _read_cost(point: Point, folder: Path) -> ArmCost:
    """What a trial run took.

    Raises:
        InputError: it did not come to its end.
    """
    state = read_state(folder)
    rates = [line["images_per_second"] for line in state.lines if line.get("images_per_second")]
    if not rates or not state.reached(point.config.num_steps):
        raise InputError(f"{_last_line(folder / LOG_FILE)} (the trial run {folder})")
    last = next(line for line in reversed(state.lines) if line.get("epoch"))
    starts = ("seconds/start", "seconds/compile")
    return ArmCost(
        point.name,
        seconds_per_image=1 / median(rates),
        image_size=point.config.preprocess.image_size or SIZES[-1],
        is_fixed=bool(point.config.finetune.weights),
        start_seconds=sum(line.get(name) or 0.0 for line in state.lines for name in starts),
        image_count=round(last["step"] * point.config.batch_size / last["epoch"]),
    )


def _last_line(log: Path) -> str:
    """The last line that a run printed: its error."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    last = next((line.strip() for line in reversed(lines) if line.strip()), "it has not started")
    return last.removeprefix("error: ")
