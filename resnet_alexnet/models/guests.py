"""A user's own network, "path/to/file.py:CLASS": its contract, and how it is used in place of ours.

The class is plain Flax NNX. `__init__` takes `num_classes`, `image_size`, `channels` and `rngs` (an nnx.Rngs, or `key`,
one jax key) by keyword, and its options, which have defaults. `model(image, *, train=False, rngs=None)` returns logits
(batch, num_classes). All state is nnx.Param, in float32, and nnx.BatchStat.
"""

import functools
import inspect
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from resnet_alexnet.errors import InputError
from resnet_alexnet.files import absolute_guest, error_line, load_guest
from resnet_alexnet.models.layers import Layer
from resnet_alexnet.models.normalization import check_values
from resnet_alexnet.models.trace import naming_layers

SIZES = ("num_classes", "image_size", "channels")
RANDOMNESS = ("rngs", "key")
_STATE = (nnx.Param, nnx.BatchStat)


def load_class(name: str) -> type[nnx.Module]:
    """Loads the class of a user's own network and checks its signatures.

    Raises:
        InputError: it cannot be loaded, is not an nnx.Module, or does not take the arguments of the contract.
    """
    found = load_guest(name, field="model.name")
    if not isinstance(found, type) or not issubclass(found, nnx.Module):
        raise InputError(f"model.name={name} is {found!r} (needed: a class that derives from flax.nnx.Module)")
    parameters = inspect.signature(found.__init__, eval_str=True).parameters.values()
    names = {p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}
    needed = "needed: num_classes, image_size, channels and rngs or key, by keyword; options, with a default each"
    lacking = [size for size in SIZES if size not in names] + ["rngs"] * names.isdisjoint(RANDOMNESS)
    if lacking:
        raise InputError(f"{name}: __init__ does not take {', '.join(lacking)} ({needed})")
    known = {"self", *SIZES, *RANDOMNESS}
    if bare := [p.name for p in parameters if p.name in names - known and p.default is p.empty]:
        raise InputError(f"{name}: __init__ has no default for {', '.join(bare)} ({needed})")
    try:
        inspect.signature(found.__call__).bind(None, None, train=False, rngs=None)
    except TypeError as error:
        raise InputError(f"{name}: __call__ must take (image, *, train=False, rngs=None): {error}") from None
    return found


def create(name: str, *, key: jax.Array, num_classes: int, **arguments: Any) -> nnx.Module:
    """Creates a guest: an instance of its class whose calls are checked and whose layers are `Layer`s.

    Raises:
        InputError: its code fails, or it keeps state of a kind that is neither trained nor saved.
    """
    guest: Any = load_class(name)
    takes_key = "key" in inspect.signature(guest.__init__).parameters
    randomness = {"key": key} if takes_key else {"rngs": nnx.Rngs(key)}
    try:
        model = guest(num_classes=num_classes, **arguments, **randomness)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{name}: __init__: {error_line(error, _file(name))}") from error
    _check_state(name, model)
    _change_class(model, _Guest)
    model._name, model._num_classes = name, num_classes
    for path, module in nnx.iter_modules(model):
        owns_state = any(isinstance(value, nnx.Variable) for value in vars(module).values())
        if path and not isinstance(module, Layer) and (owns_state or isinstance(module, nnx.Dropout)):
            _change_class(module, _GuestLayer)
    _set_mode(model, train=False)
    return model


def _file(name: str) -> Path:
    return Path(absolute_guest(name).rpartition(":")[0])


def _check_state(name: str, model: nnx.Module) -> None:
    """Raises InputError unless all state is parameters, of which there are some, and batch statistics, in float32."""
    parameters = 0
    for path, node in nnx.iter_graph(model):
        where = f"{name}: {'.'.join(map(str, path))}"
        if isinstance(node, nnx.RngState):
            raise InputError(
                f"{where} keeps random numbers in the model: leave rngs out of the layer's __init__, as in "
                "nnx.Dropout(0.5), and pass the call's, as in self.dropout(x, rngs=rngs)"
            )
        if isinstance(node, jax.Array) or (isinstance(node, nnx.Variable) and not isinstance(node, _STATE)):
            kind = type(node).__name__ if isinstance(node, nnx.Variable) else "a plain array"
            raise InputError(
                f"{where} is {kind}, which is neither trained nor saved (allowed: nnx.Param, nnx.BatchStat, and "
                "arrays that __call__ computes)"
            )
        if isinstance(node, nnx.Variable):
            if node.get_value().dtype != jnp.float32:
                raise InputError(f"{where} is {node.get_value().dtype} (needed: float32, as param_dtype=jnp.float32)")
            parameters += isinstance(node, nnx.Param)
    if not parameters:
        raise InputError(f"{name} has no parameters (needed: nnx.Param, as in the layers of flax.nnx)")


