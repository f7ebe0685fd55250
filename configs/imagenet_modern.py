"""ResNet-50 on ImageNet 2012 with methods newer than the papers: most of torchvision's recipe of 2021.

python -m resnet_alexnet.main --config=configs/imagenet_modern.py --workdir=runs/imagenet_modern

Source     the command "New Recipe + FixRes mitigations" of https://github.com/pytorch/vision/issues/3995, explained in
           https://pytorch.org/blog/how-to-train-state-of-the-art-models-using-torchvision-latest-primitives/
Hardware   8 GPUs of 128 images each (source)
Time       not published; 9.4e18 multiply-adds (3 x forward); not measured here
Published  not for exactly this recipe. The source, also with TrivialAugment and random erasing: top-1 / top-5 accuracy
           80.674 / 95.166 %; torchvision (IMAGENET1K_V2), also with repeated augmentation: 80.858 / 95.434 %
Dry run    --config.dataset.name=synthetic --config.num_steps=20 --config.schedule.warmup_steps=5
           --config.batch_size=128
"""

from ml_collections import ConfigDict

from configs import imagenet

EPOCHS = 600
STEPS_PER_EPOCH = imagenet.steps_per_epoch(1024)


def get_config() -> ConfigDict:
    """The recipe of the source, except for the departures. Comments quote the options of its train.py.

    Departure: no --auto-augment ta_wide, no --random-erase 0.1. Crops have 224 pixels, not 176. Biases do not decay, as
    normalizations do not. The initialization is He's, by fan-in. Each image is mixed with its neighbor in the batch,
    and each pair has its own share. bfloat16 and the limit on the gradient are not in the source.
    """
    config = imagenet.data_config()
    config.model.name = "resnet50"
    config.model.shortcut = "B"
    config.model.stride_in = "3x3"  # "ResNet v1.5"
    config.model.pool_padding = "torch"
    config.model.bn_unbiased_variance = True
    config.model.bn_group = 128  # images per GPU
    config.precision = "bfloat16"  # for speed; the source computes in float32
    config.batch_size = 1024  # 8 x --batch-size 128
    config.optim.reference_batch_size = 1024
    config.num_steps = EPOCHS * STEPS_PER_EPOCH  # --epochs 600
    config.preprocess.shorter_side = 232  # pixels: --val-resize-size 232
    config.augment.crop = "random_resized_crop"
    config.preprocess.mean = "channel"
    config.preprocess.std = True
    config.augment.mixup = 0.2  # --mixup-alpha 0.2
    config.augment.cutmix = 1.0  # --cutmix-alpha 1.0
    config.loss.label_smoothing = 0.1  # --label-smoothing 0.1
    config.optim.learning_rate = 0.5  # --lr 0.5
    config.optim.momentum = 0.9
    config.optim.weight_decay = 2e-5  # --weight-decay 0.00002
    config.optim.decay_mask = "kernels"  # --norm-weight-decay 0.0
    config.optim.update_rule = "optax"  # in torch.optim.SGD the learning rate is outside the buffer
    config.optim.clip_norm = 1.0  # not in the source; in big_vision's configs/bit_i1k.py, for the same network and data
    # --model-ema: the source adjusts 0.99998 to batch and epochs, and averages every 32 steps; here every step.
    config.optim.ema_decay = 1 - (1 - 0.99998) * 1024 / EPOCHS
    config.schedule.name = "cosine"  # --lr-scheduler cosineannealinglr
    config.schedule.warmup_steps = 5 * STEPS_PER_EPOCH  # --lr-warmup-epochs 5 --lr-warmup-method linear
    config.eval.every_steps = config.checkpoint.every_steps = STEPS_PER_EPOCH
    return config
