"""What a run writes down and shows: metrics.jsonl, TensorBoard events, curves.png, and lines on standard output."""

import contextlib
import dataclasses
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from resnet_alexnet import metrics
from resnet_alexnet.cli.progress import Progress
from resnet_alexnet.data.sources import Source
from resnet_alexnet.errors import InputError
from resnet_alexnet.train.clock import RunClock
from resnet_alexnet.train.team import Team
from resnet_alexnet.train.throughput import Throughput
from resnet_alexnet.workdir.config import run_title, to_json
from resnet_alexnet.workdir.metrics_log import MetricsLog, validation_errors

_SECONDS_BETWEEN_DRAWINGS = 10.0  # one takes half a second


@contextlib.contextmanager
def open_records(
    config: ConfigDict, workdir: Path, train: Source, first_step: int, team: Team, clock: RunClock
) -> Iterator["Records"]:
    """The records of a run that starts at `first_step`; only one of its processes writes."""
    with (
        MetricsLog(
            workdir, start_step=first_step, config=to_json(config), began=clock.began, writes=team.writes
        ) as metrics_log,
        Progress(
            config.num_steps,
            first_step,
            batch_size=config.batch_size,
            images=len(train),
            best_error=min(validation_errors(workdir).values(), default=None),
            only_warnings_of="" if team.writes else team.name,
        ) as progress,
    ):
        yield Records(
            metrics_log,
            progress,
            clock,
            workdir / "curves.png" if team.writes else None,
            title=run_title(config),
            batch_size=config.batch_size,
            images=len(train),
            classes=len(train.classes),
        )


class Records:
    """The records of a run. Of several processes, each calls the same methods, and only process 0 writes."""

    def __init__(
        self,
        metrics_log: MetricsLog,
        progress: Progress,
        clock: RunClock,
        curves_file: Path | None,
        *,
        title: str,
        batch_size: int,
        images: int,
        classes: int,
    ) -> None:
        """Prepares.

        Args:
            metrics_log: where metrics are written.
            progress: where they are shown.
            clock: what the time of the run goes into.
            curves_file: the picture of the curves; None to draw none.
            title: the title of the picture.
            batch_size: images per step.
            images: images per epoch.
            classes: the number of classes.
        """
        self.progress = progress
        self._metrics_log, self._clock, self._curves_file, self._title = metrics_log, clock, curves_file, title
        self._batch_size, self._images, self._classes = batch_size, images, classes
        self._drawn = time.monotonic()

    @property
    def lines(self) -> list[dict[str, Any]]:
        """All lines of metrics.jsonl so far."""
        return self._metrics_log.lines

    def write(self, step: int, values: Mapping[str, float], *, end: str = "") -> None:
        """Writes the metrics of a step, and shows them if there are any; see `MetricsLog.write`."""
        epoch = {"epoch": step * self._batch_size / self._images}
        self._metrics_log.write(step, {**epoch, **values, **self._clock.take()}, end=end)
        # Of five classes all are among the best five.
        shown = {key: value for key, value in values.items() if "top5" not in key or self._classes > 5}
        if shown:
            self.progress.update(step, {**epoch, **shown})

    def finish(self, step: int) -> None:
        """Marks the run as finished."""
        self._metrics_log.finish(step)

    def update_curves(self, *, last: bool) -> None:
        """Draws the curves after an evaluation: after the last one always, else at most every 10 seconds of the run."""
        if last or time.monotonic() - self._drawn > _SECONDS_BETWEEN_DRAWINGS:
            self.draw_curves()

    def draw_curves(self) -> None:
        """Draws the curves of all lines."""
        self._drawn = time.monotonic()
        from resnet_alexnet.plots import curves  # here, because matplotlib takes long to import

        if self._curves_file is None or not curves.has_curves(self.lines):  # somebody has deleted the metrics
            return
        try:
            curves.draw(self.lines, self._curves_file, title=self._title)
        except InputError as error:  # a run continues without its picture
            self.progress.say(f"warning: {error}")


def training_values(
    sums: metrics.Sums, learning_rate: float, throughput: Throughput | None, *, resident: bool
) -> dict[str, float]:
    """The line of metrics.jsonl about the steps whose sums are given; of resident data, it has one throughput only.

    Empty if the sums are: of these steps there is a line already.
    """
    if not float(sums["count"]):
        return {}
    values = {**prefixed("train", metrics.error_rates(jax.device_get(sums))), "learning_rate": learning_rate}
    if throughput is not None and resident:
        values["images_per_second"] = throughput.images_per_second
    elif throughput is not None:
        values |= dataclasses.asdict(throughput)
    return values


def prefixed(split: str, values: Mapping[str, float]) -> dict[str, float]:
    """The metrics of a split as metrics.jsonl names them."""
    return {f"{split}/{name}": value for name, value in values.items()}
