"""ResNet-50 on ImageNet 2012: the recipe of [H15] section 3.4.

python -m resnet_alexnet.main --config=configs/resnet50.py --workdir=runs/resnet50

Variants   configs/resnet50.py:paper (the default), :torchvision, :study_text; see configs/imagenet.py
Hardware   8 GPUs of 32 images each (He's published networks)
Time       not published; 1.8e18 multiply-adds (3 x forward); not measured here
Published  top-1 / top-5 error 22.85 / 6.71 %, 10-crop, validation ([H15] table 3); 24.7 / 7.8 with one crop (He's
           published networks); 20.74 / 5.25 at several scales (table 4)
           torchvision (IMAGENET1K_V1): top-1 / top-5 accuracy 76.130 / 92.862 %
"""

from ml_collections import ConfigDict

from configs import imagenet


def get_config(variant: str = "paper") -> ConfigDict:
    return imagenet.he2015("resnet50", variant)
