"""ResNet-8 on the embedded sample of Fashion-MNIST: real images, nothing to download.

python -m resnet_alexnet.main --config=configs/quickstart.py --workdir=runs/quickstart
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    config = default.get_config()
    config.model.name = "cifar_resnet8"
    config.dataset.name = "fashion_mnist"
    config.batch_size = 50
    config.num_steps = 720  # 8 epochs of 4,500 images
    config.augment.pad = 2
    config.schedule.name = "cosine"
    config.schedule.warmup_steps = 45
    config.eval.every_steps = 90
    config.checkpoint.every_steps = 90
    config.log.every_steps = 30
    return config
