"""Plain-18 on ImageNet 2012, ResNet-18 without its shortcuts: the recipe of [H15] section 3.4.

python -m resnet_alexnet.main --config=configs/plain18.py --workdir=runs/plain18

Variants   configs/plain18.py:paper (the default), :study_text; see configs/imagenet.py
Hardware   8 GPUs of 32 images each (He's published networks)
Time       not published; 8.3e17 multiply-adds (3 x forward, as ResNet-18); not measured here
Published  top-1 error 27.94 %, 10-crop, validation ([H15] table 2)
"""

from ml_collections import ConfigDict

from configs import imagenet


def get_config(variant: str = "paper") -> ConfigDict:
    return imagenet.he2015("plain18", variant)
