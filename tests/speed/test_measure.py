"""What is reported of a step against numbers worked out by hand, and the command from end to end."""

import json

import pytest

from resnet_alexnet import benchmark
from resnet_alexnet.errors import InputError
from resnet_alexnet.speed.measure import summarize
from resnet_alexnet.speed.roofline import Roofline
from resnet_alexnet.speed.steps import Compilation
from resnet_alexnet.speed.windows import Window
from resnet_alexnet.speed.work import Kernel
from tests.support import toy_nets

SMALL = ("--quick", "--windows=2", "--seconds=0", "--config.batch_size=16", "--config.preprocess.image_size=8")
SYNTHETIC = (
    "--config.dataset.name=synthetic",
    "--config.dataset.num_examples=20",
    f"--config.model.name={toy_nets.__file__}:SmallNet",
)


def test_a_step_is_summed_up_beside_the_limit():
    kernels = [Kernel("a", "forward", 2e9, 1e6), Kernel("b", "forward", 0, 3e6)]  # 20 ms and 3 ms for an image
    line = summarize(
        [Window(80, 4.0, 6.0), Window(80, 8.0, 8.0), Window(80, 5.0, 8.0)],
        kernels,
        Compilation(1.234, 5.678, 16e9, None, 10**6),
        Roofline(bytes_per_second=1e9, flops_per_second=1e11),
        devices=2,
        batch_size=4,
        steps_per_call=2,
    )
    assert line == {
        "images_per_second": {"median": 16.0, "min": 10.0, "max": 20.0},
        "images_per_cpu_second": {"median": 10.0, "min": 10.0, "max": 13.33},
        "milliseconds": {"median": 250.0, "min": 200.0, "max": 400.0},
        "busy_cores": 1.5,
        "limit_images_per_second": 86.96,  # two devices, 23 ms
        "percent_of_limit": 18.4,
        "trace_seconds": 1.23,
        "compile_seconds": 5.68,
        "gigaflops_per_image": 2.0,
        "megabytes_per_image": 4.0,
        "compiled_gigaflops_per_image": 2.0,
        "compiled_megabytes_per_image": None,
    }


def test_the_command_prints_tables_and_ends_with_one_json_object(tmp_path, capsys):
    output = tmp_path / "speed.json"
    benchmark.main(["--config=default", *SMALL, *SYNTHETIC, f"--output={output}"])
    said = capsys.readouterr()
    *table, last = said.out.splitlines()
    results = json.loads(last)
    assert json.loads(output.read_text()) == results
    assert results["what"] == "toy_nets.py:SmallNet, training step, batch 16, float32"
    assert results["n"] == 2
    assert list(results["steps"]) == ["training", "inference", "one image"]
    training = results["steps"]["training"]
    assert results["ours"] == training["images_per_second"]["median"] > 0
    assert results["peer"] == training["limit_images_per_second"] > 0
    assert results["ratio"] == pytest.approx(results["ours"] / results["peer"], abs=0.001)
    assert training["compiled_gigaflops_per_image"] > training["gigaflops_per_image"] > 0  # XLA counts sums too
    assert {"training step", "inference step", "inference step, one image", "this machine"} <= set(table)
    assert "compiling the training step" in said.err
    assert {"jax", "flax", "python"} <= results["versions"].keys()
    assert results["hardware"]["devices"][0] == "cpu"


def test_the_inference_step_may_be_left_out(capsys):
    benchmark.main(["--config=default", *SMALL, *SYNTHETIC, "--inference=false"])
    assert list(json.loads(capsys.readouterr().out.splitlines()[-1])["steps"]) == ["training"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--config is missing: a recipe"),
        (["--config=default", "--windows=0"], r"--windows=0 \(allowed: a whole number from 1"),
        (["--config=default", "--seconds=-1"], r"--seconds=-1 \(allowed: seconds from 0 to 3,600\)"),
        (["--config=default", "--seconds=long"], "--seconds=long"),
        (["--config=default", "--output=speed.txt"], r"--output=speed\.txt"),
        (["--config=finetune"], "set dataset.num_examples"),
    ],
)
def test_bad_input_is_one_line(words, said):
    with pytest.raises(InputError, match=said):
        benchmark.main(words)
