"""Sweep files: names, flags, checks of every point, and the sweeps that come with the package."""

import ast
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_alexnet import main
from resnet_alexnet.errors import InputError
from resnet_alexnet.study import points
from resnet_alexnet.study.points import config_digest, read_sweep, sweep_names
from resnet_alexnet.workdir.config import to_json
from resnet_alexnet.workdir.folder import check_workdir
from tests.support import guests

CHECKOUT = Path(__file__).parents[2]
HEAD = 'BASE = "quickstart"\n\n\ndef sweep():\n    '


@pytest.fixture
def write(tmp_path):
    def write_body(body: str, head: str = HEAD) -> str:
        path = tmp_path / "own.py"
        path.write_text(head + body + "\n")
        return str(path)

    return write_body


@pytest.mark.parametrize("name", sweep_names())
def test_our_sweeps_are_read_and_open_with_their_command(name):
    sweep = read_sweep(name)
    assert 3 <= len(sweep.points) <= 6
    text = (CHECKOUT / "configs" / "sweeps" / f"{name}.py").read_text()
    lines = (ast.get_docstring(ast.parse(text)) or "").splitlines()
    assert lines[2].startswith(f"python launch/sweep.py --sweep={name} --workdir=runs/")
    for point in sweep.points:
        assert point.config.dataset.name == "fashion_mnist"
        assert not point.config.dataset.data_dir
        assert point.config.num_steps <= 140
        assert point.config.eval.test == "never"
    assert read_sweep(f"configs/sweeps/{name}.py") == sweep


def test_the_sweep_over_the_weight_decay_has_several_and_that_of_the_paper():
    decays = [point.fields["optim.weight_decay"] for point in read_sweep("weight_decay").points]
    assert {0.001, 0.0001} <= set(decays)


def test_the_flags_of_a_point_give_its_config(write):
    sweep = read_sweep(
        write('yield {"schedule.boundaries": [3, 5], "schedule.name": "steps", "model.shortcut": "B", "seed": 7}'),
        overrides=["--config.num_steps=9"],
    )
    (point,) = sweep.points
    config, _ = main.read_run(main.create_parser().parse([*point.words, "--workdir=x"]))
    assert config == point.config
    assert config.schedule.boundaries == (3, 5)
    assert (config.seed, config.num_steps, config.eval.test) == (7, 9, "never")


def test_points_are_named_by_the_fields_that_differ(write):
    sweep = read_sweep(
        write("""for rate in (0.1, 1e-5):
        for norm in (False, True):
            fields = {"optim.learning_rate": rate, "augment.flip": norm, "log.every_steps": 5, "eval.every_steps": 7}
            yield fields""")
    )
    assert [point.name for point in sweep.points] == [
        "learning_rate=0.1,flip=false",
        "learning_rate=0.1,flip=true",
        "learning_rate=1e-05,flip=false",
        "learning_rate=1e-05,flip=true",
    ]
    assert sweep.varied == ("optim.learning_rate", "augment.flip")
    names = [
        point.name
        for point in read_sweep(write('yield from ({"model.name": f"cifar_resnet{n}"} for n in (8, 14))')).points
    ]
    assert names == ["model=cifar_resnet8", "model=cifar_resnet14"]


def test_fields_with_the_same_last_part_are_named_in_full(write):
    sweep = read_sweep(
        write('for a, b in ((5, 7), (7, 5)):\n        yield {"log.every_steps": a, "eval.every_steps": b}')
    )
    assert sweep.points[0].name == "log.every_steps=5,eval.every_steps=7"


@given(st.dictionaries(st.sampled_from(["a.b", "c", "d.name"]), st.text() | st.floats() | st.integers(), min_size=1))
def test_every_name_is_a_safe_name_of_a_folder(fields):
    name = points._name(fields)
    assert not set(name) & set("[]/\\ '\"$\0\n")
    assert 0 < len(name.encode()) < 120
    assert name not in (".", "..")
    assert os.path.normpath(f"x/{name}") == f"x/{name}"


