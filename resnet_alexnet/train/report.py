"""What a run says of its data when it starts, and of its result when it ends."""

import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from resnet_alexnet.cli.command import command_words
from resnet_alexnet.cli.progress import print_summary
from resnet_alexnet.data.arrays import ArraySource
from resnet_alexnet.data.photos import PhotoSource
from resnet_alexnet.data.readers.imagenet_classes import display_name
from resnet_alexnet.data.sources import Source, Splits
from resnet_alexnet.errors import InputError
from resnet_alexnet.files import read_json
from resnet_alexnet.plots import curves
from resnet_alexnet.workdir import checkpoint
from resnet_alexnet.workdir.config import CONFIG_FILE
from resnet_alexnet.workdir.folder import last_checkpoint
from resnet_alexnet.workdir.goodput import read_goodput
from resnet_alexnet.workdir.metrics_log import METRICS_FILE, TEST_ERROR, VAL_ERROR, read_metrics

_MOST_CLASSES = 12  # that are named with their counts
_IMBALANCE = 10  # times as many images in the largest class as in the smallest: worth a notice
_SPLITS = {"val": "validation"}  # that metrics name otherwise than checkpoints
_RESULTS = (("test", "test error"), ("val", "validation error"), ("train", "training error"))


def describe_data(splits: Splits, dataset: Mapping[str, Any]) -> list[str]:
    """Lines about the data: the folder, the images of each split, the classes and their training images."""
    sizes = [f"{len(source):,} {name}" for name, source in _named(splits).items()]
    lines = [f"images: {', '.join(sizes)}" + (f", in {dataset['data_dir']}" if dataset["data_dir"] else "")]
    names, counts = list(map(display_name, splits.train.classes)), class_counts(splits.train)
    title, rest = f"{len(names):,} classes", len(names) - _MOST_CLASSES
    if counts is not None and rest > 0:
        title += f" of {counts.min():,} to {counts.max():,} training images"
    elif counts is not None:
        names = [f"{name} ({count:,})" for name, count in zip(names, counts, strict=True)]
        title += " (training images)"
    listed = ", ".join(names[:_MOST_CLASSES]) + (f" and {rest:,} more" if rest > 0 else "")
    return [*lines, f"{title}: {listed}", *([] if counts is None else _imbalance(splits.train.classes, counts))]


def _imbalance(names: Sequence[str], counts: Int[np.ndarray, "classes"]) -> list[str]:
    """A notice if some class has many times the training images of another."""
    most, least = int(counts.argmax()), int(counts.argmin())
    if counts[most] <= _IMBALANCE * counts[least]:
        return []
    large, small = display_name(names[most]), display_name(names[least])
    return [
        f"notice: {large} has {counts[most]:,} training images, {small} {counts[least]:,}: the error may be low "
        f"although {small} is never predicted; evaluate --output=DIR tells the error of each class"
    ]


def class_counts(source: Source) -> Int[np.ndarray, "classes"] | None:
    """The number of images of each class; None if they would have to be read for it."""
    labels = source.labels if isinstance(source, ArraySource) else None
    if isinstance(source, PhotoSource):
        labels = source.photos.labels
    return None if labels is None else np.bincount(labels, minlength=len(source.classes))


def chance_errors(splits: Splits) -> dict[str, float]:
    """The error in percent of always predicting the most frequent class, by split; of splits whose labels are known."""
    counted = {name: class_counts(source) for name, source in _named(splits).items()}
    return {
        name: float(100 * (1 - counts.max() / counts.sum())) for name, counts in counted.items() if counts is not None
    }


def _named(splits: Splits) -> dict[str, Source]:
    every = {"train": splits.train, "validation": splits.validation, "test": splits.test}
    return {name: source for name, source in every.items() if source is not None}


def is_finished(workdir: Path, num_steps: int, *, test: str) -> bool:
    """Whether a run folder holds a finished run of `num_steps` steps or more, to which nothing is to be added.

    With `test`, the field eval.test, "end", a run that was finished with "never" has its test to come.
    """
    path = workdir / METRICS_FILE
    lines = read_metrics(path) if path.exists() else []
    done = bool(lines) and lines[-1].get("finished", False) and lines[-1]["step"] >= num_steps
    return done and not (test == "end" and read_json(workdir / CONFIG_FILE)["eval"].get("test") == "never")


