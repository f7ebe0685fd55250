"""The launchers that need a cloud, as far as they can be tried without one; and what all launchers have in common."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(file for file in (ROOT / "launch").iterdir() if file.suffix in (".sh", ".sbatch"))
# Does what ssh does with a command: a shell runs it, in the home folder. The name of the TPU shows that it got it.
GCLOUD = """#!/bin/bash
printf '%s\\n' "${@:1:7}" > "$HOME/called"
for argument; do
  [[ $argument == --command=* ]] && cd && bash -c "${argument#--command=}"
done
"""
PYTHON = """#!/bin/bash
pwd
printf '<%s>' "$@"
"""


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda file: file.name)
def test_scripts_are_bash_and_open_with_their_usage(script):
    subprocess.run(["bash", "-n", script], check=True)
    lines = script.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("#!/")
    usage = next(line for line in lines[1:6] if line.startswith("#   "))
    assert f"launch/{script.name} " in usage
    assert os.access(script, os.X_OK) == (script.suffix == ".sh")


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda file: file.name)
def test_shellcheck_finds_nothing(script):
    result = subprocess.run(["shellcheck", script], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


def run_tpu_pod(*arguments: str, home: Path = ROOT, path: str = os.environ["PATH"]) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HOME": str(home), "PATH": path}
    command = [ROOT / "launch" / "tpu_pod.sh", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def test_tpu_pod_runs_the_command_on_all_hosts_with_its_words_as_they_are(tmp_path):
    for file, text in ((tmp_path / "gcloud", GCLOUD), (tmp_path / "resnet_alexnet/.venv/bin/python", PYTHON)):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        file.chmod(0o755)
    words = ["--config=quickstart", "--workdir=runs/of two words", "--config.finetune.frozen=('stem','stages')"]
    result = run_tpu_pod("pod", "us-central2-b", *words, home=tmp_path, path=f"{tmp_path}:{os.environ['PATH']}")
    assert result.returncode == 0, result.stderr
    called = (tmp_path / "called").read_text(encoding="utf-8").split("\n")
    assert called[:7] == ["compute", "tpus", "tpu-vm", "ssh", "pod", "--zone=us-central2-b", "--worker=all"]
    main = "".join(f"<{word}>" for word in ("-m", "resnet_alexnet.main", *words))
    assert result.stdout == f"{tmp_path / 'resnet_alexnet'}\n{main}"


@pytest.mark.parametrize("arguments", [(), ("pod",), ("pod", "--config=quickstart", "--workdir=runs/a")])
def test_tpu_pod_says_what_is_missing(arguments):
    result = run_tpu_pod(*arguments)
    assert result.returncode == 2
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert "TPU ZONE --config=NAME --workdir=DIR" in result.stderr


def test_tpu_pod_shows_its_usage():
    result = run_tpu_pod("--help")
    assert result.returncode == 0
    assert "launch/tpu_pod.sh TPU ZONE --config=NAME" in result.stdout
