"""Learning rate x batch size, six points: the one is best chosen together with the other.

python launch/sweep.py --sweep=learning_rate_batch_size --workdir=runs/rates --jobs=2

At this scale, half an epoch of the sample, it shows how a sweep works and no more. For results: more steps,
--config.num_steps=840, which is the quickstart, and the seeds 0, 1 and 2 in each point. For CIFAR-10, without COMMON:
--config=cifar_resnet:20 --config.dataset.data_dir=DIR, batch sizes around 128.

Source: [H15] section 4.2 has 0.1 for 128 images; Goyal et al. 2017 scale the one with the other.
"""

from resnet_alexnet.study.search import grid

BASE = "quickstart"
COMMON = {"num_steps": 35, "eval.every_steps": 7, "log.every_steps": 7, "checkpoint.every_steps": 35}


def sweep():
    yield from grid({"optim.learning_rate": (0.02, 0.1, 0.5), "batch_size": (32, 64)})
