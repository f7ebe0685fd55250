import subprocess
import sys

import pytest

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
