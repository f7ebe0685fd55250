"""From a config to what a network is fed: the splits of a data set, their views, and their preprocessing."""

import dataclasses
from functools import partial
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from resnet_alexnet.data import sources
from resnet_alexnet.data.images import geometry
from resnet_alexnet.data.loading.workers import AUTO
from resnet_alexnet.data.measure import measure
from resnet_alexnet.data.sources import Crops, ProgressFn, Source, Splits, no_progress
from resnet_alexnet.data.statistics import Statistics
from resnet_alexnet.errors import InputError, check_name
from resnet_alexnet.pretrained import preprocessing
from resnet_alexnet.pretrained.preprocessing import Preprocessing

CROPS = ("none", "random_crop", "random_resized_crop")
# Of the group `dataset`, what is not the data's own, and what is not asked of images to evaluate on.
_NOT_OF_THE_SET = ("on_device", "workers")
_OF_TRAINING = ("in_memory", "max_unreadable")


def read_splits(config: ConfigDict, *, progress: ProgressFn = no_progress) -> Splits:
    """Reads the data that `config` names.

    Raises:
        InputError: a field whose value is not allowed, or data that is missing, damaged or does not fit.
    """
    if config.dataset.workers < AUTO:
        raise InputError(f"dataset.workers is {config.dataset.workers} (allowed: 0 and above, or {AUTO}: by the cores)")
    of_the_set = _without(config, _NOT_OF_THE_SET)
    splits = sources.create_splits(
        **of_the_set, image_size=config.preprocess.image_size, crops=create_crops(config), progress=progress
    )
    height, width, _ = splits.train.image_shape
    if height != width:
        remedy = (
            "crop the arrays in the file"  # what is in memory is taken as it is, whatever the geometry
            if config.dataset.name == "npz"
            else "set augment.crop='random_crop' and preprocess.image_size, the side of the crops"
        )
        raise InputError(f"the images are {width} x {height} pixels, but networks want squares: {remedy}")
    return splits


def read_split(config: ConfigDict, split: str = "", *, progress: ProgressFn = no_progress) -> tuple[str, Source]:
    """One split of the data that `config` names, its images whole, to evaluate on; and its name.

    Args:
        config: its group `dataset` is looked at, and nothing else.
        split: "train", "validation" or "test"; empty: "test" where there is one, else "validation".
        progress: shows how far the reading of a split that has to be in memory is.

    Raises:
        InputError: data that is missing or damaged, or has no such split.
    """
    fields = _without(config, (*_NOT_OF_THE_SET, *_OF_TRAINING))
    return sources.open_split(split, image_size=config.preprocess.image_size, progress=progress, **fields)


def _without(config: ConfigDict, names: tuple[str, ...]) -> dict[str, Any]:
    """The group `dataset` but for the fields named."""
    return {name: value for name, value in config.dataset.items() if name not in names}


def read_statistics(config: ConfigDict, splits: Splits, *, progress: ProgressFn = no_progress) -> Statistics:
    """The statistics of the training set in its views for testing: those stored with it, or measured now."""
    size, statistics = splits.train.image_shape[0], splits.statistics
    measured_at = size if config.augment.crop == "none" else config.preprocess.shorter_side
    if statistics is None or statistics.pixel_mean.shape[:2] != (measured_at, measured_at):
        statistics = measure(splits.train, progress=progress)
    return statistics.central(size)


def create_preprocessing(config: ConfigDict, splits: Splits, statistics: Statistics) -> Preprocessing:
    """The record of how the splits' images become the network's input."""
    return preprocessing.create_preprocessing(
        statistics,
        mean=config.preprocess.mean,
        std=config.preprocess.std,
        classes=splits.train.classes,
        shorter_side=None if config.augment.crop == "none" else config.preprocess.shorter_side,
        interpolation=config.preprocess.interpolation,
    )


def with_preprocessing(config: ConfigDict, preprocessing: Preprocessing) -> ConfigDict:
    """The config with the views of a trained network: photographs are resized and cropped as its preprocessing says.

    Raises:
        InputError: preprocess.image_size is set to another size than the network's.
    """
    config = config.copy_and_resolve_references()
    if config.augment.crop == "none":
        return config
    size, given = preprocessing.image_size, config.preprocess.image_size
    if given not in (None, size):
        raise InputError(
            f"preprocess.image_size={given}, but the trained network takes {size} (allowed: {size}, or unset)"
        )
    photographs = preprocessing.for_photographs()
    config.preprocess.image_size = size
    config.preprocess.shorter_side = photographs.shorter_side
    config.preprocess.interpolation = photographs.interpolation
    return config


def check_images(config: ConfigDict, splits: Splits, preprocessing: Preprocessing) -> None:
    """Raises InputError where the images are not of the size that a trained network takes."""
    size, channels = preprocessing.image_size, preprocessing.channels
    if splits.train.image_shape != (size, size, channels):
        height, width, own_channels = splits.train.image_shape
        raise InputError(
            f"the trained network takes images of {size} x {size} pixels and {channels} channel(s), dataset "
            f"{config.dataset.name!r} has {width} x {height} and {own_channels}"
        )


