"""The flags that several commands share, and the types of flags' values.

A type is a function from what a user wrote to the value. For a bad value it raises ArgumentTypeError with what follows
"--flag=": the value itself, and what is allowed.
"""

import os
import re
from argparse import ArgumentTypeError, Namespace, _ArgumentGroup
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_alexnet.cli.command import OVERRIDE, Parser
from resnet_alexnet.errors import InputError, nearest

if TYPE_CHECKING:
    from ml_collections import ConfigDict


WEIGHTS = (
    "a weight file, ours or one of torchvision, timm and others (.safetensors, .pth, .pt, .th, .npz); or a published "
    "one by its name, such as torchvision:resnet18, which is downloaded once"
)


_READING = ("shortcut", "shortcut_padding", "stride_in", "pool_padding", "channel_order", "state_dict", "rename")


def add_trained_model(parser: Parser) -> None:
    """Adds --workdir, --weights, --model, --step and those of `add_reading`.

    They are a trained network, see `trained_model`.
    """
    group = parser.add_argument_group("the trained network")
    either = group.add_mutually_exclusive_group(required=True)
    either.add_argument("--workdir", metavar="DIR", type=run_folder, help="a run folder")
    either.add_argument("--weights", metavar="FILE", type=weight_file, help=WEIGHTS)
    add_model(group)
    add_step(group)
    add_reading(parser)


def add_reading(parser: Parser) -> None:
    """Adds the flags of `reading`: what is read from the weight file of another library, and how."""
    group = parser.add_argument_group(
        "the network of another library",
        "What names and arrays do not show is presumed, and said, unless it is stated.",
    )
    add_choice(group, "--shortcut", ("A", "B", "C"), text="the option of the shortcuts; the arrays show it")
    add_choice(
        group,
        "--shortcut_padding",
        ("both", "behind"),
        text="where option A adds its zero channels: half on both sides of the others, or behind them, as "
        "fb.resnet.torch does",
    )
    add_choice(
        group,
        "--stride_in",
        ("3x3", "1x1"),
        text="the convolution of a bottleneck with the stride; 1x1 in He's published networks",
    )
    add_choice(
        group,
        "--pool_padding",
        ("torch", "caffe"),
        text="the padding of the first max-pooling; caffe in He's published networks",
    )
    add_choice(
        group, "--channel_order", ("rgb", "bgr"), text="of the images that the network expects; bgr in Caffe's networks"
    )
    group.add_argument(
        "--state_dict", metavar="NAME", help="which one of a file with several, such as --state_dict=model_ema"
    )
    group.add_argument(
        "--rename",
        metavar="OLD=NEW",
        type=renaming,
        action="append",
        help="replace what matches the regular expression OLD in the names of the arrays by NEW, such as "
        r"--rename='^net\.='; an array whose name becomes empty is left out. May be given several times, in order",
    )


def trained_model(options: Namespace) -> dict[str, Any]:
    """The arguments of `pretrained.load_network` that the flags of `add_trained_model` give.

    Raises:
        InputError: a flag is given that does not go with the others.
    """
    path = options.workdir or options.weights
    return {"path": path, "step": options.step, "model": options.model, **reading(options)}


def reading(options: Namespace, *, of: str = "weights") -> dict[str, Any]:
    """The options of `pretrained.load_network` that the flags of `add_reading` give.

    Args:
        options: of a command with these flags.
        of: the flag that names the weight file.

    Raises:
        InputError: one is given without a weight file.
    """
    given = {name: value for name in _READING if (value := getattr(options, name)) is not None}
    if given and not getattr(options, of):
        raise InputError(f"--{next(iter(given))} is for the weight files of other libraries: give it with --{of}")
    return given


def add_model(parser: "Parser | _ArgumentGroup", *, of: str = "--weights") -> None:
    """Adds --model, the model of the weight file that the flag `of` names."""
    text = f"the model of {of}, needed only if its arrays do not show it: a plain network, or a network of your own"
    parser.add_argument("--model", metavar="NAME", help=text)


def add_step(parser: "Parser | _ArgumentGroup", **options: Any) -> None:
    """Adds --step, the checkpoint of a run."""
    text = "which checkpoint of a run: last, best (by validation error), or the number of a step"
    parser.add_argument("--step", metavar="STEP", type=checkpoint_step, help=text, **{"default": "last", **options})


