"""The numbers of published code and weights, and what the shapes of the papers' networks amount to."""

from functools import partial
from typing import Any

from resnet_alexnet.study.published import Published, errors

_IMAGENET: dict[str, Any] = {"data": "imagenet2012", "split": "validation"}
_CIFAR: dict[str, Any] = {"data": "cifar10", "split": "test"}
_A100: dict[str, Any] = {"data": "cifar10", "note": "one A100"}
_TORCH = "shortcut=B, stride_in=3x3"  # "ResNet v1.5"
_counted = partial(Published, "counted", kind="count")

# Exact, with biases and the scales and shifts of batch normalization.
COUNTED: tuple[Published, ...] = (
    *(
        _counted("[K12] section 3.5", model, "parameters", printed, options=options)
        for model, options, printed in (
            ("alexnet", "", "60,965,224"),
            ("alexnet", "towers=1", "62,378,344"),
            ("alexnet_one_tower", "", "59,798,312"),
        )
    ),
    *(
        _counted("[K12] section 3.5", "alexnet", "multiply-adds", printed, "x 10^6", options=options)
        for options, printed in (("", "724.4"), ("towers=1", "1135.3"))
    ),
    _counted(
        "cuda-convnet2, layers-223-1gpu.cfg",
        "the one-GPU network of cuda-convnet2",
        "parameters",
        "49,566,504",
        note="no padding in conv1: maps of 54 x 54, then 5 x 5",
    ),
    *(
        _counted("[H15] table 1", model, "parameters", printed, options=options)
        for model, options, printed in (
            ("resnet18", "shortcut=A", "11,515,688"),
            ("resnet18", "shortcut=B", "11,689,512"),
            ("resnet18", "shortcut=C", "12,043,816"),
            ("plain18", "", "11,515,688"),
            ("resnet34", "shortcut=A", "21,623,848"),
            ("resnet34", "shortcut=B", "21,797,672"),
            ("resnet34", "shortcut=C", "22,716,840"),
            ("plain34", "", "21,623,848"),
            ("resnet50", "shortcut=B", "25,557,032"),
            ("resnet101", "shortcut=B", "44,549,160"),
            ("resnet152", "shortcut=B", "60,192,808"),
        )
    ),
    *(
        _counted("[H15] section 4.2", f"cifar_{kind}{depth}", "parameters", printed)
        for depth, printed in (
            (20, "269,722"),
            (32, "464,154"),
            (44, "658,586"),
            (56, "853,018"),
            (110, "1,727,962"),
            (1202, "19,421,274"),
        )
        for kind in ("resnet", "plain")
        if (kind, depth) != ("plain", 1202)
    ),
    _counted("[H15] section 4.2", "cifar_resnet20", "parameters", "272,474", options="shortcut=B"),
    *(
        _counted("[H15] section 4.2", f"cifar_resnet{depth}", "multiply-adds", printed, "x 10^6")
        for depth, printed in (
            (20, "40.6"),
            (32, "68.9"),
            (44, "97.2"),
            (56, "125.5"),
            (110, "252.9"),
            (1202, "2829"),
        )
    ),
    # Forward and backward, three times the forward multiply-adds.
    *(
        _counted(where, model, "multiply-adds of the training", printed, note=note)
        for where, note, rows in (
            ("[K12] section 5", "90 epochs", (("alexnet", "2.5e17"),)),
            (
                "[H15] section 3.4",
                "600,000 steps of 256 images",
                (
                    ("resnet18", "8.3e17"),
                    ("resnet34", "1.7e18"),
                    ("resnet50", "1.8e18"),
                    ("resnet101", "3.5e18"),
                    ("resnet152", "5.2e18"),
                ),
            ),
            (
                "[H15] section 4.2",
                "64,000 steps of 128 images",
                (
                    ("cifar_resnet20", "1.0e15"),
                    ("cifar_resnet56", "3.1e15"),
                    ("cifar_resnet110", "6.2e15"),
                    ("cifar_resnet1202", "7.0e16"),
                ),
            ),
        )
        for model, printed in rows
    ),
    _counted(
        "[H15] section 4.2",
        "plain and residual networks of 20, 32, 44, 56 and 110 layers for CIFAR",
        "multiply-adds of the training",
        "1.4e17",
        note="64,000 steps of 128 images; five trainings of each",
    ),
)


def _torchvision(model: str, options: str, top1: str, top5: str, parameters: str, billions: str) -> list[Published]:
    """What torchvision says of its first weights of a network."""
    row = partial(Published, "torchvision", "IMAGENET1K_V1", model, options=options)
    return [
        row("top-1 accuracy", top1, "%", views="1 crop", **_IMAGENET),
        row("top-5 accuracy", top5, "%", views="1 crop", **_IMAGENET),
        row("parameters", parameters, kind="count"),
        row("multiply-adds", billions, "x 10^9", "count"),
    ]