def test_names_that_would_be_equal_get_different_ends(write):
    body = 'yield from ({"finetune.frozen": (layer,)} for layer in ("a[b", "a]b"))'
    first, second = (point.name for point in read_sweep(write(body)).points)
    assert first[:-8] == second[:-8]
    assert first != second


def test_equal_configs_have_equal_digests_whatever_is_tested(write):
    one, other = (read_sweep(write(f'yield {{"seed": {seed}}}')).points[0] for seed in (1, 2))
    assert one.digest != other.digest
    values = json.loads(json.dumps(to_json(one.config)))
    values["eval"]["test"] = "end"
    assert config_digest(dict(reversed(values.items()))) == one.digest


def test_a_field_that_a_version_adds_does_not_change_digests(write):
    point = read_sweep(write('yield {"seed": 3}')).points[0]
    values = json.loads(json.dumps(to_json(point.config)))
    del values["model"]["dropout"], values["guard"]
    assert config_digest(values) == point.digest
    values["model"]["dropout"] = 0.25
    assert config_digest(values) != point.digest


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            'yield {"optim.lerning_rate": 0.1}',
            r"own\.py, point .*unknown config field 'optim.lerning_rate', did you mean",
        ),
        ('yield {"optim.learning_rate": "fast"}', r"--config.optim.learning_rate=fast \(allowed: a number\)"),
        ('yield {"batch_size": 0.5}', r"--config.batch_size=0.5 \(allowed: a whole number\)"),
        ('yield {"optim.learning_rate": "0.1"}', "optim.learning_rate is '0.1', of type str, not 0.1's"),
        ('yield {"model.shortcut": None}', "model.shortcut is None, which no flag can set: leave the field out"),
        (
            'yield from ({"seed": seed} for seed in (1, 2, 1))',
            r"the points 1 and 3 of sweep\(\) are equal, {'seed': 1}: leave",
        ),
        ('yield {"seed": 0}\n    yield {}', "the points seed=0 and base are the same run: leave one of them out"),
        ("yield from ()", r"sweep\(\) yields no points"),
        ("yield 3", r"point 1 of sweep\(\) is 3 \(allowed: a dict such as"),
        ("yield {}[0]", "line 5: KeyError: 0"),
        ("yield {", "line 5: SyntaxError"),
        ("return 3", r"sweep\(\) returns 3: it is to yield the points"),
        ("pass", r"sweep\(\) returns None: it is to yield the points"),
        ("yield {}\n    yield {}", r"the points 1 and 2 of sweep\(\) are equal, {}: leave"),
        ('yield {"optim.learning_rate": float("nan")}', r"optim\.learning_rate is nan \(allowed: a finite number\)"),
        ("import sys; sys.exit(0)", "line 5: SystemExit: 0"),
        ("yield {}\nimport sys; sys.exit(0)", "line 6: SystemExit: 0"),
        ('yield {"eval.test": "end"}', "sets eval.test: no point is tested; --test_winner"),
        ('yield {"model.name": "cifar_resnet9"}', "cifar_resnet9"),
    ],
)
def test_a_bad_point_is_one_line(write, body, message):
    with pytest.raises(InputError, match=message) as raised:
        read_sweep(write(body))
    assert str(raised.value).startswith("--sweep=")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ("def sweep():\n    ", "does not say which recipe it varies: define BASE"),
        (
            'BASE = "quickstrat"\ndef sweep():\n    ',
            r"\.py, its recipe 'quickstrat': .*: no such recipe, did you mean 'quickstart'",
        ),
        ('BASE = "quickstart"\ndef sweeps():\n    ', r"defines no function sweep\(\)"),
        ('BASE = "quickstart"\ndef sweep(x):\n    ', r"sweep\(\) takes no arguments"),
        ('BASE = "quickstart"\nCOMMON = {"x": 1}\ndef sweep():\n    ', r"own\.py, COMMON: unknown config field 'x'"),
        ('BASE = "quickstart"\nCOMMON = {"eval.test": "end"}\ndef sweep():\n    ', r"sets eval\.test: no point"),
        ('BASE = "quickstart"\nCOMMON = 1\ndef sweep():\n    ', "COMMON is 1"),
    ],
)
def test_a_bad_file_is_one_line(write, head, message):
    with pytest.raises(InputError, match=message):
        read_sweep(write('yield {"seed": 1}', head))


