"""Shortcuts: what do projections add to identity shortcuts? Options A, B and C.

python -m resnet_alexnet.study.run --config=shortcuts --scale=cpu --workdir=runs/study

Primary    test error with option A minus that with option C
Margin     1.0 point at the scale cpu, 0.5 at gpu and imagenet
Source     [H15] section 4.1, table 3: 34 layers, 25.03, 24.52 and 24.19 % (ten-crop top-1)
"""

from configs.studies.scales import MANY_SEEDS, MARGIN, resnet, top1
from resnet_alexnet.study.design import Comparison, Study

PUBLISHED = {
    **{option: top1("table 3", "resnet34", options=f"shortcut={option}") for option in "ABC"},
    "none": top1("table 3", "plain34"),
}
DEPTH = {"smoke": 8, "cpu": 20, "gpu": 56, "imagenet": 34}


def create_study(scale: str) -> Study:
    depth, margin = DEPTH[scale], MARGIN[scale]
    options = [
        resnet(
            scale, depth, {"model.shortcut": option} if option != "A" else {}, name=f"ResNet-{depth}, option {option}"
        )
        for option in "ABC"  # A is the default
    ]
    names = dict(zip("ABC", (arm.name for arm in options), strict=True))
    plain = resnet(scale, depth, plain=True)
    names["none"] = plain.name

    def compare(claim: str, larger: str, smaller: str) -> Comparison:
        return Comparison(
            claim,
            "test_error",
            larger=names[larger],
            smaller=names[smaller],
            margin=margin,
            published=(PUBLISHED[larger], PUBLISHED[smaller]),
            source="[H15] table 3, 34 layers",
        )

    return Study(
        title="Shortcuts",
        question="Which kind of shortcut is needed?",
        arms=[*options, plain],
        comparisons=[
            compare("Projections in all shortcuts (C) are better than identity shortcuts (A).", "A", "C"),
            compare("Projections where the size changes (B) are better than padding with zeros (A).", "A", "B"),
            compare("Projections in all shortcuts (C) are better than where the size changes (B).", "B", "C"),
            compare("Even shortcuts without parameters (A) are better than none.", "none", "A"),
        ],
        seeds=MANY_SEEDS[scale],
        notes=[
            "Where a shortcut passes a layer that halves the map and doubles the channels, A fills up with zeros and B "
            "projects with a 1x1 convolution; C projects in all shortcuts."
        ],
    )
