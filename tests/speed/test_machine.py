"""What is reported of the machine."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil

from resnet_alexnet.speed import machine

ROOT = Path(__file__).parents[2]


def test_the_peak_is_at_least_what_is_resident_now_and_stays():
    array = np.ones(100_000_000)  # 800 MB, which a test before this one would hardly need
    del array
    assert machine.peak_megabytes() > psutil.Process().memory_info().rss / 1e6 + 100


def test_the_peak_is_that_of_the_process_not_of_the_one_that_started_it():
    code = "from resnet_alexnet.speed.machine import peak_megabytes; print(peak_megabytes())"
    small = [sys.executable, "-c", code]
    big = f"import subprocess; held = bytearray(400_000_000); subprocess.run({small!r}, check=True)"
    result = subprocess.run([sys.executable, "-c", big], cwd=ROOT, capture_output=True, text=True, check=True)
    assert 5 < float(result.stdout) < 300


def test_the_head_of_a_result_names_commit_and_date():
    head = machine.result("step", "a step", ours=2.0, peer=1.0, ratio=2.0, n=5)
    assert list(head) == ["benchmark", "what", "ours", "peer", "ratio", "n", "date", "commit"]
    assert len(head["date"]) == 10


def test_a_machine_is_described():
    described = machine.describe()
    assert described["processor"]
    assert described["cores"] == len(os.sched_getaffinity(0))
