"""The inputs of a run: the splits of a data set, their preprocessing and their augmentation.

Groups of the config are passed as mappings from field names, as in configs/default.py, to plain values.
"""

import dataclasses
from functools import partial
from typing import Any

import jax
import numpy as np

from resnet_alexnet import losses
from resnet_alexnet.data import sources
from resnet_alexnet.data.images import geometry
from resnet_alexnet.data.loading.workers import AUTO
from resnet_alexnet.data.measure import measure
from resnet_alexnet.data.photos import PhotoSource
from resnet_alexnet.data.sources import ProgressFn, Source, Splits, no_progress
from resnet_alexnet.data.statistics import Statistics
from resnet_alexnet.errors import InputError
from resnet_alexnet.pretrained.preprocessing import Preprocessing, create_preprocessing
from resnet_alexnet.train.augment import augment as augment_images
from resnet_alexnet.train.augment import color_basis, mix
from resnet_alexnet.train.crops import Group, create_crops, describe_crops, fill_sizes
from resnet_alexnet.train.steps import AugmentFn, MixFn

# Fields of the group `dataset` that do not change which images a split has.
_NOT_OF_THE_SET = ("on_device", "workers")
_OF_TRAINING = ("in_memory", "max_unreadable")  # and these matter only to training


@dataclasses.dataclass(frozen=True)
class Inputs:
    """The inputs of a run.

    Attributes:
        splits: the data set.
        preprocessing: how images become the network's input; also has the names of the classes.
        augment: the random augmentation of normalized training images.
        notes: what to say of the crops when a run starts, see `crops.describe_crops`.
    """

    splits: Splits
    preprocessing: Preprocessing
    augment: AugmentFn
    notes: tuple[str, ...]


def create_inputs(
    splits: Splits,
    preprocess: Group,
    augment: Group,
    *,
    start: Preprocessing | None = None,
    progress: ProgressFn = no_progress,
) -> Inputs:
    """Creates the preprocessing and augmentation of a data set; measures its statistics if they are needed.

    Args:
        splits: the data set, from `read_splits` with the same arguments.
        preprocess: the group of the config.
        augment: the group of the config.
        start: the preprocessing of the weights to start from. It takes precedence over `preprocess`.
        progress: shows the progress of measuring the statistics.

    Raises:
        InputError: the value of a field is not allowed.
    """
    preprocess, augment = fill_sizes(preprocess, augment, start)
    shorter_side = None if augment["crop"] == "none" else preprocess["shorter_side"]
    sizes = {"shorter_side": shorter_side, "interpolation": preprocess["interpolation"]}
    statistics = None
    if start is None or augment["color"] != "none":
        statistics = read_statistics(splits, shorter_side=shorter_side, progress=progress)
    if start is not None:
        preprocessing = dataclasses.replace(start, classes=splits.train.classes, **sizes)
    else:
        assert statistics is not None
        mean, std = preprocess["mean"], preprocess["std"]
        preprocessing = create_preprocessing(statistics, mean=mean, std=std, classes=splits.train.classes, **sizes)
    covariance = None if statistics is None else statistics.covariance
    is_cropped = isinstance(splits.train, PhotoSource) and augment["crop"] != "none"
    side = sources.prepared_side(splits.train)
    notes = describe_crops(preprocess, augment, prepared_side=side) if is_cropped else ()
    return Inputs(splits, preprocessing, create_augment(augment, preprocessing, covariance), tuple(notes))


def read_splits(
    dataset: Group,
    preprocess: Group,
    augment: Group,
    *,
    start: Preprocessing | None = None,
    test: bool = True,
    progress: ProgressFn = no_progress,
) -> Splits:
    """Reads a data set.

    Args:
        dataset: the group of the config.
        preprocess: the group of the config.
        augment: the group of the config.
        start: the preprocessing of the weights to start from. It takes precedence over `preprocess`.
        test: whether to read the test split too; without it, `Splits.test` is None.
        progress: shows the progress of reading.

    Raises:
        InputError: the value of a field is not allowed, or data is missing, damaged or of the wrong size.
    """
    if dataset["workers"] < AUTO:
        raise InputError(
            f"dataset.workers is {dataset['workers']} (allowed: 0 or more, or {AUTO} to choose by the number of cores)"
        )
    preprocess, augment = fill_sizes(preprocess, augment, start)
    splits = sources.create_splits(
        **_without(dataset, _NOT_OF_THE_SET),
        image_size=preprocess["image_size"],
        crops=create_crops(preprocess, augment),
        test=test,
        progress=progress,
    )
    height, width, _ = splits.train.image_shape
    if height != width:
        remedy = (
            "crop the arrays in the file"  # arrays in memory are not cropped here
            if dataset["name"] == "npz"
            else "set augment.crop='random_crop' and preprocess.image_size, the side of the crops"
        )
        raise InputError(f"the images are {width} x {height} pixels, but networks take square images: {remedy}")
    if start is not None:
        _check_images(splits.train, start, name=dataset["name"])
    return splits


