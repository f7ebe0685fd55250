"""Ensembles: is an ensemble of networks of different depth better than its best member?

python -m resnet_alexnet.study.run --config=ensembles --scale=cpu --workdir=runs/study

Primary    test error of the best member minus that of the ensemble of all depths
Margin     1.0 point at the scale cpu, 0.5 at gpu and imagenet
Source     [H15] table 5: 3.57 % top-5 with six models of different depth, against 4.49 with one of 152 layers;
           [K12] table 2: 16.4 with five networks, against 18.2
"""

from configs.studies.scales import MANY_SEEDS, MARGIN, alexnet, resnet
from resnet_alexnet.study.design import Arm, Comparison, Study

DEPTHS = {"smoke": (8, 14), "cpu": (8, 20, 44), "gpu": (20, 56, 110), "imagenet": (34, 50, 101, 152)}


def create_study(scale: str) -> Study:
    resnets = [resnet(scale, depth) for depth in DEPTHS[scale]]
    names = [arm.name for arm in resnets]
    other = alexnet(scale)
    depths = Arm("ResNets of all depths", members=names)
    mixed = Arm("ResNets and AlexNet", members=[*names, other.name])
    return Study(
        title="Ensembles",
        question="Is an ensemble of networks of different depth better than its deepest member?",
        arms=[*resnets, other, depths, mixed],
        comparisons=[
            Comparison(
                "An ensemble of residual networks of different depth is better than the deepest of them.",
                "test_error",
                larger=names[-1],
                smaller=depths.name,
                margin=MARGIN[scale],
                source="[H15] table 5",
            ),
            Comparison(
                "Adding AlexNet to the ensemble makes it better.",
                "test_error",
                larger=depths.name,
                smaller=mixed.name,
                margin=MARGIN[scale],
                source="neither paper",
            ),
        ],
        seeds=MANY_SEEDS[scale],
    )
