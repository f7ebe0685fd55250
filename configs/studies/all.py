"""All studies, in the order of the report.

python -m resnet_alexnet.study.run --config=all --scale=cpu --workdir=runs/study

Source     the files that it names
"""

STUDIES = (
    "degradation",
    "shortcuts",
    "signals",
    "alexnet_vs_resnet",
    "ingredients",
    "activation",
    "losses",
    "recipe",
    "ensembles",
    "features",
    "robustness",
)