def _change_class(module: nnx.Module, mixin: type) -> None:
    """Puts the methods of `mixin` before those of the module's class."""
    object.__setattr__(module, "__class__", _with_mixin(mixin, type(module)))


@functools.cache
def _with_mixin(mixin: type, cls: type) -> type:
    # One class for each pair: graphs of equal models are equal.
    return type(cls.__name__, (mixin, cls), {"__module__": cls.__module__, "__qualname__": cls.__qualname__})


def _set_mode(model: nnx.Module, *, train: bool) -> None:
    """Does what `model.train()` and `model.eval()` do, but writes only what differs: a write can fail under a trace."""
    modes = {"deterministic": not train, "use_running_average": not train}
    for _, module in nnx.iter_modules(model):
        for attribute, value in modes.items():
            if getattr(module, attribute, value) != value:
                setattr(module, attribute, value)


class _Guest(nnx.Module):
    """What goes before a guest's own `__call__`: its layers' mode, randomness, and checks."""

    _name: str
    _num_classes: int

    def __call__(self, image: jax.Array, *, train: bool = False, rngs: nnx.Rngs | jax.Array | None = None) -> jax.Array:
        """The guest's logits.

        Args:
            image: normalized images.
            train: the mode of the layers.
            rngs: one key an image, as our steps give, becomes the nnx.Rngs that plain Flax layers take.

        Raises:
            InputError: its code fails on images of this shape, or what it returns is not logits.
        """
        _set_mode(self, train=train)
        if isinstance(rngs, jax.Array):
            rngs = nnx.Rngs(rngs[0])
        where = f"{self._name}: __call__ on images of shape {image.shape}"
        try:
            with naming_layers(self):
                logits = super().__call__(image, train=train, rngs=rngs)  # pyright: ignore[reportAttributeAccessIssue]
        except InputError:
            raise
        except Exception as error:
            raise InputError(f"{where}: {error_line(error, _file(self._name))}") from error
        needed = (image.shape[0], self._num_classes)
        if not isinstance(logits, jax.Array):
            raise InputError(f"{where} returns {type(logits).__name__} (needed: an array of logits, {needed})")
        if logits.shape != needed or not jnp.issubdtype(logits.dtype, jnp.floating):
            raise InputError(f"{where} returns {logits.dtype} of shape {logits.shape} (needed: float logits, {needed})")
        return logits


class _GuestLayer(Layer):
    """What goes before the methods of a plain Flax layer: it is seen by observers, and can be frozen."""

    def forward(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """The layer's own call; frozen, as in testing."""
        if self.frozen and isinstance(self, nnx.Dropout):
            return x
        if self.frozen and isinstance(self, nnx.BatchNorm):
            args, kwargs = (), {**kwargs, "use_running_average": True}
        elif isinstance(self, nnx.BatchNorm) and not _is_averaging(self, *args, **kwargs):
            check_values(self, _values_per_channel(self, x.shape), x.shape)
        return super(Layer, self).__call__(x, *args, **kwargs)  # pyright: ignore[reportAttributeAccessIssue]

    def multiply_adds(self, output_shape: tuple[int, ...]) -> int:
        """As the class counts them if it has this method; else of nnx.Conv and nnx.Linear alone."""
        if hasattr(own := super(Layer, self), "multiply_adds"):
            return own.multiply_adds(output_shape)  # pyright: ignore[reportAttributeAccessIssue]
        return super().multiply_adds(output_shape) if isinstance(self, nnx.Conv | nnx.Linear) else 0


def _is_averaging(norm: nnx.BatchNorm, use_running_average: bool | None = None, **_: Any) -> bool:
    """Whether a call with these arguments normalizes by the running statistics."""
    return bool(norm.use_running_average if use_running_average is None else use_running_average)


def _values_per_channel(norm: nnx.BatchNorm, shape: tuple[int, ...]) -> int:
    """The values that a plain Flax batch normalization averages over, of an input of this shape on a device."""
    axes = norm.axis if isinstance(norm.axis, Sequence) else (norm.axis,)
    channels = {axis % len(shape) for axis in axes}
    count = math.prod(size for axis, size in enumerate(shape) if axis not in channels)
    if norm.axis_name is None:
        return count
    return count * (len(norm.axis_index_groups[0]) if norm.axis_index_groups else lax.axis_size(norm.axis_name))
