"""Plain networks of 6n + 2 layers, without shortcuts, on CIFAR-10: the recipe of [H15] section 4.2.

python -m resnet_alexnet.main --config=configs/cifar_plain.py:20 --workdir=runs/cifar_plain20

Data       --config.dataset.data_dir=DIR, the folder of the extracted cifar-10-binary.tar.gz
Depths     20 (the default), 32, 44, 56 and 110 are published; every 6n + 2 from 8 to 1202 is allowed
Hardware   2 GPUs of 64 images each ([H15] section 4.2)
Time       not published; multiply-adds as with shortcuts: 1.0e15 for 20 layers, 6.2e15 for 110; not measured here
Published  curves only ([H15] figure 6): deeper networks are worse; more than 60 % error with 110 layers
"""

from ml_collections import ConfigDict

from configs.cifar_resnet import cifar_config


def get_config(depth: str = "20") -> ConfigDict:
    return cifar_config("cifar_plain", depth)
