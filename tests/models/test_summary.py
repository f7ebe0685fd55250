"""The papers' and torchvision's published parameters, multiply-adds and shapes, exactly; and the command."""

import io
import subprocess
import sys

import jax
import pytest

from resnet_alexnet.errors import InputError
from resnet_alexnet.models import MODELS
from resnet_alexnet.models.summary import (
    estimate_memory,
    main,
    option_value,
    print_summary,
    summarize,
    total_multiply_adds,
    total_parameters,
)

CIFAR = {"num_classes": 10, "image_size": 32}

# Counted from the layers' shapes; those of torchvision's nets are its published num_params.
PARAMETERS = [
    ("alexnet", {}, 60_965_224),
    ("alexnet", {"towers": 1}, 62_378_344),
    ("alexnet_one_tower", {}, 59_798_312),
    ("alexnet_owt", {}, 61_100_840),
    ("resnet18", {}, 11_515_688),
    ("resnet18", {"shortcut": "B"}, 11_689_512),
    ("resnet18", {"shortcut": "C"}, 12_043_816),
    ("plain18", {}, 11_515_688),
    ("resnet34", {}, 21_623_848),
    ("resnet34", {"shortcut": "B"}, 21_797_672),
    ("resnet34", {"shortcut": "C"}, 22_716_840),
    ("plain34", {}, 21_623_848),
    ("resnet50", {}, 25_557_032),
    ("resnet101", {}, 44_549_160),
    ("resnet152", {}, 60_192_808),
    ("cifar_resnet20", CIFAR, 269_722),
    ("cifar_plain20", CIFAR, 269_722),
    ("cifar_resnet20", {**CIFAR, "shortcut": "B"}, 269_722 + 2_752),
    ("cifar_resnet32", CIFAR, 464_154),
    ("cifar_resnet44", CIFAR, 658_586),
    ("cifar_resnet56", CIFAR, 853_018),
    ("cifar_resnet110", CIFAR, 1_727_962),
]


@pytest.mark.parametrize(("name", "options", "parameters"), PARAMETERS)
def test_parameters_are_the_published_number(name, options, parameters):
    assert total_parameters(summarize(name, **options)) == parameters


def test_parameters_of_each_alexnet_layer():
    layers = {row.layer: row.parameters for row in summarize("alexnet") if row.parameters}
    names = ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"]
    counts = [34_944, 307_456, 885_120, 663_936, 442_624, 37_752_832, 16_781_312, 4_097_000]
    assert layers == dict(zip(names, counts, strict=True))


# [H15] table 1 in 1e9; torchvision's ResNets (option B, stride in the 3x3) in 1e9; the others counted by hand in 1e6.
MULTIPLY_ADDS = [
    ("alexnet", {}, 1e6, 724.4),
    ("alexnet", {"towers": 1}, 1e6, 1135.3),
    ("alexnet_owt", {}, 1e6, 714.2),
    ("resnet18", {}, 1e9, 1.8),
    ("resnet34", {}, 1e9, 3.6),
    ("resnet50", {}, 1e9, 3.8),
    ("resnet101", {}, 1e9, 7.6),
    ("resnet152", {}, 1e9, 11.3),
    ("resnet18", {"shortcut": "B"}, 1e9, 1.814),
    ("resnet34", {"shortcut": "B"}, 1e9, 3.664),
    ("resnet50", {"stride_in": "3x3"}, 1e9, 4.089),
    ("resnet101", {"stride_in": "3x3"}, 1e9, 7.801),
    ("resnet152", {"stride_in": "3x3"}, 1e9, 11.513),
    ("cifar_resnet20", CIFAR, 1e6, 40.6),
    ("cifar_resnet32", CIFAR, 1e6, 68.9),
    ("cifar_resnet44", CIFAR, 1e6, 97.2),
    ("cifar_resnet56", CIFAR, 1e6, 125.5),
    ("cifar_resnet110", CIFAR, 1e6, 252.9),
]


