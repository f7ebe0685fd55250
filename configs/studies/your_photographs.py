"""Your own photographs: which of these networks should you use, and what do depth and trained weights buy?

python -m resnet_alexnet.study.run --config=your_photographs --budget=30m --workdir=runs/study \
    --config.dataset.data_dir=DIR

Primary    error of AlexNet minus that of ResNet-18 on photographs that were not trained on, from scratch
Margin     1.0 point
Weights    a file for each network that should also start from trained weights, after a colon:
           --config=your_photographs:resnet18=FILE,resnet50=FILE
Source     neither paper; the recipe is configs/finetune.py, with ten times its learning rate from scratch
"""

from collections.abc import Iterator

from resnet_alexnet.errors import InputError
from resnet_alexnet.study.design import Arm, Budget, Comparison, Study

NETWORKS = {"alexnet": "AlexNet", "resnet18": "ResNet-18", "resnet34": "ResNet-34", "resnet50": "ResNet-50"}
BATCH_SIZE = 32
# For a batch of 32: half of those for 64 in configs/finetune.py, and of its tenfold from scratch
FROM_SCRATCH, FROM_WEIGHTS = {"alexnet": 0.005, "resnet": 0.05}, {"alexnet": 0.0005, "resnet": 0.005}


def create_study(budget: Budget, argument: str = "") -> Study:
    weights = _read_weights(argument)
    fields = {
        "batch_size": BATCH_SIZE,
        "num_steps": budget.num_steps,
        "eval.every_steps": max(budget.num_steps // 8, 1),
        "log.every_steps": max(budget.num_steps // 40, 1),
        "checkpoint.every_steps": 0,
        "optim.reference_batch_size": BATCH_SIZE,
    }

    def arm(model: str, name: str, rates: dict[str, float], **own: object) -> Arm:
        rate = rates["alexnet" if model == "alexnet" else "resnet"]
        return Arm(name, f"finetune:{model}", {**fields, **{n.replace("__", "."): v for n, v in own.items()}}, (rate,))

    scratch = {"preprocess__image_size": budget.image_size}
    plain = f"{NETWORKS['resnet18']}, not augmented"
    arms = [arm(model, name, FROM_SCRATCH, **scratch) for model, name in NETWORKS.items()]
    arms.append(arm("resnet18", plain, FROM_SCRATCH, **scratch, augment__crop="center", augment__flip=False))
    arms += [arm(model, _trained(model), FROM_WEIGHTS, finetune__weights=file) for model, file in weights.items()]

    def compare(claim: str, larger: str, smaller: str) -> Comparison:
        return Comparison(claim, "unseen_error", larger=larger, smaller=smaller, margin=1.0, source="neither paper")

    comparisons = [
        compare("AlexNet has a higher error than ResNet-18.", "AlexNet", "ResNet-18"),
        compare("Depth: ResNet-34 has a lower error than ResNet-18.", "ResNet-18", "ResNet-34"),
        compare("Depth: ResNet-50 has a lower error than ResNet-18.", "ResNet-18", "ResNet-50"),
        compare("Augmentation: random crops and reflections lower the error.", plain, "ResNet-18"),
        *(
            compare("Trained weights: starting from them lowers the error.", NETWORKS[model], _trained(model))
            for model in weights
        ),
    ]
    return Study(
        title="Your photographs",
        question="Which of these networks should you use on your photographs?",
        arms=arms,
        comparisons=comparisons,
        seeds=budget.seeds,
        notes=list(_notes(budget, bool(weights))),
        recommends=True,
    )


def _notes(budget: Budget, has_weights: bool) -> Iterator[str]:
    yield (
        f"From scratch, images have {budget.image_size} pixels. Every run has {budget.num_steps:,} steps. Learning "
        "rates are not tuned: from weights they are those of configs/finetune.py, from scratch ten times as large."
    )
    if has_weights:
        yield "Networks from weights see images of the size of their weights: what they gain is of both."


def _trained(model: str) -> str:
    return f"{NETWORKS[model]} from weights"


def _read_weights(argument: str) -> dict[str, str]:
    """The weight files of networks, from "resnet18=FILE,resnet50=FILE"."""
    parts = [part.partition("=") for part in argument.split(",") if part]
    for model, _, file in parts:
        if model not in NETWORKS or not file:
            raise InputError(f"{model!r} after the colon (allowed: NETWORK=FILE,... with {', '.join(NETWORKS)})")
    return {model: file for model, _, file in parts}
