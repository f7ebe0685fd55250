"""AlexNet's ingredients: what does each of them buy?

python -m resnet_alexnet.study.run --config=ingredients --scale=cpu --workdir=runs/study

Primary    test error without local response normalization minus that with it
Margin     1.0 point at the scale cpu, 0.5 at gpu and imagenet
Source     [K12] sections 3.2 to 3.4, 4.1, 4.2 and 7. Points of top-1 error on ImageNet: two towers 1.7, normalization
           1.4, overlapping pooling 0.4, color more than 1, a middle layer about 2. On CIFAR-10: normalization 2
"""

from configs.studies.scales import MARGIN, ONE_SEED, alexnet
from resnet_alexnet.study import papers
from resnet_alexnet.study.design import Comparison, Study
from resnet_alexnet.study.published import Published

FULL = "AlexNet"
# Each arm leaves out or exchanges one ingredient: its fields, the claim, and the place in the paper
SHARED = {
    "without LRN": ({"model.lrn": False}, "Local response normalization lowers the error.", "section 3.3"),
    "LRN before ReLU": (
        {"model.lrn_order": "before_activation"},
        "Normalization belongs behind the ReLU, not before it, where the study text has it.",
        "section 3.3; the study text",
    ),
    "plain pooling": ({"model.pooling": "plain"}, "Pooling windows that overlap lower the error.", "section 3.4"),
    "without a middle layer": (
        {"model.middle_layer": False},
        "Each middle layer matters: without one, the error is higher.",
        "section 7",
    ),
    "without augmentation": (
        {"augment.flip": False, "augment.pad": 0},
        "Random crops and reflections lower the error.",
        "section 4.1",
    ),
}
SMALL = {
    "two towers": ({"model.towers": 2}, "Two towers, with half of the connections, cost accuracy.", "section 3.2"),
}
ON_IMAGENET = {
    "one tower": (
        {"model.name": "alexnet_one_tower"},
        "Two towers are better than one of half the size.",
        "section 3.2",
    ),
    "without dropout": ({"model.dropout": 0.0}, "Dropout lowers the error.", "section 4.2"),
    "without color augmentation": (
        {"augment.color": "none"},
        "Shifting colors along their principal components lowers the error.",
        "section 4.1",
    ),
}
DROPOUT, LONGER = "with dropout", "with dropout, twice the steps"


def create_study(scale: str) -> Study:
    changes = {**SHARED, **(ON_IMAGENET if scale == "imagenet" else SMALL)}
    if scale == "imagenet":
        del changes["without augmentation"]  # photographs have many sizes: without crops, none of them fits
    arms = [alexnet(scale, name=FULL), *(alexnet(scale, each[0], name=name) for name, each in changes.items())]
    comparisons = [
        Comparison(
            claim,
            "test_error",
            larger=name,
            smaller=FULL,
            margin=MARGIN[scale],
            published=_published(section, scale),
            source=f"[K12] {section}",
        )
        for name, (_, claim, section) in changes.items()
    ]
    if scale in ("smoke", "cpu"):  # Krizhevsky's network for CIFAR-10 has no dropout as published
        steps = 2 * arms[0].fields["num_steps"]
        arms.append(alexnet(scale, {"model.dropout": 0.5}, name=DROPOUT))
        arms.append(alexnet(scale, {"model.dropout": 0.5, "num_steps": steps}, name=LONGER))
        comparisons.append(
            Comparison(
                "With dropout, as many steps leave a higher training error: it needs more of them.",
                "train_error",
                larger=DROPOUT,
                smaller=FULL,
                margin=MARGIN[scale],
                published=papers.find(where="section 4.2", model="alexnet", unit=""),
                source="[K12] section 4.2: it roughly doubles the iterations",
            )
        )
        comparisons.append(
            Comparison(
                "With dropout and twice the steps, the test error is lower.",
                "test_error",
                larger=FULL,
                smaller=LONGER,
                margin=MARGIN[scale],
                source="[K12] section 4.2",
            )
        )
    return Study(
        title="AlexNet's ingredients",
        question="What did each of AlexNet's ingredients buy?",
        arms=arms,
        comparisons=comparisons,
        seeds=ONE_SEED[scale],
        notes=["Images are gray: what shifting colors buys needs the scale gpu or imagenet."]
        if scale in ("smoke", "cpu")
        else [],
    )


def _published(section: str, scale: str) -> list[Published]:
    """What the paper says that an ingredient buys: on CIFAR-10 for normalization, else on ImageNet, in words."""
    if section == "section 3.3" and scale != "imagenet":
        return papers.find(source="[K12]", where=section, model="alexnet_cifar")  # without, then with
    return papers.find(source="[K12]", where=section, quantity="reduction of the top-1 error")
