"""The roofline against numbers worked out by hand, and that it can be measured."""

import pytest

from resnet_alexnet.speed.roofline import Roofline, measure_roofline
from resnet_alexnet.speed.work import Kernel


def test_each_kernel_is_limited_by_its_arithmetic_or_its_traffic():
    roofline = Roofline(bytes_per_second=10.0, flops_per_second=100.0)
    kernels = [Kernel("a", "forward", 300, 20), Kernel("b", "forward", 100, 50), Kernel("c", "forward", 0, 5)]
    assert roofline.seconds(kernels) == 3.0 + 5.0 + 0.5


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_it_is_measured(dtype):
    roofline = measure_roofline(dtype, shrink=32)
    assert roofline.bytes_per_second > 0
    assert roofline.flops_per_second > 0
