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
    depths = DEPTHS[scale]
    arms = [resnet(scale, depth, plain=plain) for plain in (True, False) for depth in depths]
    plain, plain_deep = f"plain-{depths[0]}", f"plain-{depths[-1]}"
    residual, residual_deep = f"ResNet-{depths[0]}", f"ResNet-{depths[-1]}"

    def compare(
        claim: str, metric: str, larger: str, smaller: str, source: str, published: tuple[float, float] | None = None
    ) -> Comparison:
        return Comparison(
            claim,
            metric,
            larger=larger,
            smaller=smaller,
            margin=MARGIN[scale],
            published=published,
            source=f"[H15] {source}",
        )

    deeper = "A deep plain network has a higher {} error than a shallow one."
    shortcuts = "With shortcuts, the deep network has a lower test error than the shallow one."
    table_2 = {"plain": (28.54, 27.94), "residual": (27.88, 25.03)} if scale == "imagenet" else {}
    table_6 = (8.75, 6.61) if scale == "gpu" else None
    comparisons = [
        compare(deeper.format("training"), "train_error", plain_deep, plain, "figures 1, 4 and 6"),
        compare(deeper.format("test"), "test_error", plain_deep, plain, "table 2", table_2.get("plain")),
        compare(shortcuts, "test_error", residual, residual_deep, "tables 2 and 6", table_2.get("residual", table_6)),
        compare(
            "Of two deep networks, the plain one has the higher training error.",
            "train_error",
            plain_deep,
            residual_deep,
            "figures 4 and 6",
        ),
        compare(
            "Two shallow networks are equally accurate, with and without shortcuts.",
            "test_error",
            plain,
            residual,
            "table 2, 18 layers",
            (27.94, 27.88),
        ),
        compare(
            "The shallow residual network converges faster than the plain one.",
            "mean_train_error",
            plain,
            residual,
            "section 4.1",
        ),
    ]
    notes = []
    if scale == "gpu":
        arms.append(resnet(scale, 1202))
        claim = "With 1,202 layers a residual network overfits: its test error is above that with 110."
        comparisons.append(
            compare(claim, "test_error", "ResNet-1202", residual_deep, "section 4.2, table 6", (7.93, 6.61))
        )
    elif scale != "imagenet":
        notes.append("110 against 1,202 layers, whose over-fitting [H15] section 4.2 reports, needs the scale gpu.")
    return Study("Degradation", "Is depth alone enough?", arms, comparisons, MANY_SEEDS[scale], notes=notes)
