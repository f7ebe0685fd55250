"""The settings of the papers' recipes and of the author's code of [K12], as fields of our recipes."""

from resnet_alexnet.study.published import Setting

_ALEXNET = (
    ("[K12] section 2", "augment.scale", (256, 256)),  # pixels: the shorter side of an image
    ("[K12] section 2", "augment.central_square", True),
    ("[K12] section 2", "preprocess.mean", "pixel"),
    ("[K12] section 3.1", "model.activation", "relu"),
    ("[K12] section 3.2", "model.towers", 2),
    ("[K12] section 3.3", "model.lrn_k", 2.0),
    ("[K12] section 3.3", "model.lrn_size", 5),
    ("[K12] section 3.3", "model.lrn_alpha", 1e-4),
    ("[K12] section 3.3", "model.lrn_beta", 0.75),
    ("[K12] section 3.3", "model.lrn_order", "after_activation"),
    ("[K12] section 3.4", "model.pooling", "overlapping"),  # windows of 3 x 3 with stride 2
    ("[K12] section 3.5", "loss.name", "softmax_cross_entropy"),
    ("[K12] section 4.1", "preprocess.image_size", 224),  # pixels
    ("[K12] section 4.1", "augment.crop", "random_crop"),
    ("[K12] section 4.1", "augment.flip", True),
    ("[K12] section 4.1", "augment.color", "pca"),
    ("[K12] section 4.1", "augment.color_std", 0.1),
    ("[K12] section 4.1", "evaluate --views", "ten_crop"),
    ("[K12] section 4.2", "model.dropout", 0.5),
    ("[K12] section 4.2", "model.dropout_scaling", "test"),
    ("[K12] section 5", "batch_size", 128),
    ("[K12] section 5", "epochs", 90),
    ("[K12] section 5", "optim.momentum", 0.9),
    ("[K12] section 5", "optim.weight_decay", 5e-4),
    ("[K12] section 5", "optim.update_rule", "paper"),
    ("[K12] section 5", "optim.learning_rate", 0.01),
    ("[K12] section 5", "optim.bias_learning_rate", 1.0),
    ("[K12] section 5", "schedule.name", "plateau"),
    ("[K12] section 5", "schedule.factor", 0.1),
    ("[K12] section 5", "schedule.min_scale", 1e-3),  # three drops
    ("[K12] section 5", "model.init", "paper"),  # weights N(0, 0.01); bias 1 in conv2, 4, 5, fc6 and fc7, else 0
)
_AUTHOR_CODE = (
    ("cuda-convnet2, layers-223-1gpu.cfg", "model.init", "author_code"),  # N(0, 0.03) in conv3 to 5, bias -7 in fc8
    ("cuda-convnet2, layer.py", "model.lrn_alpha_over_size", True),
    ("cuda-convnet2, layer-params-223-ce2-1gpu.cfg", "loss.name", "binary_cross_entropy_with_logits"),
    ("cuda-convnet2, layer-params-223-ce2-1gpu.cfg", "optim.learning_rate", 0.01),
    ("cuda-convnet2, layer-params-223-ce2-1gpu.cfg", "optim.bias_learning_rate", 2.0),
    ("cuda-convnet2, layer-params-223-ce2-1gpu.cfg", "optim.momentum", 0.9),
    ("cuda-convnet2, layer-params-223-ce2-1gpu.cfg", "optim.weight_decay", 5e-4),
    ("cuda-convnet2, layer-params-223-ce2-1gpu.cfg", "optim.decay_mask", "kernels"),
    ("cuda-convnet2, layer-params-223-ce2-1gpu.cfg", "schedule.name", "steps"),
    ("cuda-convnet2, layer-params-223-ce2-1gpu.cfg", "schedule.factor", 250 ** (-1 / 3)),  # 250 in 4 steps
    ("cuda-convnet2, convdata.py", "augment.color", "pca_std"),
)
_IMAGENET_RESNET = (
    ("[H15] section 3.4", "augment.scale", (256, 480)),  # pixels: the range of the shorter side
    ("[H15] section 3.4", "augment.crop", "random_crop"),
    ("[H15] section 3.4", "preprocess.image_size", 224),  # pixels
    ("[H15] section 3.4", "augment.flip", True),
    ("[H15] section 3.4", "preprocess.mean", "pixel"),
    ("[H15] section 3.4", "augment.color", "pca"),
    ("[H15] section 3.4", "batch_size", 256),
    ("[H15] section 3.4", "num_steps", 600_000),
    ("[H15] section 3.4", "optim.learning_rate", 0.1),
    ("[H15] section 3.4", "optim.momentum", 0.9),
    ("[H15] section 3.4", "optim.weight_decay", 1e-4),
    ("[H15] section 3.4", "schedule.name", "plateau"),
    ("[H15] section 3.4", "schedule.factor", 0.1),
    ("He's release, README.md", "model.bn_group", 32),  # 256 images on 8 GPUs
    ("He's release, read from the curves in README.md", "schedule.boundaries", (150_120, 300_240)),  # 30 and 60 epochs
    ("[H15] section 3.4", "evaluate --views", "ten_crop"),  # in comparisons
    ("[H15] section 3.4", "evaluate --scales", (224, 256, 384, 480, 640)),  # pixels, with --views=fully_convolutional
)
_CIFAR_RESNET = (
    ("[H15] section 4.2", "dataset.validation_fraction", 0.1),  # 5,000 of 50,000 images
    ("[H15] section 4.2", "augment.pad", 4),  # pixels
    ("[H15] section 4.2", "augment.flip", True),
    ("[H15] section 4.2", "preprocess.mean", "pixel"),
    ("[H15] section 4.2", "batch_size", 128),
    ("[H15] section 4.2", "model.bn_group", 64),  # 128 images on two GPUs
    ("[H15] section 4.2", "num_steps", 64_000),
    ("[H15] section 4.2", "optim.learning_rate", 0.1),
    ("[H15] section 4.2", "optim.momentum", 0.9),
    ("[H15] section 4.2", "optim.weight_decay", 1e-4),
    ("[H15] section 4.2", "schedule.name", "steps"),
    ("[H15] section 4.2", "schedule.boundaries", (32_000, 48_000)),
    ("[H15] section 4.2", "schedule.factor", 0.1),
    ("[H15] section 4.2", "evaluate --views", "center"),
)
_WARM_UP = (
    ("[H15] section 4.2", "schedule.warmup_until_error", 80.0),  # percent
    ("[H15] section 4.2", "schedule.warmup_until_error_scale", 0.1),  # a learning rate of 0.01
)
_SHORTCUT_A = (("[H15] section 4.1", "model.shortcut", "A"),)
_BOTTLENECK = (
    ("[H15] section 4.1", "model.shortcut", "B"),
    ("He's release", "model.stride_in", "1x1"),
    ("He's release", "model.pool_padding", "caffe"),
)

SETTINGS: tuple[Setting, ...] = tuple(
    Setting(where, recipe, field, value)
    for recipe, settings in (
        ("alexnet", _ALEXNET),
        ("alexnet:author_code", _AUTHOR_CODE),
        ("resnet34", _IMAGENET_RESNET),
        ("resnet34", _SHORTCUT_A),
        ("resnet50", _IMAGENET_RESNET),
        ("resnet50", _BOTTLENECK),
        ("plain34", _IMAGENET_RESNET),
        ("cifar_resnet:20", _CIFAR_RESNET),
        ("cifar_resnet:20", (("[H15] section 4.2", "model.shortcut", "A"),)),
        ("cifar_resnet:110", _CIFAR_RESNET),
        ("cifar_resnet:110", _WARM_UP),
    )
    for where, field, value in settings
)
