"""Krizhevsky's CIFAR-10 network on the embedded sample of Fashion-MNIST: real images, nothing to download.

python -m resnet_alexnet.main --config=configs/quickstart_alexnet.py --workdir=runs/quickstart_alexnet

Data       4,500 training images; for the full set, --config.dataset.data_dir=DIR, the folder of its IDX files
Hardware   two CPU cores
Time       94 s, including compilation (one run on a shared machine)
Measured   test error 13.8 %, seed 0 (jax 0.10.2, flax 0.12.8, optax 0.2.8, float32); docs/results/quickstart_alexnet
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    config = default.get_config()
    config.model.name = "alexnet_cifar"
    config.dataset.name = "fashion_mnist"
    config.batch_size = 64
    config.num_steps = 420  # 6 epochs of 4,500 images
    config.augment.pad = 0
    config.preprocess.std = True  # unit variance: the small weights of the first layer learn faster
    config.optim.learning_rate = 0.05
    config.optim.weight_decay = 1e-3
    config.optim.decay_mask = "kernels"
    config.schedule.name = "cosine"
    config.eval.every_steps = 70
    config.checkpoint.every_steps = 70
    config.log.every_steps = 35
    return config
