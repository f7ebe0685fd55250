"""Weight files."""

import os
from pathlib import Path

from safetensors.numpy import save_file

from resnet_alexnet.network import Network


def save(network: Network, path: Path) -> None:
    """Writes the weights, whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    save_file(network.leaves(), temporary)
    os.replace(temporary, path)
