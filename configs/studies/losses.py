"""Losses: softmax against one logistic unit per class, and what each does to calibration.

python -m resnet_alexnet.study.run --config=losses --scale=cpu --workdir=runs/study

Primary    test error with logistic units, their losses summed over classes, minus that with the softmax
Margin     1.0 point at the scale cpu, 0.5 at gpu
Source     [K12] section 5 for the softmax; Krizhevsky 2014 (one weird trick) for logistic units; the study text's
           appendix for the binary losses, whose mean is over images
"""

from configs.studies.scales import MANY_SEEDS, MARGIN, only_at, resnet
from resnet_alexnet.study.design import Comparison, Study

DEPTH = {"smoke": 8, "cpu": 20, "gpu": 20}
_LOGISTIC = "binary_cross_entropy_with_logits"
SOFTMAX, SUMMED, AVERAGED, SIGMOIDS = "softmax", "logistic, summed", "logistic, averaged", "sigmoids, summed"
TWO_LOGITS, ONE_LOGIT = "two classes, softmax", "two classes, one logit"
_PAIR = {"dataset.classes": ("Pullover", "Coat")}  # the pair of clothes that is confused most


def create_study(scale: str) -> Study:
    only_at(scale, ("smoke", "cpu", "gpu"), "no paper compares losses on ImageNet")
    depth, margin = DEPTH[scale], MARGIN[scale]
    losses = {
        SOFTMAX: {},
        SUMMED: {"loss.name": _LOGISTIC, "loss.reduction": "sum_classes"},
        AVERAGED: {"loss.name": _LOGISTIC, "loss.reduction": "mean"},
        SIGMOIDS: {"loss.name": "binary_cross_entropy", "loss.reduction": "sum_classes"},
    }

    pair = []
    if scale != "gpu":
        one = {"loss.name": _LOGISTIC, "model.num_logits": 1}
        pair = [
            resnet(scale, depth, {**_PAIR, **fields}, name=name)
            for name, fields in ((TWO_LOGITS, {}), (ONE_LOGIT, one))
        ]

    def compare(claim: str, metric: str, larger: str, smaller: str, equal: bool | None = None) -> Comparison:
        return Comparison(
            claim,
            metric,
            larger=larger,
            smaller=smaller,
            margin=margin,
            equality=equal,
            source="Krizhevsky 2014; the study text, appendix",
        )

    binary = []
    if pair:
        claim = "For two classes, one logit does as well as two."
        binary = [compare(claim, "test_error", ONE_LOGIT, TWO_LOGITS, equal=True)]
    return Study(
        title="Losses",
        question="Does it matter whether classes compete in a softmax or have a logistic unit each?",
        arms=[*(resnet(scale, depth, fields, name=name) for name, fields in losses.items()), *pair],
        comparisons=[
            compare("Logistic units are as accurate as a softmax.", "test_error", SUMMED, SOFTMAX, equal=True),
            compare("Averaging over classes, a tenth of the gradient, is worse.", "test_error", AVERAGED, SUMMED),
            compare("From logits or from sigmoids, the loss is the same.", "test_error", SIGMOIDS, SUMMED, equal=True),
            compare("A softmax is better calibrated than logistic units.", "calibration_error", SUMMED, SOFTMAX),
            *binary,
        ],
        seeds=MANY_SEEDS[scale],
        measurements=["test"],
        notes=["The two classes are pullovers and coats of Fashion-MNIST."] if pair else [],
    )
