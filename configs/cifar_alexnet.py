"""Krizhevsky's four-layer network on CIFAR-10, of [K12] sections 3.1 and 3.3.

python -m resnet_alexnet.main --config=configs/cifar_alexnet.py --workdir=runs/cifar_alexnet

Data       --config.dataset.data_dir=DIR, the folder of the extracted cifar-10-binary.tar.gz
Variants   --config.model.lrn=False, the network of 13 %; --config.model.activation=tanh, as in figure 1
Hardware   not published
Time       not published; not measured here
Published  test error 13 % without normalization, 11 % with it ([K12] section 3.3)
"""

from ml_collections import ConfigDict

from configs import default

STEPS_PER_EPOCH = 45_000 // 128


def get_config() -> ConfigDict:
    """The recipe of cuda-convnet's layer-params-conv-local-11pct.cfg, with one learning rate; [K12] gives no recipe.

    Departure: padded 32x32 crops and one test crop, not 24x24 crops and ten test crops. Pixels with unit variance, not
    0 to 255, which needs another learning rate. Weight decay on every kernel, not only on the last three layers.
    """
    config = default.get_config()
    config.model.name = "alexnet_cifar"
    config.batch_size = 128
    config.num_steps = 470 * STEPS_PER_EPOCH  # 300 + 150 epochs, 10 at a tenth of the learning rate, 10 at a hundredth
    config.preprocess.std = True
    config.optim.learning_rate = 0.01
    config.optim.bias_learning_rate = 2.0
    config.optim.weight_decay = 4e-3
    config.optim.decay_mask = "kernels"
    config.schedule.name = "steps"
    config.schedule.boundaries = (450 * STEPS_PER_EPOCH, 460 * STEPS_PER_EPOCH)
    return config