def read_split(
    dataset: Group, split: str = "", *, image_size: int | None = None, progress: ProgressFn = no_progress
) -> tuple[str, Source]:
    """Reads one split of a data set with whole images, to evaluate on.

    Args:
        dataset: the group of the config.
        split: "train", "validation" or "test"; if empty, "test" if there is one, else "validation".
        image_size: side of synthetic images in pixels.
        progress: shows the progress of reading a split into memory.

    Returns:
        The name of the split, and the split.

    Raises:
        InputError: data is missing or damaged, or has no such split.
    """
    fields = _without(dataset, (*_NOT_OF_THE_SET, *_OF_TRAINING))
    return sources.open_split(split, image_size=image_size, progress=progress, **fields)


def read_test_crops(
    dataset: Group,
    split: str,
    preprocessing: Preprocessing,
    *,
    image_size: int | None = None,
    progress: ProgressFn = no_progress,
) -> tuple[str, Source]:
    """Reads one split of a data set, as `read_split` does, with the test crops of a trained network.

    Photographs are decoded to the channels of the network. Images in memory are not cropped.

    Args:
        dataset: the group of the config.
        split: see `read_split`.
        preprocessing: that of the network.
        image_size: see `read_split`.
        progress: see `read_split`.

    Raises:
        InputError: see `read_split`; or images in memory have another size than those of the network.
    """
    name, source = read_split(dataset, split, image_size=image_size, progress=progress)
    if not isinstance(source, PhotoSource):
        _check_images(source, preprocessing, name=dataset["name"])
        return name, source
    photographs = preprocessing.for_photographs()
    size, shorter_side, interpolation = photographs.image_size, photographs.shorter_side, photographs.interpolation
    assert shorter_side is not None
    crop = partial(geometry.resize_center_crop, size=size, shorter_side=shorter_side, interpolation=interpolation)
    shape = (size, size, photographs.channels)
    return name, dataclasses.replace(source, image_shape=shape, train_crop=crop, test_crop=crop)


def _without(group: Group, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in group.items() if name not in names}


def read_statistics(splits: Splits, *, shorter_side: int | None, progress: ProgressFn = no_progress) -> Statistics:
    """The statistics of the test crops of the training set: read if stored with the data, else measured.

    Args:
        splits: the data set.
        shorter_side: size in pixels to which photographs are resized before the crop; None for images without a crop.
        progress: shows the progress of measuring.
    """
    (size, _, channels), statistics = splits.train.image_shape, splits.statistics
    measured_at = size if shorter_side is None else shorter_side
    if statistics is None or statistics.pixel_mean.shape != (measured_at, measured_at, channels):
        statistics = measure(splits.train, progress=progress)
    return statistics.central(size)


def _check_images(source: Source, preprocessing: Preprocessing, *, name: str) -> None:
    """Raises InputError if the images do not have the size and channels that a trained network takes."""
    size, channels = preprocessing.image_size, preprocessing.channels
    if source.image_shape != (size, size, channels):
        height, width, own_channels = source.image_shape
        remedy = f"to fine-tune at that size: preprocess.image_size={width}"
        if own_channels != channels:
            remedy = f"for photographs: dataset.channels={channels}"
        raise InputError(
            f"the trained network takes images of {size} x {size} pixels and {channels} channel(s), dataset "
            f"{name!r} has {width} x {height} and {own_channels} ({remedy})"
        )


def check_classes(splits: Splits, preprocessing: Preprocessing, *, name: str) -> None:
    """Raises InputError if data set `name` and a trained network differ in their classes or the order of them."""
    given, own = splits.train.classes, preprocessing.classes
    if given == own:
        return
    first = next(
        (i for i, pair in enumerate(zip(given, own, strict=False)) if pair[0] != pair[1]), min(len(given), len(own))
    )
    names = [classes[first] if first < len(classes) else "none" for classes in (given, own)]
    raise InputError(
        f"dataset {name!r} has {len(given)} classes, the trained network {len(own)}; the first difference is class "
        f"{first}: {names[0]!r}, not {names[1]!r} (allowed: the same classes in the same order)"
    )


def balanced_weights(train: Source) -> tuple[float, ...]:
    """The weights of the classes of a training set that `losses.balanced_weights` gives.

    Raises:
        InputError: the labels are known only once the images are read, as those of a TFDS set that is not in memory.
    """
    labels = train.photos.labels if isinstance(train, PhotoSource) else getattr(train, "labels", None)
    if labels is None:
        raise InputError(
            "loss.class_weights='balanced' needs the number of images of each class, which is not known of a TFDS set "
            "that is read from disk (allowed: arrays and image folders)"
        )
    return losses.balanced_weights(np.bincount(labels, minlength=len(train.classes)).tolist())


def create_augment(augment: Group, preprocessing: Preprocessing, covariance: np.ndarray | None) -> AugmentFn:
    """Random crop, flip and color of normalized images; `covariance` is that of the training set's channels."""
    basis = None if covariance is None else color_basis(augment["color"], covariance)
    if basis is not None:
        basis = augment["color_std"] * basis / preprocessing.std[:, np.newaxis]
    return partial(augment_images, pad=augment["pad"], flip=augment["flip"], basis=basis)


def create_mix(*, mixup: float, cutmix: float, num_logits: int) -> MixFn | None:
    """Mixup and CutMix of pairs of neighbors in the batch; None if both are off."""
    if not mixup and not cutmix:
        return None

    def mix_pairs(image: jax.Array, label: jax.Array, keys: jax.Array) -> tuple[jax.Array, jax.Array]:
        return mix(image, losses.targets(label, num_logits), keys, mixup=mixup, cutmix=cutmix)

    return mix_pairs
