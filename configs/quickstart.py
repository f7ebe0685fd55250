"""ResNet-8 on the embedded sample of Fashion-MNIST: real images, nothing to download.

python -m resnet_alexnet.main --config=configs/quickstart.py --workdir=runs/quickstart

Data       4,500 training images; for the full set, --config.dataset.data_dir=DIR, the folder of its IDX files
Hardware   two CPU cores
Time       61 s, including compilation (one run on a shared machine)
Measured   test error 12.0 % with seed 0 (jax 0.10.2, flax 0.12.8, optax 0.2.8, float32); docs/results/quickstart
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    config = default.get_config()
    config.model.name = "cifar_resnet8"
    config.model.bn_group = "sync"  # the same result on any number of devices
    config.dataset.name = "fashion_mnist"
    config.batch_size = 64
    config.num_steps = 840  # 12 epochs of 4,500 images
    config.augment.pad = 0  # the garments are centered; with crops, a run needs more steps
    config.optim.weight_decay = 4e-3  # for few images: the best of 0.0001 to 0.004 on the validation split
    config.schedule.name = "cosine"
    config.eval.every_steps = 70
    config.checkpoint.every_steps = 70
    config.log.every_steps = 35
    return config
