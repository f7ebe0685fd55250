"""The three kinds of shortcuts: A, zero-padded; B, projections where the shape changes; C, projections everywhere.

python launch/sweep.py --sweep=shortcut --workdir=runs/shortcut --jobs=2

The paper's differences, 0.3 to 0.8 points of top-1 error between A, B and C, need its scale: --config=resnet34
--config.dataset.data_dir=DIR --config.num_steps=600000. For the sample: --config.num_steps=840, and five seeds.

Source: [H15] section 4.1, table 3.
"""

from resnet_alexnet.study.search import grid

BASE = "quickstart"
COMMON = {"num_steps": 140}


def sweep():
    yield from grid({"model.shortcut": ("A", "B", "C"), "seed": range(2)})
