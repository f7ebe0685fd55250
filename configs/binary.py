"""One logit for two classes: ResNet-8 tells pullovers from coats, on the embedded sample of Fashion-MNIST.

python -m resnet_alexnet.main --config=configs/binary.py --workdir=runs/binary
"""

from ml_collections import ConfigDict

from configs import default


def get_config() -> ConfigDict:
    config = default.get_config()
    config.model.name = "cifar_resnet8"
    config.model.num_classes = 1  # class 1 where the logit is above 0
    config.loss.name = "binary_cross_entropy_with_logits"
    config.dataset.name = "fashion_mnist"
    config.dataset.classes = ("Pullover", "Coat")
    config.batch_size = 50
    config.num_steps = 270  # 15 epochs of 900 images
    config.augment.pad = 0
    config.schedule.name = "cosine"
    config.schedule.warmup_steps = 18
    config.eval.every_steps = 54
    config.checkpoint.every_steps = 270
    config.log.every_steps = 18
    return config