def draw_curves(
    lines: Sequence[Mapping[str, Any]], workdir: Path, *, title: str, report: Callable[[str], None]
) -> None:
    """Draws curves.png of a run. If it cannot be written, the run goes on without it, and `report` gets a warning."""
    if not any(key in line for line in lines for key in curves.DRAWN):  # somebody has deleted the metrics
        return
    try:
        curves.draw(lines, workdir / "curves.png", title=title)
    except InputError as error:
        report(f"warning: {error}")


def print_end(title: str, workdir: Path, *, seconds: float | None = None) -> None:
    """Prints the result of a finished run, and the commands that come next.

    Args:
        title: the title of the run.
        workdir: the run folder.
        seconds: what the run took; None for a run that was finished before.
    """
    lines = read_metrics(workdir / METRICS_FILE)
    metadata = checkpoint.read_metadata(workdir / "checkpoints")
    rows = [*_results(lines, metadata), *([] if seconds is None else [("time", f"{seconds:.0f} s")])]
    print_summary(title, [*rows, ("run folder", f"{workdir} (metrics.jsonl, curves.png, checkpoints, events)")])
    if last_checkpoint(workdir):
        print("\n".join(["next:", *(f"  {shlex.join(words)}" for words in _next_commands(workdir, lines))]), flush=True)
    else:
        print("there is no checkpoint left to predict or evaluate with", flush=True)


def _results(lines: Sequence[Mapping[str, Any]], metadata: Mapping[str, Any]) -> list[tuple[str, object]]:
    """The rows of the summary that tell the result: (name, value)."""
    rows: list[tuple[str, object]] = []
    tested = any(TEST_ERROR in line for line in lines)
    if not tested and metadata.get("config", {}).get("eval", {}).get("test") == "never":
        rows.append(("test error", "not measured: eval.test is 'never' (evaluate --split=test measures it)"))
    for split, name in _RESULTS:
        values = [line[f"{split}/top1_error"] for line in lines if line.get(f"{split}/top1_error") is not None]
        if values:
            best = f" (best {min(values):.2f} %)" if split == "val" else ""
            samples = _samples(split, lines, metadata)
            rows.append((name, f"{values[-1]:.2f} %{best}{_beside_chance(values[-1], split, samples, metadata)}"))
    throughputs = sorted(line["images_per_second"] for line in lines if line.get("images_per_second"))
    if throughputs:
        rows.append(("training throughput", f"{throughputs[len(throughputs) // 2]:,.0f} images/s"))
    goodput = read_goodput(lines)
    return [*rows, *([] if goodput is None else [("goodput", goodput)])]


def _samples(split: str, lines: Sequence[Mapping[str, Any]], metadata: Mapping[str, Any]) -> int:
    """How many samples the last error of a split is the mean of: in training, those of the steps since the last log."""
    if split != "train":
        return metadata.get("num_images", {}).get(_SPLITS.get(split, split), 0)
    steps = [0, *(line["step"] for line in lines if "train/top1_error" in line)]
    return (steps[-1] - steps[-2]) * metadata.get("config", {}).get("batch_size", 0)


def _beside_chance(error: float, split: str, samples: int, metadata: Mapping[str, Any]) -> str:
    """What to add to an error over `samples` that is not below chance by two standard errors."""
    chance = metadata.get("chance_error", {}).get(_SPLITS.get(split, split))
    if chance is None or not samples or error < chance - 2 * math.sqrt(chance * (100 - chance) / samples):
        return ""
    return f", no better than chance ({chance:.2f} %)"


def _next_commands(workdir: Path, lines: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """The commands that come next: to test on other views or with a report, to predict, to see the curves."""
    measured = {key for line in lines for key in line}
    split = [] if TEST_ERROR in measured else ["--split=validation" if VAL_ERROR in measured else "--split=train"]
    return [
        [*command_words("predict"), f"--workdir={workdir}", f"--picture={workdir / 'predictions.png'}", "photo.jpg"],
        [*command_words("evaluate"), f"--workdir={workdir}", *split, f"--output={workdir / 'test'}"],
    ]
