"""ResNet-101 on ImageNet 2012: the recipe of [H15] section 3.4.

python -m resnet_alexnet.main --config=configs/resnet101.py --workdir=runs/resnet101

Variants   configs/resnet101.py:paper (the default), :torchvision, :study_text; see configs/imagenet.py
Hardware   8 GPUs of 32 images each (He's published networks)
Time       not published; 3.5e18 multiply-adds (3 x forward); not measured here
Published  top-1 / top-5 error 21.75 / 6.05 %, 10-crop, validation ([H15] table 3); 23.6 / 7.1 with one crop (He's
           published networks); 19.87 / 4.60 at several scales (table 4)
           torchvision (IMAGENET1K_V1): top-1 / top-5 accuracy 77.374 / 93.546 %
"""

from ml_collections import ConfigDict

from configs import imagenet


def get_config(variant: str = "paper") -> ConfigDict:
    return imagenet.he2015("resnet101", variant)
