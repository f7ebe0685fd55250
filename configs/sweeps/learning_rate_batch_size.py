"""Learning rate x batch size, six points: the one is best chosen together with the other.

python launch/sweep.py --sweep=learning_rate_batch_size --workdir=runs/rates --jobs=2

All points do equally many steps, not epochs: the larger batch size sees twice the images. For equal epochs, let sweep()
set num_steps in each point instead of COMMON.

At this scale, a third of an epoch of the sample with 64 images per step and a sixth with 32, it shows how a sweep works
and no more. For results: --config.num_steps=840, the quickstart's length, --config.eval.every_steps=70, and three
seeds. For CIFAR-10, with batch sizes around 128: --config=cifar_resnet:20 --config.dataset.data_dir=DIR
--config.num_steps=64000.

Source: [H15] section 4.2 has 0.1 for 128 images; Goyal et al. 2017 scale the one with the other.
"""

from resnet_alexnet.study.search import grid

BASE = "quickstart"
COMMON = {"num_steps": 24, "eval.every_steps": 8, "log.every_steps": 8}


def sweep():
    yield from grid({"optim.learning_rate": (0.02, 0.1, 0.5), "batch_size": (32, 64)})
