"""Study files of tiny runs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from configs import default
from resnet_alexnet.study.execute import Planned, ensemble_folder, ensembles, plan_studies, state_of
from resnet_alexnet.study.points import Point
from resnet_alexnet.workdir.config import flatten, to_json
from tests.support import tiny

HEAD = """
from resnet_alexnet.study.design import Arm, Comparison, ScaleError, Study

FIELDS = {fields!r}


def arm(name, rates=(0.1,), **fields):
    own = {{field.replace("__", "."): value for field, value in fields.items()}}
    return Arm(name, "default", {{**FIELDS, **own}}, rates)


def compare(metric, larger, smaller, **options):
    return Comparison("One is larger.", metric, larger=larger, smaller=smaller, margin=1.0, source="a test", **options)


def create_study(scale):
"""


def write_study(path: Path, body: str, **fields: object) -> Path:
    """A study file over the tiny recipe; `body` is that of create_study(scale), in lines that are indented once."""
    known = flatten(default.get_config().to_dict())
    own = {name: value for name, value in flatten(tiny.config().to_dict()).items() if value != known[name]}
    path.write_text(
        HEAD.format(fields={**own, "num_steps": 10, "log.every_steps": 5, "schedule.name": "constant", **fields}) + body
    )
    return path


TWO_ARMS = """
    return Study(
        title="Two widths",
        question="Is the wider network better?",
        arms=[
            arm("narrow", (0.01, 0.1), model__width=4),
            arm("wide", (0.01, 0.1), model__width=8),
            Arm("both", members=("narrow", "wide")),
        ],
        comparisons=[compare("test_error", "narrow", "wide"), compare("train_error", "narrow", "wide")],
        seeds=2,
    )
"""


def write_metrics(folder: Path, *, error: float | None, steps: int, end: str = "finished", **last: float) -> None:
    """A run folder that has only metrics.jsonl."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [{"step": steps, "epoch": 1.0, **({} if error is None else {"val/top1_error": error}), **last}]
    lines += [{"step": steps, end: True}] if end else []
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def write_runs(workdir: Path, file: Path, *, error: Callable[[Any], float | None], scale: str = "cpu") -> Planned:
    """A folder of a study whose runs are done: run folders without checkpoints, and what was measured of them.

    Args:
        workdir: the folder.
        file: the study file.
        error: of a config, the errors in percent of its run; None for a run that diverged.
        scale: of the study.
    """
    planned = plan_studies([str(file)], scale)
    workdir.mkdir(parents=True)
    (workdir / "studies.json").write_text(json.dumps({"scale": scale, "studies": [str(file)], "overrides": []}))
    for point in planned.tuning():
        write_run(workdir, point, error(point.config))
    for point in planned.counted(lambda point: state_of(workdir, point)):
        write_run(workdir, point, error(point.config))
    for plan in planned.plans:
        for _, seeds in ensembles(plan, workdir):
            for members in seeds:
                folder = ensemble_folder(workdir, members)
                folder.mkdir(parents=True)
                (folder / "report.json").write_text('{"top1_error": 7.0, "images": 100}')
    return planned


def write_run(workdir: Path, point: Point, error: float | None) -> Path:
    """A run folder, as `write_runs` has them."""
    folder, steps = workdir / "runs" / point.name, point.config.num_steps
    lines: list[dict[str, Any]] = [{"step": 0, "epoch": 0.0, "start": 1}]
    for step in range(2, steps + 1, 2):
        now = 50.0 if error is None else error + 2 * (steps - step)
        epoch = {"step": step, "epoch": step / 10}
        lines.append({**epoch, "train/top1_error": now, "images_per_second": 100.0, "seconds/steps": 1.5})
        lines.append({**epoch, "val/top1_error": now + 1})
    if error is not None and point.config.eval.test == "end":
        lines.append({"step": steps, "epoch": steps / 10, "test/top1_error": error + 2})
    lines.append({"step": steps, "diverged" if error is None else "finished": True})
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "config.json").write_text(json.dumps(to_json(point.config)))
    environment = {"versions": {"jax": "0.10.2"}, "git_commit": "0123abc", "devices": ["cpu"], "cpu_count": 2}
    (folder / "environment.json").write_text(json.dumps(environment))
    for name, value in (("training", error), ("test", None if error is None else error + 2)):
        if value is not None and point.config.eval.test == "end":
            (folder / "measured" / name).mkdir(parents=True)
            (folder / "measured" / name / "report.json").write_text(json.dumps({"top1_error": value, "images": 100}))
    if point.config.seed == 1:
        (folder / "measured" / "cost").mkdir(parents=True)
        cost = {"parameters": 1000, "multiply_adds": 1e6, "memory": 2e6, "images_per_second": 200.0, "batch_size": 16}
        (folder / "measured" / "cost" / "cost.json").write_text(json.dumps(cost))
    return folder


def error_of(config: Any) -> float:
    """Narrow networks have 30 %, wide ones 20; a larger learning rate is worse; seeds differ a little."""
    worse = 5 if config.optim.learning_rate > 0.05 else 0
    return (30 if config.model.width == 4 else 20) + worse + 0.1 * config.seed
