"""Which network to use on one's own photographs, how sure that is, and which photographs all networks get wrong."""

import base64
import io
import math
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from resnet_alexnet.errors import InputError, printable
from resnet_alexnet.evaluate.report import compare
from resnet_alexnet.evaluate.scores import Scores, load_scores
from resnet_alexnet.files import read_json
from resnet_alexnet.study import budget
from resnet_alexnet.study.answers import show
from resnet_alexnet.study.findings import ArmFinding, StudyFinding
from resnet_alexnet.study.measurements import FOLDER, REPORT_FILE, SCORES_FILE
from resnet_alexnet.study.tabulate import NOTHING, Cell, Table, show_p
from resnet_alexnet.study.verdicts import holm
from resnet_alexnet.workdir.config import CONFIG_FILE, read_config
from resnet_alexnet.workdir.metrics_log import VAL_ERROR

_MEASUREMENT = "unseen"
_ALPHA = 0.05
_MOST_CONFUSIONS, _MOST_PHOTOGRAPHS, _PIXELS = 8, 24, 128
_FOLDERS = {"test": ("test",), "validation": ("val", "valid", "validation")}
_OF_THE_STUDY = (
    *("num_steps", "preprocess.image_size", "seed"),
    *("eval.every_steps", "log.every_steps", "checkpoint.every_steps", "checkpoint.keep"),
)


@dataclass(frozen=True)
class Photograph:
    """A photograph that all networks get wrong.

    Attributes:
        name: its split and its path there.
        label: the class that it is filed under.
        prediction: the class that most networks take it for.
        votes: how many of them, of how many.
        picture: a small JPEG of it in base64; empty if it cannot be read.
    """

    name: str
    label: str
    prediction: str
    votes: str
    picture: str = field(default="", repr=False)


@dataclass(frozen=True)
class Recommendation:
    """What a report recommends.

    Attributes:
        sentences: which network, how sure that is, and what it costs.
        command: trains it at full length.
        networks: each compared with the recommended one on the same photographs.
        confusions: of the recommended network, the most frequent.
        wrong: photographs that all networks get wrong, those of which they are surest first.
        wrong_count: how many there are.
        photographs: how many all networks were tested on.
    """

    sentences: Sequence[str]
    command: str
    networks: Table
    confusions: Table
    wrong: Sequence[Photograph]
    wrong_count: int
    photographs: int

    @property
    def wrong_shown(self) -> str:
        """A sentence: how many photographs all networks get wrong, and which of them `wrong` has."""
        count = f"All networks get {self.wrong_count:,} of {self.photographs:,} photographs wrong."
        if not self.wrong:
            return count
        are_all = len(self.wrong) == self.wrong_count
        which = "First come those" if are_all else f"The {len(self.wrong)} shown are those"
        return f"{count} {which} of which the networks are surest: look whether their labels are right."


@dataclass(frozen=True)
class _Candidate:
    """An arm with a finished run that was tested, and that run's files."""

    arm: ArmFinding
    folder: Path
    scores: Scores
    report: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.arm.arm.name

    @cached_property
    def validation_error(self) -> float:
        """The mean over its runs of the last one: networks are chosen by it. NaN if there was no validation."""
        every = [
            [line[VAL_ERROR] for line in seed.lines if line.get(VAL_ERROR) is not None] for seed in self.arm.finished
        ]
        last = [errors[-1] for errors in every if errors]
        return fmean(last) if last else math.nan

    @cached_property
    def config(self) -> Any:
        return read_config(self.folder / CONFIG_FILE)

    @cached_property
    def full_size(self) -> int:
        """Pixels of the images of a full training: trained weights have their own."""
        is_fixed = bool(self.config["finetune"]["weights"])
        return (self.config["preprocess"]["image_size"] or budget.FULL_SIZE) if is_fixed else budget.FULL_SIZE

    @cached_property
    def hours(self) -> float | None:
        """An estimate for a full training, from the speed of its runs, by the number of pixels; None if unknown."""
        lines = self.arm.finished[0].lines
        speeds = [line["images_per_second"] for line in lines if line.get("images_per_second")]
        if not speeds:
            return None
        pixels = (self.full_size / (self.config["preprocess"]["image_size"] or budget.FULL_SIZE)) ** 2
        images = self.steps_per_epoch * self.config["batch_size"] * budget.FULL_EPOCHS
        return images / median(speeds) * pixels / 3600

    @cached_property
    def steps_per_epoch(self) -> int:
        last = next(line for line in reversed(self.arm.finished[0].lines) if line.get("epoch"))
        return max(round(last["step"] / last["epoch"]), 1)


