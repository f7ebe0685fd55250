"""Activation: how much faster does a network with ReLUs learn than one with tanh?

python -m resnet_alexnet.study.run --config=activation --scale=cpu --workdir=runs/study

Primary    epochs to a training error of 25 %, tanh minus ReLU
Margin     0.2 epochs
Source     [K12] section 3.1, figure 1: six times faster; learning rates chosen for each, no regularization
"""

from configs.studies.scales import ONE_SEED, alexnet, only_at
from resnet_alexnet.study import papers
from resnet_alexnet.study.design import Arm, Comparison, Study

_FIELDS = {
    **{"optim.weight_decay": 0.0, "augment.flip": False, "augment.pad": 0, "model.lrn": False},  # no regularization
    "log.every_steps": 7,  # a tenth of an epoch of 4,500 images
}


def create_study(scale: str) -> Study:
    only_at(scale, ("smoke", "cpu", "gpu"), "[K12] figure 1 is about the four-layer network for CIFAR-10")

    def arm(activation: str, name: str) -> Arm:
        return alexnet(scale, {**_FIELDS, "model.activation": activation}, name=name)

    return Study(
        title="Activation",
        question="How much faster does a network learn with ReLUs than with tanh?",
        arms=[arm("relu", "ReLU"), arm("tanh", "tanh")],
        comparisons=[
            Comparison(
                "With ReLUs, the network reaches a training error of 25 % in fewer epochs.",
                "epochs_to_25",
                larger="tanh",
                smaller="ReLU",
                margin=0.2,
                published=papers.find(where="figure 1", model="alexnet_cifar"),
                source="[K12] figure 1: about 6 times fewer",
            ),
            Comparison(
                "With ReLUs, the training error is lower all along.",
                "mean_train_error",
                larger="tanh",
                smaller="ReLU",
                margin=1.0,
                source="[K12] figure 1",
            ),
        ],
        seeds=ONE_SEED[scale],
    )
