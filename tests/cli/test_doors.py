"""What all commands have in common: a light help that is made from their flags, and choices that are the library's."""

import importlib
import re
import subprocess
import sys
from argparse import ArgumentTypeError

import pytest

from resnet_alexnet.__main__ import COMMANDS
from resnet_alexnet.data.images.geometry import INTERPOLATIONS
from resnet_alexnet.data.prepare.recode import ENCODINGS
from resnet_alexnet.evaluate.crops import CORNERS, VIEWS
from resnet_alexnet.evaluate.protocol import AVERAGES
from resnet_alexnet.evaluate.scoring import PRECISIONS
from resnet_alexnet.predict.predictions import WRITERS
from resnet_alexnet.pretrained.network import SCORES
from resnet_alexnet.pretrained.weights import NAMES
from resnet_alexnet.study.design import SCALES
from tests.support import processes

DOORS = {module.removesuffix(".__main__"): module for module in COMMANDS.values()}
CHOICES = {
    ("predict", "--format"): WRITERS,
    ("predict", "--views"): VIEWS,
    ("evaluate", "--views"): VIEWS,
    ("evaluate", "--average"): AVERAGES,
    ("evaluate", "--scores"): SCORES,
    ("evaluate", "--corners"): CORNERS,
    ("evaluate", "--precision"): PRECISIONS,
    ("data.prepare", "--encoding"): ENCODINGS,
    ("pretrained.convert", "--interpolation"): INTERPOLATIONS,
    ("pretrained.convert", "--names"): NAMES,
    ("study.run", "--scale"): SCALES,
    ("study.report", "--scale"): SCALES,
}


def create_parser(door):
    return importlib.import_module(f"resnet_alexnet.{DOORS[door]}").create_parser()


@pytest.mark.parametrize("door", DOORS)
def test_help_needs_nothing_heavy_and_fits_a_terminal(door):
    called = [sys.executable, "-c", processes.WITHOUT_HEAVY_IMPORTS, f"resnet_alexnet.{door}", "--help"]
    result = subprocess.run(called, cwd=processes.CHECKOUT, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0].startswith(f"usage: python -m resnet_alexnet.{door}")
    assert re.fullmatch(r"exit codes: 0 .* 1 .* 2 .* 75 SIGTERM .* 130 Ctrl-C", lines[-1])
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("door", DOORS)
def test_flags_named_in_the_help_are_those_of_the_command(door):
    parser = create_parser(door)
    known = {option for option in parser._option_string_actions if option.startswith("--")} | {"--config.batch_size"}
    named = set(re.findall(r"(?<![\w-])--[\w.]+", parser.format_help()))
    assert named - {"--config.optim.learning_rate", "--shortcut"} - known == set()
    assert known - {"--config.batch_size"} <= named
    assert all(action.help for action in parser._actions)


@pytest.mark.parametrize(("door", "flag"), CHOICES)
def test_choices_are_those_of_the_library(door, flag):
    assert set(create_parser(door)._option_string_actions[flag].choices) == set(CHOICES[door, flag])


@pytest.mark.parametrize("door", DOORS)
def test_a_value_near_a_choice_is_refused_with_that_choice(door):
    for action in create_parser(door)._actions:
        for choice in action.choices or ():
            with pytest.raises(ArgumentTypeError, match=re.escape(f"did you mean {choice!r}?")):
                action.type(f"{choice}x")


@pytest.mark.parametrize("door", DOORS)
def test_every_command_says_its_version(door, capsys):
    with pytest.raises(SystemExit) as stop:
        create_parser(door).parse(["--version"])
    assert not stop.value.code
    assert re.fullmatch(r"resnet_alexnet \d+\.\d+\.\d+\n", capsys.readouterr().out)
