"""What TensorBoard's events cost; tests/workdir/test_metrics_log.py has what is in them."""

import os
import subprocess
import sys

from tests.support.processes import CHECKOUT

WRITE = """
import sys
from pathlib import Path
from resnet_alexnet.workdir.events import Events

Events(Path(sys.argv[1]), [{"step": 1, "val/loss": 2.0}], {"seed": 0}).close()
assert "torch" not in sys.modules
try:
    import torch
except SystemExit:
    print("torch can still be imported")
"""


def test_torch_which_takes_seconds_to_load_is_not_loaded(tmp_path):
    (tmp_path / "torch.py").write_text("raise SystemExit(99)\n")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{CHECKOUT}"}
    command = [sys.executable, "-c", WRITE, str(tmp_path / "events")]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, "torch can still be imported\n", "")
    assert list((tmp_path / "events" / "val").iterdir())
