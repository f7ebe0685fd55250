"""Every field of a run, once: its meaning, unit, default and source. Recipes change what they must.

This is not a recipe. Start from one of the files beside it and set fields on the command line:
--config.batch_size=64 --config.optim.learning_rate=0.05. An unknown field is an error that names the nearest one.
`python -m resnet_alexnet.main --fields=GROUP` prints the comments below: a comment belongs to the field on its line, or
to the field on the line after it.

[K12] is Krizhevsky, Sutskever and Hinton 2012; [H15] is He, Zhang, Ren and Sun 2015.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


def get_config() -> ConfigDict:
    """The defaults: the CIFAR-10 recipe of [H15] section 4.2, unless a comment gives another source."""
    config = ConfigDict()
    config.seed = 0  # of all randomness: initialization, order, augmentation, dropout
    config.batch_size = 128  # images per step, over all devices ([K12] section 5, [H15] section 4.2)
    # micro-batches per device whose gradients are averaged in one update, to save memory. Results do not depend on it
    # if model.bn_group is a number; if unset, batch normalization is over the images of a micro-batch
    config.accumulate_steps = 1
    config.num_steps = 64_000  # optimizer steps ([H15] section 4.2)
    config.precision = "float32"  # of the arithmetic: float32 or bfloat16; parameters, statistics and loss are float32
    # steps per dispatch; 0: 32 if the data is on a GPU or TPU, else 1. Results do not depend on it
    config.steps_per_call = 0
    config.mesh = _mesh()
    config.model = _model()
    config.dataset = _dataset()
    config.preprocess = _preprocess()
    config.augment = _augment()
    config.loss = _loss()
    config.optim = _optim()
    config.schedule = _schedule()
    config.finetune = _finetune()
    config.eval = _eval()
    config.checkpoint = _checkpoint()
    config.log = _log()
    config.guard = _guard()
    config.hosts = _hosts()
    return config.lock()


def _mesh() -> ConfigDict:
    """How devices share the work. Results do not depend on it."""
    return ConfigDict(
        {
            # devices over which one copy of the network is split: 1, or 2 for the two towers of alexnet ([K12] section
            # 3.2, figure 2); batches are split over the pairs
            "towers": 1,
        }
    )


def _model() -> ConfigDict:
    """The network and its options. An unset option takes the network's own default."""
    return ConfigDict(
        {
            "name": "cifar_resnet20",  # one of resnet_alexnet.models.MODELS
            "num_logits": placeholder(int),  # unset: one per class; 1: a single logit for two classes
            "activation": placeholder(str),  # relu, or tanh ([K12] figure 1)
            # ResNet ([H15])
            "shortcut": placeholder(str),  # A, B or C ([H15] table 3)
            # where shortcut A puts its zero channels: "behind" the others (fb.resnet.torch), or on "both" sides of
            # them (most CIFAR networks for torch)
            "shortcut_padding": placeholder(str),
            "stride_in": placeholder(str),  # the convolution of a bottleneck that strides: "1x1" ([H15]), "3x3" (torch)
            "width": placeholder(int),  # channels of the first stage; unset: 64, CIFAR 16, as published
            "stem_width": placeholder(int),  # channels of the stem; unset: as the first stage, as published
            "pool_padding": placeholder(str),  # of the max-pooling in the stem: "caffe" ([H15]) or "torch"
            # ghost batch norm: images normalized together; unset: those of a device; "sync": those of all devices
            "bn_group": placeholder(object),
            "bn_momentum": placeholder(float),  # share of the old value in the running statistics
            "bn_unbiased_variance": placeholder(bool),  # divide the running variance by n - 1, as torch does
            "zero_init_last_gamma": placeholder(bool),  # start each residual function at zero (Goyal et al. 2017)
            # run the equal blocks of a stage in a loop, whose compilation does not take longer for more of them; unset:
            # with more than 152 layers. Results do not depend on it, but for rounding
            "scan": placeholder(bool),
            # what training computes again in the backward pass, to save memory: "none", or "blocks", of which only the
            # inputs are kept (Chen et al. 2016). Results do not depend on it
            "remat": placeholder(str),
            # AlexNet ([K12])
            "towers": placeholder(int),  # 2 ([K12] figure 2), or 1 without groups
            "lrn": placeholder(bool),  # local response normalization ([K12] section 3.3)
            "lrn_size": placeholder(int),  # kernel maps in a window, n = 5 ([K12] section 3.3)
            "lrn_k": placeholder(float),  # k = 2 ([K12] section 3.3)
            "lrn_alpha": placeholder(float),  # alpha = 1e-4 ([K12] section 3.3)
            "lrn_beta": placeholder(float),  # beta = 0.75 ([K12] section 3.3)
            "lrn_alpha_over_size": placeholder(bool),  # divide alpha by n (the author's code, Caffe, torch)
            "lrn_order": placeholder(str),  # after_activation ([K12] section 3.3), before_activation (the study text)
            "lrn_across_towers": placeholder(bool),  # normalize over the kernel maps of both towers (Caffe, torch)
            "pooling": placeholder(str),  # overlapping ([K12] section 3.4) or plain
            "dropout": placeholder(float),  # probability, 0.5 ([K12] section 4.2)
            "dropout_scaling": placeholder(str),  # scale outputs in training ("inverted") or in the "test" ([K12] 4.2)
            "middle_layer": placeholder(bool),  # False: without conv4, of alexnet_cifar local3 ([K12] section 7)
            "last_map": placeholder(str),  # of alexnet_owt: "averaged" to 6x6 (torchvision), or "whole"
            "init": placeholder(str),  # paper ([K12] section 5) or author_code (cuda-convnet2)
        }
    )


