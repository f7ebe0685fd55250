"""The numbers, layers and findings of [K12], in the order of the paper."""

from functools import partial

from resnet_alexnet.study.published import Finding, Published, PublishedLayer, errors

_number = partial(Published, "[K12]")
_errors = partial(errors, "[K12]")
_in_words = partial(_number, kind="in words")
_PRETRAINED = "a sixth convolution; trained on ImageNet Fall 2011, 15 M images of 22,000 classes, then on these"

NUMBERS: tuple[Published, ...] = (
    _in_words("section 4", "alexnet", "parameters", "60", "million"),
    _in_words("abstract", "alexnet", "neurons", "650,000"),
    # Training, in section 5.
    _in_words("section 5", "alexnet", "training time, least", "5", "days", data="ilsvrc2010", note="2 GTX 580 of 3 GB"),
    _in_words("section 5", "alexnet", "training time, most", "6", "days", data="ilsvrc2010", note="2 GTX 580 of 3 GB"),
    _in_words("section 4.1", "alexnet", "images from an image, by crops and flips", "2048"),
    # What an ingredient changes, sections 3 and 4.
    _in_words(
        "figure 1",
        "alexnet_cifar",
        "ratio of the iterations with tanh to those with ReLU",
        "6",
        data="cifar10",
        split="training",
        note="until a training error of 25 %; four layers, a learning rate chosen for each, no regularization",
    ),
    *(
        _in_words(where, "alexnet", f"reduction of the {error} error", printed, "points", bound=bound, note=note)
        for where, (top1, top5), bound, note in (
            (
                "section 3.2",
                ("1.7", "1.2"),
                "",
                "two towers, to one GPU with half the kernels: alexnet_one_tower",
            ),
            ("section 3.3", ("1.4", "1.2"), "", "local response normalization, to none: lrn=False"),
            ("section 3.4", ("0.4", "0.3"), "", "overlapping pooling, to pooling=plain"),
            ("section 4.1", ("1", None), ">", "shifting colors, to augment.color=none"),
            ("section 7", ("2", None), "about", "all layers, to a middle layer removed"),
        )
        for error, printed in (("top-1", top1), ("top-5", top5))
        if printed is not None
    ),
    _in_words("section 4.2", "alexnet", "ratio of the iterations with dropout to those without", "2", bound="about"),
    *(
        _number(
            "section 3.3", "alexnet_cifar", "test error", printed, "%", data="cifar10", split="test", options=options
        )
        for printed, options in (("13", "lrn=False"), ("11", "lrn=True"))
    ),
    # Results, section 6.
    *(
        row
        for model, top1, top5, rest in (
            ("sparse coding", "47.1", "28.2", {"kind": "ensemble", "n": 6}),
            ("SIFT + FVs", "45.7", "25.7", {"kind": "ensemble", "n": 2}),
            ("alexnet", "37.5", "17.0", {"views": "10 crops"}),
        )
        for row in _errors("table 1", model, top1, top5, data="ilsvrc2010", split="test", **rest)
    ),
    *_errors("footnote 5", "alexnet", "39.0", "18.3", data="ilsvrc2010", split="test", views="1 crop"),
    *(
        row
        for model, top1, top5, test_top5, rest in (
            ("SIFT + FVs", None, None, "26.2", {"kind": "ensemble", "note": "the second-best entry of the contest"}),
            ("alexnet", "40.7", "18.2", None, {}),
            ("alexnet", "38.1", "16.4", "16.4", {"kind": "ensemble", "n": 5}),
            ("1 CNN*", "39.0", "16.6", None, {"note": _PRETRAINED}),
            ("7 CNNs*", "36.7", "15.4", "15.3", {"kind": "ensemble", "n": 7, "note": "the 5, and 2 such as 1 CNN*"}),
        )
        for row in (
            *_errors("table 2", model, top1, top5, data="imagenet2012", split="validation", **rest),
            *_errors("table 2", model, None, test_top5, data="imagenet2012", split="test", **rest),
        )
    ),
    _in_words(
        "section 6",
        "alexnet",
        "difference of the validation and the test error",
        "0.1",
        "points",
        bound="at most",
        data="imagenet2012",
    ),
    *_errors(
        "section 6",
        "alexnet with a sixth convolution",
        "67.4",
        "40.9",
        data="imagenet_fall2009",
        split="test",
        note="10,184 classes, 8.9 M images, half of them to train on",
    ),
    *_errors(
        "section 6",
        "best published before",
        "78.1",
        "60.9",
        data="imagenet_fall2009",
        split="test",
        note="another half of the images",
    ),
)

# Section 3.5 and figure 2. By the caption of the figure, conv1 has 253,440 neurons, which is 55 x 48 x 96. Maps of
# 55 x 55 have 290,400, with which the layers have about the 650,000 of the abstract together.
LAYERS = (
    PublishedLayer("conv1", 96, (11, 11, 3), 55, 253_440, 34_944),
    PublishedLayer("conv2", 256, (5, 5, 48), 27, 186_624, 307_456),
    PublishedLayer("conv3", 384, (3, 3, 256), 13, 64_896, 885_120),
    PublishedLayer("conv4", 384, (3, 3, 192), 13, 64_896, 663_936),
    PublishedLayer("conv5", 256, (3, 3, 192), 13, 43_264, 442_624),
    PublishedLayer("fc6", 4096, None, 1, 4096, 37_752_832),
    PublishedLayer("fc7", 4096, None, 1, 4096, 16_781_312),
    PublishedLayer("fc8", 1000, None, 1, 1000, 4_097_000),
)

FINDINGS = (
    Finding(
        "[K12] section 3.1", "Networks with ReLU consistently learn several times faster than those that saturate."
    ),
    Finding("[K12] section 3.2", "The network on two GPUs takes slightly less time to train than the one on one GPU."),
    Finding("[K12] section 3.4", "Networks with overlapping pooling are slightly harder to overfit."),
    Finding("[K12] section 4.2", "Without dropout, the network overfits substantially."),
    Finding("[K12] section 5", "Weight decay also lowers the training error."),
    Finding(
        "[K12] section 6.1, figure 3",
        "The kernels of conv1 are mostly without color in one tower and mostly colored in the other, in every run.",
    ),
    Finding(
        "[K12] section 6.1, figure 4",
        "Images whose features in the last hidden layer are near by Euclidean distance show the same kind of thing, "
        "though their pixels are not near.",
    ),
    Finding("[K12] section 7", "Without any one of the convolutional layers, the network is worse."),
)
