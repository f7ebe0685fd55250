"""Every field of a run, once: its unit, its meaning, where its value comes from. Recipes change what they must.

Not a recipe by itself: start from one of the files beside it, and set any field below from the command line, as in
--config.batch_size=64 --config.optim.learning_rate=0.05. An unknown field is an error that names the nearest.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def get_config() -> ConfigDict:
    """The defaults: the CIFAR-10 recipe of [H15] section 4.2 where nothing says otherwise."""
    config = ConfigDict()
    config.seed = 0  # all randomness: initialisation, order, augmentation, dropout
    config.batch_size = 128  # images a step over all devices ([K12] section 5, [H15] section 4.2)
    config.num_steps = 64_000  # optimiser steps ([H15] section 4.2)
    config.precision = "float32"  # or bfloat16: compute; parameters, statistics and loss stay float32
    config.steps_per_call = (
        0  # steps in one dispatch; 0: 32 with the data on a GPU or TPU, else 1. No result depends on it
    )
    config.model = _model()
    config.dataset = _dataset()
    config.augment = _augment()
    config.loss = ConfigDict(
        {
            "name": "softmax_cross_entropy",  # binary_cross_entropy_with_logits, binary_cross_entropy (on sigmoids)
            "reduction": "mean",  # binary losses: "mean" over all elements, or "sum_classes" (then mean over images)
            "label_smoothing": 0.0,  # share of a label spread over all classes, in training (Szegedy et al. 2016)
        }
    )
    config.optim = ConfigDict(
        {
            "learning_rate": 0.1,  # of a batch of reference_batch_size ([H15] section 4.2)
            "batch_size_rule": "none",  # learning rate at another batch_size: "none", "linear", "sqrt"
            "reference_batch_size": 128,  # images: the recipe's own batch
            "momentum": 0.9,  # both papers
            "nesterov": False,
            "weight_decay": 1e-4,  # L2, both papers' "weight decay"; 0.0005 for AlexNet, the study text has 0.001
            "decay_mask": "all",  # what decays: "all" parameters, or "kernels" only
            "update_rule": "paper",  # the rate inside the momentum buffer ([K12] section 5); "optax": outside
            "bias_learning_rate": 1.0,  # multiplies the rate of biases (cuda-convnet2: 2)
            "clip_norm": 0.0,  # largest norm of the whole gradient (Pascanu et al. 2013); 0: no limit
            "ema_decay": 0.0,  # of a moving average of the weights, a step; it is what evaluations see; 0: off
        }
    )
    config.finetune = _finetune()
    config.schedule = ConfigDict(
        {
            "name": "steps",  # constant, steps, cosine, plateau
            "boundaries": (32_000, 48_000),  # steps: where `steps` multiplies by factor ([H15] section 4.2)
            "factor": 0.1,  # of `steps` and `plateau`
            "warmup_steps": 0,  # steps of linear warm-up
            "patience": 5,  # plateau: evaluations without improvement of val/top1_error before a drop
            "cooldown": 0,  # plateau: evaluations after a drop that do not count
            "floor": 0.0,  # plateau: smallest fraction of the learning rate
            "until_error": 0.0,  # percent: warm up until the training error is below ([H15]: 80 for 110 layers); 0: off
            "until_error_scale": 0.1,  # fraction of the learning rate until then
            "until_error_window": 100,  # steps over which that error is averaged
        }
    )
    config.eval = ConfigDict(
        {
            "every_steps": 1000,  # steps between evaluations on the validation split
            "batch_size": 500,  # images a step over all devices
        }
    )
    config.checkpoint = ConfigDict(
        {
            "every_steps": 1000,  # steps between checkpoints; the best by val/top1_error is saved besides
            "keep": 2,  # how many of the latest stay, besides the best
        }
    )
    config.log = ConfigDict({"every_steps": 100})  # steps between training records
    config.guard = ConfigDict(
        {
            "stuck_steps": 10_000,  # stop at this step if the loss still is what a constant answer gives; 0: off
        }
    )
    return config.lock()


def _augment() -> ConfigDict:
    return ConfigDict(
        {
            "geometry": "none",  # crop photographs: "random_crop" ([K12], [H15]), "random_resized_crop" (Szegedy et al.
            # 2015, torchvision); "none": images of one size as they are. Images in memory are never cropped
            "scale": (256, 480),  # pixels: shorter side before a random_crop, drawn from here ([H15] section 3.4)
            "central_square": False,  # random_crop from the central square alone ([K12] section 2)
            "area": (0.08, 1.0),  # of a random_resized_crop, fractions of the photograph (Szegedy et al. 2015)
            "aspect": (3 / 4, 4 / 3),  # of a random_resized_crop, width over height (Szegedy et al. 2015)
            "pad": 4,  # pixels: pad each side with the mean, crop back at random ([H15] section 4.2); 0: no crop
            "flip": True,  # mirror left to right with probability 1/2 ([K12] section 4.1)
            "mean": "pixel",  # subtract the training set's mean: per "pixel" ([K12], [H15]), per "channel", or "none"
            "std": False,  # divide by the training set's standard deviation per channel (torchvision); else by 255
            "color": "none",  # shift the colour along its principal components: "pca" ([K12] section 4.1), "pca_std"
            # (the author's code: by standard deviations), "pca_community" (the constants that circulate)
            "color_std": 0.1,  # of the three draws that scale the components ([K12] section 4.1)
            "mixup": 0.0,  # average pairs of images, the share from Beta(mixup, mixup) (Zhang et al. 2018); 0: off
            "cutmix": 0.0,  # swap a box between pairs, of a share drawn likewise (Yun et al. 2019); 0: off
        }
    )


def _finetune() -> ConfigDict:
    """Training that goes on from trained weights. Layers have the paths of the summary: stages.0.1, or stages/0/1."""
    return ConfigDict(
        {
            # A weight file or a run folder; empty: from scratch. Its model must be model.name. Of the model's options
            # those that are unset are the weights' own, and so are, with values of their own here or not, the mean and
            # standard deviation, and of photographs image_size, shorter_side and interpolation
            "weights": "",
            "new_head": ("auto",),  # paths of the layers that are initialised anew; "auto": the last linear layer,
            # unless the data has the classes of the weights, by name; (): none
            "frozen": (),  # paths of the layers that stay as they are, statistics of normalisation included
            "layer_rates": (),  # factors of the learning rate by path, as "stages/3=0.1"; the longest path counts
        }
    )


def _model() -> ConfigDict:
    """The network and its options; an unset option means the network's own default, one it lacks is an error."""
    return ConfigDict(
        {
            "name": "cifar_resnet20",  # one of resnet_alexnet.models.MODELS
            "num_classes": placeholder(int),  # logits; unset: the data set's classes. 1: one logit for two classes
            "activation": placeholder(str),  # relu, tanh ([K12] figure 1)
            # ResNet ([H15])
            "shortcut": placeholder(str),  # A, B, C (table 3)
            "shortcut_padding": placeholder(str),  # A's zero channels: "behind" (fb.resnet.torch), or on "both" sides
            # (most CIFAR nets for torch)
            "stride_in": placeholder(str),  # bottleneck strides in the "1x1" (as published) or "3x3" (torchvision)
            "pool_padding": placeholder(str),  # stem's max-pooling: "caffe" (as published) or "torch"
            "bn_group": placeholder(object),  # images normalised together; unset: a device's; "sync": all devices'
            "bn_momentum": placeholder(float),  # of the running statistics
            "bn_unbiased_variance": placeholder(bool),  # running variance over n - 1, as torch
            "zero_init_last_gamma": placeholder(bool),  # each residual function starts at zero (Goyal et al. 2017)
            # AlexNet ([K12])
            "towers": placeholder(int),  # 2 as published, 1 without groups
            "lrn": placeholder(bool),  # local response normalisation (section 3.3)
            "lrn_size": placeholder(int),  # kernel maps, n = 5
            "lrn_k": placeholder(float),  # k = 2
            "lrn_alpha": placeholder(float),  # alpha = 1e-4
            "lrn_beta": placeholder(float),  # beta = 0.75
            "lrn_alpha_over_size": placeholder(bool),  # divide alpha by n, as the author's code, Caffe and torch
            "lrn_order": placeholder(str),  # after_activation (section 3.3), before_activation (the study text)
            "lrn_across_towers": placeholder(bool),  # one run over both towers' kernel maps
            "pooling": placeholder(str),  # overlapping (section 3.4), plain
            "dropout": placeholder(float),  # probability, 0.5 (section 4.2)
            "dropout_scaling": placeholder(str),  # inverted, test (section 4.2)
            "last_map": placeholder(str),  # alexnet_owt's: averaged to 6x6 (torchvision), or whole (larger images)
            "init": placeholder(str),  # paper (section 5), author_code (cuda-convnet2)
        }
    )


