"""Networks that are smaller than any paper's."""

import jax
import jax.numpy as jnp
from flax import nnx

from resnet_alexnet.models.initializers import he_normal
from resnet_alexnet.models.layers import Convolution, Dropout, Linear
from resnet_alexnet.models.normalization import BatchNorm


class DropoutNet(nnx.Module):
    """A convolution and two dropout layers: small, and random in training."""

    def __init__(self, key):
        keys = jax.random.split(key, 2)
        self.conv = Convolution(1, 8, 3, padding=(1, 1), kernel_init=he_normal(), key=keys[0])
        self.dropout1 = Dropout(0.5, index=1)
        self.dropout2 = Dropout(0.5, index=2)
        self.fc = Linear(8, 10, kernel_init=he_normal(), bias_init=jax.nn.initializers.zeros, key=keys[1])

    def __call__(self, image, *, train=False, rngs=None):
        keys = rngs if train else None
        x = self.dropout1(jax.nn.relu(self.conv(image)), keys=keys)
        return self.fc(self.dropout2(jnp.mean(x, (1, 2)), keys=keys))


class SmallNetWithoutNorm(nnx.Module):
    """A convolution and a linear layer, as a user would write them: the same on any number of devices."""

    def __init__(self, *, num_classes, image_size, channels, rngs):
        self.conv1 = nnx.Conv(channels, 8, (3, 3), rngs=rngs)
        self.fc2 = nnx.Linear(8, num_classes, rngs=rngs)

    def __call__(self, image, *, train=False, rngs=None):
        return self.fc2(jnp.mean(nnx.relu(self.conv1(image)), (1, 2)))


class SmallNet(SmallNetWithoutNorm):
    """The same with batch normalization."""

    def __init__(self, *, num_classes, image_size, channels, rngs):
        super().__init__(num_classes=num_classes, image_size=image_size, channels=channels, rngs=rngs)
        self.norm1 = nnx.BatchNorm(8, rngs=rngs)

    def __call__(self, image, *, train=False, rngs=None):
        return self.fc2(jnp.mean(nnx.relu(self.norm1(self.conv1(image))), (1, 2)))


class NormDropoutNet(nnx.Module):
    """Two convolutions with BatchNorm in groups of `group` images, and dropout."""

    def __init__(self, key, *, group, width=8):
        keys = jax.random.split(key, 3)
        self.conv1 = Convolution(1, width, 3, padding=(1, 1), kernel_init=he_normal(), key=keys[0])
        self.norm1 = BatchNorm(width, group=group)
        self.conv2 = Convolution(width, width, 3, padding=(1, 1), kernel_init=he_normal(), key=keys[1])
        self.norm2 = BatchNorm(width, group=group)
        self.dropout = Dropout(0.5, index=1)
        self.fc = Linear(width, 10, kernel_init=he_normal(), bias_init=jax.nn.initializers.zeros, key=keys[2])

    def __call__(self, image, *, train=False, rngs=None):
        x = jax.nn.relu(self.norm1(self.conv1(image), train=train))
        x = jax.nn.relu(self.norm2(self.conv2(x), train=train))
        return self.fc(self.dropout(jnp.mean(x, (1, 2)), keys=rngs if train else None))
