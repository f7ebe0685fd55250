"""AlexNet and ResNet: which is better, at equal epochs, compute and time, and what does each cost?

python -m resnet_alexnet.study.run --config=alexnet_vs_resnet --scale=cpu --workdir=runs/study

Primary    test error of AlexNet minus that of the deeper ResNet, at equal epochs
Margin     1.0 point at the scale cpu, 0.5 at gpu and imagenet
Source     [K12] table 2: 40.7 % top-1 on the validation set; [H15] table 3: 24.52 % with 34 layers, one network each
"""

from configs.studies.scales import MANY_SEEDS, MARGIN, alexnet, resnet, top1
from resnet_alexnet.study.design import Comparison, Study

DEPTHS = {"smoke": (8,), "cpu": (8, 20), "gpu": (20, 56), "imagenet": (18, 34)}
ALEXNET = "AlexNet"
# What an image costs AlexNet and the deeper ResNet: AlexNet costs more, and is made equal by fewer steps
EQUAL = {
    "cpu": {
        "compute": (24.05, 7.91),  # million multiply-adds of a forward pass, by `resnet-alexnet summary`
        "time": (3.68, 1.63),  # ms of a training step on one core, measured before the study: 272 and 615 images/s
    }
}


def create_study(scale: str) -> Study:
    depths, margin = DEPTHS[scale], MARGIN[scale]
    arms = [alexnet(scale), *(resnet(scale, depth) for depth in depths)]
    deepest = arms[-1].name
    comparisons = [
        Comparison(
            "Trained for as many epochs, AlexNet has a higher test error than a ResNet.",
            "test_error",
            larger=ALEXNET,
            smaller=deepest,
            margin=margin,
            published=(
                top1("table 2", ALEXNET.lower(), source="[K12]"),
                top1("table 3", "resnet34", options="shortcut=B"),
            ),
            source="[K12] table 2, [H15] table 3",
        ),
    ]
    for what, (theirs, ours) in EQUAL.get(scale, {}).items():
        steps = round(alexnet(scale).fields["num_steps"] * ours / theirs)
        less = alexnet(scale, {"num_steps": steps}, name=f"{ALEXNET}, equal {what}")
        arms.append(less)
        comparisons.append(
            Comparison(
                f"Trained with equal {what}, AlexNet has a higher test error than a ResNet.",
                "test_error",
                larger=less.name,
                smaller=deepest,
                margin=margin,
                source="neither paper compares them",
            )
        )
    return Study(
        title="AlexNet and ResNet",
        question="Which of the two networks is better, and what does each cost?",
        arms=arms,
        comparisons=comparisons,
        seeds=MANY_SEEDS[scale],
        metrics=["epochs_to_25", "seconds_to_25"],
        notes=["AlexNet is Krizhevsky's network for CIFAR-10 here, with two convolutional and two local layers."]
        if scale != "imagenet"
        else [],
    )
