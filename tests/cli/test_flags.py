"""How flags are written, and what is said of those that are not as declared."""

from pathlib import Path

import pytest

from resnet_alexnet.cli import flags
from resnet_alexnet.cli.command import Parser
from resnet_alexnet.errors import InputError


@pytest.fixture
def parser(tmp_path):
    parser = Parser("python -m x", "Does x.", usage="--output=FILE [OPTIONS]")
    parser.add_argument("words", nargs="*", help="words")
    parser.add_argument("--output", type=flags.path, required=True, help="the file to write, such as --output=x.png")
    parser.add_argument("--topk", metavar="N", type=flags.whole_number(most=10), default=5, help="classes")
    parser.add_argument("--scales", type=flags.list_of(flags.whole_number()), default=(), help="pixels")
    flags.add_choice(parser, "--format", ("table", "json"), default="table", text="of the output")
    flags.add_switch(parser, "--flip", text="mirror")
    flags.add_step(parser)
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--left", help="the left one")
    either.add_argument("--right", help="the right one")
    return parser


def test_values_have_their_types_and_words_may_stand_anywhere(parser):
    words = ["a", "--output", "x.png", "-", "--topk=3", "--flip", "b", "--scales=8,16", "--step", "7", "--", "--c"]
    options = parser.parse(words)
    assert options.words == ["a", "-", "b", "--c"]
    assert (options.output, options.topk, options.scales) == (Path("x.png"), 3, (8, 16))
    assert (options.format, options.flip, options.step) == ("table", True, 7)


@pytest.mark.parametrize(
    ("word", "value"), [("--flip=false", False), ("--flip=true", True), ("--flip=True", True), ("--topk=1", False)]
)
def test_a_switch_is_off_unless_it_is_given(parser, word, value):
    assert parser.parse(["--output=x", word]).flip is value


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], r"^--output is missing: the file to write, such as --output=x\.png$"),
        (["--output="], "^--output is missing"),
        (["--output"], "^--output has no value: write --output=VALUE$"),
        (["--output", "--topk=3"], "^--output has no value"),
        (["--output=x", "--topk=11"], r"^--topk=11 \(allowed: a whole number from 1 to 10\)$"),
        (["--output=x", "--topk=x"], r"^--topk=x \(allowed: a whole number from 1 to 10\)$"),
        (["--output=x", "--topk=-1"], r"^--topk=-1 \(allowed"),
        (["--output=x", "--scales=8,,9"], r"^--scales= \(allowed: a whole number"),
        (["--output=x", "--format=jsn"], r"^--format=jsn, did you mean 'json'\? \(allowed: table, json\)$"),
        (["--output=x", "--flip=yes"], r"^--flip=yes \(allowed: true, false\)$"),
        (["--output=x", "--step=first"], r"^--step=first \(allowed: last, best"),
        (["--output=~nobody_of_this_name/x"], "^--output=~nobody_of_this_name/x .*no such home folder"),
        (["--outptu=x"], "^unknown flag --outptu, did you mean '--output'.*allowed: --help, --version, --output,"),
        (["--output=x", "--top=3"], "^unknown flag --top, did you mean '--topk'"),
        (["--output=x", "--config.seed=3"], "^unknown flag --config.seed"),
        (["--output=x", "-t"], "^unknown flag -t"),
        (["--output=x", "--left=1", "--right=2"], "^--left and --right exclude each other: give one of them$"),
    ],
)
def test_what_is_wrong_is_one_line(parser, words, message):
    with pytest.raises(InputError, match=message):
        parser.parse(words)


def test_a_group_of_which_one_is_needed_explains_each():
    parser = Parser("python -m x", "Does x.", usage="")
    flags.add_trained_model(parser)
    with pytest.raises(InputError, match=r"^--workdir or --weights is missing: --workdir, a run folder; --weights"):
        parser.parse([])


def test_help_shows_flags_as_they_are_written_and_their_defaults(parser):
    text = parser.format_help()
    assert "--topk=N  " in text
    assert "classes (default: 5)" in text
    assert "--flip[=true|false]" in text
    assert "--format=table|json" in text
    assert "mirror\n" in text


def test_a_folder_for_a_weight_file_and_the_other_way_around(tmp_path):
    parser = Parser("python -m x", "Does x.", usage="")
    flags.add_trained_model(parser)
    (tmp_path / "w").touch()
    with pytest.raises(InputError, match=f"^--weights={tmp_path} is a folder: name a run folder with --workdir$"):
        parser.parse([f"--weights={tmp_path}"])
    with pytest.raises(InputError, match=f"^--workdir={tmp_path}/w is a file: name a weight file with --weights$"):
        parser.parse([f"--workdir={tmp_path}/w"])


def test_a_path_that_exists_is_one_whatever_commas_it_has(tmp_path):
    first, second = tmp_path / "rate=0.1,size=8", tmp_path / "b"
    first.mkdir()
    second.mkdir()
    read = flags.paths_of(flags.run_folder)
    assert read(str(first)) == (first,)
    assert read(f"{second},{second}") == (second, second)