def _dataset() -> ConfigDict:
    return ConfigDict(
        {
            # cifar10, cifar100, fashion_mnist, mnist; image_folder; npz; synthetic; or any set of TFDS, as imagenet2012
            "name": "cifar10",
            "data_dir": "",  # folder with the set's files; fashion_mnist has an embedded sample where empty
            "train_split": "",  # of a TFDS set, in its syntax, such as "train[:45000]"; empty: what is not held out
            "validation_split": "",  # likewise, such as "train[45000:]"; empty: its own, or the held-out part
            "test_split": "",  # likewise; empty: its own, if it has labels
            "validation_fraction": 0.1,  # of the training set, for val/ ([H15] section 4.2), where a set has none
            "classes": (),  # names of the classes to keep, in this order; empty: all
            "in_memory": "auto",  # keep images in memory that are taken as they are: "yes", "no", "auto" (up to 2 GiB)
            "on_device": "auto",  # keep the training set on the device: "yes", "no", "auto" (where it is small)
            "workers": -1,  # processes that decode photographs; 0: threads; -1: one a core, threads on a small machine
            "max_unreadable": 100,  # training photographs that may be unreadable and replaced by the next; more: stop
            "shorter_side": 256,  # pixels to which photographs are resized before the test crop ([K12] section 2)
            "interpolation": "bilinear",  # of their resizing: bilinear (OpenCV's, as in Caffe), area, bicubic,
            # or Pillow's bilinear_antialiased (torchvision), bicubic_antialiased (timm)
            "image_size": placeholder(int),  # pixels: side of a photograph's crop, or of the synthetic images
            "channels": placeholder(int),  # what the data has, or of the synthetic images
            # only of the synthetic set; data that is read has its own
            "num_classes": placeholder(int),
            "num_examples": placeholder(int),  # training images
        }
    )
