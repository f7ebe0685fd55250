"""The crops of photographs: their sizes, and whether tests show what training has shown.

Groups of the config are passed as mappings from field names, as in configs/default.py, to plain values.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from resnet_alexnet.data.images import geometry
from resnet_alexnet.data.sources import Crops
from resnet_alexnet.errors import InputError, check_name
from resnet_alexnet.pretrained.preprocessing import Preprocessing

CROPS = ("none", "center", "random_crop", "random_resized_crop")
# Pixels. The sizes of photographs that are not set keep these proportions ([K12] section 2, [H15] section 3.4).
_IMAGE_SIZE, _SHORTER_SIDE, _SCALE = 224, 256, (256, 480)
_MOST_APART = 2.0  # how many times the area in a training crop the area in a test crop may be, or the other way round

Group = Mapping[str, Any]


def in_proportion(pixels: int, image_size: int) -> int:
    """What `pixels` for images of 224 pixels are for images of `image_size`: 256 becomes 73 for 64."""
    return round(pixels * image_size / _IMAGE_SIZE)


def fill_sizes(preprocess: Group, augment: Group, start: Preprocessing | None) -> tuple[Group, Group]:
    """The groups `preprocess` and `augment` with the sizes of photographs that they leave unset.

    They are those of the weights to start from, if there are any; else they are in proportion to the image size.

    Raises:
        InputError: preprocess.image_size is not the image size of the trained network.
    """
    if augment["crop"] == "none":
        return preprocess, augment
    size = preprocess["image_size"]
    if start is not None:
        if size not in (None, start.image_size):
            raise InputError(
                f"preprocess.image_size={size}, but the trained network takes {start.image_size} pixels (allowed: "
                f"{start.image_size}, or unset)"
            )
        size, photographs = start.image_size, start.for_photographs()
        sizes = {"shorter_side": photographs.shorter_side, "interpolation": photographs.interpolation}
        preprocess = {**preprocess, "image_size": size, **sizes}
    if size is None:
        return preprocess, augment
    if preprocess["shorter_side"] is None:
        preprocess = {**preprocess, "shorter_side": in_proportion(_SHORTER_SIDE, size)}
    if augment["scale"] is None:
        augment = {**augment, "scale": tuple(in_proportion(side, size) for side in _SCALE)}
    return preprocess, augment


def create_crops(preprocess: Group, augment: Group) -> Crops | None:
    """The crops that turn photographs into squares of preprocess.image_size pixels; None if augment.crop is "none".

    Args:
        preprocess: the group of the config, see `fill_sizes`.
        augment: the group of the config, see `fill_sizes`.

    Raises:
        InputError: the value of a field is not allowed.
    """
    crop, size, shorter_side = augment["crop"], preprocess["image_size"], preprocess["shorter_side"]
    interpolation = preprocess["interpolation"]
    check_name("augment.crop", crop, CROPS)
    check_name("preprocess.interpolation", interpolation, geometry.INTERPOLATIONS)
    if crop == "none":
        return None
    if size is None:
        raise InputError(
            f"augment.crop={crop!r} needs the side of the crops in pixels: set preprocess.image_size, or "
            "finetune.weights to take it from a trained network"
        )
    if size < 1:
        raise InputError(f"preprocess.image_size={size} (allowed: 1 pixel or more)")
    if size > shorter_side:
        raise InputError(
            f"preprocess.image_size={size}: the test crop does not fit into preprocess.shorter_side={shorter_side} "
            f"(allowed: 1 to {shorter_side})"
        )
    test = partial(geometry.resize_center_crop, size=size, shorter_side=shorter_side, interpolation=interpolation)
    if crop == "center":
        return Crops(size, test, test)
    if crop == "random_crop":
        scale = tuple(augment["scale"])
        if len(scale) != 2 or not size <= scale[0] <= scale[1]:
            raise InputError(
                f"augment.scale={scale} (allowed: the least and the greatest shorter side in pixels, both at least "
                f"preprocess.image_size={size})"
            )
        train = partial(
            geometry.resize_random_crop,
            size=size,
            scale=scale,
            central_square=augment["central_square"],
            interpolation=interpolation,
        )
        return Crops(size, train, test)
    for field, most in (("area", 1.0), ("aspect", 100.0)):
        least, greatest = augment[field]
        if not 0 < least <= greatest <= most:
            raise InputError(
                f"augment.{field}=({least}, {greatest}) (allowed: the least, then the greatest, above 0 to {most:g})"
            )
    area, aspect = tuple(augment["area"]), tuple(augment["aspect"])
    train = geometry.RandomResizedCrop(size=size, area=area, aspect=aspect, interpolation=interpolation)
    return Crops(size, train, test)


def describe_crops(preprocess: Group, augment: Group, *, prepared_side: int | None = None) -> list[str]:
    """What a run says of its crops when it starts.

    It gives the test crop, and a warning if this shows far more or less of a photograph than training crops do, so that
    objects have another size in tests than in training; or if prepared photographs are smaller than they should be.

    Args:
        preprocess: see `create_crops`.
        augment: see `create_crops`.
        prepared_side: the shorter side in pixels to which data.prepare has reduced the photographs; None if it has not.
    """
    size, shorter_side = preprocess["image_size"], preprocess["shorter_side"]
    lines = [f"test view: shorter side {shorter_side}, center {size}"]
    test = (size / shorter_side) ** 2  # of a square photograph
    largest = shorter_side
    field, least, most = "", test, test  # of "center", whose training crops are those of tests
    if augment["crop"] == "random_crop":
        field, (lower, upper) = "scale", augment["scale"]
        least, most = (size / upper) ** 2, (size / lower) ** 2
        largest = max(upper, shorter_side)
    elif augment["crop"] == "random_resized_crop":
        field, least = "area", sum(augment["area"]) / 2  # the mean
        most = least
    if not least / _MOST_APART <= test <= most * _MOST_APART:
        shown = f"{least:.0%}" + f" to {most:.0%}" * (most > least)
        lines.append(
            f"warning: objects have another size in tests than in training: a test crop shows {test:.0%} of a square "
            f"photograph, a training crop {shown} (preprocess.image_size={size}, .shorter_side={shorter_side}, "
            f"augment.{field}={tuple(augment[field])}; unset, .shorter_side is {in_proportion(_SHORTER_SIDE, size)})"
        )
    if prepared_side is not None and prepared_side < largest:
        lines.append(
            f"warning: photographs are enlarged to a shorter side of {largest} pixels, because the set was prepared "
            f"with {prepared_side}; prepare it with --resize={largest}"
        )
    return lines
