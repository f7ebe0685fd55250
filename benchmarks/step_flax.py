"""The process of Flax's imagenet example for benchmarks/step.py: its ResNets and a training step as its own.

The networks are those of models.py in a checkout of the example. Its train.py needs TensorFlow; the step here does the
same: softmax cross-entropy with weight decay in the loss, SGD with Nesterov's momentum, normalized float32 images.
"""

import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from serve import Run, serve

CLASSES = {"resnet18": "ResNet18", "resnet50": "ResNet50", "resnet152": "ResNet152"}
STD = 255.0  # what pixels are divided by


def create(
    kind: str, model: str, num_classes: int, precision: str, folder: str, example: str
) -> tuple[Run, dict[str, Any]]:
    """Creates the line `kind`, "training" or "inference"; `example` is the checkout's folder with models.py."""
    sys.path.insert(0, example)
    import models

    with np.load(Path(folder) / "batch.npz") as file:
        image, label = np.asarray(file["image"], np.float32) / STD, file["label"]
    dtype = jnp.dtype(precision)
    net = getattr(models, CLASSES[model])(num_classes=num_classes, dtype=dtype)
    variables = jax.jit(net.init)(jax.random.key(0), image[:1])
    params, batch_stats = variables["params"], variables["batch_stats"]
    tx = optax.sgd(0.01, momentum=0.9, nesterov=True)
    about = {"versions": {"jax": jax.__version__}, "device": jax.devices()[0].device_kind}

    @jax.jit
    def logits(params: Any, batch_stats: Any, image: jax.Array) -> jax.Array:
        return net.apply({"params": params, "batch_stats": batch_stats}, image, train=False, mutable=False)

    @jax.jit
    def train(params: Any, batch_stats: Any, opt_state: Any, image: jax.Array, label: jax.Array) -> Any:
        def objective(params: Any) -> Any:
            found, moved = net.apply(
                {"params": params, "batch_stats": batch_stats}, image.astype(dtype), mutable=["batch_stats"]
            )
            loss = optax.softmax_cross_entropy_with_integer_labels(found.astype(jnp.float32), label).mean()
            decay = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params) if leaf.ndim > 1)
            return loss + 0.5e-4 * decay, moved["batch_stats"]

        (loss, moved), grads = jax.value_and_grad(objective, has_aux=True)(params)
        updates, opt_state = tx.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), moved, opt_state, loss

    opt_state = tx.init(params)

    def run(images: int) -> None:
        nonlocal params, batch_stats, opt_state
        for _ in range(images // len(label)):
            if kind == "inference":
                logits(params, batch_stats, image).block_until_ready()
            else:
                params, batch_stats, opt_state, loss = train(params, batch_stats, opt_state, image, label)
                loss.block_until_ready()

    return run, about


if __name__ == "__main__":
    serve(create)
