"""Signals: do gradients vanish in deep plain networks, and is that why they get worse?

python -m resnet_alexnet.study.run --config=signals --scale=cpu --workdir=runs/study

Primary    norm of the first convolution's gradient over that of the last, before training: shallow minus deep plain net
Margin     0.5, in powers of ten
Source     [H15] section 4.1: with batch normalization neither forward nor backward signals vanish; figure 7: residual
           functions have smaller responses. The study text says that vanishing gradients cause degradation
"""

from configs.studies import degradation
from configs.studies.scales import MANY_SEEDS, only_at, resnet
from resnet_alexnet.study.design import Comparison, Study


def create_study(scale: str) -> Study:
    only_at(scale, ("smoke", "cpu", "gpu"), "[H15] figure 7 is about CIFAR-10")
    depths = degradation.DEPTHS[scale]
    deep, shallow = f"plain-{depths[-1]}", f"plain-{depths[0]}"
    return Study(
        title="Signals",
        question="Do gradients vanish in deep plain networks?",
        arms=[resnet(scale, depth, plain=plain) for plain in (True, False) for depth in depths],
        comparisons=[
            Comparison(
                "In a deep plain network the gradient reaches the first layers weaker than in a shallow one.",
                "log_gradient_ratio",
                larger=shallow,
                smaller=deep,
                margin=0.5,
                source="the study text, section 3; [H15] section 4.1 says that it does not",
            ),
            Comparison(
                "Layers of residual networks have smaller responses than those of plain ones.",
                "mean_response",
                larger=deep,
                smaller=f"ResNet-{depths[-1]}",
                margin=0.05,
                source="[H15] figure 7",
            ),
        ],
        seeds=MANY_SEEDS[scale],
        measurements=["signals"],
    )
