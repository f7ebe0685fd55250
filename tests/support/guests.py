"""A user's own network and data set, for tests: files that a test writes where it likes."""

from pathlib import Path

LENET = """
from flax import nnx


class LeNet(nnx.Module):
    def __init__(self, *, num_classes, image_size, channels, rngs, width: int = 6, rate=0.5):
        side = image_size // 4
        self.conv1 = nnx.Conv(channels, width, (5, 5), rngs=rngs)
        self.conv2 = nnx.Conv(width, 16, (5, 5), use_bias=False, rngs=rngs)
        self.norm2 = nnx.BatchNorm(16, momentum=0.9, rngs=rngs)
        self.fc3 = nnx.Linear(16 * side**2, 120, rngs=rngs)
        self.dropout = nnx.Dropout(rate)
        self.fc4 = nnx.Linear(120, num_classes, rngs=rngs)

    def __call__(self, image, *, train=False, rngs=None):
        x = nnx.relu(self.conv1(image))
        x = nnx.max_pool(x, (2, 2), strides=(2, 2))
        x = nnx.relu(self.norm2(self.conv2(x)))
        x = nnx.max_pool(x, (2, 2), strides=(2, 2))
        x = nnx.relu(self.fc3(x.reshape(len(x), -1)))
        return self.fc4(self.dropout(x, rngs=rngs))
"""


def write_lenet(folder: Path) -> str:
    """Writes the network into a folder; its name."""
    file = folder / "lenet.py"
    file.write_text(LENET, encoding="utf-8")
    return f"{file}:LeNet"


SHAPES = '''
import numpy as np

from resnet_alexnet.data.arrays import ArraySource


def read(data_dir):
    """Squares and bars, 8 x 8 pixels."""
    images = np.zeros((2, 20, 8, 8, 1), np.uint8)
    images[0, :, 2:6, 2:6] = images[1, :, :, 3:5] = 200
    labels = np.repeat(np.arange(2, dtype=np.int32), 20)
    images = images.reshape(40, 8, 8, 1)
    return {
        "train": ArraySource(images[::2], labels[::2], ("square", "bar")),
        "test": ArraySource(images[1::2], labels[1::2], ("square", "bar")),
    }
'''


def write_shapes(folder: Path, text: str = SHAPES, *, name: str = "shapes") -> str:
    """Writes the data set into a folder; its name."""
    file = folder / f"{name}.py"
    file.write_text(text, encoding="utf-8")
    return f"{file}:read"
