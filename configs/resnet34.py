"""ResNet-34 on ImageNet 2012: the recipe of [H15] section 3.4.

python -m resnet_alexnet.main --config=configs/resnet34.py --workdir=runs/resnet34

Variants   configs/resnet34.py:paper (the default), :torchvision, :study_text; see configs/imagenet.py
Hardware   8 GPUs of 32 images each (He's published networks)
Time       not published; 1.7e18 multiply-adds (3 x forward); not measured here
Published  top-1 / top-5 error 25.03 / 7.76 % with shortcut A, 24.52 / 7.46 with B, 24.19 / 7.40 with C, 10-crop,
           validation ([H15] table 3); at several scales B 21.84 / 5.71, C 21.53 / 5.60 (table 4)
           torchvision (IMAGENET1K_V1): top-1 / top-5 accuracy 73.314 / 91.420 %
"""

from ml_collections import ConfigDict

from configs import imagenet


def get_config(variant: str = "paper") -> ConfigDict:
    return imagenet.he2015("resnet34", variant)