def test_a_file_that_cannot_be_read_is_one_line(tmp_path):
    (tmp_path / "own.txt").write_text("")
    (tmp_path / "own.py").write_bytes(b"\xff\xfe\x00")
    for name, message in {
        "wieght_decay": "no such file .allowed: .*weight_decay, ",
        str(tmp_path / "no.py"): "no such file",
        str(tmp_path): "no such file",
        str(tmp_path / "own.txt"): "a sweep is a Python file",
        str(tmp_path / "own.py"): "own.py",
    }.items():
        with pytest.raises(InputError, match=message):
            read_sweep(name)


def test_a_flag_must_not_set_what_the_points_set(write):
    with pytest.raises(InputError, match=r"--config.seed=3: the points of .* set seed themselves"):
        read_sweep(write('yield {"seed": 1}'), overrides=["--config.seed=3"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--config.eval.test=end"], r"^--config\.eval\.test=end: no point is tested; --test_winner tests the best"),
        (["--config.optim.lerning_rate=1"], r"^unknown config field 'optim\.lerning_rate', did you mean"),
        (["--config.batch_size=0.5"], r"^--config\.batch_size=0\.5 \(allowed: a whole number\)"),
        (["--config.num_steps=9", "--config.model.name=cifar_resnet9"], r"cifar_resnet9"),
    ],
)
def test_what_is_wrong_with_a_flag_is_not_said_of_the_file(write, words, message):
    with pytest.raises(InputError, match=message) as raised:
        read_sweep(write('yield {"seed": 1}'), overrides=words)
    assert "own.py" not in str(raised.value)


def test_a_recipe_that_a_flag_names_is_not_said_to_be_that_of_the_file(write):
    with pytest.raises(InputError, match=r"^--config=quickstrat: no such recipe, did you mean 'quickstart'"):
        read_sweep(write('yield {"seed": 1}'), base="quickstrat")


@pytest.mark.parametrize(
    ("common", "point", "flag", "message"),
    [
        ('"batch_size": 0.5', '"seed": 1', "num_steps=x", r"own\.py, COMMON: --config\.batch_size=0\.5 "),
        ('"batch_size": 8', '"seed": 0.5', "num_steps=x", r"own\.py, point seed=0\.5: --config\.seed=0\.5 "),
        ('"model.name": "lenet.py:LeNet"', '"model.width": 8', "seed=x", r"^--config\.seed=x "),
        (
            '"model.rate": 0.3',
            '"model.name": "lenet.py:LeNet", "seed": 0.5',
            "num_steps=9",
            r", point .*: --config\.seed=",
        ),
    ],
)
def test_of_several_mistakes_the_first_is_said_of_the_part_that_it_is_in(
    write, tmp_path, monkeypatch, common, point, flag, message
):
    """What COMMON or a point sets may be an option of a network that another part names."""
    head = f'BASE = "quickstart"\nCOMMON = {{{common}}}\ndef sweep():\n    '
    monkeypatch.chdir(tmp_path)
    guests.write_lenet(tmp_path)
    with pytest.raises(InputError, match=message):
        read_sweep(write(f"yield {{{point}}}", head), overrides=[f"--config.{flag}"])


def test_a_run_starts_in_a_folder_that_holds_only_its_log(tmp_path):
    (tmp_path / "log.txt").write_text("$ command\n")
    assert not check_workdir(tmp_path, read_sweep("loss").points[0].config)
