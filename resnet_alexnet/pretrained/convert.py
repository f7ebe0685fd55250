"""Converts weights: python -m resnet_alexnet.pretrained.convert --model=resnet50 --input=FILE --output=FILE."""

import dataclasses
import re
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from resnet_alexnet.cli import flags
from resnet_alexnet.cli.command import Parser, run
from resnet_alexnet.cli.output import announce
from resnet_alexnet.errors import InputError, printable

_DESCRIPTION = """Converts weights of other libraries to ours, and ours to theirs.

Writes a weight file that says which network it holds, its classes and how an
image is preprocessed."""
_PREPROCESSING = ("shorter_side", "image_size", "interpolation", "mean", "std", "classes")


def create_parser() -> Parser:
    """The flags of the command. Those of the preprocessing that are not given are None: the input's own."""
    parser = Parser(
        "python -m resnet_alexnet.pretrained.convert",
        _DESCRIPTION,
        usage="(--input=FILE | --workdir=DIR) --output=FILE [OPTIONS]",
    )
    group = parser.add_argument_group("the input")
    either = group.add_mutually_exclusive_group(required=True)
    either.add_argument(
        "--input",
        metavar="FILE",
        type=flags.weight_file,
        help=f"{flags.WEIGHTS}. No code of the file is run",
    )
    either.add_argument(
        "--workdir",
        metavar="DIR",
        type=flags.run_folder,
        help="the folder of a run; the moving average of the weights is taken if the run kept one",
    )
    flags.add_model(group, of="--input")
    flags.add_step(group, default=None)
    group = parser.add_argument_group("the output")
    flags.add_output(group, ".safetensors", text="the file to write, such as --output=resnet50.safetensors")
    flags.add_choice(
        group,
        "--names",
        ("ours", "torchvision"),
        default="ours",
        text="torchvision: names and shapes that its module's load_state_dict takes",
    )
    flags.add_reading(parser)
    _add_preprocessing(parser)
    return parser


def _add_preprocessing(parser: Parser) -> None:
    group = parser.add_argument_group(
        "the preprocessing", "For an --input whose preprocessing is not the usual one of such weights."
    )
    group.add_argument(
        "--shorter_side",
        metavar="PIXELS",
        type=flags.whole_number(0, 10_000),
        help="what a photograph's shorter side is resized to, such as 256; 0: images are taken as they are, as CIFAR's",
    )
    group.add_argument(
        "--image_size",
        metavar="PIXELS",
        type=flags.whole_number(1, 10_000),
        help="side of the center that is cropped, such as 224; the shorter side follows in proportion",
    )
    flags.add_choice(
        group,
        "--interpolation",
        ("bilinear", "area", "bicubic", "bilinear_antialiased", "bicubic_antialiased"),
        text="torchvision's is bilinear_antialiased, timm's bicubic_antialiased",
    )
    for flag, example in (("--mean", "0.485,0.456,0.406"), ("--std", "0.229,0.224,0.225")):
        group.add_argument(
            flag, metavar="NUMBER,...", help=f"of each channel, of pixels from 0 to 1, such as {flag}={example}"
        )
    group.add_argument(
        "--classes",
        metavar="FILE",
        type=flags.path,
        help="names of the classes, one a line, in the order of the logits; by default ImageNet's WordNet IDs, "
        "CIFAR-10's names, or numbers",
    )


def read_input(options: Namespace) -> Any:
    """The `network.TrainedModel` that the flags ask for.

    Raises:
        InputError: a bad input, a flag that does not go with it, or a bad value.
    """
    from resnet_alexnet import pretrained
    from resnet_alexnet.cli.progress import progress_bar

    reading = flags.reading(options, of="input")
    for flag in ("step",) if options.input else ("model", *_PREPROCESSING):
        if getattr(options, flag) is not None:
            raise InputError(f"--{flag} does not go with {'--input' if options.input else '--workdir'}")
    if options.workdir:
        return pretrained.load_network(options.workdir, step=options.step or "last")
    return pretrained.load_network(
        options.input,
        model=options.model,
        restate=lambda usual: restate(usual, options),
        partial=True,
        progress=progress_bar,
        **reading,
    )


def restate(preprocessing: Any, options: Namespace) -> Any:
    """The `Preprocessing` with what the flags state otherwise.

    Raises:
        InputError: a value that is not allowed.
    """
    preprocessing = preprocessing.at_size(options.image_size)  # whose shorter side follows, unless it is stated
    changes: dict[str, Any] = {}
    if options.shorter_side is not None:
        changes["shorter_side"] = options.shorter_side or None
    if options.interpolation is not None:
        changes["interpolation"] = options.interpolation
    for flag, least in (("mean", 0.0), ("std", 1e-3)):
        if getattr(options, flag) is not None:
            changes[flag] = _numbers(flag, getattr(options, flag), preprocessing.channels, least)
    if options.classes is not None:
        changes["classes"] = _lines(options.classes)
    if not changes:
        return preprocessing
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

    words = text.split(",")
    numeric = all(re.fullmatch(r"\d*\.?\d+", word.strip()) for word in words)
    if len(words) != count or not numeric or not all(least <= float(word) <= 1 for word in words):
        raise InputError(f"--{flag}={text} (allowed: {count} numbers from {least:g} to 1 with commas between)")
    return 255 * np.array([float(word) for word in words], np.float32)


def _lines(path: Path) -> tuple[str, ...]:
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
    if network.missing:
        lacking = dict.fromkeys(name.partition("/")[2].rpartition("/")[0].replace("/", ".") for name in network.missing)
        yield f"  lacks {', '.join(sorted(lacking))}: for fine-tuning, features and kernels only"
    yield f"  options: {', '.join(f'{name}={value}' for name, value in spec.options.items()) or 'its defaults'}"
    yield f"  classes: {', '.join(classes[:4])}{f', ... {classes[-1]}' if len(classes) > 4 else ''}"
    yield from (f"  {line}" for line in preprocessing.lines())


def main(arguments: Sequence[str]) -> None:
    """The command.

    Raises:
        InputError: something is wrong with the flags or the input.
    """
    options = create_parser().parse(arguments)
    announce()
    from resnet_alexnet.pretrained import weights

    network = read_input(options)
    print(*map(printable, (f"read {options.input or options.workdir}", *explain(network))), sep="\n")
    weights.save(network, options.output, names=options.names)
    whose = "our" if options.names == "ours" else "torchvision's"
    print(f"wrote {options.output}, {options.output.stat().st_size / 1e6:,.1f} MB, in {whose} names")


if __name__ == "__main__":
    run(main)