def recommend(finding: StudyFinding, problems: list[str]) -> Recommendation | None:
    """The recommendation of a study; None if it makes none, or no arm was tested.

    Args:
        finding: of the study.
        problems: takes a line for each file that is damaged.
    """
    candidates = list(_candidates(finding, problems)) if finding.study.recommends else []
    candidates.sort(key=lambda each: each.validation_error)
    if not candidates:
        return None
    best, *others = candidates
    compared = [compare(other.scores, best.scores) for other in others]
    adjusted = holm([each["p_value"] for each in compared])
    wrong = _wrong_everywhere(candidates)
    return Recommendation(
        [*_choice(best, others), *_certainty(best, others, compared, adjusted), *_length(best)],
        _command(best),
        _networks(best, others, compared, adjusted),
        _confusions(best),
        [_photograph(candidates, index) for index in wrong[:_MOST_PHOTOGRAPHS]],
        len(wrong),
        len(best.scores.labels),
    )


def _candidates(finding: StudyFinding, problems: list[str]) -> Iterator[_Candidate]:
    for arm in finding.arms:
        for seed in arm.finished[:1]:
            assert seed.folder is not None  # of a finished run
            folder = seed.folder / FOLDER / _MEASUREMENT
            left_out = f"{arm.arm.name} is not among those that can be recommended"
            try:
                found = _Candidate(arm, seed.folder, load_scores(folder / SCORES_FILE), read_json(folder / REPORT_FILE))
            except InputError as error:
                problems.append(f"{error}: {left_out}")
                continue
            if math.isnan(found.validation_error):
                problems.append(f"{seed.folder} has no validation error: {left_out}")
            else:
                yield found


def _choice(best: _Candidate, others: Sequence[_Candidate]) -> Iterator[str]:
    low, high = best.report["top1_interval"]
    split = best.scores.settings.get("split", "test")
    error, *ends = show(best.report["top1_error"], low, high)
    yield (
        f"Use {best.name}: of {len(others) + 1} settings it has the lowest validation error, "
        f"{show(best.validation_error)[0]} %. On the {len(best.scores.labels):,} photographs of the {split} split it "
        f"gets {error} % wrong (95 % interval {ends[0]} to {ends[1]})."
    )
    if split == "validation":
        yield "There are no test photographs. Those for validation chose the network: its error is a little too low."


def _certainty(
    best: _Candidate, others: Sequence[_Candidate], compared: Sequence[Mapping[str, Any]], adjusted: Sequence[float]
) -> Iterator[str]:
    """From which networks the photographs tell the recommended one apart."""
    test = f"McNemar's test, p {{}} {_ALPHA:g} after Holm"
    found = list(zip(others, compared, adjusted, strict=True))
    doubtful = [other for other, _, p in found if p > _ALPHA]
    worse = [other for other, each, p in found if p <= _ALPHA and each["difference"] > 0]
    better = [other for other, each, p in found if p <= _ALPHA and each["difference"] < 0]
    if better:
        yield f"Mind that {_names(better)} had fewer errors on these photographs ({test.format('at most')})."
    if worse:
        yield f"It had fewer errors than {_names(worse)} ({test.format('at most')})."
    if doubtful:
        faster = [each for each in doubtful if each.hours and best.hours and each.hours < 0.8 * best.hours]
        also = f" Of these, {_names(faster)} would train faster." if faster else ""
        count = f"{len(best.scores.labels):,} photographs"
        yield f"{count} are too few to tell it apart from {_names(doubtful)} ({test.format('above')}).{also}"


def _length(best: _Candidate) -> Iterator[str]:
    if best.hours is not None:
        yield (
            f"A full training, {budget.FULL_EPOCHS} epochs with images of {best.full_size} pixels, would take about "
            f"{_hours(best.hours)} on this machine: an estimate from the speed of these runs, by the number of pixels. "
            "Networks that are trained for longer, on larger images, may come in another order."
        )


def _names(candidates: Sequence[_Candidate]) -> str:
    *first, last = [each.name for each in candidates]
    return f"{', '.join(first)} and {last}" if first else last


