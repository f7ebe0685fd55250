"""The arithmetic and the memory traffic of a step, counted by hand from the layers of a network.

A layer is one or more kernels, each of which reads its inputs from memory and writes its result. Activations have the
size of the compute dtype, parameters and gradients of parameters 4 bytes. Counted for one image:

- a convolution or linear layer: forward, the gradient of its input (not for the first layer) and the gradient of its
  kernel, each with 2 FLOPs for a multiply-add, and each of which reads two of (input, kernel, output) and writes the
  third. Kernels are shared by the images of a step.
- batch normalization, not fused into convolutions: forward 3 passes over the map (read for the statistics; read and
  write to normalize), backward 5 (read two maps for the sums; read two and write one).
- a residual addition: forward 3 passes (read two maps, write one), backward none: its gradient is the same for both.
- other layers (pooling, local response normalization, dropout): forward read the input and write the output, backward
  read both and the gradient and write a gradient.

Activation functions are taken as fused. So this is a model of a program, not a bound for all programs: fusing batch
normalization into convolutions would take less.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from flax import nnx

from resnet_alexnet.models.normalization import BatchNorm
from resnet_alexnet.models.trace import LayerCall, layer_calls

PARAMETER_BYTES = 4
_OPTIMIZER_PASSES = 5  # over the parameters: read gradient, parameter and momentum; write parameter and momentum


@dataclass(frozen=True)
class Kernel:
    """One pass of a step.

    Attributes:
        layer: the layer's path, or "optimizer".
        what: "forward", "input gradient", "kernel gradient", "backward", "addition" or "update".
        flops: multiplications and additions, for one image.
        bytes: read from memory and written to it, for one image.
    """

    layer: str
    what: str
    flops: float
    bytes: float


def network_kernels(
    model: nnx.Module, image_shape: Sequence[int], *, batch_size: int, activation_bytes: int, train: bool
) -> list[Kernel]:
    """The kernels of a training step, or of an inference step, for one of `batch_size` images.

    Args:
        model: the network; may hold shapes instead of arrays.
        image_shape: (height, width, channels).
        batch_size: images per device that share one reading of the parameters.
        activation_bytes: bytes of an activation: 4 in float32, 2 in bfloat16.
        train: whether to count the backward pass and the optimizer.
    """
    calls, kernels = layer_calls(model, image_shape), []
    sums = _residual_sums(model, calls)
    parameters, first = 0, True
    for call in calls:
        size = sum(leaf.get_value().size for _, leaf in nnx.iter_graph(call.layer) if isinstance(leaf, nnx.Param))
        parameters += size
        multiply_adds = call.layer.multiply_adds(call.output_shape)
        if multiply_adds:
            weights = PARAMETER_BYTES * size / batch_size
            kernels += _product_kernels(call, multiply_adds, weights, activation_bytes, train=train, first=first)
            first = False
        else:
            kernels += _map_kernels(call, activation_bytes, train=train)
        if call.path in sums:
            kernels.append(Kernel(call.path, "addition", 0, 3 * activation_bytes * math.prod(call.output_shape)))
    if train:
        traffic = _OPTIMIZER_PASSES * PARAMETER_BYTES * parameters / batch_size
        kernels.append(Kernel("optimizer", "update", 0, traffic))
    return kernels


def _product_kernels(
    call: LayerCall, multiply_adds: int, weights: float, activation_bytes: int, *, train: bool, first: bool
) -> list[Kernel]:
    """The kernels of a convolution or a linear layer."""
    traffic = activation_bytes * (math.prod(call.input_shape) + math.prod(call.output_shape)) + weights
    names = ["forward"]
    if train:
        names += ["kernel gradient"] if first else ["input gradient", "kernel gradient"]
    return [Kernel(call.path, name, 2 * multiply_adds, traffic) for name in names]


def _map_kernels(call: LayerCall, activation_bytes: int, *, train: bool) -> list[Kernel]:
    """The kernels of a layer without products, which only memory limits."""
    inputs, outputs = (activation_bytes * math.prod(shape) for shape in (call.input_shape, call.output_shape))
    if isinstance(call.layer, BatchNorm | nnx.BatchNorm):
        forward, backward = (3 if train else 2) * outputs, 5 * outputs
    else:
        forward, backward = inputs + outputs, 2 * (inputs + outputs)
    kernels = [Kernel(call.path, "forward", 0, forward)]
    return [*kernels, Kernel(call.path, "backward", 0, backward)] if train else kernels


def _residual_sums(model: nnx.Module, calls: Sequence[LayerCall]) -> set[str]:
    """The path of the last layer of each residual block, whose output has the shape of the sum."""
    blocks = [".".join(map(str, path)) for path, module in nnx.iter_modules(model) if hasattr(module, "shortcut")]
    last = {}
    for block in blocks:
        for call in calls:
            if call.path.startswith(f"{block}."):
                last[block] = call.path
    return set(last.values())
