"""Residual networks of 6n + 2 layers on CIFAR-10: the recipe of [H15] section 4.2.

python -m resnet_alexnet.main --config=configs/cifar_resnet.py:20 --workdir=runs/cifar_resnet20

Data       --config.dataset.data_dir=DIR, the folder of the extracted cifar-10-binary.tar.gz
Depths     20 (the default), 32, 44, 56, 110 and 1202 are published; every 6n + 2 from 8 to 1202 is allowed
           1202 layers run in loops over equal blocks, or would take minutes to compile (model.scan)
Hardware   2 GPUs of 64 images each ([H15] section 4.2)
Time       not published; multiply-adds (3 x forward): 1.0e15 for 20 layers, 3.1e15 for 56, 6.2e15 for 110,
           7.0e16 for 1202; not measured here
Published  test error 8.75 % with 20 layers, 7.51 with 32, 7.17 with 44, 6.97 with 56, 6.43 with 110 (6.61 +- 0.16 over
           five runs), 7.93 with 1202 ([H15] table 6)
"""

from ml_collections import ConfigDict

from configs import default
from resnet_alexnet.errors import InputError

WARM_UP_DEPTH = 110  # layers; from this depth, 0.1 is "slightly too large to start converging"


def get_config(depth: str = "20") -> ConfigDict:
    return cifar_config("cifar_resnet", depth)


def cifar_config(family: str, depth: str) -> ConfigDict:
    """The recipe for the network of `depth` layers of `family`, "cifar_resnet" or "cifar_plain"."""
    if not depth.isdecimal() or int(depth) not in range(8, 1203, 6):
        raise InputError(
            f"the depth in configs/{family}.py:{depth} is {depth!r} (allowed: 6n + 2 layers from 8 to 1202, "
            "such as 20, 32, 44, 56, 110)"
        )
    config = default.get_config()
    config.model.name = f"{family}{int(depth)}"
    config.model.bn_group = 64  # 128 images on two GPUs ([H15] section 4.2)
    config.batch_size = 128
    config.num_steps = 64_000
    config.optim.learning_rate = 0.1
    config.optim.momentum = 0.9
    config.optim.weight_decay = 1e-4
    config.schedule.name = "steps"
    config.schedule.boundaries = (32_000, 48_000)
    config.schedule.factor = 0.1
    if int(depth) >= WARM_UP_DEPTH:
        # 0.01 until the training error is below 80 %, about 400 steps; 1202 layers are "trained as described above".
        config.schedule.warmup_until_error = 80.0  # percent
        config.schedule.warmup_until_error_scale = 0.1
    return config
