"""ResNet-18 on ImageNet 2012: the recipe of [H15] section 3.4.

python -m resnet_alexnet.main --config=configs/resnet18.py --workdir=runs/resnet18

Variants   configs/resnet18.py:paper (the default), :torchvision, :study_text; see configs/imagenet.py
Hardware   8 GPUs of 32 images each (He's published networks)
Time       not published; 8.3e17 multiply-adds (3 x forward); not measured here
Published  top-1 error 27.88 % with shortcut A, 10-crop, validation ([H15] table 2)
           torchvision (IMAGENET1K_V1): top-1 / top-5 accuracy 69.758 / 89.078 %
"""

from ml_collections import ConfigDict

from configs import imagenet


def get_config(variant: str = "paper") -> ConfigDict:
    return imagenet.he2015("resnet18", variant)
