"""Robustness: which of the two networks stands noise, blur, compression, low contrast and shifts better?

python -m resnet_alexnet.study.run --config=robustness --scale=cpu --workdir=runs/study

Primary    mean test error over corruptions, AlexNet minus the ResNet
Margin     1.0 point
Source     neither paper; Hendrycks and Dietterich 2019 for corruptions in five severities
"""

from configs.studies.scales import ONE_SEED, alexnet, resnet
from resnet_alexnet.study.design import Comparison, Study

DEPTHS = {"smoke": (8,), "cpu": (8, 20), "gpu": (20, 56), "imagenet": (18, 50)}


def create_study(scale: str) -> Study:
    resnets = [resnet(scale, depth) for depth in DEPTHS[scale]]
    return Study(
        title="Robustness",
        question="Which of the networks stands damaged images better?",
        arms=[alexnet(scale), *resnets],
        comparisons=[
            Comparison(
                "On damaged images, AlexNet has a higher error than a ResNet.",
                "corrupted_error",
                larger="AlexNet",
                smaller=resnets[-1].name,
                margin=1.0,
                source="neither paper",
            ),
            Comparison(
                "Damage adds more to AlexNet's error than to that of a ResNet.",
                "added_error",
                larger="AlexNet",
                smaller=resnets[-1].name,
                margin=1.0,
                source="neither paper",
            ),
        ],
        seeds=ONE_SEED[scale],
        measurements=["robustness"],
    )
