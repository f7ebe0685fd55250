"""Degradation: is depth alone enough? Plain networks get worse with depth, on the training set too.

python -m resnet_alexnet.study.run --config=degradation --scale=cpu --workdir=runs/study

Primary    training error of the deep plain network minus that of the shallow one, in evaluation mode
Margin     1.0 point at the scale cpu, 0.5 at gpu and imagenet
Source     [H15] sections 1, 4.1 and 4.2; tables 2 and 6; figures 1, 4 and 6
"""

from configs.studies.scales import MANY_SEEDS, MARGIN, resnet
from resnet_alexnet.study.design import Comparison, Study

DEPTHS = {"smoke": (8, 14), "cpu": (8, 20, 44), "gpu": (20, 56, 110), "imagenet": (18, 34)}


def create_study(scale: str) -> Study:
    depths, margin = DEPTHS[scale], MARGIN[scale]
    shallow, deep = depths[0], depths[-1]
    at_imagenet = scale == "imagenet"
    arms = [resnet(scale, depth, plain=plain) for plain in (True, False) for depth in depths]
    overfitting = []
    if scale == "gpu":
        arms.append(resnet(scale, 1202))
        overfitting = [
            Comparison(
                "With 1,202 layers, a residual network overfits: its test error is above that with 110.",
                "test_error",
                larger="ResNet-1202",
                smaller="ResNet-110",
                margin=margin,
                published=(7.93, 6.61),
                source="[H15] section 4.2, table 6",
            )
        ]
    return Study(
        title="Degradation",
        question="Is depth alone enough?",
        arms=arms,
        comparisons=[
            Comparison(
                "A deep plain network has a higher training error than a shallow one.",
                "train_error",
                larger=f"plain-{deep}",
                smaller=f"plain-{shallow}",
                margin=margin,
                source="[H15] figures 1, 4 and 6",
            ),
            Comparison(
                "A deep plain network has a higher test error than a shallow one.",
                "test_error",
                larger=f"plain-{deep}",
                smaller=f"plain-{shallow}",
                margin=margin,
                published=(28.54, 27.94) if at_imagenet else None,
                source="[H15] table 2",
            ),
            Comparison(
                "With shortcuts, the deep network has a lower test error than the shallow one.",
                "test_error",
                larger=f"ResNet-{shallow}",
                smaller=f"ResNet-{deep}",
                margin=margin,
                published={"imagenet": (27.88, 25.03), "gpu": (8.75, 6.61)}.get(scale),
                source="[H15] tables 2 and 6",
            ),
            Comparison(
                "Of two deep networks, the plain one has the higher training error.",
                "train_error",
                larger=f"plain-{deep}",
                smaller=f"ResNet-{deep}",
                margin=margin,
                source="[H15] figures 4 and 6",
            ),
            Comparison(
                "Two shallow networks are equally accurate, with and without shortcuts.",
                "test_error",
                larger=f"plain-{shallow}",
                smaller=f"ResNet-{shallow}",
                margin=margin,
                published=(27.94, 27.88),
                source="[H15] table 2, 18 layers",
            ),
            Comparison(
                "The shallow residual network converges faster than the plain one.",
                "mean_train_error",
                larger=f"plain-{shallow}",
                smaller=f"ResNet-{shallow}",
                margin=margin,
                source="[H15] section 4.1",
            ),
            *overfitting,
        ],
        seeds=MANY_SEEDS[scale],
        notes=["110 against 1,202 layers, whose over-fitting [H15] section 4.2 reports, needs the scale gpu."]
        if scale in ("smoke", "cpu")
        else [],
    )