def read_splits_for_model(
    config: ConfigDict, preprocessing: Preprocessing, *, progress: ProgressFn = no_progress
) -> Splits:
    """The data that `config` names, in the views of a trained network.

    Raises:
        InputError: as `read_splits`; or its images are not of the size that the network takes.
    """
    config = with_preprocessing(config, preprocessing)
    splits = read_splits(config, progress=progress)
    check_images(config, splits, preprocessing)
    return splits


def check_classes(config: ConfigDict, splits: Splits, preprocessing: Preprocessing) -> None:
    """Raises InputError where the classes are not those of a trained network, or are in another order."""
    given, own = splits.train.classes, preprocessing.classes
    if given == own:
        return
    first = next(
        (i for i, pair in enumerate(zip(given, own, strict=False)) if pair[0] != pair[1]), min(len(given), len(own))
    )
    names = [classes[first] if first < len(classes) else "none" for classes in (given, own)]
    raise InputError(
        f"dataset {config.dataset.name!r} has {len(given)} classes, the trained network {len(own)}; the first that "
        f"differs is number {first}: {names[0]!r}, not {names[1]!r} (allowed: the same classes in the same order)"
    )


def choose_split(splits: Splits, name: str) -> Source:
    """The split called `name`.

    Raises:
        InputError: there is none; the message lists those that there are.
    """
    sources = {split: getattr(splits, split) for split in ("train", "validation", "test")}
    check_name("split", name, [split for split, source in sources.items() if source is not None])
    return sources[name]


def read_preprocessing(
    config: ConfigDict, splits: Splits, start: Preprocessing | None = None, *, progress: ProgressFn = no_progress
) -> tuple[Preprocessing, np.ndarray | None]:
    """The record of how images become the network's input, and the covariance of their colors.

    Args:
        config: the config, `with_preprocessing` of `start` if there is one.
        splits: the data.
        start: that of the weights to start from, which keeps its mean and standard deviation.
        progress: shows how far the measuring of the training set is.

    Returns:
        The covariance is None where `start` left nothing to measure: no augmentation by color asks for it.
    """
    color = config.augment.color != "none"
    statistics = read_statistics(config, splits, progress=progress) if start is None or color else None
    covariance = None if statistics is None else statistics.covariance
    if start is None:
        assert statistics is not None
        return create_preprocessing(config, splits, statistics), covariance
    check_images(config, splits, start)
    crops = {
        "shorter_side": None if config.augment.crop == "none" else config.preprocess.shorter_side,
        "interpolation": config.preprocess.interpolation,
    }
    return dataclasses.replace(start, classes=splits.train.classes, **crops), covariance


def create_crops(config: ConfigDict) -> Crops | None:
    """How photographs become squares of preprocess.image_size pixels; None where images are taken as they are.

    Raises:
        InputError: a field whose value is not allowed.
    """
    augment, preprocess = config.augment, config.preprocess
    check_name("augment.crop", augment.crop, CROPS)
    check_name("preprocess.interpolation", preprocess.interpolation, geometry.INTERPOLATIONS)
    if augment.crop == "none":
        return None
    size, shorter_side = preprocess.image_size, preprocess.shorter_side
    if size is None:
        raise InputError(
            f"augment.crop={augment.crop!r} needs preprocess.image_size, the side of the crops in pixels, or "
            "finetune.weights, the trained network whose size is taken"
        )
    if not 1 <= size <= shorter_side:
        raise InputError(
            f"preprocess.image_size={size}: the test crop does not fit into preprocess.shorter_side={shorter_side}"
        )
    test = partial(
        geometry.resize_center_crop, size=size, shorter_side=shorter_side, interpolation=preprocess.interpolation
    )
    if augment.crop == "random_crop":
        scale = tuple(augment.scale)
        if len(scale) != 2 or not size <= scale[0] <= scale[1]:
            raise InputError(
                f"augment.scale={scale} (allowed: least and greatest shorter side, at least "
                f"preprocess.image_size={size})"
            )
        train = partial(
            geometry.resize_random_crop,
            size=size,
            scale=scale,
            central_square=augment.central_square,
            interpolation=preprocess.interpolation,
        )
        return Crops(size, train, test)
    for field, (least, greatest), most in (("area", augment.area, 1.0), ("aspect", augment.aspect, 100.0)):
        if not 0 < least <= greatest <= most:
            raise InputError(f"augment.{field}=({least}, {greatest}) (allowed: above 0, rising, up to {most:g})")
    train = geometry.RandomResizedCrop(
        size=size,
        area=tuple(augment.area),
        aspect=tuple(augment.aspect),
        interpolation=preprocess.interpolation,
    )
    return Crops(size, train, test)
