"""Degradation: is depth alone enough? Plain networks get worse with depth, on the training set too.

python -m resnet_alexnet.study.run --config=degradation --scale=cpu --workdir=runs/study

Primary    training error of the deep plain network minus that of the shallow one, in evaluation mode
Margin     1.0 point at the scale cpu, 0.5 at gpu and imagenet
Source     [H15] sections 1, 4.1 and 4.2; tables 2 and 6; figures 1, 4 and 6
"""

from collections.abc import Iterator

from configs.studies.scales import MANY_SEEDS, MARGIN, on_cifar, resnet, top1
from resnet_alexnet.study.design import Comparison, Study

DEPTHS = {"smoke": (8, 14), "cpu": (8, 20, 44), "gpu": (20, 56, 110), "imagenet": (18, 34)}


def create_study(scale: str) -> Study:
    depths = DEPTHS[scale]
    arms = [resnet(scale, depth, plain=plain) for plain in (True, False) for depth in depths]
    comparisons = list(_comparisons(scale, depths[0], depths[-1]))
    notes = [
        "A plain network is a stack of layers. In a residual network, shortcuts add the input of every two layers to "
        "their output: these layers only learn a difference, and can be passed by. They have no parameters here."
    ]
    if scale == "gpu":
        arms.append(resnet(scale, 1202))
        comparisons.append(
            Comparison(
                "With 1,202 layers a residual network overfits: its test error is above that with 110.",
                "test_error",
                larger="ResNet-1202",
                smaller="ResNet-110",
                margin=MARGIN[scale],
                published=[on_cifar("cifar_resnet1202"), on_cifar("cifar_resnet110", "mean")],
                source="[H15] section 4.2, table 6",
            )
        )
    elif scale != "imagenet":
        notes.append("110 against 1,202 layers, whose over-fitting [H15] section 4.2 reports, needs the scale gpu.")
    return Study(
        title="Degradation",
        question="Is depth alone enough?",
        headline="Deeper is worse, until there are shortcuts",
        # Deep plain networks are worse; deep residual ones are better than shallow ones, and than plain ones
        headline_claims=(0, 2, 3),
        arms=arms,
        comparisons=comparisons,
        seeds=MANY_SEEDS[scale],
        notes=notes,
    )


def _comparisons(scale: str, shallow: int, deep: int) -> Iterator[Comparison]:
    table_2 = {model: top1("table 2", model) for model in ("plain18", "plain34")}
    table_2 |= {model: top1("table 2", model, options="shortcut=A") for model in ("resnet18", "resnet34")}
    residual = [table_2["resnet18"], table_2["resnet34"]]
    if scale != "imagenet":
        residual = [on_cifar("cifar_resnet20"), on_cifar("cifar_resnet110", "mean")]
    names = {"plain": f"plain-{shallow}", "plain deep": f"plain-{deep}"}
    names |= {"residual": f"ResNet-{shallow}", "residual deep": f"ResNet-{deep}"}
    for claim, metric, larger, smaller, source, published in (
        (
            "A deep plain network has a higher training error than a shallow one.",
            *("train_error", "plain deep", "plain", "figures 1, 4 and 6", ()),
        ),
        (
            "A deep plain network has a higher test error than a shallow one.",
            *("test_error", "plain deep", "plain", "table 2", (table_2["plain34"], table_2["plain18"])),
        ),
        (
            "With shortcuts, the deep network has a lower test error than the shallow one.",
            *("test_error", "residual", "residual deep", "tables 2 and 6", residual),
        ),
        (
            "Of two deep networks, the plain one has the higher training error.",
            *("train_error", "plain deep", "residual deep", "figures 4 and 6", ()),
        ),
        (
            "Two shallow networks are equally accurate, with and without shortcuts.",
            *("test_error", "plain", "residual", "table 2, 18 layers", (table_2["plain18"], table_2["resnet18"])),
        ),
        (
            "The shallow residual network converges faster than the plain one.",
            *("mean_train_error", "plain", "residual", "section 4.1", ()),
        ),
    ):
        yield Comparison(
            claim,
            metric,
            larger=names[larger],
            smaller=names[smaller],
            margin=MARGIN[scale],
            published=published,
            # Published differences are of larger networks and images: here the claim is what the paper says in words
            equality=None if scale == "imagenet" or names[larger] == names["plain"] else False,
            source=f"[H15] {source}",
        )
