import os
import subprocess
import sys
from argparse import ArgumentTypeError

import pytest
from ml_collections import ConfigDict

from configs import default
from resnet_alexnet import main
from resnet_alexnet.cli import command, flags
from resnet_alexnet.errors import InputError, InterruptedRunError, TrainingError
from resnet_alexnet.workdir.config import flatten, load_config, override
from resnet_alexnet.workdir.folder import check_workdir, create_workdir
from tests.support import processes, tiny
from tests.support.files import snapshot
from tests.support.terminal import run_on_a_terminal

TINY = processes.words(tiny.config())

# Arguments after those of the tiny run, and words that the one line must hold: what, where, what is allowed or nearest.
BAD_FIELDS = {
    "--config.batch_siz=8": [
        "unknown config field 'batch_siz', did you mean 'batch_size'?",
        "allowed: accumulate_steps,",
    ],
    "--config.optim.learning_rat=1": ["'optim.learning_rat', did you mean 'learning_rate'?", "optim.momentum"],
    "--config.optm.momentum=0.5": ["'optm.momentum', did you mean 'optim.momentum'?"],
    "--config.dataset.image_size=8": ["'dataset.image_size', did you mean 'preprocess.image_size'?"],
    "--config.optim=3": ["'optim' is a group", "optim.learning_rate"],
    "--config.batch_size.x=3": ["'batch_size.x'", "'batch_size' is not a group"],
    "--config.batch_size=many": ["--config.batch_size=many (allowed: a whole number)"],
    "--config.batch_size=16.5": ["--config.batch_size=16.5 (allowed: a whole number)"],
    "--config.batch_size=": ["--config.batch_size= (allowed: a whole number)"],
    "--config.batch_size": ["--config.batch_size has no value"],
    "--config.optim.learning_rate=fast": ["--config.optim.learning_rate=fast (allowed: a number)"],
    "--config.model.dropout=half": ["--config.model.dropout=half (allowed: a number)"],
    "--config.augment.flip=maybe": ["--config.augment.flip=maybe (allowed: true or false)"],
    "--config.schedule.boundaries=(1,2": ["--config.schedule.boundaries=(1,2 (allowed: a tuple"],
    "--config.schedule.boundaries=(5.5,)": ["schedule.boundaries is (5.5,)", "allowed"],
    "--config.schedule.boundaries=(5,3)": ["schedule.boundaries is (5, 3)", "allowed"],
    "--config.model.name=resnet51": [
        "unknown model 'resnet51', did you mean 'resnet50'?",
        "cifar_resnet14, ..., cifar_resnet1202",
    ],
    "--config.model.lrn=True": ["option of cifar_resnet8 is 'lrn'", "allowed: shortcut,"],
    "--config.model.shortcut=D": ["shortcut is 'D' (allowed: A, B, C)"],
    "--config.model.activation=reluu": ["activation is 'reluu', did you mean 'relu'?", "tanh"],
    "--config.model.bn_momentum=1.5": ["bn_momentum is 1.5", "allowed: 0 <= bn_momentum < 1"],
    "--config.model.bn_group=3": ["model.bn_group=3 does not divide the 2 images of a device", "batch_size"],
    "--config.model.bn_group=none": ["bn_group is 'none'", "'sync'"],
    "--config.model.num_logits=5": ["model.num_logits=5", "'synthetic' has 10 classes", "labels", "allowed"],
    "--config.model.num_logits=1": ["model.num_logits=1", "'synthetic' has 10 classes"],
    "--config.model.name=alexnet": ["image_size=8 is too small for AlexNet, the smallest is 63"],
    "--config.dataset.name=fashon_mnist": ["'fashon_mnist', did you mean 'fashion_mnist'?", "cifar10"],
    "--config.dataset.name=cifar10": ["cifar10 needs", "data_dir"],
    "--config.dataset.num_classes=1": ["dataset 'synthetic' has 1 class (allowed: 2 or more)"],
    "--config.dataset.num_examples=12": ["batch_size=16 is more than the 11 training examples"],
    "--config.dataset.validation_fraction=1.5": ["validation_fraction=1.5", "allowed"],
    "--config.dataset.on_device=perhaps": ["dataset.on_device is 'perhaps' (allowed: auto, yes, no)"],
    "--config.loss.name=softmax": ["loss.name is 'softmax'", "softmax_cross_entropy"],
    "--config.schedule.name=cosin": ["schedule.name is 'cosin', did you mean 'cosine'?", "plateau"],
    "--config.precision=float16": ["precision is 'float16', did you mean 'bfloat16'?", "float32"],
    "--config.batch_size=20": ["batch_size=20 does not divide among 8 device(s)", "such as 16"],
    "--config.batch_size=0": ["batch_size is 0 (allowed: 1 to"],
    "--config.seed=-1": ["seed is -1 (allowed: 0 to 2147483647)"],
    "--config.seed=99999999999999999999": ["seed is 99999999999999999999 (allowed: 0 to 2147483647)"],
    "--config.num_steps=0": ["num_steps is 0 (allowed: 1 to"],
    "--config.optim.learning_rate=-1": ["optim.learning_rate is -1.0 (allowed: a finite number above 0)"],
}
BAD_COMBINATIONS = [
    (
        ["--config.dataset.name=fashion_mnist", "--config.preprocess.image_size=32", "--config.dataset.channels=1"],
        ["image_size=32: fashion_mnist has 28"],
    ),
    (
        ["--config.dataset.name=fashion_mnist", "--config.preprocess.image_size=28", "--config.dataset.channels=3"],
        ["channels=3: fashion_mnist has 1"],
    ),
    (["--config.model.name=alexnet", "--config.preprocess.image_size=16"], ["image_size=16 is too small", "63"]),
    (["--config.dataset.validation_fraction=0", "--config.schedule.name=plateau"], ["'plateau' needs val/top1_error"]),
    (
        ["--config.dataset.name=cifar10", "--config.dataset.data_dir={tmp}/nowhere"],
        ["{tmp}/nowhere", "cannot be read", "cifar-10-binary.tar.gz"],
    ),
    (
        ["--config.dataset.name=fashion_mnist", "--config.dataset.data_dir={tmp}/nowhere"],
        ["{tmp}/nowhere/train-images-idx3-ubyte", "missing"],
    ),
]
WORKDIR = "--workdir={tmp}/run"
BAD_COMMANDS = [
    ([], ["--config is missing", "--config=quickstart"]),
    ([*TINY], ["--workdir is missing", "--workdir=runs/first"]),
    (["--config=imagenet"], ["--config=imagenet: no such recipe", "resnet50"]),
    (["--config="], ["--config is missing"]),
    ([WORKDIR], ["--config is missing", "--config=quickstart"]),
    ([*TINY, "--workdir"], ["--workdir has no value"]),
    ([*TINY, "--workdir="], ["--workdir= (allowed: a path)"]),
    ([*TINY, "--wrkdir={tmp}/run"], ["unknown flag --wrkdir, did you mean '--workdir'?", "--workdir, --config"]),
    ([*TINY, WORKDIR, "--confg=x"], ["unknown flag --confg, did you mean '--config'?"]),
    ([*TINY, WORKDIR, "--batch_size=8"], ["unknown flag --batch_size, did you mean --config.batch_size=8?"]),
    ([*TINY, WORKDIR, "--learning_rate=8"], ["did you mean --config.optim.learning_rate=8?"]),
    ([*TINY, WORKDIR, "--eval.every_steps=8"], ["did you mean --config.eval.every_steps=8?"]),
    ([*TINY, WORKDIR, "--optim.learning_rat=8"], ["did you mean --config.optim.learning_rate=8?"]),
    ([*TINY, WORKDIR, "--batchsize=8"], ["unknown flag --batchsize, did you mean --config.batch_size=8?"]),
    ([*TINY, WORKDIR, "--batch_size", "8"], ["unknown flag --batch_size, did you mean --config.batch_size=8?"]),
    ([*TINY, WORKDIR, "-v"], ["unknown flag -v"]),
    ([*TINY, WORKDIR, "fast"], ["unexpected argument 'fast'"]),
    ([*TINY, "--workdir=~no_such_user_here/run"], ["--workdir=~no_such_user_here/run"]),
    ([*TINY, "--workdir={tmp}/file"], ["--workdir={tmp}/file", "folder"]),
    ([*TINY, "--workdir={tmp}/file/below"], ["--workdir={tmp}/file/below", "cannot be written"]),
    ([*TINY, "--workdir={tmp}/foreign"], ["--workdir={tmp}/foreign is neither a run folder nor empty", "a new folder"]),
    (["--config=configs/quickstrt.py", WORKDIR], ["quickstrt.py: no such file, did you mean 'configs/quickstart.py'?"]),
    (["--config=quickstrt", WORKDIR], ["--config=quickstrt: no such recipe, did you mean 'quickstart'?", "resnet50"]),
    (["--config=quickstart.py", WORKDIR], ["--config=quickstart.py: no such file"]),
    (["--config={tmp}", WORKDIR], ["--config={tmp}: no such file"]),
    (["--config=configs/default.py:deep", WORKDIR], ["default.py:deep", "takes no argument"]),
    (["--config=configs/cifar_resnet.py:21", WORKDIR], ["21"]),
    (["--config=configs/alexnet.py:papr", WORKDIR], ["'papr', did you mean 'paper'?", "study_text"]),
    (["--config={tmp}/file", WORKDIR], ["--config={tmp}/file", "get_config()"]),
    (["--config={tmp}/no_get_config.py", WORKDIR], ["no_get_config.py defines no get_config()"]),
    (
        ["--config={tmp}/needs_argument.py", WORKDIR],
        ["needs_argument.py", "needs an argument"],
    ),
    (["--config={tmp}/returns_nothing.py", WORKDIR], ["returns NoneType, not a ConfigDict"]),
    (["--config={tmp}/bad_syntax.py", WORKDIR], ["bad_syntax.py: line 2: SyntaxError"]),
    (["--config={tmp}/bad_import.py", WORKDIR], ["bad_import.py: line 1: ModuleNotFoundError", "no_such_module"]),
    (["--config={tmp}/bad_field.py", WORKDIR], ["bad_field.py: line 5:", "learning_rat", "learning_rate"]),
    (["--config={tmp}/bad_type.py", WORKDIR], ["bad_type.py: line 5:", "batch_size", "int"]),
    (["--config={tmp}/bad.json", WORKDIR], ["{tmp}/bad.json is not JSON"]),
    (["--config={tmp}/list.json", WORKDIR], ["{tmp}/list.json is not a JSON object"]),
    (["--config={tmp}/other.json", WORKDIR], ["{tmp}/other.json is not the config.json of a run folder"]),
]
FILES = {
    "file": "x",
    "foreign/mine.txt": "precious",
    "no_get_config.py": "config = 1\n",
    "needs_argument.py": "def get_config(depth):\n    return depth\n",
    "returns_nothing.py": "def get_config():\n    pass\n",
    "bad_syntax.py": "def get_config():\n    return (\n",
    "bad_import.py": "import no_such_module\n",
    "bad_field.py": "from configs import default\n\ndef get_config():\n    config = default.get_config()\n"
    "    config.optim.learning_rat = 1\n    return config\n",
    "bad_type.py": "from configs import default\n\ndef get_config():\n    config = default.get_config()\n"
    "    config.batch_size = 'many'\n    return config\n",
    "bad.json": "{",
    "list.json": "[1]",
    "other.json": '{"python": "3.11"}',
}
CASES = [
    *[([*TINY, WORKDIR, argument], said) for argument, said in BAD_FIELDS.items()],
    *[([*TINY, WORKDIR, *arguments], said) for arguments, said in BAD_COMBINATIONS],
    *BAD_COMMANDS,
]


