"""Features: what do filters look like, and from which stage on can classes be told apart by a line?

python -m resnet_alexnet.study.run --config=features --scale=cpu --workdir=runs/study

Primary    error of a linear probe at the first stage minus that at the last one, of the ResNet
Margin     1.0 point
Source     [K12] section 6.1, figures 3 and 4; Alain and Bengio 2017 for linear probes
"""

from configs.studies.scales import ONE_SEED, alexnet, resnet
from resnet_alexnet.study.design import Comparison, Study

DEPTH = {"smoke": 8, "cpu": 20, "gpu": 20, "imagenet": 18}


def create_study(scale: str) -> Study:
    network = resnet(scale, DEPTH[scale])
    towers = {} if scale == "imagenet" else {"model.towers": 2}
    return Study(
        title="Features",
        question="What do filters and features look like?",
        arms=[alexnet(scale), alexnet(scale, towers, name="two towers"), network]
        if towers
        else [alexnet(scale), network],
        comparisons=[
            Comparison(
                "Nearest neighbors in AlexNet's features are of the same class less often than in a ResNet's.",
                "neighbor_error",
                larger="AlexNet",
                smaller=network.name,
                margin=1.0,
                source="[K12] section 6.1, figure 4, for AlexNet alone",
            ),
        ],
        seeds=ONE_SEED[scale],
        measurements=["probe", "kernels", "neighbors"],
    )