def _dataset() -> ConfigDict:
    """The data set and how it is read."""
    return ConfigDict(
        {
            # cifar10, cifar100, fashion_mnist, mnist, image_folder, npz, synthetic, or any image classification set of
            # TFDS, such as imagenet2012
            "name": "cifar10",
            "data_dir": "",  # folder with the files of the set; empty: the embedded sample of fashion_mnist
            "train_split": "",  # of a TFDS set, in its syntax, such as "train[:45000]"; empty: what is not held out
            "validation_split": "",  # of a TFDS set, such as "train[45000:]"; empty: its own, or the held-out part
            "test_split": "",  # of a TFDS set; empty: its own, if it has labels
            # part of the training set held out for validation, if the set has no validation split ([H15] section 4.2)
            "validation_fraction": 0.1,
            "classes": (),  # names of the classes to keep, in this order; empty: all
            "in_memory": "auto",  # keep images that are not cropped in memory: "yes", "no", or "auto" (up to 2 GiB)
            "on_device": "auto",  # keep the training set on the device: "yes", "no", or "auto" (up to 1 GiB)
            "workers": -1,  # processes that decode photographs; 0: threads; -1: one per core, threads on few cores
            # photographs with more pixels are unreadable: they may be bombs. The default is Pillow's limit; 108,000,000
            # takes those of phones
            "max_pixels": 89_478_485,
            "max_unreadable": 100,  # training photographs that may be unreadable and replaced before the run stops
            # color channels; unset: those of the data. Photographs are decoded to 3, or to 1 for gray
            "channels": placeholder(int),
            "num_classes": placeholder(int),  # classes of the synthetic set and of a dry run; other sets have their own
            "num_examples": placeholder(int),  # training images of the synthetic set and of a dry run
        }
    )


def _preprocess() -> ConfigDict:
    """How images become the network's input, in training and in tests."""
    return ConfigDict(
        {
            "image_size": placeholder(int),  # pixels: side of the crops of photographs, or of synthetic images
            # pixels: photographs are resized to this before the test crop; unset: 256/224 of image_size, rounded, which
            # is 256 for 224 ([K12] section 2)
            "shorter_side": placeholder(int),
            # of resizing: bilinear (OpenCV's, as in Caffe), area, bicubic, or Pillow's bilinear_antialiased
            # (torchvision) and bicubic_antialiased (timm)
            "interpolation": "bilinear",
            "mean": "pixel",  # subtract the training set's mean: per "pixel" ([K12], [H15]), per "channel", or "none"
            "std": False,  # divide by the training set's standard deviation per channel (torchvision), else by 255
        }
    )


def _augment() -> ConfigDict:
    """Random changes of the training images."""
    return ConfigDict(
        {
            # of photographs: "random_crop" ([K12], [H15]) or "random_resized_crop" (Szegedy et al. 2015, torchvision);
            # "center", without randomness, as in tests; "none": images of one size are taken as they are
            "crop": "none",
            # pixels: range of the shorter side before a random_crop; unset: 256/224 to 480/224 of image_size, rounded,
            # which is (256, 480) for 224 ([H15] section 3.4)
            "scale": placeholder(tuple),
            "central_square": False,  # take a random_crop from the central square only ([K12] section 2)
            "area": (0.08, 1.0),  # range of a random_resized_crop, in fractions of the photograph (Szegedy et al. 2015)
            "aspect": (3 / 4, 4 / 3),  # range of a random_resized_crop, width over height (Szegedy et al. 2015)
            "pad": 4,  # pixels: pad each side with the mean, then crop at random ([H15] section 4.2); 0: off
            "flip": True,  # mirror left to right with probability 1/2 ([K12] section 4.1)
            # shift the color along its principal components: "none", "pca" ([K12] section 4.1), "pca_std" (the author's
            # code: by standard deviations), "pca_community" (the constants that circulate)
            "color": "none",
            "color_std": 0.1,  # standard deviation of the draws that scale the components ([K12] section 4.1)
            "mixup": 0.0,  # average pairs of images, the share from Beta(mixup, mixup) (Zhang et al. 2018); 0: off
            # swap a box between pairs of images, its share from Beta(cutmix, cutmix) (Yun et al. 2019); 0: off
            "cutmix": 0.0,
        }
    )