def _hours(hours: float | None) -> str:
    if hours is None:
        return NOTHING
    number, unit = (60 * hours, "minutes") if hours < 1 else (hours, "hours") if hours < 48 else (hours / 24, "days")
    return f"{show(number)[0]} {unit}"


def _networks(
    best: _Candidate, others: Sequence[_Candidate], compared: Sequence[Mapping[str, Any]], adjusted: Sequence[float]
) -> Table:
    header = [
        Cell("setting"),
        Cell("validation error", "%"),
        Cell("error", "%, 95 % interval"),
        Cell(f"minus {best.name}", "points, 95 % interval"),
        Cell("p", "McNemar, after Holm"),
        Cell("full training", "estimate"),
    ]

    def start(each: _Candidate) -> list[Cell]:
        error, low, high = show(each.report["top1_error"], *each.report["top1_interval"])
        return [Cell(each.name), Cell(show(each.validation_error)[0]), Cell(error, f"{low} to {high}")]

    rows = [[*start(best), Cell(NOTHING), Cell(NOTHING), Cell(_hours(best.hours))]]
    for other, found, p in zip(others, compared, adjusted, strict=True):
        value, low, high = show(found["difference"], *found["difference_interval"])
        rows.append([*start(other), Cell(value, f"{low} to {high}"), Cell(show_p(p)), Cell(_hours(other.hours))])
    return Table(header, rows)


def _confusions(best: _Candidate) -> Table:
    header = [Cell("photographs of"), Cell("taken for"), Cell("how many")]
    found = best.report["confusions"][:_MOST_CONFUSIONS]
    return Table(
        header, [[Cell(printable(label)), Cell(printable(other)), Cell(str(count))] for label, other, count in found]
    )


def _command(best: _Candidate) -> str:
    """The command that trains the recommended network at full length, a flag on a line."""
    start = tuple(f"--config.{name}=" for name in _OF_THE_STUDY)
    words = [word for word in best.arm.command if not word.startswith(start)]
    if not best.config["finetune"]["weights"]:
        words.append(f"--config.preprocess.image_size={best.full_size}")
    words += [f"--config.num_steps={best.steps_per_epoch * budget.FULL_EPOCHS}", "--workdir=runs/photographs"]
    return " \\\n    ".join(["python -m resnet_alexnet.main", *map(shlex.quote, words)])


def _wrong_everywhere(candidates: Sequence[_Candidate]) -> list[int]:
    """The photographs that every network gets wrong, those of which they are surest first."""
    labels = candidates[0].scores.labels
    wrong = np.all([each.scores.scores.argmax(axis=1) != labels for each in candidates], axis=0)
    sure = np.mean([each.scores.scores.max(axis=1) for each in candidates], axis=0)
    return sorted(np.flatnonzero(wrong).tolist(), key=lambda index: -sure[index])


def _photograph(candidates: Sequence[_Candidate], index: int) -> Photograph:
    scores, classes = candidates[0].scores, candidates[0].scores.classes
    votes = Counter(int(each.scores.scores[index].argmax()) for each in candidates)
    (prediction, count), *_ = votes.most_common(1)
    name = scores.names[index]
    return Photograph(
        printable(name),
        printable(classes[scores.labels[index]]),
        printable(classes[prediction]),
        f"{count} of {len(candidates)}",
        _picture(Path(candidates[0].config["dataset"]["data_dir"]), *name.split("/", 1)),
    )


def _picture(folder: Path, split: str, name: str) -> str:
    """A small JPEG of a photograph; empty if it cannot be found or read.

    Args:
        folder: of the photographs.
        split: "test" or "validation"; held-out photographs lie in the folder of those for training.
        name: the path below the folder of the split.
    """
    parts = [part for part in _FOLDERS.get(split, ()) if (folder / part).is_dir()] or ["train", "."]
    path = next((folder / part / name for part in parts if (folder / part / name).is_file()), None)
    if path is None:
        return ""
    try:
        with Image.open(path) as photograph:
            small = ImageOps.exif_transpose(photograph).convert("RGB")
            small.thumbnail((_PIXELS, _PIXELS))
    except (OSError, ValueError, Image.DecompressionBombError):
        return ""
    file = io.BytesIO()
    small.save(file, "JPEG", quality=80)
    return base64.b64encode(file.getvalue()).decode()
