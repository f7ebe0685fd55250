"""Who the processes of a run are, and what is wrong at the start: one line and exit code 2 on each of them."""

import os
import re
import shutil
import socket
import subprocess
import sys

import numpy as np
import pytest

from resnet_alexnet.errors import InputError
from resnet_alexnet.parallel import hosts
from tests.support import processes, teams

SLURM = {
    "SLURM_JOB_ID": "4095",
    "SLURM_STEP_NODELIST": "node[07-09]",
    "SLURM_NTASKS": "6",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1",
}


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch):
    for name in [*os.environ]:
        if name.startswith(("SLURM_", "OMPI_", "KUBERNETES_", "JAX_COORDINATOR", "JAX_LOCAL_DEVICE")):
            monkeypatch.delenv(name)


def test_without_flags_and_cluster_there_is_one_process():
    assert hosts.detect() is None


def test_one_process_of_one_is_a_single_process():
    assert hosts.detect("localhost:1234", 1, 0) is None


def test_flags_name_the_processes():
    found = hosts.detect("hosta:1234", 2, 1, (0, 1))
    assert found == hosts.Processes("hosta", 1234, 2, 1, (0, 1))
    assert found.census_port == 1235
    assert hosts.detect("[fe80::1]:80", 2, 0) == hosts.Processes("fe80::1", 80, 2, 0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("hosta:1", 2, None), "belong together: give all of them, or none"),
        ((None, None, None, (0,)), "--local_device_ids is for several processes"),
        (("hosta:1", 2, 2), r"--process_id=2 \(allowed: 0 to 1, of 2 processes\)"),
        (("hosta", 2, 1), r"--coordinator_address=hosta \(allowed: HOST:PORT"),
        (("hosta:x", 2, 1), "--coordinator_address=hosta:x"),
        (("hosta:65536", 2, 1), "the port from 1 to 65535"),
    ],
)
def test_bad_flags_are_refused(given, message):
    with pytest.raises(InputError, match=message):
        hosts.detect(*given)


def test_under_slurm_jax_finds_the_processes_and_neighboring_jobs_have_other_ports(monkeypatch):
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    found = hosts.detect()
    assert found == hosts.Processes("node07", 65535, 6, 3, None, 1)
    assert found.census_port == 65535 - 32768


def test_a_cluster_that_cannot_be_asked_is_an_error_that_names_the_flags(monkeypatch):
    for name, value in {**SLURM, "SLURM_NTASKS": "six"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=r"JAX cannot ask the cluster .*six.* give --coordinator_address, --num"):
        hosts.detect()


def test_the_token_leaves_no_folder_behind(tmp_path):
    file = tmp_path / "runs" / "new" / "token"
    with hosts._token(file) as text:
        assert hosts._read(file) == text
    assert list(tmp_path.iterdir()) == []
    assert hosts._read(file) is None
    with hosts._token(tmp_path / "token"):
        pass
    assert tmp_path.exists()


# A process of a run that is stopped, and takes some seconds to leave.
LATE = """
import sys, time
from pathlib import Path
from resnet_alexnet.cli.command import exit_at_once_with
from resnet_alexnet.errors import InterruptedRunError
from resnet_alexnet.parallel import hosts

port, number, late, folder = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])

def stop():
    processes = hosts.detect(f"127.0.0.1:{port}", 2, number)
    with hosts.connected(processes, {}, folder / "token", connect_seconds=60, heartbeat_seconds=10):
        if number == late:
            time.sleep(3)
            (folder / "late").touch()
        raise InterruptedRunError("stopped", 75)

exit_at_once_with(stop, host=f"process {number}")
"""


@pytest.mark.parametrize("late", [0, 1])
def test_processes_that_are_stopped_leave_together(cache, tmp_path, late):
    port = teams.free_port()
    words = [[sys.executable, "-c", LATE, str(port), str(number), str(late), str(tmp_path)] for number in range(2)]
    environment = processes.environment(cache)
    started = [subprocess.Popen(each, cwd=processes.CHECKOUT, env=environment) for each in words]
    try:
        assert started[1 - late].wait(teams.SECONDS) == 75
        assert (tmp_path / "late").exists()  # it waited for the other
        assert started[late].wait(teams.SECONDS) == 75
    finally:
        for each in started:
            each.kill()


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("compiled")


