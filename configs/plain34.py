"""Plain-34 on ImageNet 2012, ResNet-34 without its shortcuts: the recipe of [H15] section 3.4.

python -m resnet_alexnet.main --config=configs/plain34.py --workdir=runs/plain34

Variants   configs/plain34.py:paper (the default), :study_text; see configs/imagenet.py
Hardware   8 GPUs of 32 images each (He's published networks)
Time       not published; 1.7e18 multiply-adds (3 x forward, as ResNet-34); not measured here
Published  top-1 / top-5 error 28.54 / 10.02 %, 10-crop, validation ([H15] tables 2 and 3): worse than with 18 layers
"""

from ml_collections import ConfigDict

from configs import imagenet


def get_config(variant: str = "paper") -> ConfigDict:
    return imagenet.he2015("plain34", variant)
