"""Every network of both papers by name."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from resnet_alexnet.models.catalog import (
        FAMILIES,
        MODELS,
        check_model,
        check_option,
        create_model,
        fully_convolutional_options,
        model_options,
        option_types,
        tower_axes,
    )

__all__ = [
    "FAMILIES",
    "MODELS",
    "check_model",
    "check_option",
    "create_model",
    "fully_convolutional_options",
    "model_options",
    "option_types",
    "tower_axes",
]


def __getattr__(name: str) -> Any:
    # Imported on first use: `python -m resnet_alexnet.models.summary --help` does without jax.
    if name in __all__:
        from resnet_alexnet.models import catalog

        return getattr(catalog, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
