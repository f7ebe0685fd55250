"""Recipe: what do weight decay, the schedule, the update rule and batch normalization's details change?

python -m resnet_alexnet.study.run --config=recipe --scale=cpu --workdir=runs/study

Primary    test error with a weight decay of 0.001 minus that with 0.0001
Margin     1.0 point at the scale cpu, 0.5 at gpu
Source     [H15] section 3.4 (weight decay 0.0001; the study text has 0.001; batch normalization of the images of a
           GPU), [K12] section 5 (learning rate inside the momentum buffer, a tenth when the validation error stops)
"""

from configs.studies.scales import CPU_STEPS, MANY_SEEDS, MARGIN, only_at, resnet
from resnet_alexnet.study.design import Comparison, Study

DEPTH = {"smoke": 8, "cpu": 20, "gpu": 20}
BASE = {"smoke": "sync", "cpu": "sync", "gpu": 64}
RECIPE = "recipe"


def create_study(scale: str) -> Study:
    only_at(scale, tuple(DEPTH), "the recipe is compared on small images only")
    depth, margin = DEPTH[scale], MARGIN[scale]
    steps: dict[str, object] = {"schedule.name": "steps"}
    plateau = {"schedule.name": "plateau", "schedule.patience": 2}
    if scale != "gpu":
        steps["schedule.boundaries"] = (CPU_STEPS // 2, CPU_STEPS * 3 // 4)
    changes = {
        RECIPE: {},
        "weight decay 0.0001": {"optim.weight_decay": 1e-4},
        "weight decay 0.001": {"optim.weight_decay": 1e-3},
        "plateau": plateau,
        "steps": steps,
        "steps, Optax's update rule": {**steps, "optim.update_rule": "optax"},
        "ghost batch norm of 16": {"model.bn_group": 16},
    }

    def compare(claim: str, larger: str, smaller: str, source: str, equality: bool | None = None) -> Comparison:
        return Comparison(
            claim, "test_error", larger=larger, smaller=smaller, margin=margin, source=source, equality=equality
        )

    return Study(
        title="Recipe",
        question="Which details of the recipe change the result?",
        arms=[resnet(scale, depth, fields, name=name) for name, fields in changes.items()],
        comparisons=[
            compare(
                "The weight decay of the study text, 0.001, is worse than the paper's 0.0001.",
                "weight decay 0.001",
                "weight decay 0.0001",
                "the study text against [H15] section 3.4",
            ),
            compare(
                "Decay at a plateau of the validation error is as good as at fixed steps.",
                "plateau",
                "steps",
                "[K12] section 5, [H15] sections 3.4 and 4.2",
                equality=True,
            ),
            compare(
                "With the learning rate inside or outside of the momentum buffer, the result is the same.",
                "steps, Optax's update rule",
                "steps",
                "[K12] section 5",
                equality=True,
            ),
            compare(
                "Normalizing over 16 images instead of 64 makes no difference.",
                "ghost batch norm of 16",
                RECIPE,
                "[H15] section 3.4, images of one GPU",
                equality=True,
            ),
        ],
        seeds=MANY_SEEDS[scale],
        metrics=["exact_error"],
        notes=["At this scale the recipe itself has a weight decay of 0.004, for 4,500 images."]
        if scale != "gpu"
        else [],
    )
