"""Converts weights, other people's to ours and ours to files: see USAGE.

As a command: python -m resnet_alexnet.pretrained.convert --model=resnet50 --input=FILE --output=FILE.safetensors
"""

import dataclasses
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

USAGE = """usage: python -m resnet_alexnet.pretrained.convert --model=NAME --input=FILE --output=FILE.safetensors
       python -m resnet_alexnet.pretrained.convert --workdir=DIR [--step=last] --output=FILE.safetensors

Writes a weight file that says which network it holds, its classes and how an image becomes its input.

INPUT, weights of others:
  --input=FILE     a .safetensors file, or what torch saved (.pth, .pt, .th), of which nothing is run: weights of
                   torchvision, of timm, or of the CIFAR ResNets that circulate, with option A; or one of our own files
  --model=NAME     what they are of: alexnet_owt (torchvision's alexnet), resnet18, resnet34, resnet50, resnet101,
                   resnet152, cifar_resnet20 and so on; one of our own files knows it
INPUT, a network trained here:
  --workdir=DIR    a run folder; the moving average of the weights is taken where the run kept one
  --step=STEP      which checkpoint: last (default), best (by validation error), or a step

OUTPUT:
  --output=FILE    the file to write; one that is there is replaced
  --names=NAMES    ours (default), or torchvision: names and forms that its module's load_state_dict takes

How an image becomes the input, where the weights of --input want something other than what is usual for such weights:
  --shorter_side=PIXELS  to which a photograph's shorter side is resized, 256; 0: images are taken as they are, CIFAR's
  --image_size=PIXELS    side of the center that is cropped, 224
  --interpolation=NAME   bilinear_antialiased (torchvision), bicubic_antialiased (timm), bilinear, bicubic, area
  --mean, --std          of each channel, of pixels from 0 to 1: --mean=0.485,0.456,0.406 --std=0.229,0.224,0.225
  --classes=FILE         names of the classes, one a line, in the order of the logits; else ImageNet's WordNet IDs,
                         CIFAR-10's names, or numbers

exit codes: 0 done · 2 bad input
"""
_PREPROCESSING = ("shorter_side", "image_size", "interpolation", "mean", "std", "classes")
_FLAGS = ("input", "model", "workdir", "step", "output", "names", *_PREPROCESSING)


def read_input(given: Mapping[str, str]) -> Any:
    """The `network.TrainedModel` that the flags ask for.

    Raises:
        InputError: no input, two, or a bad one; a flag that does not go with it, or a bad value.
    """
    from resnet_alexnet import pretrained
    from resnet_alexnet.cli import command
    from resnet_alexnet.errors import InputError
    from resnet_alexnet.pretrained import state_dict

    if bool(given["input"]) == bool(given["workdir"]):
        raise InputError("give --input=FILE, with --model=NAME, or --workdir=DIR, one of the two")
    strangers = ("step",) if given["input"] else ("model", *_PREPROCESSING)
    for flag in strangers:
        if given[flag]:
            raise InputError(f"--{flag} does not go with {'--input' if given['input'] else '--workdir'}")
    if given["workdir"]:
        return pretrained.load_network(Path(given["workdir"]), step=command.parse_step(given["step"]))
    path = Path(given["input"])
    contents = state_dict.read(path)
    network = pretrained.network_of(contents, where=str(path), model=given["model"] or None)
    preprocessing = restate(network.spec.preprocessing, given)
    return pretrained.network_of(contents, where=str(path), model=network.spec.model, preprocessing=preprocessing)


