"""Lists the commands and runs them: resnet-alexnet, or python -m resnet_alexnet."""

import importlib
from collections.abc import Sequence
from types import ModuleType
from typing import NoReturn

from resnet_alexnet.cli.command import Parser, called_as, complete_word, run
from resnet_alexnet.errors import InputError, nearest

COMMANDS = {
    "train": "main",
    "evaluate": "evaluate.__main__",
    "predict": "predict.__main__",
    "features": "features.__main__",
    "kernels": "kernels",
    "signals": "signals",
    "probe": "probe",
    "robustness": "robustness",
    "recalibrate": "recalibrate",
    "preview": "preview",
    "cost": "cost",
    "summary": "models.summary",
    "convert": "pretrained.convert",
    "prepare": "data.prepare.__main__",
    "results": "results",
    "sweep": "sweep",
    "compare": "compare",
    "study": "study.run",
    "measure": "study.measure",
    "report": "study.report",
    "papers": "papers",
    "benchmark": "benchmark",
}
_DESCRIPTION = "AlexNet (Krizhevsky 2012) and ResNet (He 2015) in JAX and Flax NNX."


def create_parser() -> Parser:
    """The commands, a line each: the first line of their own descriptions."""
    parser = Parser("resnet-alexnet", _DESCRIPTION, usage="COMMAND [OPTIONS]")
    lines = ["COMMAND --help explains a command.", ""]
    lines += [f"{name:<13}{_load(name).create_parser().description.partition(chr(10))[0]}" for name in COMMANDS]
    parser.add_argument_group("commands", "\n".join(lines))
    return parser


def _load(name: str) -> ModuleType:
    return importlib.import_module(f"resnet_alexnet.{COMMANDS[name]}")


def main(arguments: Sequence[str]) -> None:
    """Runs the command that the first word names, with the others; without words lists the commands.

    Raises:
        InputError: there is no such command, or what the command raises.
    """
    name = complete_word(list(COMMANDS)) or next(iter(arguments), "--help")
    if name.startswith("-"):
        create_parser().parse([name])
    elif name not in COMMANDS:
        raise InputError(f"unknown command {name!r}{nearest(name, COMMANDS)} (allowed: {', '.join(COMMANDS)})")
    else:
        with called_as(f"resnet-alexnet {name}"):
            _load(name).main(arguments[1:])


def start() -> NoReturn:
    """Runs `main` as the program resnet-alexnet."""
    run(main)


if __name__ == "__main__":
    start()
