"""The program that lists the commands and runs them, and completes them in a shell."""

import os
import subprocess
import sys

import pytest

from resnet_alexnet import __main__ as program
from resnet_alexnet.errors import InputError
from tests.support import processes


@pytest.mark.parametrize("words", [[], ["--help"]])
def test_the_commands_are_listed_a_line_each_and_nothing_heavy_is_imported(words):
    called = [sys.executable, "-c", processes.WITHOUT_HEAVY_IMPORTS, "resnet_alexnet", *words]
    result = subprocess.run(called, cwd=processes.CHECKOUT, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    lines = [line for line in result.stdout.splitlines() if line.startswith("  ") and line.endswith(".")]
    assert [line.split()[0] for line in lines if line.split()[0] in program.COMMANDS] == list(program.COMMANDS)
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_every_command_of_the_package_has_a_name():
    package = processes.CHECKOUT / "resnet_alexnet"
    files = [file for file in package.rglob("*.py") if file.read_text(encoding="utf-8").endswith("    run(main)\n")]
    found = {".".join(file.relative_to(package).with_suffix("").parts) for file in files}
    assert found == set(program.COMMANDS.values())


def test_a_command_gets_the_words_behind_its_name(capsys):
    program.main(["train", "--fields=loss"])
    assert "loss.label_smoothing = 0.0" in capsys.readouterr().out
    with pytest.raises(InputError, match="--output is missing"):
        program.main(["recalibrate"])


@pytest.mark.parametrize("name", program.COMMANDS)
def test_the_help_of_a_command_shows_how_it_was_called(capsys, name):
    with pytest.raises(SystemExit, match="0"):
        program.main([name, "--help"])
    assert capsys.readouterr().out.startswith(f"usage: resnet-alexnet {name} ")


def test_an_unknown_command_gives_the_nearest():
    with pytest.raises(InputError, match=r"unknown command 'prdict', did you mean 'predict'. .allowed: train, "):
        program.main(["prdict"])


COMPLETE = """
eval "$(register-python-argcomplete resnet-alexnet)"
COMP_WORDS=($1); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMP_LINE="$1"; COMP_POINT=${#COMP_LINE}; COMP_TYPE=9
_python_argcomplete resnet-alexnet
echo "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize(
    ("line", "answers"),
    [
        ("resnet-alexnet pre", {"predict", "preview", "prepare"}),
        ("resnet-alexnet predict --form", {"--format"}),
        ("resnet-alexnet predict --format=", {"table", "json", "csv"}),
        ("resnet-alexnet train --fields=ch", {"checkpoint"}),
        ("resnet-alexnet evaluate --views=t", {"ten_crop"}),
    ],
)
def test_bash_completes_commands_flags_and_values(tmp_path, line, answers):
    script = tmp_path / "resnet-alexnet"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m resnet_alexnet "$@"\n')
    script.chmod(0o755)
    path = os.pathsep.join([str(tmp_path), os.path.dirname(sys.executable), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(processes.CHECKOUT)}
    result = subprocess.run(
        ["bash", "-c", COMPLETE, "bash", line], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert {word.rstrip("=").rpartition("=")[2] for word in result.stdout.split()} == answers
