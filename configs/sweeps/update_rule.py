"""The update rule: the learning rate inside the momentum buffer, as in the papers, or outside, as in Optax and torch.

python launch/sweep.py --sweep=update_rule --workdir=runs/update_rule --jobs=2

The two differ only after the learning rate has changed, so it drops here, twice. For results: --config.num_steps=840
--config.schedule.boundaries="(420,630)", and five seeds.

Source: [K12] section 5.
"""

from resnet_alexnet.study.search import grid

BASE = "quickstart"
COMMON = {"num_steps": 140, "schedule.name": "steps", "schedule.boundaries": (70, 105)}


def sweep():
    yield from grid({"optim.update_rule": ("paper", "optax"), "seed": range(2)})