def name_of(case) -> str:
    new = [argument for argument in case[0] if argument not in (*TINY, WORKDIR)]
    return " ".join(new) or " ".join(case[0][:1]) or "nothing"


def parse_run(words):
    """The config and the workdir that the words ask for."""
    return main.read_run(main.create_parser().parse(words))


@pytest.fixture
def folder(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize(("arguments", "said"), CASES, ids=map(name_of, CASES))
def test_bad_input_is_one_line_and_exit_code_2_and_writes_nothing(folder, capsys, arguments, said):
    before = snapshot(folder)
    words = [argument.format(tmp=folder) for argument in arguments]
    with pytest.raises(SystemExit) as stop:
        command.exit_with(lambda: main.main(words))
    assert stop.value.code == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.startswith("error: ")
    assert errors.count("\n") == 1
    assert [words for words in said if words.replace("{tmp}", str(folder)) not in errors] == [], errors
    assert {name: file for name, file in snapshot(folder).items() if "__pycache__" not in name} == before


def test_a_mistake_in_a_recipe_of_the_current_folder_has_its_line_and_stays_short(folder, monkeypatch):
    monkeypatch.chdir(folder)
    with pytest.raises(InputError, match=r"bad_field.py: line 5: .*learning_rat") as raised:
        load_config("./bad_field.py")
    assert "momentum" not in str(raised.value)  # not the other fields
    assert "Did you mean" in str(raised.value)
    (folder / "10:30").mkdir()
    (folder / "10:30" / "recipe.py").write_text("from configs import quickstart\nget_config = quickstart.get_config\n")
    assert load_config("10:30/recipe.py") == load_config("quickstart")


@pytest.mark.slow
def test_bad_input_to_a_real_process_prints_one_line_and_nothing_else(folder, tmp_path_factory):
    cases = [
        (
            [*TINY, WORKDIR, "--config.batch_siz=8"],
            "error: unknown config field 'batch_siz', did you mean 'batch_size'?",
        ),
        ([*TINY, WORKDIR, "--config.model.name=alexnet"], "error: image_size=8 is too small for AlexNet, the smallest"),
        ([*TINY, WORKDIR, "--config.dataset.name=cifar10"], "error: "),
        ([*TINY, "--workdir={tmp}/file/below"], "error: --workdir="),
    ]
    before = snapshot(folder)
    cache = tmp_path_factory.mktemp("compiled")
    for arguments, said in cases:
        arguments = [argument.format(tmp=folder) for argument in arguments]
        code, output, errors = processes.run([*processes.MAIN, *arguments], cache)
        assert (code, output) == (2, "")
        assert errors.startswith(said)
        assert errors.count("\n") == 1
    assert snapshot(folder) == before


def test_overrides_have_the_type_of_their_field_and_the_last_one_counts(tmp_path):
    words = [
        "--config=configs/default.py",
        "--config.batch_size=8",
        "--config.batch_size",
        "16",
        "--config.optim.learning_rate=1",
        "--config.optim.nesterov=true",
        "--config.schedule.boundaries=(10,20)",
        "--config.dataset.classes=('Bag','Coat')",
        "--config.dataset.data_dir=/data=here",
        "--config.model.bn_group=sync",
        "--config.model.num_logits=10",
        "--workdir",
        str(tmp_path / "new"),
    ]
    config, workdir = parse_run(words)
    assert workdir == tmp_path / "new"
    changed = {
        "batch_size": 16,
        "optim.learning_rate": 1.0,
        "optim.nesterov": True,
        "schedule.boundaries": (10, 20),
        "dataset.classes": ("Bag", "Coat"),
        "dataset.data_dir": "/data=here",
        "model.bn_group": "sync",
        "model.num_logits": 10,
    }
    expected = flatten(default.get_config().to_dict()) | changed
    values = flatten(config.to_dict())
    assert values == expected
    assert {name: type(values[name]) for name in changed} == {name: type(value) for name, value in changed.items()}
    assert config.is_locked
    assert parse_run([*words, "--config.model.bn_group=32"])[0].model.bn_group == 32


def test_the_workdir_alone_or_its_config_json_gives_the_run_again(tmp_path):
    config = tiny.config(model__bn_group=2, dataset__classes=("class_1", "class_2"))
    create_workdir(tmp_path, config)
    for words in ([], [f"--config={tmp_path / 'config.json'}"]):
        again, workdir = parse_run([*words, f"--workdir={tmp_path}", "--config.num_steps=50"])
        assert again.num_steps == 50
        assert check_workdir(workdir, again)
    other, _ = parse_run(
        [
            f"--config={tmp_path / 'config.json'}",
            "--workdir=x",
            "--config.model.dropout=0.3",
            "--config.dataset.classes=()",
        ]
    )
    assert (other.model.dropout, other.dataset.classes) == (0.3, ())


def test_a_recipe_may_lie_anywhere_and_take_an_argument(tmp_path, monkeypatch):
    recipe = tmp_path / "mine.py"
    recipe.write_text(
        "from configs import default\n\ndef get_config(steps='5'):\n    config = default.get_config()\n"
        "    config.num_steps = int(steps)\n    return config\n"
    )
    assert load_config(str(recipe)).num_steps == 5
    assert load_config(f"{recipe}:7").num_steps == 7
    with pytest.raises(InputError, match=r"mine\.py:deep: line 5: ValueError: .*'deep'"):
        load_config(f"{recipe}:deep")


@pytest.mark.parametrize(
    ("error", "code", "printed"),
    [
        (InputError("bad\n  value"), 2, "error: bad value\n"),
        (TrainingError("went wrong"), 1, "error: went wrong\n"),
        (InterruptedRunError("SIGTERM: saved", 75), 75, "SIGTERM: saved\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (
            MemoryError("Unable to allocate 9 TiB"),
            1,
            "error: out of memory in this command: lower its batch size, or give it fewer or smaller images "
            "(Unable to allocate 9 TiB)\n",
        ),
        (None, 0, ""),
    ],
)
def test_exit_codes(capsys, error, code, printed):
    def run():
        if error is not None:
            raise error

    with pytest.raises(SystemExit) as stop:
        command.exit_with(run)
    assert stop.value.code == code
    assert capsys.readouterr().err == printed


WRONG = "error: unexpected argument 'x'"
NO_ROOM = "error: output cannot be written: [Errno 28] No space left on device\n"


@pytest.mark.parametrize(
    ("called", "unbuffered", "closed", "full"),
    [
        ("run(Parser('x', 'X.', usage='').parse)", "", (141, ""), (1, NO_ROOM)),
        ("run(Parser('x', 'X.', usage='').parse)", "1", (141, ""), (1, NO_ROOM)),
        ("exit_with(lambda: None)", "1", (0, ""), (0, "")),
        ("exit_with(lambda: print('much') or Parser('', '', usage='').parse('x'))", "", (2, WRONG), (2, WRONG)),
    ],
)
def test_output_that_cannot_be_written(called, unbuffered, closed, full):
    reading, writing = os.pipe()
    os.close(reading)
    with open("/dev/full", "w") as no_room, open(writing, "w") as nobody_reads:
        for stdout, (code, said) in ((nobody_reads, closed), (no_room, full)):
            result = subprocess.run(
                [sys.executable, "-c", f"from resnet_alexnet.cli.command import *; {called}", "--help"],
                cwd=processes.CHECKOUT,
                env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
                stdout=stdout,
                stderr=subprocess.PIPE,
                text=True,
            )
            assert (result.returncode, result.stderr.count("\n")) == (code, bool(said))
            assert result.stderr.startswith(said)


def test_a_standard_output_that_was_closed_from_the_start_is_no_error():
    program = "from resnet_alexnet.cli.command import *; exit_with(lambda: print('much'))"
    closed = ["sh", "-c", 'exec "$@" >&-', "sh"]
    result = subprocess.run([*closed, sys.executable, "-c", program], cwd=processes.CHECKOUT, stderr=subprocess.PIPE)
    assert (result.returncode, result.stderr) == (0, b"")


def test_an_error_that_is_no_users_keeps_its_traceback():
    def run():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        command.exit_with(run)


def test_a_path_that_is_too_long_is_one_that_is_not_there():
    name = "a" * 300
    for kind, message in (
        (flags.run_folder, "a: no such folder"),
        (flags.weight_file, "a: no such file"),
        (flags.output_file(".png"), "a .allowed: a file .* in a folder that exists"),
    ):
        with pytest.raises(ArgumentTypeError, match=message):
            kind(name)
    with pytest.raises(InputError, match=f"--config={name}: no such recipe"):
        parse_run([f"--config={name}", f"--workdir={name}"])
    with pytest.raises(InputError, match=f"--config={name}.py: no such file"):
        parse_run([f"--config={name}.py", f"--workdir={name}"])
    with pytest.raises(InputError, match="--config is missing"):
        parse_run([f"--workdir={name}"])


def test_overriding_changes_nothing_else():
    config = ConfigDict({"a": 1, "b": {"c": 2.0}}).lock()
    override(config, ["--config.b.c=3"])
    assert config.to_dict() == {"a": 1, "b": {"c": 3.0}}


@pytest.mark.parametrize(
    "words",
    [
        ("main", "--config=configs/quickstart.py", "--workdir={long}"),
        ("main", "--config=configs/cifar_resnet.py:20", "--workdir=runs/never", "--config.dataset.data_dir={long}"),
        ("results", "--runs=docs/results/*", "--readme={long}"),
        ("data.prepare", "--images={long}", "--output=runs/never"),
    ],
    ids=lambda words: words[0],
)
def test_a_path_that_no_disk_takes_is_named_in_one_line(words):
    module, *flags = (word.format(long="a" * 300) for word in words)
    called = [sys.executable, "-m", f"resnet_alexnet.{module}", *flags]
    result = subprocess.run(called, cwd=processes.CHECKOUT, capture_output=True, text=True)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert "a" * 300 in result.stderr
    assert not (processes.CHECKOUT / "runs" / "never").exists()


def test_an_error_about_names_from_outside_does_not_steer_the_terminal(capsys):
    def run():
        raise InputError("no photograph \x1b]0;owned\x07\x1b[2J\u202e.jpg\nin [red]")

    with pytest.raises(SystemExit):
        command.exit_with(run)
    assert capsys.readouterr().err == "error: no photograph \\x1b]0;owned\\x07\\x1b[2J\\u202e.jpg in [red]\n"


# What a run prints: a bar, a table, and names with letters that few encodings have.
MANY_LETTERS = r"""
from resnet_alexnet.cli.command import exit_with
from resnet_alexnet.cli.progress import Progress, print_summary
from resnet_alexnet.predict.predictions import Prediction, write_table
import sys

def command():
    with Progress(10, batch_size=1, images=5) as bar:
        bar.say("M\u00fcller \u732b \U0001f408")
        for _ in bar.follow([1, 2], 3, "validation", size=int):
            pass
        bar.update(10, {"val/top1_error": 3.0})
    print_summary("\u732b", [("\u00fc", "\u2026")])
    write_table([Prediction("\u732b.jpg", (("\u00fc", 1.0),)), Prediction("\udce9.jpg", error="\u2019")], sys.stdout)
    print("\u2019", file=sys.stderr)

exit_with(command)
"""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
@pytest.mark.parametrize("terminal", [False, True], ids=["pipe", "terminal"])
def test_what_an_encoding_lacks_is_replaced(encoding, terminal):
    if terminal:
        printed = run_on_a_terminal(MANY_LETTERS, encoding=encoding)
    else:
        environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0", "LC_ALL": "C"}
        result = subprocess.run([sys.executable, "-c", MANY_LETTERS], env=environment, capture_output=True)
        assert result.returncode == 0, result.stderr
        printed = result.stdout.decode(encoding)
    assert ("M\u00fcller" if encoding != "ascii" else "M?ller") in printed
    assert "100.0 %" in printed