def _loss() -> ConfigDict:
    """The training objective."""
    return ConfigDict(
        {
            "name": "softmax_cross_entropy",  # or binary_cross_entropy_with_logits, binary_cross_entropy (on sigmoids)
            "reduction": "mean",  # of binary losses: "mean" over elements; "sum_classes", then the mean over images
            "label_smoothing": 0.0,  # share of a label spread over all classes in training (Szegedy et al. 2016)
            # of the training loss: "balanced", n / (K n_k) for n_k of n training images in one of K classes (King and
            # Zeng 2001); unset: 1 for all
            "class_weights": placeholder(str),
        }
    )


def _optim() -> ConfigDict:
    """SGD with momentum and weight decay."""
    return ConfigDict(
        {
            "learning_rate": 0.1,  # for a batch of reference_batch_size ([H15] section 4.2)
            "batch_size_rule": "none",  # of the learning rate at another batch_size: "none", "linear" or "sqrt"
            "reference_batch_size": 128,  # images: the batch size of the recipe
            "momentum": 0.9,  # both papers
            "nesterov": False,  # Nesterov's momentum
            "weight_decay": 1e-4,  # L2 ([H15] section 3.4); 0.0005 in [K12] section 5, 0.001 in the study text
            "decay_mask": "all",  # which parameters decay: "all", or "kernels" only
            "update_rule": "paper",  # learning rate inside the momentum buffer ([K12] section 5), or outside: "optax"
            "bias_learning_rate": 1.0,  # multiplies the learning rate of biases (cuda-convnet2: 2)
            "clip_norm": 0.0,  # largest norm of the whole gradient (Pascanu et al. 2013); 0: no limit
            "ema_decay": 0.0,  # per step, of a moving average of the weights, which is what is evaluated; 0: off
        }
    )


def _schedule() -> ConfigDict:
    """How the learning rate changes."""
    return ConfigDict(
        {
            "name": "steps",  # constant, steps, cosine or plateau
            "boundaries": (32_000, 48_000),  # steps at which "steps" multiplies by factor ([H15] section 4.2)
            "factor": 0.1,  # of "steps" and "plateau" ([K12] section 5, [H15] section 3.4)
            "warmup_steps": 0,  # steps of linear warm-up
            "patience": 5,  # of "plateau": evaluations without improvement of val/top1_error before a drop
            "cooldown": 0,  # of "plateau": evaluations after a drop that do not count
            "min_scale": 0.0,  # of "plateau": smallest fraction of the learning rate
            # percent: warm up until the training error is below this ([H15] section 4.2: 80 for 110 layers); 0: off
            "warmup_until_error": 0.0,
            "warmup_until_error_scale": 0.1,  # fraction of the learning rate until then ([H15] section 4.2)
            "warmup_until_error_window": 100,  # steps over which that error is averaged
        }
    )


def _finetune() -> ConfigDict:
    """Training that starts from trained weights. Layers have the paths of models.summary: stages.0.1 or stages/0/1."""
    return ConfigDict(
        {
            # a weight file or a run folder; empty: train from scratch. Its model must be model.name. Model options and
            # sizes of the images that are unset, the mean and the standard deviation are those of the weights
            "weights": "",
            # paths of the layers to initialize again; "auto": the last linear layer, unless the classes of the
            # data are those of the weights; (): none
            "new_head": ("auto",),
            "frozen": (),  # paths of the layers that do not change, their batch statistics included
            "lr_multipliers": (),  # of the learning rate by path, such as "stages/3=0.1"; the longest path counts
        }
    )


def _eval() -> ConfigDict:
    """Evaluation during training."""
    return ConfigDict(
        {
            "every_steps": 1000,  # steps between evaluations on the validation split; 0: only at the end
            "batch_size": 500,  # images per step, over all devices
            # the test split: "end": evaluated once, after the last step; "never": not even read, as for the runs of a
            # search, of which only the best is tested, by `evaluate`
            "test": "end",
        }
    )


def _checkpoint() -> ConfigDict:
    """Saving the state of the run."""
    return ConfigDict(
        {
            "every_steps": 1000,  # steps between checkpoints; 0: only the best, at the end, and when it is stopped
            "keep": 2,  # how many of the latest are kept, besides the best by val/top1_error
        }
    )


def _log() -> ConfigDict:
    """What is written to metrics.jsonl."""
    return ConfigDict({"every_steps": 100})  # steps between lines of training metrics


def _guard() -> ConfigDict:
    """Stopping runs that do not learn."""
    return ConfigDict(
        {
            "stuck_steps": 10_000,  # stop at this step if the loss is still that of a constant prediction; 0: off
        }
    )


def _hosts() -> ConfigDict:
    """Runs of several processes, see docs/hosts.md. How long they wait for each other."""
    return ConfigDict(
        {
            "connect_seconds": 300,  # at the start; a process that has not come by then is missing
            "heartbeat_seconds": 30,  # without a sign of life, after which a process counts as dead
            # without a finished step, after which a process gives up; or 20 times the median step, if that is longer;
            # 0: never
            "watchdog_seconds": 60,
        }
    )
