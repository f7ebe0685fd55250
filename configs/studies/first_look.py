"""A first look at degradation: three networks, one seed, 240 steps, in about four minutes on two cores.

make degradation

Two plain networks of 8 and 44 layers, and a residual network of 44. With one seed, early in training and without a
choice of learning rates, it shows what the question is, and answers nothing: the study `degradation` does that.

Source     [H15] figures 1 and 6
"""

from configs.studies.scales import MARGIN, only_at
from resnet_alexnet.study.design import Arm, Comparison, Study

# The learning rate and weight decay of [H15] section 4.2, before its first decay
_FIELDS = {
    "num_steps": 240,
    "optim.weight_decay": 1e-4,
    "schedule.name": "constant",
    "eval.every_steps": 60,
    "log.every_steps": 12,
    "checkpoint.every_steps": 0,
}


def create_study(scale: str) -> Study:
    only_at(scale, ("smoke", "cpu"), "the study degradation asks this question at every scale")
    fields = {**_FIELDS, **({"num_steps": 6, "eval.every_steps": 6, "log.every_steps": 2} if scale == "smoke" else {})}
    arms = [
        Arm(name, "quickstart", {**fields, "model.name": model}, (0.1,))
        for name, model in (("plain-8", "cifar_plain8"), ("plain-44", "cifar_plain44"), ("ResNet-44", "cifar_resnet44"))
    ]
    return Study(
        title="A first look at degradation",
        question="Is depth alone enough?",
        headline="Deeper is worse, and shortcuts help",
        arms=arms,
        comparisons=[
            Comparison(
                "A deep plain network has a higher training error than a shallow one.",
                "train_error",
                larger="plain-44",
                smaller="plain-8",
                margin=MARGIN[scale],
                source="[H15] figure 1",
            ),
            Comparison(
                "With shortcuts, the deep network has a lower training error than without.",
                "train_error",
                larger="plain-44",
                smaller="ResNet-44",
                margin=MARGIN[scale],
                source="[H15] figure 6",
            ),
        ],
        seeds=1,
        notes=["One seed, early in training, one learning rate for all: a look, not an answer."],
    )
