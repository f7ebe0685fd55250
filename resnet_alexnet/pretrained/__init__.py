"""Trained networks: specs, weights, and the weight files to read and write."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from resnet_alexnet.pretrained.load import load_model, load_network, network_of

__all__ = ["load_model", "load_network", "network_of"]


def __getattr__(name: str) -> Any:
    # Imported on first use, so that `python -m resnet_alexnet.pretrained.convert --help` does not import jax.
    if name in __all__:
        from resnet_alexnet.pretrained import load

        return getattr(load, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