def restate(preprocessing: Any, given: Mapping[str, str]) -> Any:
    """The `Preprocessing` with what the flags state otherwise.

    Raises:
        InputError: a value that is not allowed.
    """
    from resnet_alexnet.data.images.geometry import INTERPOLATIONS
    from resnet_alexnet.errors import InputError, check_name

    changes: dict[str, Any] = {}
    for flag, least in (("shorter_side", 0), ("image_size", 1)):
        if text := given[flag]:
            if not text.isdecimal() or not least <= int(text) <= 10_000:
                raise InputError(f"--{flag}={text} (allowed: whole numbers from {least} to 10000)")
            changes[flag] = int(text) or None
    if given["interpolation"]:
        check_name("--interpolation", given["interpolation"], INTERPOLATIONS)
        changes["interpolation"] = given["interpolation"]
    for flag, least in (("mean", 0.0), ("std", 1e-3)):
        if given[flag]:
            changes[flag] = _numbers(flag, given[flag], preprocessing.channels, least)
    if given["classes"]:
        changes["classes"] = _lines(Path(given["classes"]))
    restated = dataclasses.replace(preprocessing, **changes)
    if restated.shorter_side is not None and restated.image_size > restated.shorter_side:
        raise InputError(
            f"a center of {restated.image_size} pixels does not fit into a shorter side of {restated.shorter_side}: "
            "state --image_size and --shorter_side"
        )
    return restated


def _numbers(flag: str, text: str, count: int, least: float) -> Any:
    """As pixel values from 0 to 255, one a channel."""
    import numpy as np

    from resnet_alexnet.errors import InputError

    words = text.split(",")
    numeric = all(re.fullmatch(r"\d*\.?\d+", word.strip()) for word in words)
    if len(words) != count or not numeric or not all(least <= float(word) <= 1 for word in words):
        raise InputError(f"--{flag}={text} (allowed: {count} numbers from {least:g} to 1 with commas between)")
    return 255 * np.array([float(word) for word in words], np.float32)


def _lines(path: Path) -> tuple[str, ...]:
    from resnet_alexnet.errors import InputError

    try:
        names = tuple(line.strip() for line in path.read_text("utf-8").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--classes={path} cannot be read: {error}") from None
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"--classes={path} names {twice[0]!r} more than once")
    return names


def explain(network: Any) -> Iterator[str]:
    """What a network is, in lines."""
    spec = network.spec
    preprocessing, classes = spec.preprocessing, spec.preprocessing.classes
    parameters = sum(leaf.size for name, leaf in network.leaves().items() if name.startswith("params/"))
    yield f"  {spec.model}, {parameters:,} parameters, {spec.num_logits:,} logits ({spec.scores})"
    yield f"  options: {', '.join(f'{name}={value}' for name, value in spec.options.items()) or 'its defaults'}"
    yield f"  classes: {', '.join(classes[:4])}{f', ... {classes[-1]}' if len(classes) > 4 else ''}"
    size = f"{preprocessing.image_size} x {preprocessing.image_size}"
    if preprocessing.shorter_side is None:
        yield f"  images: {size} pixels, as they are"
    else:
        resized = f"shorter side {preprocessing.shorter_side} pixels ({preprocessing.interpolation})"
        yield f"  images: {resized}, center {size}"
    for name, values in (("mean", preprocessing.mean), ("std", preprocessing.std)):
        text = " ".join(f"{value:.4g}" for value in values) if values.ndim == 1 else "an image"
        yield f"  {name}: {text}, of pixels from 0 to 255"


def main(arguments: Sequence[str]) -> None:
    """The command.

    Raises:
        InputError: anything that is not as USAGE says.
    """
    from resnet_alexnet.cli import command
    from resnet_alexnet.errors import InputError, check_name
    from resnet_alexnet.pretrained import weights

    if {"-h", "--help"} & set(arguments):
        print(USAGE, end="")
        return
    given = command.parse_flags(["convert", *arguments], dict.fromkeys(_FLAGS, "see --help"))
    names = given["names"] or "ours"
    check_name("--names", names, weights.NAMES)
    if not given["output"]:
        raise InputError("--output is missing: the file to write, such as --output=resnet50.safetensors")
    output = command.parse_output("output", given["output"], ".safetensors")
    network = read_input(given)
    print(f"read {given['input'] or given['workdir']}", *explain(network), sep="\n")
    weights.save(network, output, names=names)
    whose = "our" if names == "ours" else "torchvision's"
    print(f"wrote {output}, {output.stat().st_size / 1e6:,.1f} MB, in {whose} names")


if __name__ == "__main__":
    from resnet_alexnet.cli.command import exit_with

    exit_with(lambda: main(sys.argv[1:]))
