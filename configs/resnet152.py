"""ResNet-152 on ImageNet 2012: the recipe of [H15] section 3.4.

python -m resnet_alexnet.main --config=configs/resnet152.py --workdir=runs/resnet152

Variants   configs/resnet152.py:paper (the default), :torchvision, :study_text; see configs/imagenet.py
Hardware   8 GPUs of 32 images each (He's published networks)
Time       not published; 5.2e18 multiply-adds (3 x forward); not measured here
Published  top-1 / top-5 error 21.43 / 5.71 %, 10-crop, validation ([H15] table 3); 23.0 / 6.7 with one crop (He's
           published networks); 19.38 / 4.49 at several scales (table 4). Six networks, two of this depth, have
           3.57 % top-5 on the test set together (table 5)
           torchvision (IMAGENET1K_V1): top-1 / top-5 accuracy 78.312 / 94.046 %
"""

from ml_collections import ConfigDict

from configs import imagenet


def get_config(variant: str = "paper") -> ConfigDict:
    return imagenet.he2015("resnet152", variant)
