"""What the ImageNet recipes share: the data, and the recipe of [H15] section 3.4 for its residual and plain nets.

Not a recipe by itself. The data is --config.dataset.data_dir=DIR, a folder of TFDS or one that
python -m resnet_alexnet.data.prepare made; a dry run of every recipe on made-up images of its shape is
--config.dataset.name=synthetic --config.num_steps=20 --config.batch_size=32 (imagenet_modern.py has its own)
"""

from ml_collections import ConfigDict

from configs import default
from resnet_alexnet.errors import check_name

TRAIN_IMAGES = 1_281_167  # ILSVRC 2012


def steps_per_epoch(batch_size: int) -> int:
    """Whole batches in one epoch."""
    return TRAIN_IMAGES // batch_size


def data_config() -> ConfigDict:
    """The defaults with ImageNet's data: 224x224 crops, mirrored, less the pixels' mean ([K12] section 4.1, [H15])."""
    config = default.get_config()
    config.dataset.name = "imagenet2012"
    config.preprocess.image_size = 224  # pixels
    config.dataset.channels = 3
    config.dataset.num_classes = 1000
    config.augment.crop = "random_crop"
    config.augment.pad = 0  # crops come from the larger photograph, not from padding
    return config


def he2015(model: str, variant: str) -> ConfigDict:
    """The recipe that [H15] gives all its ImageNet nets, or a variant of it.

    Args:
        variant: "paper"; "torchvision", how the weights torchvision calls IMAGENET1K_V1 were trained (not for plain nets);
            "study_text", with the weight decay that the study text has.
    """
    plain = model.startswith("plain")
    variants = ("paper", "study_text") if plain else ("paper", "torchvision", "study_text")
    check_name(f"the argument of configs/{model}.py", variant, variants)
    config = data_config()
    config.model.name = model
    config.model.bn_group = 32  # images a GPU: 8 x 32 in He's published nets, as in torchvision's recipe
    config.augment.color = "pca"  # AlexNet's, "the standard color augmentation" ([H15] section 3.4)
    config.batch_size = 256  # [H15] section 3.4
    config.optim.reference_batch_size = 256
    config.num_steps = 600_000  # "60 x 10^4", 120 epochs ([H15] section 3.4)
    config.optim.learning_rate = 0.1  # [H15] section 3.4
    config.optim.momentum = 0.9  # [H15] section 3.4
    config.optim.weight_decay = 1e-4  # [H15] section 3.4
    config.schedule.name = "plateau"  # divided by 10 "when the error plateaus" ([H15] section 3.4)
    # For schedule.name=steps: where He's published curve drops, 30 and 60 epochs.
    config.schedule.boundaries = tuple(epochs * steps_per_epoch(256) for epochs in (30, 60))
    config.eval.every_steps = config.checkpoint.every_steps = steps_per_epoch(256)
    if variant == "torchvision":
        _set_torchvision(config)
    if variant == "study_text":
        config.optim.weight_decay = 1e-3  # the study text, section 3
    return config


def _set_torchvision(config: ConfigDict) -> None:
    """The defaults of torchvision's references/classification. Departure: He's initialization by fan-in stays."""
    config.num_steps = 90 * steps_per_epoch(256)
    config.schedule.name = "steps"  # by 10 every 30 epochs
    config.augment.crop = "random_resized_crop"
    config.augment.color = "none"
    config.preprocess.mean = "channel"
    config.preprocess.std = True
    config.optim.update_rule = "optax"  # torch.optim.SGD keeps the rate outside the buffer
    config.model.shortcut = "B"
    config.model.pool_padding = "torch"
    config.model.bn_unbiased_variance = True
    if config.model.name not in ("resnet18", "resnet34"):
        config.model.stride_in = "3x3"  # "ResNet v1.5"; basic blocks have no 1x1