@pytest.mark.parametrize(("name", "options", "unit", "published"), MULTIPLY_ADDS)
def test_multiply_adds_are_the_published_number(name, options, unit, published):
    """To less than one unit of the last digit: ResNet-50 has 3.858e9, and table 1 prints 3.8, which is not rounded."""
    last_digit = 10.0 ** -len(str(published).split(".")[1])
    assert abs(total_multiply_adds(summarize(name, **options)) / unit - published) < last_digit


def test_shapes_of_alexnet_are_figure_2s():
    shapes = {row.layer: row.shape for row in summarize("alexnet")}
    assert shapes["conv1"] == (55, 55, 96)
    assert shapes["pool1"] == (27, 27, 96)
    assert shapes["conv2"] == (27, 27, 256)
    assert shapes["pool2"] == (13, 13, 256)
    assert shapes["conv3"] == shapes["conv4"] == (13, 13, 384)
    assert shapes["conv5"] == (13, 13, 256)
    assert shapes["pool5"] == (6, 6, 256)
    assert [shapes[name][-1] for name in ("fc6", "fc7", "fc8")] == [4096, 4096, 1000]


def test_plain_pooling_and_227_pixels_leave_the_same_maps():
    for options in ({"pooling": "plain"}, {"image_size": 227}):
        shapes = {row.layer: row.shape for row in summarize("alexnet", **options)}
        assert shapes["pool5"] == (6, 6, 256)


@pytest.mark.parametrize(
    ("name", "sizes", "expansion"),
    [
        ("resnet18", (2, 2, 2, 2), 1),
        ("plain34", (3, 4, 6, 3), 1),
        ("resnet50", (3, 4, 6, 3), 4),
        ("resnet152", (3, 8, 36, 3), 4),
    ],
)
@pytest.mark.parametrize("pool_padding", ["caffe", "torch"])
def test_shapes_of_imagenet_nets_are_table_1s(name, sizes, expansion, pool_padding):
    shapes = {row.layer: row.shape for row in summarize(name, pool_padding=pool_padding)}
    assert shapes["stem.conv1.conv"] == (112, 112, 64)
    assert shapes["stem.pool1"] == (56, 56, 64)
    last_convolution = "conv3.conv" if expansion == 4 else "conv2.conv"
    for stage, (size, blocks) in enumerate(zip((56, 28, 14, 7), sizes, strict=True)):
        outputs = [shapes[f"stages.{stage}.{i}.{last_convolution}"] for i in range(blocks)]
        assert set(outputs) == {(size, size, 64 * 2**stage * expansion)}
        assert f"stages.{stage}.{blocks}.conv1.conv" not in shapes
    assert shapes["head"] == (1000,)


@pytest.mark.parametrize(("stride_in", "first_map"), [("1x1", 28), ("3x3", 56)])
def test_a_bottleneck_strides_where_it_is_told(stride_in, first_map):
    shapes = {row.layer: row.shape for row in summarize("resnet50", stride_in=stride_in)}
    assert shapes["stages.1.0.conv1.conv"] == (first_map, first_map, 128)
    assert shapes["stages.1.0.conv2.conv"] == (28, 28, 128)


@pytest.mark.slow
def test_resnet1202_is_known_without_compiling_it():
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(lambda event, *_, **__: compiled.append(event))
    rows = summarize("cifar_resnet1202", **CIFAR)
    assert not any("backend_compile" in event for event in compiled)
    assert total_parameters(rows) == 19_421_274
    assert round(total_multiply_adds(rows) / 1e6) == 2829
    assert sum(row.layer.endswith(".conv") for row in rows) + 1 == 1202
    by_layer = {row.layer: row.shape for row in rows}
    assert len(by_layer) == len(rows)
    assert [by_layer[f"stages.{s}.199.conv2.conv"] for s in range(3)] == [(32, 32, 16), (16, 16, 32), (8, 8, 64)]


def test_alexnet_cifar_has_untied_kernels_on_8x8_maps():
    rows = {row.layer: row for row in summarize("alexnet_cifar", **CIFAR)}
    assert rows["local3"].parameters == 8 * 8 * (3 * 3 * 64 * 64 + 64)
    assert rows["local4"].multiply_adds == 8 * 8 * 3 * 3 * 64 * 32
    assert rows["fc"].parameters == 8 * 8 * 32 * 10 + 10
    assert list(rows) == ["conv1", "pool1", "norm1", "conv2", "norm2", "pool2", "local3", "local4", "fc"]