def add_config(parser: Parser, text: str) -> None:
    """Adds --config and --config.FIELD; `text` says what a config is needed for. See `load_config`."""
    group = parser.add_argument_group("the config")
    group.add_argument("--config", metavar="NAME[:ARGUMENT]", type=path_text, help=text)
    group.add_argument(
        OVERRIDE,
        metavar="VALUE",
        dest="overrides",
        action="append",
        default=[],
        help="set a field, such as --config.batch_size=64 or --config.optim.learning_rate=0.05",
    )


def load_config(options: Namespace, *, missing: str) -> "ConfigDict":
    """The config that --config names, or else the config.json of the run folder, with its overrides; locked.

    Args:
        options: of a command with the flags of `add_config`, and perhaps --workdir.
        missing: what to say of --config if there is neither.

    Raises:
        InputError: there is neither, or something is wrong with the config or an override.
    """
    from resnet_alexnet.workdir.config import CONFIG_FILE, load_overridden

    path = options.config or None
    if path is None and getattr(options, "workdir", None) and os.path.isfile(options.workdir / CONFIG_FILE):
        path = str(options.workdir / CONFIG_FILE)
    if path is None:
        raise InputError(f"--config is missing: {missing}")
    return load_overridden(path, options.overrides)


def add_hosts(parser: Parser) -> None:
    """Adds the flags of a run of several processes, in the words of `jax.distributed.initialize`."""
    group = parser.add_argument_group(
        "several processes",
        "None is needed under srun, on a TPU pod, in Kubernetes and under Open MPI:\nthere JAX finds out.",
    )
    group.add_argument("--coordinator_address", metavar="HOST:PORT", help="where process 0 runs, and a free port there")
    group.add_argument("--num_processes", metavar="N", type=whole_number(), help="how many processes the run has")
    group.add_argument("--process_id", metavar="K", type=whole_number(0), help="the number of this one, from 0")
    group.add_argument(
        "--local_device_ids",
        metavar="K,...",
        type=list_of(whole_number(0)),
        help="the devices of this machine that this process uses; by default all",
    )


def add_compile_cache(parser: "Parser | _ArgumentGroup") -> None:
    """Adds --compile_cache, see `compiled.keep`."""
    text = "keep compiled programs in the user's cache folder, and load those that are there"
    add_switch(parser, "--compile_cache", default=True, text=text)


def add_views(parser: "Parser | _ArgumentGroup", *, default: str | None) -> None:
    """Adds --views and --scales: how a network looks at an image."""
    add_choice(
        parser,
        "--views",
        ("center", "ten_crop", "fully_convolutional"),
        default=default,
        text="the crops of an image: its center; corners and center, mirrored too, as AlexNet's tests; or the whole "
        "photograph, mirrored too, as ResNet's best",
    )
    parser.add_argument(
        "--scales",
        metavar="PIXELS,...",
        type=list_of(whole_number()),
        default=(),
        help="what the shorter side is resized to, such as 224,256,384,480,640; by default each network's own",
    )


def add_max_pixels(parser: "Parser | _ArgumentGroup") -> None:
    """Adds --max_pixels, the size of the largest photograph to decode."""
    parser.add_argument(
        "--max_pixels",
        metavar="N",
        type=whole_number(),
        default=89_478_485,  # decode.MAX_PIXELS, whose module takes long to import
        help="photographs with more pixels are unreadable: they may be bombs. The default is Pillow's limit",
    )


def add_output(
    parser: "Parser | _ArgumentGroup", suffix: str, *, text: str = "the picture to write", default: str | None = None
) -> None:
    """Adds --output, a file whose name ends in `suffix`; required if there is no default."""
    parser.add_argument(
        "--output",
        metavar=f"FILE{suffix}",
        type=output_file(suffix),
        default=default and Path(default),
        required=default is None,
        help=text,
    )


def add_choice(
    parser: "Parser | _ArgumentGroup", flag: str, choices: Sequence[str], *, text: str, default: str | None = None
) -> None:
    """Adds a flag whose value is one of `choices`, with `text` as its help."""
    kind, shown = one_of(choices), "|".join(choices)
    parser.add_argument(flag, metavar=shown, choices=choices, type=kind, default=default, help=text)


