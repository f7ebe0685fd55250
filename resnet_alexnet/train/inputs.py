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
from resnet_alexnet.data.sources import Source, Splits, Track, Views, untracked
from resnet_alexnet.data.statistics import Statistics
from resnet_alexnet.errors import InputError, check_name
from resnet_alexnet.pretrained import preprocessing
from resnet_alexnet.pretrained.preprocessing import Preprocessing

GEOMETRIES = ("none", "random_crop", "random_resized_crop")
# Of the group `dataset`, what is not the data's own, and what is not asked of images to evaluate on.
_NOT_OF_THE_SET = ("on_device", "shorter_side", "interpolation", "workers")
_OF_TRAINING = ("in_memory", "max_unreadable")


def read_splits(config: ConfigDict, *, track: Track = untracked) -> Splits:
    """Reads the data that `config` names.

    Raises:
        InputError: a field whose value is not allowed, or data that is missing, damaged or does not fit.
    """
    if config.dataset.workers < AUTO:
        raise InputError(f"dataset.workers is {config.dataset.workers} (allowed: 0 and above, or {AUTO}: by the cores)")
    of_the_set = _without(config, _NOT_OF_THE_SET)
    splits = sources.create_splits(**of_the_set, views=create_views(config), track=track)
    height, width, _ = splits.train.image_shape
    if height != width:
        remedy = (
            "crop the arrays in the file"  # what is in memory is taken as it is, whatever the geometry
            if config.dataset.name == "npz"
            else "set augment.geometry='random_crop' and dataset.image_size, the side of the crops"
        )
        raise InputError(f"the images are {width} x {height} pixels, but networks want squares: {remedy}")
    return splits


def read_split(config: ConfigDict, split: str = "", *, track: Track = untracked) -> tuple[str, Source]:
    """One split of the data that `config` names, its images whole, to evaluate on; and its name.

    Args:
        config: its group `dataset` is looked at, and nothing else.
        split: "train", "validation" or "test"; empty: "test" where there is one, else "validation".
        track: shows how far the reading of a split that has to be in memory is.

    Raises:
        InputError: data that is missing or damaged, or has no such split.
    """
    return sources.open_split(split, track=track, **_without(config, (*_NOT_OF_THE_SET, *_OF_TRAINING)))


def _without(config: ConfigDict, names: tuple[str, ...]) -> dict[str, Any]:
    """The group `dataset` but for the fields named."""
    return {name: value for name, value in config.dataset.items() if name not in names}


def read_statistics(config: ConfigDict, splits: Splits, *, track: Track = untracked) -> Statistics:
    """The statistics of the training set in its views for testing: those stored with it, or measured now."""
    size, statistics = splits.train.image_shape[0], splits.statistics
    measured_at = size if config.augment.geometry == "none" else config.dataset.shorter_side
    if statistics is None or statistics.pixel_mean.shape[:2] != (measured_at, measured_at):
        statistics = measure(splits.train, track=track)
    return statistics.central(size)


def create_preprocessing(config: ConfigDict, splits: Splits, statistics: Statistics) -> Preprocessing:
    """The record of how the splits' images become the network's input."""
    return preprocessing.create_preprocessing(
        statistics,
        mean=config.augment.mean,
        std=config.augment.std,
        classes=splits.train.classes,
        shorter_side=None if config.augment.geometry == "none" else config.dataset.shorter_side,
        interpolation=config.dataset.interpolation,
    )


def with_preprocessing(config: ConfigDict, preprocessing: Preprocessing) -> ConfigDict:
    """The config with the views of a trained network: photographs are resized and cropped as its preprocessing says.

    Raises:
        InputError: dataset.image_size is set to another size than the network's.
    """
    config = config.copy_and_resolve_references()
    if config.augment.geometry == "none":
        return config
    size, dataset = preprocessing.image_size, config.dataset
    if dataset.image_size not in (None, size):
        raise InputError(
            f"dataset.image_size={dataset.image_size}, but the trained network takes {size} (allowed: {size}, or None)"
        )
    views = preprocessing.for_photographs()
    dataset.image_size, dataset.shorter_side, dataset.interpolation = size, views.shorter_side, views.interpolation
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


def read_views(config: ConfigDict, preprocessing: Preprocessing, *, track: Track = untracked) -> Splits:
    """The data that `config` names, in the views of a trained network.

    Raises:
        InputError: as `read_splits`; or its images are not of the size that the network takes.
    """
    config = with_preprocessing(config, preprocessing)
    splits = read_splits(config, track=track)
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
    config: ConfigDict, splits: Splits, start: Preprocessing | None = None, *, track: Track = untracked
) -> tuple[Preprocessing, np.ndarray | None]:
    """The record of how images become the network's input, and the covariance of their colours.

    Args:
        config: the config, `with_preprocessing` of `start` if there is one.
        splits: the data.
        start: that of the weights to start from, which keeps its mean and standard deviation.
        track: shows how far the measuring of the training set is.

    Returns:
        The covariance is None where `start` left nothing to measure: no augmentation by colour asks for it.
    """
    color = config.augment.color != "none"
    statistics = read_statistics(config, splits, track=track) if start is None or color else None
    covariance = None if statistics is None else statistics.covariance
    if start is None:
        assert statistics is not None
        return create_preprocessing(config, splits, statistics), covariance
    check_images(config, splits, start)
    views = {
        "shorter_side": None if config.augment.geometry == "none" else config.dataset.shorter_side,
        "interpolation": config.dataset.interpolation,
    }
    return dataclasses.replace(start, classes=splits.train.classes, **views), covariance


def create_views(config: ConfigDict) -> Views | None:
    """How photographs become squares of dataset.image_size pixels; None where images are taken as they are.

    Raises:
        InputError: a field whose value is not allowed.
    """
    augment, dataset = config.augment, config.dataset
    check_name("augment.geometry", augment.geometry, GEOMETRIES)
    check_name("dataset.interpolation", dataset.interpolation, geometry.INTERPOLATIONS)
    if augment.geometry == "none":
        return None
    size, shorter_side = dataset.image_size, dataset.shorter_side
    if size is None:
        raise InputError(
            f"augment.geometry={augment.geometry!r} needs dataset.image_size, the side of the crops in pixels, or "
            "finetune.weights, the trained network whose size is taken"
        )
    if not 1 <= size <= shorter_side:
        raise InputError(
            f"dataset.image_size={size}: the test crop does not fit into dataset.shorter_side={shorter_side} pixels"
        )
    test = partial(geometry.central_view, size=size, shorter_side=shorter_side, interpolation=dataset.interpolation)
    if augment.geometry == "random_crop":
        scale = tuple(augment.scale)
        if len(scale) != 2 or not size <= scale[0] <= scale[1]:
            raise InputError(
                f"augment.scale={scale} (allowed: least and greatest shorter side, from dataset.image_size={size} on)"
            )
        train = partial(
            geometry.random_crop_view,
            size=size,
            scale=scale,
            central_square=augment.central_square,
            interpolation=dataset.interpolation,
        )
        return Views(size, train, test)
    for field, (least, greatest), most in (("area", augment.area, 1.0), ("aspect", augment.aspect, 100.0)):
        if not 0 < least <= greatest <= most:
            raise InputError(f"augment.{field}=({least}, {greatest}) (allowed: above 0, rising, up to {most:g})")
    train = geometry.RandomResizedCrop(
        size=size,
        area=tuple(augment.area),
        aspect=tuple(augment.aspect),
        interpolation=dataset.interpolation,
    )
    return Views(size, train, test)
