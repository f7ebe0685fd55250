"""The numbers, architectures and findings of [H15], in the order of the paper."""

from functools import partial
from typing import Any

from resnet_alexnet.study.published import Finding, Published, PublishedStages, errors

_number = partial(Published, "[H15]")
_in_words = partial(_number, kind="in words")
_IMAGENET: dict[str, Any] = {"data": "imagenet2012", "split": "validation"}
_CIFAR: dict[str, Any] = {"data": "cifar10", "split": "test"}
_errors = partial(errors, "[H15]", **_IMAGENET)

# Table 1. The first block of each stage but the first halves the map.
STAGES = (
    PublishedStages("resnet18", (2, 2, 2, 2), (3, 3)),
    PublishedStages("resnet34", (3, 4, 6, 3), (3, 3)),
    PublishedStages("resnet50", (3, 4, 6, 3), (1, 3, 1)),
    PublishedStages("resnet101", (3, 4, 23, 3), (1, 3, 1)),
    PublishedStages("resnet152", (3, 8, 36, 3), (1, 3, 1)),
)
STEM_MAP_SIZES = (
    112,
    56,
)  # pixels: after the 7x7 convolution with stride 2, and after the 3x3 max-pooling with stride 2
MAP_SIZES = (56, 28, 14, 7)  # pixels, of the stages
WIDTHS = (64, 128, 256, 512)  # channels of the 3x3 convolutions of the stages

NUMBERS: tuple[Published, ...] = (
    *(
        _number("table 1", model, "multiply-adds", printed, "x 10^9", "count")
        for model, printed in (
            ("resnet18", "1.8"),
            ("resnet34", "3.6"),
            ("resnet50", "3.8"),
            ("resnet101", "7.6"),
            ("resnet152", "11.3"),
        )
    ),
    _number("section 3.3", "plain34", "multiply-adds", "3.6", "x 10^9", "count"),
    _in_words("section 3.3", "plain34", "multiply-adds, share of those of VGG-19", "18", "%"),
    _number("section 3.3", "VGG-19", "multiply-adds", "19.6", "x 10^9", "count"),
    _number("section 4.1", "VGG-16", "multiply-adds", "15.3", "x 10^9", "count"),
    *(
        row
        for model, top1, options in (
            ("plain18", "27.94", ""),
            ("plain34", "28.54", ""),
            ("resnet18", "27.88", "shortcut=A"),
            ("resnet34", "25.03", "shortcut=A"),
        )
        for row in _errors("table 2", model, top1, None, views="10 crops", options=options)
    ),
    _in_words(
        "section 4.1", "resnet34", "reduction of the top-1 error", "2.8", "points", note="to resnet18", **_IMAGENET
    ),
    _in_words(
        "section 4.1", "resnet34", "reduction of the top-1 error", "3.5", "points", note="to plain34", **_IMAGENET
    ),
    *(
        row
        for model, top1, top5, options in (
            ("VGG-16", "28.07", "9.33", ""),
            ("GoogLeNet", None, "9.15", ""),
            ("PReLU-net", "24.27", "7.38", ""),
            ("plain34", "28.54", "10.02", ""),
            ("resnet34", "25.03", "7.76", "shortcut=A"),
            ("resnet34", "24.52", "7.46", "shortcut=B"),
            ("resnet34", "24.19", "7.40", "shortcut=C"),
            ("resnet50", "22.85", "6.71", "shortcut=B"),
            ("resnet101", "21.75", "6.05", "shortcut=B"),
            ("resnet152", "21.43", "5.71", "shortcut=B"),
        )
        for row in _errors("table 3", model, top1, top5, views="10 crops", options=options)
    ),
    Published("[H15]", "table 4", "VGG (ILSVRC'14)", "top-5 error", "8.43", "%", data="imagenet2012", split="test"),
    *(
        row
        for model, top1, top5, rest in (
            ("GoogLeNet (ILSVRC'14)", None, "7.89", {}),
            ("VGG (v5)", "24.4", "7.1", {}),
            ("PReLU-net", "21.59", "5.71", {}),
            ("BN-Inception", "21.99", "5.81", {}),
            ("resnet34", "21.84", "5.71", {"options": "shortcut=B", "views": "several scales"}),
            ("resnet34", "21.53", "5.60", {"options": "shortcut=C", "views": "several scales"}),
            ("resnet50", "20.74", "5.25", {"options": "shortcut=B", "views": "several scales"}),
            ("resnet101", "19.87", "4.60", {"options": "shortcut=B", "views": "several scales"}),
            ("resnet152", "19.38", "4.49", {"options": "shortcut=B", "views": "several scales"}),
        )
        for row in _errors("table 4", model, top1, top5, **rest)
    ),
    *(
        _number(
            "table 5", model, "top-5 error", printed, "%", "ensemble", n, data="imagenet2012", split="test", note=note
        )
        for model, printed, n, note in (
            ("VGG (ILSVRC'14)", "7.32", None, ""),
            ("GoogLeNet (ILSVRC'14)", "6.66", None, ""),
            ("VGG (v5)", "6.8", None, ""),
            ("PReLU-net", "4.94", None, ""),
            ("BN-Inception", "4.82", None, ""),
            ("ResNet (ILSVRC'15)", "3.57", 6, "of different depth, two of them of 152 layers"),
        )
    ),
    *(
        _number("table 6", model, "test error", printed, "%", kind, n, std, **_CIFAR)
        for model, printed, kind, n, std in (
            ("Maxout", "9.38", "one run", None, ""),
            ("NIN", "8.81", "one run", None, ""),
            ("DSN", "8.22", "one run", None, ""),
            ("FitNet-19", "8.39", "one run", None, ""),
            ("Highway-19", "7.54", "best", None, ""),
            ("Highway-19", "7.72", "mean", None, "0.16"),
            ("Highway-32", "8.80", "one run", None, ""),
            ("cifar_resnet20", "8.75", "one run", None, ""),
            ("cifar_resnet32", "7.51", "one run", None, ""),
            ("cifar_resnet44", "7.17", "one run", None, ""),
            ("cifar_resnet56", "6.97", "one run", None, ""),
            ("cifar_resnet110", "6.43", "best", 5, ""),
            ("cifar_resnet110", "6.61", "mean", 5, "0.16"),
            ("cifar_resnet1202", "7.93", "one run", None, ""),
        )
    ),
    *(
        _number("table 6", model, "parameters", printed, "million", "count")
        for model, printed in (
            ("FitNet-19", "2.5"),
            ("Highway-19", "2.3"),
            ("Highway-32", "1.25"),
            ("cifar_resnet20", "0.27"),
            ("cifar_resnet32", "0.46"),
            ("cifar_resnet44", "0.66"),
            ("cifar_resnet56", "0.85"),
            ("cifar_resnet110", "1.7"),
            ("cifar_resnet1202", "19.4"),
        )
    ),
    _in_words("figure 6", "cifar_plain110", "test error", "60", "%", bound=">", note="not drawn", **_CIFAR),
    _in_words(
        "section 4.2", "cifar_resnet1202", "training error", "0.1", "%", bound="<", data="cifar10", split="training"
    ),
    _in_words(
        "section 4.2",
        "cifar_resnet110",
        "steps of the warm-up",
        "400",
        bound="about",
        data="cifar10",
        note="at a tenth of the learning rate, until the training error is below 80 %",
    ),
)