def refused(commands, cache, **options) -> list[str]:
    """The line of each process; all exit with code 2 and have written nothing else on standard error."""
    with teams.started(commands, cache, **options) as team:
        ended = team.end()
    assert [each.code for each in ended] == [2] * len(commands), ended
    for each in ended:
        assert each.errors.startswith("process "), ended
        assert each.errors.count("\n") == 1, ended
    return [each.errors for each in ended]


@pytest.mark.slow
def test_who_is_missing_is_named_by_all_others(cache, tmp_path):
    commands = teams.commands(tmp_path / "run", teams.config(hosts__connect_seconds=12), 3)
    for line in refused([commands[0], commands[2]], cache):
        assert "error: process 1 of 3 missing after 12 s (there: process 0 (" in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_hosts_with_another_config_and_other_code_are_named_by_all(cache, tmp_path):
    copy = tmp_path / "copy"
    for folder in ("resnet_alexnet", "configs"):
        shutil.copytree(processes.CHECKOUT / folder, copy / folder)
    with (copy / "resnet_alexnet" / "losses.py").open("a") as file:
        file.write("# a change that is not committed\n")
    commands = teams.commands(tmp_path / "run", teams.config(), 2)
    commands[1].append("--config.seed=1")
    for line in refused(commands, cache, folders=[processes.CHECKOUT, copy]):
        assert "the processes differ: --config.seed is 0 on process 0 (" in line
        assert ", but 1 on process 1 (" in line
        assert "the code is " in line
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_port_in_use_is_named_by_all(cache, tmp_path):
    commands = teams.commands(tmp_path / "run", teams.config(), 2)
    port = int(commands[0][-3].rpartition(":")[2])
    with socket.create_server(("127.0.0.1", port)):
        for line in refused(commands, cache):
            assert f"process 0 cannot listen at 127.0.0.1:{port}: Address already in use" in line


@pytest.mark.slow
def test_a_run_folder_that_one_does_not_see_is_named_by_all(cache, tmp_path):
    folders = [tmp_path / "hosta", tmp_path / "hostb"]
    for folder in folders:
        folder.mkdir()
    environments = [{"PYTHONPATH": str(processes.CHECKOUT)}] * 2
    commands = teams.commands("runs/new", teams.config(), 2)
    commands = [[word.replace("configs/", f"{processes.CHECKOUT}/configs/") for word in each] for each in commands]
    for line in refused(commands, cache, folders=folders, environments=environments):
        assert "error: --workdir=runs/new of process 0 (" in line
        assert ") is not seen by process 1 (" in line
    assert [list(folder.iterdir()) for folder in folders] == [[], []]


@pytest.mark.slow
def test_two_processes_with_one_number_are_named_by_all(cache, tmp_path):
    commands = teams.commands(tmp_path / "run", teams.config(), 3)
    commands[2] = commands[1]
    for line in refused(commands, cache):
        assert "error: process 1 (" in line
        assert "is there twice, on " in line


@pytest.mark.slow
def test_data_that_one_does_not_have_is_named_by_all(cache, tmp_path):
    folders = [tmp_path / "hosta", tmp_path / "hostb"]
    for folder in folders:
        folder.mkdir()
    images, labels = np.zeros((64, 8, 8, 1), np.uint8), np.arange(64) % 4
    np.savez(folders[1] / "data.npz", train_images=images, train_labels=labels)
    config = teams.config(dataset__name="npz", dataset__data_dir="data.npz")
    commands = teams.commands(tmp_path / "run", config, 2)
    commands = [[word.replace("configs/", f"{processes.CHECKOUT}/configs/") for word in each] for each in commands]
    environments = [{"PYTHONPATH": str(processes.CHECKOUT)}] * 2
    first, second = refused(commands, cache, folders=folders, environments=environments)
    assert re.match(r"process 0 of 2 \([^()]+\): error: data_dir data.npz does not exist", first)  # named once
    assert re.match(r"process 1 of 2 \([^()]+\): error: process 0 \([^()]+\): data_dir data.npz does not exist", second)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_batch_that_the_devices_cannot_share_is_named_by_all(cache, tmp_path):
    commands = teams.commands(tmp_path / "run", teams.config(batch_size=2), 2)
    for line in refused(commands, cache, devices=2):
        assert "batch_size=2 does not divide among 4 device(s)" in line
    assert not (tmp_path / "run").exists()
