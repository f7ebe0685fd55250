"""Parallelism over devices. The only package that imports jax.sharding and jax.distributed."""

from resnet_alexnet.parallel.batches import run_batches
from resnet_alexnet.parallel.collectives import Collective, read_collectives, sent_bytes
from resnet_alexnet.parallel.fake import create_fake_devices
from resnet_alexnet.parallel.mesh import (
    AXIS,
    Mesh,
    Specs,
    create_mesh,
    data_size,
    device_batch_size,
    padded_batch_size,
    parallel_eval_step,
    parallel_rows,
    parallel_sums,
    parallel_train_chunk,
    process_rows,
    replicate,
    replicated,
    shard,
    sharded,
    split_batch,
)
from resnet_alexnet.parallel.towers import TOWER, create_tower_mesh, device_bytes, tower_specs

__all__ = [
    "AXIS",
    "TOWER",
    "Collective",
    "Mesh",
    "Specs",
    "create_fake_devices",
    "create_mesh",
    "create_tower_mesh",
    "data_size",
    "device_batch_size",
    "device_bytes",
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
    "shard",
    "sharded",
    "split_batch",
    "tower_specs",
]
