import os
import re
import subprocess
import sys

import pytest

from tests.support import processes, tiny
from tests.support.terminal import run_on_a_terminal, screen


def test_help_tells_the_flags_an_example_and_the_exit_codes():
    result = subprocess.run([sys.executable, *processes.MAIN, "--help"], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    for words in ("usage: python -m resnet_alexnet.main", "--config", "--workdir", "--config.batch_size=64"):
        assert words in result.stdout
    assert re.search(r"exit codes: 0 .* 1 .* 2 .* 75 .*SIGTERM.* 130 .*Ctrl-C", result.stdout)


@pytest.mark.parametrize(
    "words",
    [
        (*processes.MAIN, "--config=configs/quickstart.py", f"--workdir={os.devnull}/never"),
        ("-m", "resnet_alexnet.predict", "--weights=LICENSE", "docs/photos/ankle_boot.png"),
        ("-m", "resnet_alexnet.evaluate", "--weights=LICENSE", "--config=configs/quickstart.py"),
        ("-m", "resnet_alexnet.features", "--weights=LICENSE", "--output=never.npz"),
        ("-m", "resnet_alexnet.kernels", "--weights=LICENSE"),
        ("-m", "resnet_alexnet.signals", "--workdir=docs"),
        ("-m", "resnet_alexnet.probe", "--weights=LICENSE"),
        ("-m", "resnet_alexnet.robustness", "--weights=LICENSE"),
        ("-m", "resnet_alexnet.recalibrate", "--weights=LICENSE", "--output=never.safetensors"),
        ("-m", "resnet_alexnet.preview", "--config=configs/quickstart.py"),
        ("-m", "resnet_alexnet.cost", "--config=configs/quickstart.py"),
        ("-m", "resnet_alexnet.benchmark", "--config=configs/quickstart.py"),
    ],
    ids=lambda words: words[1],
)
def test_ctrl_c_while_jax_is_imported_is_one_line(words, tmp_path):
    (tmp_path / "jax.py").write_text("import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)\n")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{processes.CHECKOUT}"}
    result = subprocess.run(
        [sys.executable, *words], cwd=processes.CHECKOUT, env=environment, capture_output=True, text=True, timeout=60
    )
    assert (result.returncode, result.stderr) == (130, "interrupted\n")


@pytest.mark.slow
def test_a_terminal_shows_one_bar_the_evaluations_above_it_and_a_table_below(tmp_path, monkeypatch):
    config = tiny.config(num_steps=20, schedule__name="constant", eval__every_steps=10, log__every_steps=5)
    words = [*processes.words(config), f"--workdir={tmp_path / 'run'}"]
    for name, value in processes.environment(tmp_path / "compiled").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # compiles faster
    monkeypatch.chdir(processes.CHECKOUT)
    lines = screen(
        run_on_a_terminal(
            "import runpy, sys\n"
            f"sys.argv[1:] = {words!r}\n"
            "runpy.run_module('resnet_alexnet.main', run_name='__main__', alter_sys=True)\n",
            columns=100,
        )
    )
    assert [line for line in lines if "━" in line] == [line for line in lines if line.startswith("20/20 ━")]
    (bar,) = [number for number, line in enumerate(lines) if line.startswith("20/20 ━")]
    assert re.search(r"━ +epoch 1\.8  .*best val error \d+\.\d %  \d+ images/s  took 0:\d\d$", lines[bar])
    steps = [re.match(r"step (\d+)  epoch [\d.]+  (val|test) loss", line) for line in lines[:bar]]
    assert [found.groups() for found in steps if found] == [("10", "val"), ("20", "val"), ("20", "test")]
    assert lines[0] == "starting: importing jax, reading the data"
    assert lines[1].startswith("cifar_resnet8 on synthetic: run folder ")
    assert any(line.startswith("75,002 parameters") for line in lines[:bar])
    assert any(re.match(r"│ test error +│ \d+\.\d\d % +│$", line) for line in lines[bar + 1 :])
    assert not any("Traceback" in line or "WARNING" in line for line in lines)
    assert os.listdir(tmp_path / "run" / "checkpoints") != []


@pytest.mark.parametrize(
    ("command", "flags", "line"),
    [
        ("main", ["--config=quickstart", "--workdir={tmp}/run"], "starting: importing jax, reading the data"),
        ("main", ["--config=quickstart", "--dry_run=2"], "starting: importing jax"),
        ("evaluate", ["--config=quickstart", "--weights={tmp}/jax.py"], "starting: importing jax"),
        ("predict", ["--weights={tmp}/jax.py", "photo.png"], "starting: importing jax"),
        ("features", ["--weights={tmp}/jax.py", "--output={tmp}/features.npz"], "starting: importing jax"),
        ("recalibrate", ["--weights={tmp}/jax.py", "--output={tmp}/exact.safetensors"], "starting: importing jax"),
        ("kernels", ["--weights={tmp}/jax.py", "--output={tmp}/kernels.png"], "starting: importing jax"),
        ("signals", ["--workdir={tmp}"], "starting: importing jax"),
        ("probe", ["--weights={tmp}/jax.py"], "starting: importing jax"),
        ("robustness", ["--weights={tmp}/jax.py"], "starting: importing jax"),
        ("preview", ["--config=quickstart", "--output={tmp}/preview.png"], "starting: importing jax"),
        ("cost", ["--config=quickstart"], "starting: importing jax"),
        ("benchmark", ["--config=quickstart"], "starting: importing jax"),
        ("pretrained.convert", ["--input={tmp}/jax.py", "--output={tmp}/ours.safetensors"], "starting: importing jax"),
    ],
)
def test_a_terminal_gets_its_first_line_before_jax_is_imported(command, flags, line, tmp_path, monkeypatch):
    (tmp_path / "jax.py").write_text("raise SystemExit('jax is imported')\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{processes.CHECKOUT}")
    monkeypatch.chdir(processes.CHECKOUT)
    program = f"""
import runpy, sys
sys.argv[1:] = {[flag.format(tmp=tmp_path) for flag in flags]!r}
try:
    runpy.run_module("resnet_alexnet.{command}", run_name="__main__", alter_sys=True)
except SystemExit as end:
    print(end)
"""
    assert screen(run_on_a_terminal(program))[:2] == [line, "jax is imported"]