def test_every_family_takes_gray_images_of_another_size():
    for name in MODELS:
        if "cifar" in name and name not in ("alexnet_cifar", "cifar_resnet8", "cifar_plain8"):
            continue
        rows = summarize(name, num_classes=1, image_size=67, channels=1)
        assert rows[-1].shape[-1] == 1


def test_memory_counts_three_copies_of_the_parameters_and_every_output():
    rows = summarize("alexnet_cifar", **CIFAR)
    memory = estimate_memory(rows, batch_size=5, activation_bytes=2)
    weights = 4 * total_parameters(rows)
    assert memory.parameters == memory.gradients == memory.momentum == weights
    outputs = 64 * (32**2 + 4 * 16**2 + 8**2 + 8**2) + 32 * 8**2 + 10
    assert memory.activations == 5 * 2 * outputs
    assert memory.total == 3 * weights + memory.activations


def test_the_command_prints_layers_totals_and_memory(capsys):
    main(["resnet18", "--shortcut=C", "--image_size=64", "--batch_size=8"])
    out = capsys.readouterr().out
    lines = [line.split() for line in out.splitlines()]
    assert ["layer", "output", "shape", "parameters", "multiply-adds"] in lines
    assert ["stages.3.1.shortcut.projection.conv", "2", "x", "2", "x", "512", "262,144", "1,048,576"] in lines
    assert ["total", "12,043,816", "153,800,704"] in lines
    assert ["parameters", "45.9", "MiB"] in lines
    assert all(line.isascii() for line in out.splitlines())


def test_no_number_is_cut_on_a_narrow_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setenv("FORCE_COLOR", "1")
    rows = summarize("resnet18", image_size=64)
    print_summary(rows, estimate_memory(rows, batch_size=1), title="t", memory_title="m")
    out = capsys.readouterr().out
    assert "stages.3.1.conv2.conv" in out
    assert f"{total_multiply_adds(rows):,}" in out
    assert "…" not in out


def test_a_file_that_nobody_reads_any_more_is_the_callers_to_know():
    class Closed(io.StringIO):
        def write(self, text):
            if text:
                raise BrokenPipeError
            return 0

    rows = summarize("resnet18", image_size=64)
    with pytest.raises(BrokenPipeError):
        print_summary(rows, estimate_memory(rows, batch_size=1), title="t", memory_title="m", file=Closed())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a model first: alexnet, .*cifar_resnet"),
        (["--shortcut=C"], "name a model first"),
        (["resnet51"], "unknown model 'resnet51', did you mean 'resnet50'"),
        (["resnet50", "--shortcutt=C"], "shortcutt.*did you mean '--shortcut'"),
        (["resnet50", "--shortcut=D"], "shortcut is 'D'.*A, B, C"),
        (["resnet50", "--image_size=big"], "--image_size=big .allowed: a whole number from 1"),
        (["resnet50", "--image_size=0"], "--image_size=0"),
        (["resnet50", "--batch_size=0"], "--batch_size=0"),
        (["alexnet", "--lrn=fasle"], "--lrn=fasle is not of type bool"),
        (["alexnet", "resnet50"], "unexpected argument 'resnet50'"),
    ],
)
def test_the_commands_bad_arguments_are_named(arguments, message):
    with pytest.raises(InputError, match=message):
        main(arguments)


def test_option_values_take_the_first_type_that_fits():
    assert option_value((int, str, type(None)))("32") == 32
    assert option_value((int, str, type(None)))("sync") == "sync"
    assert option_value((bool,))("False") is False
    assert option_value((float,))("0.2") == 0.2


def test_the_command_ends_in_one_line_and_code_2():
    command = [sys.executable, "-m", "resnet_alexnet.models.summary", "resnet51"]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 2
    assert process.stdout == ""
    assert process.stderr.startswith("error: unknown model")
    assert process.stderr.count("\n") == 1