def add_switch(parser: "Parser | _ArgumentGroup", flag: str, *, text: str, default: bool | None = False) -> None:
    """Adds a flag that is true or false, and true if it stands alone, with `text` as its help."""
    parser.add_argument(flag, metavar="true|false", nargs="?", const="true", type=boolean, default=default, help=text)


def boolean(text: str) -> bool:
    """True or false."""
    return one_of(("true", "false"))(text.lower()) == "true"


def one_of(choices: Sequence[str]) -> Callable[[str], str]:
    """The type of a value that is one of `choices`."""

    def check(text: str) -> str:
        if text not in choices:
            raise ArgumentTypeError(f"{text}{nearest(text, choices)} (allowed: {', '.join(choices)})")
        return text

    return check


def whole_number(least: int = 1, most: int = 2**31 - 1) -> Callable[[str], int]:
    """The type of a whole number from `least` to `most`."""

    def parse(text: str) -> int:
        if not (text.isascii() and text.isdecimal()) or not least <= int(text) <= most:
            raise ArgumentTypeError(f"{text} (allowed: a whole number from {least:,} to {most:,})")
        return int(text)

    return parse


def seconds(text: str) -> float:
    """The type of a number of seconds, up to an hour."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 3600:
        raise ArgumentTypeError(f"{text} (allowed: seconds from 0 to 3,600)")
    return value


def list_of(kind: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    """The type of several values with commas between."""
    return lambda text: tuple(kind(part) for part in text.split(","))


def paths_of(kind: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    """The type of several paths with commas between. A path that exists is one, whatever commas it has."""
    return lambda text: (kind(text),) if os.path.exists(path(text)) else list_of(kind)(text)


def checkpoint_step(text: str) -> int | str:
    """Which checkpoint of a run: "last", "best", or a step."""
    if text in ("last", "best"):
        return text
    if not text.isdecimal():
        raise ArgumentTypeError(f"{text} (allowed: last, best by validation error, or the number of a step)")
    return int(text)


def path(text: str) -> Path:
    """A path, in which ~ is the home folder."""
    expanded = os.path.expanduser(text)
    if not text or expanded.startswith("~"):
        raise ArgumentTypeError(f"{text} (allowed: a path{', but there is no such home folder' * bool(text)})")
    return Path(expanded)


def path_text(text: str) -> str:
    """A path as text, in which ~ is the home folder."""
    return str(path(text)) if text.startswith("~") else text


def run_folder(text: str) -> Path:
    """A folder that exists."""
    folder = path(text)
    if not os.path.isdir(folder):
        remedy = " is a file: name a weight file with --weights" if os.path.isfile(folder) else ": no such folder"
        raise ArgumentTypeError(f"{text}{remedy}")
    return folder


def weight_file(text: str) -> Path:
    """A file that exists, or the name of a published one, with a colon."""
    file = path(text)
    if re.fullmatch(r"[a-z]\w+:\w+", text) and not os.path.exists(file):
        return file
    if not os.path.isfile(file):
        remedy = " is a folder: name a run folder with --workdir" if os.path.isdir(file) else ": no such file"
        if re.fullmatch(r"alexnet|resnet\d+", text):
            remedy += f"; the published weights are called torchvision:{text}"
        raise ArgumentTypeError(f"{text}{remedy}")
    return file


def output_file(suffix: str) -> Callable[[str], Path]:
    """The type of a file to write, whose name ends in `suffix`."""

    def parse(text: str) -> Path:
        file = path(text)
        if file.suffix != suffix or not os.path.isdir(file.parent) or os.path.isdir(file):
            raise ArgumentTypeError(f"{text} (allowed: a file that ends in {suffix}, in a folder that exists)")
        if not os.access(file.parent, os.W_OK):
            raise ArgumentTypeError(f"{text}: {file.parent} cannot be written to")
        return file

    return parse


def renaming(text: str) -> tuple[str, str]:
    """A regular expression and what replaces its matches, with an equals sign between."""
    old, equals, new = text.rpartition("=")
    if not (old and equals):
        raise ArgumentTypeError(f"{text} (allowed: OLD=NEW, a regular expression and what replaces it)")
    return old, new
