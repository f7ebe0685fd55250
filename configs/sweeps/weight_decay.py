"""Weight decay: 0.0001 as [H15] has it, 0.001 as the study text has it, and 0.004, which the quickstart takes.

python launch/sweep.py --sweep=weight_decay --workdir=runs/weight_decay --jobs=2

For results: --config.num_steps=840, the quickstart's length, and five seeds. For ImageNet, without the last value:
--config=resnet34 --config.dataset.data_dir=DIR --config.num_steps=600000.

Source: [H15] section 3.4.
"""

from resnet_alexnet.study.search import grid

BASE = "quickstart"
COMMON = {"num_steps": 140}


def sweep():
    yield from grid({"optim.weight_decay": (0.0001, 0.001, 0.004), "seed": range(2)})
