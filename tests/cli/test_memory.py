import json
import os
import subprocess
import sys

import pytest

from resnet_alexnet.cli import memory
from tests.support.processes import CHECKOUT

# Allocates and frees 300 MB as jax does, and prints how much of it this process still has, in MB.
FREE = """
import ctypes
from pathlib import Path
from resnet_alexnet.cli.memory import keep_freed

{call}
library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
library.free.argtypes = [ctypes.c_void_p]

def megabytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

before = megabytes()
buffers = [library.malloc(10**8) for _ in range(3)]
for buffer in buffers:
    ctypes.memset(buffer, 1, 10**8)
for buffer in buffers:
    library.free(buffer)
print(megabytes() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc")
@pytest.mark.parametrize(("call", "least", "most"), [("keep_freed()", 290, 310), ("", -10, 10)])
def test_freed_memory_is_kept_for_the_next_step(call, least, most):
    program = FREE.format(call=call)
    result = subprocess.run([sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert least < float(result.stdout) < most


# Frees 270 MB in small pieces, as the compiler does, and prints how much of it this process has before and after one.
COMPILE = """
import ctypes
from pathlib import Path
import jax
from resnet_alexnet.cli import memory

memory._LEAST_SECONDS = {least}
memory.keep_freed()
library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
library.free.argtypes = [ctypes.c_void_p]

def megabytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

start = jax.numpy.zeros(3)
before = megabytes()
pieces = [library.malloc(10**6) for _ in range(300)]
for piece in pieces:
    ctypes.memset(piece, 1, 10**6)
for number, piece in enumerate(pieces):
    if number % 10:
        library.free(piece)
freed = megabytes()
jax.jit(lambda x: x + 1)(start)
print(freed - before, megabytes() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc")
@pytest.mark.parametrize(("least", "most_left"), [(0, 80), (1000, 400)])
def test_what_the_compiler_has_freed_is_given_back(least, most_left):
    program = COMPILE.format(least=least)
    result = subprocess.run([sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    freed, left = map(float, result.stdout.split())
    assert freed > 290
    assert (left > 290) == (least > 0), "a short compilation leaves little"
    assert left < most_left


# Starts itself again, takes 20 and 200 MB, gives the 200 back, and prints what it sees of itself.
RESTART = """
import ctypes, json, os, sys
from pathlib import Path
from resnet_alexnet.cli.memory import keep_freed, use_huge_pages

print("started")
sys.stdout.flush()
use_huge_pages()
keep_freed()
library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
library.free.argtypes = [ctypes.c_void_p]

def megabytes(key):
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 1e3

ctypes.memset(library.malloc(2 * 10**7), 1, 2 * 10**7)
before = megabytes("Rss")
buffer = library.malloc(2 * 10**8)
ctypes.memset(buffer, 1, 2 * 10**8)
huge = megabytes("AnonHugePages")
library.free(buffer)
print(json.dumps([os.getpid(), sys.argv, huge, megabytes("Rss") - before, os.environ.get("GLIBC_TUNABLES")]))
"""


def restart(*words, **environment):
    """Runs the program; how often it started, its number, and what it has printed."""
    command = [sys.executable, "-c", RESTART, *words]
    process = subprocess.Popen(command, cwd=CHECKOUT, env=os.environ | environment, stdout=subprocess.PIPE, text=True)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    *starts, last = output.splitlines()
    return len(starts), process.pid, *json.loads(last)


needs_huge_pages = pytest.mark.skipif("[madvise]" not in memory._setting(), reason="huge pages are not on request here")


@needs_huge_pages
def test_a_process_starts_itself_again_once_to_have_huge_pages():
    starts, number, own, words, huge, kept, left = restart("a b", "--flag=c")
    assert (starts, own, words) == (2, number, ["-c", "a b", "--flag=c"])
    assert huge > 150
    assert kept < 30  # large buffers are given back
    assert left is None  # what it starts does not have the option


@needs_huge_pages
def test_who_asks_twice_starts_once():
    twice = "from resnet_alexnet.cli import memory; print(1, flush=True); " + "memory.use_huge_pages(); " * 2
    result = subprocess.run([sys.executable, "-c", twice], capture_output=True, text=True, cwd=CHECKOUT, timeout=60)
    assert (result.returncode, result.stdout) == (0, "1\n1\n")


@needs_huge_pages
def test_huge_pages_that_the_user_has_asked_for_are_given_back_as_well():
    starts, *_, huge, kept, left = restart(GLIBC_TUNABLES="glibc.malloc.hugetlb=1")
    assert (starts, left) == (1, "glibc.malloc.hugetlb=1")
    assert huge > 150
    assert kept < 30


@needs_huge_pages
@pytest.mark.parametrize(
    ("given", "starts"), [("glibc.malloc.hugetlb=0", 1), ("glibc.malloc.tcache_count=4", 2), ("", 2)]
)
def test_options_of_the_user_stay(given, starts):
    result = restart(GLIBC_TUNABLES=given)
    assert (result[0], result[-1]) == (starts, given or None)


@pytest.mark.parametrize("setting", ["[always] madvise never", "always madvise [never]", ""])
def test_where_there_are_no_huge_pages_on_request_nothing_is_started(setting, monkeypatch, tmp_path):
    (tmp_path / "enabled").write_text(setting)
    monkeypatch.setattr(memory, "_SETTING", tmp_path / "enabled")
    monkeypatch.setattr(os, "execve", lambda *_: pytest.fail("started again"))
    memory.use_huge_pages()


# Prints whether the result of a product of 100 ms is there at once.
DISPATCH = """
import jax
from resnet_alexnet.cli.memory import keep_freed

{call}
x = jax.numpy.ones((3000, 3000))
product = jax.jit(lambda x: x @ x)
product(x).block_until_ready()
print(product(x).is_ready())
"""


@pytest.mark.parametrize("call", ["keep_freed()", ""])
def test_a_step_on_a_cpu_begins_when_the_one_before_has_given_up_its_memory(call):
    program = DISPATCH.format(call=call)
    environment = os.environ | {"XLA_FLAGS": ""}  # one device
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == str(bool(call))
