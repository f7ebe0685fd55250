"""AlexNet on ImageNet 2012: the recipe of [K12] section 5.

python -m resnet_alexnet.main --config=configs/alexnet.py --workdir=runs/alexnet

Variants   configs/alexnet.py:paper (the default)
           :author_code, the paper's network with the settings of the author's cuda-convnet2
           :torchvision, torchvision's one-column network and its recipe
           :study_text, normalization before the activation
Hardware   2 x GTX 580 with 3 GB ([K12] section 5)
Time       5 to 6 days on that hardware ([K12] section 5); 2.5e17 multiply-adds (3 x forward); not measured here
Published  ILSVRC 2012, validation, one network: top-1 / top-5 error 40.7 / 18.2 % ([K12] table 2). The 15.3 % on the
           test set are of seven networks, two of them pretrained on more data
           ILSVRC 2010, test: 37.5 / 17.0 % with 10 patches (table 1), 39.0 / 18.3 with one patch (footnote 5)
           torchvision: top-1 / top-5 accuracy 56.522 / 79.066 %
"""

from ml_collections import ConfigDict

from configs import imagenet
from resnet_alexnet.errors import check_name


def get_config(variant: str = "paper") -> ConfigDict:
    recipes = {
        "paper": paper,
        "author_code": author_code,
        "torchvision": torchvision,
        "study_text": study_text,
    }
    check_name("the argument of configs/alexnet.py", variant, recipes)
    return recipes[variant]()


def paper() -> ConfigDict:
    config = imagenet.data_config()
    config.model.name = "alexnet"
    config.augment.scale = (256, 256)  # [K12] section 2
    config.augment.central_square = True  # [K12] section 2
    config.augment.color = "pca"  # [K12] section 4.1
    config.model.dropout = 0.5  # [K12] section 4.2
    config.model.dropout_scaling = "test"  # outputs are halved at test time ([K12] section 4.2)
    config.batch_size = 128  # [K12] section 5
    config.num_steps = 90 * imagenet.steps_per_epoch(128)  # "roughly 90 cycles" ([K12] section 5)
    config.optim.learning_rate = 0.01  # [K12] section 5
    config.optim.momentum = 0.9  # [K12] section 5
    config.optim.weight_decay = 5e-4  # [K12] section 5
    config.schedule.name = "plateau"  # divided by 10 "when the validation error rate stopped improving"
    config.schedule.min_scale = 1e-3  # three times ([K12] section 5)
    # For schedule.name=steps. The paper does not give the steps; the author's code divides at each quarter of the run.
    config.schedule.boundaries = tuple(quarter * config.num_steps // 4 for quarter in (1, 2, 3))
    config.eval.every_steps = config.checkpoint.every_steps = imagenet.steps_per_epoch(128)
    return config


def author_code() -> ConfigDict:
    """The settings of cuda-convnet2's layers-223-1gpu.cfg and layer-params-223-ce2-1gpu.cfg, but with two towers.

    Departure: that code divides the learning rate of the biases by 10 once, halfway; here all parameters have the same
    schedule. Its normalization is before the activation in the first layer; here it is after it, as in the second.
    """
    config = paper()
    config.augment.color = "pca_std"  # convdata.py multiplies by the standard deviations
    config.model.init = "author_code"  # std 0.03 in conv3 to conv5; bias -7 before the logistic outputs
    config.model.lrn_alpha_over_size = True  # layer.py divides "scale" by "size"
    config.loss.name = "binary_cross_entropy_with_logits"  # "bce": 1,000 logistic units
    config.loss.reduction = "sum_classes"
    config.optim.bias_learning_rate = 2.0  # epsB = 0.02, epsW = 0.01
    config.optim.decay_mask = "kernels"  # wc is set for the weights only
    config.schedule.name = "steps"
    config.schedule.factor = 250 ** (-1 / 3)  # dexp[tgtFactor=250; numSteps=4]: a factor of 250 in three steps
    return config


def torchvision() -> ConfigDict:
    """The recipe of torchvision's references/classification: its defaults (8 x 32 images, 90 epochs) with --lr=1e-2."""
    config = imagenet.data_config()
    config.model.name = "alexnet_owt"
    config.batch_size = 256
    config.optim.reference_batch_size = 256
    config.num_steps = 90 * imagenet.steps_per_epoch(256)
    config.augment.crop = "random_resized_crop"
    config.preprocess.mean = "channel"
    config.preprocess.std = True
    config.optim.learning_rate = 0.01
    config.optim.momentum = 0.9
    config.optim.weight_decay = 1e-4
    config.optim.update_rule = "optax"  # in torch.optim.SGD the learning rate is outside the buffer
    config.schedule.name = "steps"  # divided by 10 every 30 epochs
    config.schedule.boundaries = tuple(epochs * imagenet.steps_per_epoch(256) for epochs in (30, 60))
    config.eval.every_steps = config.checkpoint.every_steps = imagenet.steps_per_epoch(256)
    return config


def study_text() -> ConfigDict:
    """The paper's recipe with normalization before the activation, as in section 2 of the study text."""
    config = paper()
    config.model.lrn_order = "before_activation"
    return config
