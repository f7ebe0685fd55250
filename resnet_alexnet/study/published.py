"""What a published number, setting, layer or finding is, and the sources that they are cited from."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

SOURCES = {
    "[K12]": "A. Krizhevsky, I. Sutskever, G. E. Hinton. ImageNet Classification with Deep Convolutional Neural "
    "Networks. NIPS 2012",
    "[H15]": "K. He, X. Zhang, S. Ren, J. Sun. Deep Residual Learning for Image Recognition. CVPR 2016, "
    "arXiv 1512.03385",
    "cuda-convnet2": "https://github.com/akrizhevsky/cuda-convnet2, the later code of an author of [K12]",
    "He's release": "https://github.com/KaimingHe/deep-residual-networks, the networks of [H15] by its authors",
    "fb.resnet.torch": "https://github.com/facebookarchive/fb.resnet.torch",
    "torchvision": "https://github.com/pytorch/vision, torchvision/models",
    "torchvision issue 3995": "https://github.com/pytorch/vision/issues/3995",
    "torchvision issue 5593": "https://github.com/pytorch/vision/issues/5593",
    "Goyal et al. 2017": "P. Goyal et al. Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour. arXiv 1706.02677",
    "Flax": "https://github.com/google/flax, examples/imagenet/README.md",
    "ffcv": "https://github.com/libffcv/ffcv-imagenet, README.md",
    "airbench": "https://github.com/KellerJordan/cifar10-airbench, README.md",
    "counted": "counted from the shapes of the layers in the tables of the papers",
}
KINDS = {
    "one run": "of one network; the source mentions no repetition",
    "mean": "of n runs",
    "best": "of n runs",
    "ensemble": "of n networks, whose predictions are averaged",
    "count": "follows from the shapes of the layers",
    "in words": "a round number from the text or a caption",
}


@dataclass(frozen=True)
class Published:
    """A published number.

    Attributes:
        source: where it is from, a key of SOURCES.
        where: the place in the source, such as "table 6".
        model: a network of `models.MODELS`, or another method as the source calls it.
        quantity: such as "top-1 error", "parameters".
        printed: the number as the source prints it, such as "7.40".
        unit: such as "%"; "" for a plain number.
        kind: a key of KINDS.
        n: runs of a mean or of the best, networks of an ensemble; None if the source does not say.
        std: standard deviation of a mean, as printed.
        bound: what the number is of the quantity: "" for its value, ">", "<" or "about".
        data: the data set, such as "cifar10"; "" for a number of the network itself.
        split: the part of the data set that an error is of: "training", "validation" or "test".
        views: how an image is tested, such as "10 crops".
        options: of the network, if they differ from its defaults or are what the source compares, such as "shortcut=A".
        note: what else to know.
    """

    source: str
    where: str
    model: str
    quantity: str
    printed: str
    unit: str = ""
    kind: str = "one run"
    n: int | None = None
    std: str = ""
    bound: str = ""
    data: str = ""
    split: str = ""
    views: str = ""
    options: str = ""
    note: str = ""

    @property
    def value(self) -> float:
        """The number."""
        return float(self.printed.replace(",", ""))

    def show(self) -> str:
        """The number with its bound, deviation, unit and kind, such as "6.61 ± 0.16 % (mean of 5)"."""
        text = " ".join(part for part in (self.bound, self.printed, self.std and f"± {self.std}", self.unit) if part)
        kind = self.show_kind()
        return text if kind in ("one run", "count", "in words") else f"{text} ({kind})"

    def show_kind(self) -> str:
        """How the number came about, such as "best of 5"."""
        return self.kind if self.n is None else f"{self.kind} of {self.n}"


def errors(
    source: str, where: str, model: str, top1: str | None, top5: str | None, *, split: str, **rest: Any
) -> Iterator[Published]:
    """The top-1 and top-5 errors of a row of a table, in percent as printed; None where it has none."""
    for quantity, printed in (("top-1 error", top1), ("top-5 error", top5)):
        if printed is not None:
            yield Published(source, where, model, quantity, printed, "%", split=split, **rest)


@dataclass(frozen=True)
class Setting:
    """A setting of a published recipe.

    Attributes:
        where: the source and the place in it.
        recipe: of configs/, with its argument: "alexnet:author_code".
        field: of the config, with "epochs" for `num_steps` in epochs; or a flag, "evaluate --views".
        value: of the field.
    """

    where: str
    recipe: str
    field: str
    value: Any


@dataclass(frozen=True)
class PublishedLayer:
    """A layer of a published network.

    Attributes:
        name: of the layer in our network.
        kernels: how many it has: output channels or neurons.
        kernel: of each: height, width, input channels that it sees; None for a fully connected layer.
        map_size: height and width of the output, before pooling.
        neurons: how many the paper says that it has; None if it does not.
        parameters: counted from the shapes.
    """

    name: str
    kernels: int
    kernel: tuple[int, int, int] | None
    map_size: int
    neurons: int | None
    parameters: int


@dataclass(frozen=True)
class PublishedStages:
    """The stages of a published residual network.

    Attributes:
        model: the network.
        blocks: per stage.
        kernel_sizes: of the convolutions of a block.
    """

    model: str
    blocks: tuple[int, ...]
    kernel_sizes: tuple[int, ...]


@dataclass(frozen=True)
class Finding:
    """A result that a source states or draws without a number that can be compared.

    Attributes:
        where: the source and the place in it.
        text: the result.
    """

    where: str
    text: str
