"""Depth, with and without shortcuts: plain networks get worse with depth, residual networks do not.

python launch/sweep.py --sweep=depth --workdir=runs/depth --jobs=2

At this scale, two epochs of the sample and at most 14 layers, nothing of that shows. For the paper's figure 6: depths
20 to 56, --config=cifar_resnet:20 --config.dataset.data_dir=DIR --config.num_steps=64000 --gpus=0,1,2,3.

Source: [H15] section 4.2, figure 6.
"""

BASE = "quickstart"
COMMON = {"num_steps": 140}


def sweep():
    for network in ("cifar_plain", "cifar_resnet"):
        for depth in (8, 14):
            yield {"model.name": f"{network}{depth}"}
