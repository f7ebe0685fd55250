"""How large the images and how long the runs of a study can be, for it to be done in a given time."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from resnet_alexnet.errors import InputError
from resnet_alexnet.study.design import Budget

SIZES = (64, 96, 128, 160, 192, 224)  # pixels
LEAST_EPOCHS, GOOD_EPOCHS, MOST_EPOCHS, MOST_SEEDS = 10, 20, 90, 3
FULL_EPOCHS, FULL_SIZE = 90, 224  # of a full training: about the epochs of [K12] section 5, and pixels of both papers
_EVALUATIONS = 3  # epochs that evaluating a run takes as long as, at most
_PROCESSES, _PROCESS_SECONDS = 3, 6  # the run, its errors, its cost: each starts jax, and compiles
_SHARE = 0.85  # of the time is planned: a machine is not always as fast as it was


@dataclass(frozen=True)
class ArmCost:
    """What a trial run of an arm took.

    Attributes:
        name: of the arm.
        seconds_per_image: of a training step, by the image.
        image_size: pixels of the trial.
        is_fixed: whether the size of the images cannot be chosen, since trained weights have theirs.
        start_seconds: of the trial, for reading data and compiling.
        image_count: how many the training set has.
    """

    name: str
    seconds_per_image: float
    image_size: int
    is_fixed: bool
    start_seconds: float
    image_count: int

    def seconds(self, epochs: float, image_size: int) -> float:
        """An estimate for a run from its start to its measurements. A step takes as long as images have pixels."""
        size = self.image_size if self.is_fixed else image_size
        images = (epochs + _EVALUATIONS) * self.image_count
        steps = images * self.seconds_per_image * (size / self.image_size) ** 2
        return _PROCESSES * (_PROCESS_SECONDS + self.start_seconds) + steps


def plan(seconds: int, arms: Sequence[ArmCost], *, batch_size: int, spent: float = 0.0) -> Budget:
    """The largest study that fits.

    First every run has 10 epochs of images of 64 pixels, then up to 20; then up to three seeds, larger images, and up
    to 90 epochs. Each of these is taken as far as it fits, before the next.

    Args:
        seconds: for all runs, one after the other.
        arms: what each takes.
        batch_size: of the runs.
        spent: seconds that the trial runs have taken of these.

    Raises:
        InputError: not even 10 epochs of the smallest images fit.
    """

    def fits(epochs: int, seeds: int, size: int) -> bool:
        return total(arms, epochs, seeds, size) <= _SHARE * (seconds - spent)

    size, seeds = SIZES[0], 1
    if not fits(LEAST_EPOCHS, seeds, size):
        needed = math.ceil((spent + total(arms, LEAST_EPOCHS, 1, size) / _SHARE) / 60)
        raise InputError(
            f"--budget={show_time(seconds)} is too short on this machine: {len(arms)} runs of {LEAST_EPOCHS} epochs of "
            f"{arms[0].image_count:,} images need about {needed} minutes"
        )
    epochs = _last(epochs for epochs in range(LEAST_EPOCHS, GOOD_EPOCHS + 1) if fits(epochs, seeds, size))
    seeds = _last(seeds for seeds in range(1, MOST_SEEDS + 1) if fits(epochs, seeds, size))
    size = _last(size for size in SIZES if fits(epochs, seeds, size))
    epochs = _last(epochs for epochs in range(epochs, MOST_EPOCHS + 1) if fits(epochs, seeds, size))
    steps = max(arms[0].image_count // batch_size, 1) * epochs
    return Budget(seconds, size, steps, seeds)


def show_time(seconds: int) -> str:
    """A time as --budget takes it, such as 1h30m."""
    parts = zip((seconds // 3600, seconds // 60 % 60, seconds % 60), "hms", strict=True)
    return "".join(f"{count}{unit}" for count, unit in parts if count)


def total(arms: Iterable[ArmCost], epochs: int, seeds: int, image_size: int) -> float:
    """Seconds of all runs of all arms."""
    return seeds * sum(arm.seconds(epochs, image_size) for arm in arms)


def _last(values: Iterable[int]) -> int:
    *_, last = values
    return last
