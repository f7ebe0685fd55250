"""Krizhevsky's four-layer net on CIFAR-10, of [K12] sections 3.1 and 3.3.

python -m resnet_alexnet.main --config=configs/cifar_alexnet.py --workdir=runs/cifar_alexnet

Data       --config.dataset.data_dir=DIR, the folder of the extracted cifar-10-binary.tar.gz
Variants   --config.model.lrn=False, the net of 13 %; --config.model.activation=tanh, as in figure 1
Hardware   not published
Time       not published; ours not measured
Published  test error 13 % without normalization, 11 % with ([K12] section 3.3)
"""

from ml_collections import ConfigDict

from configs import default

STEPS_PER_EPOCH = 45_000 // 128


def get_config() -> ConfigDict:
    """[K12] gives no recipe: this is cuda-convnet's layer-params-conv-local-11pct.cfg, as far as one rate serves all.

    Departure: padded 32x32 crops and one view, not 24x24 crops and ten views; unit-variance pixels, not 0 to 255, so
    that the rate is ours; weight decay on every kernel, not on those of the last three layers alone.
    """
    config = default.get_config()
    config.model.name = "alexnet_cifar"
    config.batch_size = 128
    config.num_steps = 470 * STEPS_PER_EPOCH  # 300 and 150 epochs at one rate, then 10 at a tenth, 10 at a hundredth
    config.preprocess.std = True
    config.optim.learning_rate = 0.01
    config.optim.bias_learning_rate = 2.0
    config.optim.weight_decay = 4e-3
    config.optim.decay_mask = "kernels"
    config.schedule.name = "steps"
    config.schedule.boundaries = (450 * STEPS_PER_EPOCH, 460 * STEPS_PER_EPOCH)
    return config
