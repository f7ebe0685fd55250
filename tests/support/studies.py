"""Study files of tiny runs."""

import json
from pathlib import Path

from configs import default
from resnet_alexnet.workdir.config import flatten
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
