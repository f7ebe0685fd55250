"""Trained networks, from the run folders and weight files that a user names."""

import sys
from pathlib import Path

from resnet_alexnet import checkpoint, pretrained
from resnet_alexnet.errors import InputError
from resnet_alexnet.network import Description, Network, from_leaves
from resnet_alexnet.run_folder import CONFIG_FILE


def load_network(path: Path, *, step: int | str = "last") -> Network:
    """The network in a run folder or a weight file; its moving average, where the run kept one.

    Args:
        path: a run folder, or a weight file that says what it holds, as `pretrained.convert` writes them.
        step: of a run folder, which checkpoint: a step, "last" or "best" (by validation error).

    Raises:
        InputError: there is no such thing, or it is damaged.
    """
    if path.is_dir():
        return _from_run(path, step)
    if not path.exists():
        raise InputError(f"{path}: there is no such run folder or weight file")
    if step != "last":
        raise InputError(f"{path} is no run folder: a weight file has no checkpoint {step!r} to choose")
    return pretrained.load_network(path)


def _from_run(workdir: Path, step: int | str) -> Network:
    if not (workdir / CONFIG_FILE).is_file():
        raise InputError(f"{workdir} is no run folder: it holds no {CONFIG_FILE}")
    try:
        step, leaves, record, warnings = checkpoint.read(workdir / "checkpoints", step)
    except checkpoint.DamagedCheckpointError as error:
        raise InputError(str(error)) from None
    for warning in warnings:
        print(f"warning: {warning}; checkpoint {step} is taken", file=sys.stderr)
    averaged = any(name.startswith("ema/") for name in leaves)
    prefix = "ema/" if averaged else ""
    weights = {
        name.removeprefix(prefix): leaf
        for name, leaf in leaves.items()
        if name.startswith((f"{prefix}params/", f"{prefix}batch_stats/"))
    }
    return from_leaves(Description.from_json(record["network"]), weights, where=f"checkpoint {step} of {workdir}")
