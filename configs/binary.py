"""ResNet-8 with one logit for two classes, pullover and coat, on the embedded sample of Fashion-MNIST.

python -m resnet_alexnet.main --config=configs/binary.py --workdir=runs/binary

Data       900 training images, 200 test images; another pair: --config.dataset.classes="('Shirt', 'T-shirt/top')"
Hardware   two CPU cores
Time       20 s, including compilation (one run on a shared machine)
Measured   test error 12.0 % with seed 0 (jax 0.10.2, flax 0.12.8, optax 0.2.8, float32); docs/results/binary.
           200 test images are few: seeds 0 to 2 gave 11.0 to 16.5 % with per-device normalization on one device
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    config = default.get_config()
    config.model.name = "cifar_resnet8"
    config.model.bn_group = "sync"  # the same result on any number of devices
    config.model.num_logits = 1  # above 0: the second class
    config.loss.name = "binary_cross_entropy_with_logits"
    config.dataset.name = "fashion_mnist"
    config.dataset.classes = ("Pullover", "Coat")
    config.batch_size = 64
    config.num_steps = 210  # 15 epochs of 900 images
    config.augment.pad = 0
    config.optim.weight_decay = 2e-3
    config.schedule.name = "cosine"
    config.eval.every_steps = 42
    config.checkpoint.every_steps = 42
    config.log.every_steps = 14
    return config
