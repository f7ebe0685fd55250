"""What is reported of the machine."""

import os
import subprocess
import sys
from pathlib import Path

from resnet_alexnet.speed import machine

ROOT = Path(__file__).parents[2]


def printed(code: str) -> float:
    """The number that a program prints, in a process of its own: what is at hand here depends on the tests before."""
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return float(result.stdout)


def test_the_peak_stays_when_memory_is_freed():
    code = "from resnet_alexnet.speed.machine import peak_megabytes; held = bytearray(b'1' * {}); del held; "
    small, big = (printed(code.format(size) + "print(peak_megabytes())") for size in (1, 400_000_000))
    assert small + 390 < big < small + 900  # the bytes, and perhaps the array that they become


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