FINDINGS = (
    Finding(
        "[H15] figure 1",
        "On CIFAR-10, plain-56 has a higher training error, and so a higher test error, than plain-20.",
    ),
    Finding(
        "[H15] figure 4", "On ImageNet, plain-34 has a higher training error than plain-18 all through the training."
    ),
    Finding("[H15] figure 4", "ResNet-34 has a lower training and validation error than ResNet-18."),
    Finding("[H15] section 4.1, figure 4", "ResNet-18 is about as accurate as plain-18, but converges faster."),
    Finding("[H15] footnote 3", "With three times the iterations, plain networks still degrade."),
    Finding(
        "[H15] section 4.1",
        "Vanishing gradients are unlikely to be the cause: with batch normalization, forward signals have variances "
        "that are not zero, and the norms of gradients are healthy. Plain networks may have exponentially low "
        "convergence rates.",
    ),
    Finding(
        "[H15] section 4.1",
        "A, B and C are all considerably better than the plain network; B is slightly better than A, and "
        "C marginally better than B: projections are not essential.",
    ),
    Finding(
        "[H15] figure 6", "On CIFAR-10, the deeper a plain network (20 to 56 layers), the higher its training error."
    ),
    Finding("[H15] figure 6", "On CIFAR-10, the deeper a ResNet (20 to 110 layers), the lower its error."),
    Finding(
        "[H15] footnote 5",
        "Without the warm-up, ResNet-110 starts to converge after several epochs, and becomes similarly accurate.",
    ),
    Finding(
        "[H15] section 4.2, figure 6",
        "ResNet-1202 has a training error similar to that of ResNet-110, and a higher test error: it overfits.",
    ),
    Finding(
        "[H15] figure 7",
        "After batch normalization, before the nonlinearity, the outputs of the 3x3 layers mostly have a smaller "
        "standard deviation in ResNet-20, 56 and 110 than in plain-20 and 56.",
    ),
    Finding("[H15] figure 7", "The deeper the ResNet, the smaller the standard deviations of its layers."),
)
