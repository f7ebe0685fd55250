"""Shared by the ImageNet recipes: the data, and the recipe of [H15] section 3.4 for residual and plain networks.

This is not a recipe. Give the data with --config.dataset.data_dir=DIR, a folder of TFDS or of
python -m resnet_alexnet.data.prepare. To try a recipe on made-up images, add
--config.dataset.name=synthetic --config.num_steps=20 --config.batch_size=32 (imagenet_modern.py has its own command)
"""

from ml_collections import ConfigDict

from configs import default
from resnet_alexnet.errors import check_name

TRAIN_IMAGES = 1_281_167  # ILSVRC 2012


def steps_per_epoch(batch_size: int) -> int:
    """Whole batches in one epoch."""
    return TRAIN_IMAGES // batch_size


def data_config() -> ConfigDict:
    """The defaults for ImageNet: random 224x224 crops, flips, per-pixel mean ([K12] section 4.1, [H15] section 3.4)."""
    config = default.get_config()
    config.dataset.name = "imagenet2012"
    config.preprocess.image_size = 224  # pixels
    config.dataset.channels = 3
    config.dataset.num_classes = 1000
    config.augment.crop = "random_crop"
    config.augment.pad = 0  # crops come from the larger photograph, not from padding
    return config


def he2015(model: str, variant: str) -> ConfigDict:
    """The recipe of [H15] for all its ImageNet networks, or a variant.

    Args:
        model: the name of the network, such as "resnet50" or "plain34".
        variant: "paper"; "torchvision", the recipe of torchvision's IMAGENET1K_V1 weights (not for plain networks); or
            "study_text", with the weight decay of the study text.
    """
    plain = model.startswith("plain")
    variants = ("paper", "study_text") if plain else ("paper", "torchvision", "study_text")
    check_name(f"the argument of configs/{model}.py", variant, variants)
    config = data_config()
    config.model.name = model
    config.model.bn_group = 32  # images per GPU: 8 x 32 for He's published networks and in torchvision's recipe
    config.augment.color = "pca"  # AlexNet's, "the standard color augmentation" ([H15] section 3.4)
    config.batch_size = 256  # [H15] section 3.4
    config.optim.reference_batch_size = 256
    config.num_steps = 600_000  # "60 x 10^4", 120 epochs ([H15] section 3.4)
    config.optim.learning_rate = 0.1  # [H15] section 3.4
    config.optim.momentum = 0.9  # [H15] section 3.4
    config.optim.weight_decay = 1e-4  # [H15] section 3.4
    config.schedule.name = "plateau"  # divided by 10 "when the error plateaus" ([H15] section 3.4)
    # For schedule.name=steps: 30 and 60 epochs, where He's published curves drop.
    config.schedule.boundaries = tuple(epochs * steps_per_epoch(256) for epochs in (30, 60))
    config.eval.every_steps = config.checkpoint.every_steps = steps_per_epoch(256)
    if variant == "torchvision":
        _set_torchvision(config)
    if variant == "study_text":
        config.optim.weight_decay = 1e-3  # the study text, section 3
    return config


def _set_torchvision(config: ConfigDict) -> None:
    """Sets the defaults of torchvision's references/classification.

    Departure: the initialization is still He's, by fan-in.
    """
    config.num_steps = 90 * steps_per_epoch(256)
    config.schedule.name = "steps"  # divided by 10 every 30 epochs
    config.augment.crop = "random_resized_crop"
    config.augment.color = "none"
    config.preprocess.mean = "channel"
    config.preprocess.std = True
    config.optim.update_rule = "optax"  # in torch.optim.SGD the learning rate is outside the buffer
    config.model.shortcut = "B"
    config.model.pool_padding = "torch"
    config.model.bn_unbiased_variance = True
    if config.model.name not in ("resnet18", "resnet34"):
        config.model.stride_in = "3x3"  # "ResNet v1.5"; basic blocks have no 1x1 convolution
