"""Parallelism over devices. The only package that imports jax.sharding and jax.distributed."""

from resnet_alexnet.parallel.batches import run_batches
from resnet_alexnet.parallel.collectives import Collective, read_collectives, sent_bytes
from resnet_alexnet.parallel.fake import create_fake_devices
from resnet_alexnet.parallel.mesh import (
    AXIS,
    Mesh,
    create_mesh,
    device_batch_size,
    padded_batch_size,
    parallel_eval_step,
    parallel_rows,
    parallel_sums,
    parallel_train_chunk,
    process_rows,
    replicate,
    replicated,
    split_batch,
)

__all__ = [
    "AXIS",
    "Collective",
    "Mesh",
    "create_fake_devices",
    "create_mesh",
    "device_batch_size",
    "padded_batch_size",
    "parallel_eval_step",
    "parallel_rows",
    "parallel_sums",
    "parallel_train_chunk",
    "process_rows",
    "read_collectives",
    "replicate",
    "replicated",
    "run_batches",
    "sent_bytes",
    "split_batch",
]