RELEASED: tuple[Published, ...] = (
    *(
        row
        for model, views, top1, top5, rest in (
            ("VGG-16", "1 crop", "28.5", "9.9", {"note": "of matconvnet"}),
            ("resnet50", "1 crop", "24.7", "7.8", {"options": "shortcut=B"}),
            ("resnet101", "1 crop", "23.6", "7.1", {"options": "shortcut=B"}),
            ("resnet152", "1 crop", "23.0", "6.7", {"options": "shortcut=B"}),
            ("resnet50", "10 crops", "22.9", "6.7", {"options": "shortcut=B"}),
            ("resnet101", "10 crops", "21.8", "6.1", {"options": "shortcut=B"}),
            ("resnet152", "10 crops", "21.4", "5.7", {"options": "shortcut=B"}),
        )
        for row in errors("He's release", "README.md", model, top1, top5, views=views, **_IMAGENET, **rest)
    ),
    *(
        row
        for model, options, one, ten in (
            ("resnet18", "shortcut=B", ("30.43", "10.76"), ("28.22", "9.42")),
            ("resnet34", "shortcut=B", ("26.73", "8.74"), ("24.76", "7.35")),
            ("resnet50", _TORCH, ("24.01", "7.02"), ("22.24", "6.08")),
            ("resnet101", _TORCH, ("22.44", "6.21"), ("21.08", "5.35")),
            ("resnet152", _TORCH, ("22.16", "6.16"), ("20.69", "5.21")),
        )
        for views, pair in (("1 crop", one), ("10 crops", ten))
        for row in errors(
            "fb.resnet.torch", "pretrained/README.md", model, *pair, views=views, options=options, **_IMAGENET
        )
    ),
    *_torchvision("alexnet_owt", "", "56.522", "79.066", "61,100,840", "0.714"),
    *_torchvision("resnet18", "shortcut=B", "69.758", "89.078", "11,689,512", "1.814"),
    *_torchvision("resnet34", "shortcut=B", "73.314", "91.420", "21,797,672", "3.664"),
    *_torchvision("resnet50", _TORCH, "76.130", "92.862", "25,557,032", "4.089"),
    *_torchvision("resnet101", _TORCH, "77.374", "93.546", "44,549,160", "7.801"),
    *_torchvision("resnet152", _TORCH, "78.312", "94.046", "60,192,808", "11.514"),
    *(
        Published(source, where, model, quantity, printed, "%", views="1 crop", options=_TORCH, **_IMAGENET)
        for source, where, model, pair in (
            ("torchvision", "IMAGENET1K_V2", "resnet50", ("80.858", "95.434")),
            ("torchvision", "IMAGENET1K_V2", "resnet101", ("81.886", "95.780")),
            ("torchvision", "IMAGENET1K_V2", "resnet152", ("82.284", "96.002")),
            ("torchvision issue 3995", "New Recipe + FixRes mitigations", "resnet50", ("80.674", "95.166")),
        )
        for quantity, printed in zip(("top-1 accuracy", "top-5 accuracy"), pair, strict=True)
    ),
    *(
        Published(
            "torchvision issue 5593", "comments", "resnet50", "top-1 accuracy", printed, "%", note=note, **_IMAGENET
        )
        for printed, note in (
            ("75.4", "the lowest of several trainings with the recipe of IMAGENET1K_V1"),
            ("75.9", "the highest of them"),
        )
    ),
    Published(
        "Goyal et al. 2017",
        "table 1",
        "resnet50",
        "top-1 error",
        "23.60",
        "%",
        "mean",
        5,
        "0.12",
        options=_TORCH,
        note="256 images a step",
        **_IMAGENET,
    ),
    *(
        Published(
            "Flax", "example runs", "resnet50", "top-1 accuracy", printed, "%", options=_TORCH, note=note, **_IMAGENET
        )
        for note, printed in (
            ("32 TPU v3", "76.54"),
            ("32 TPU v2", "76.67"),
            ("8 TPU v3", "76.37"),
            ("8 V100", "76.72"),
            ("8 V100, mixed precision", "76.27"),
        )
    ),
    *(
        Published("ffcv", "configurations", model, "top-1 accuracy", printed, "%", note=f"{epochs} epochs", **_IMAGENET)
        for model, epochs, printed in (
            ("resnet50", 16, "73.8"),
            ("resnet50", 88, "78.4"),
            ("resnet18", 16, "66.9"),
            ("resnet18", 88, "72.4"),
        )
    ),
    *(
        Published("airbench", script, "a network of airbench", quantity, printed, unit, kind, **rest)
        for script, accuracy, seconds in (
            ("airbench94_spectral.py", "94.05", "2.67"),
            ("airbench96_faster.py", "96.00", "27.3"),
        )
        for quantity, printed, unit, kind, rest in (
            ("accuracy", accuracy, "%", "mean", _CIFAR),
            ("training time", seconds, "s", "one run", _A100),
        )
    ),
)
