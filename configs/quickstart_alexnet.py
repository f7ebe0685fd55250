"""Krizhevsky's CIFAR-10 net on the embedded sample of Fashion-MNIST: real images, nothing to download.

python -m resnet_alexnet.main --config=configs/quickstart_alexnet.py --workdir=runs/quickstart_alexnet
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    config = default.get_config()
    config.model.name = "alexnet_cifar"
    config.dataset.name = "fashion_mnist"
    config.batch_size = 50
    config.num_steps = 900
    config.augment.pad = 0
    config.augment.std = True
    config.optim.learning_rate = 0.02
    config.optim.weight_decay = 1e-3
    config.optim.decay_mask = "kernels"
    config.schedule.name = "cosine"
    config.schedule.warmup_steps = 45
    config.eval.every_steps = 90
    config.checkpoint.every_steps = 900
    config.log.every_steps = 30
    return config
