"""The benchmarks of speed run from end to end at tiny sizes; nothing is asked of the times."""

import json
import math
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import ClassVar

import jax
import numpy as np
import pytest

from resnet_alexnet.errors import InputError
from resnet_alexnet.files import read_json

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
# The machine's own devices instead of conftest's eight, and programs that compile fast.
ENVIRONMENT = {
    **os.environ,
    "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
    "--xla_cpu_use_fusion_emitters=false",
}


@pytest.fixture(autouse=True)
def sides(monkeypatch):
    """Lets the benchmarks' modules be imported as they import one another."""
    monkeypatch.syspath_prepend(BENCHMARKS)


def run(script: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess:
    called = [sys.executable, BENCHMARKS / script, *map(str, arguments)]
    return subprocess.run(called, env={**ENVIRONMENT, **environment}, cwd=ROOT, capture_output=True, text=True)


def results_of(result: subprocess.CompletedProcess, output: Path | None = None) -> dict:
    """The last line, which is also what was written, and what all benchmarks have in it."""
    assert result.returncode == 0, result.stderr
    results = json.loads(result.stdout.splitlines()[-1])
    assert {"benchmark", "what", "ours", "peer", "ratio", "n", "date", "commit", "versions"} <= results.keys()
    assert {"processor", "cores", "platform"} <= results["hardware"].keys()
    assert output is None or read_json(output) == results
    return results


@pytest.fixture
def without_what_a_gpu_machine_lacks(tmp_path):
    """An environment in which nothing can import what benchmarks/gpu.sh says that it does not need."""
    names = ("grain", "tensorflow", "tensorflow_datasets", "array_record", "orbax", "cv2", "simplejpeg", "matplotlib")
    for name in (*names, "scipy", "safetensors", "tensorboardX"):
        (tmp_path / f"{name}.py").write_text(f"raise ImportError('{name} is not there')\n")
    return {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}


@pytest.mark.slow
def test_a_step_beside_torchs_after_their_results_were_compared(tmp_path, without_what_a_gpu_machine_lacks):
    pytest.importorskip("torch", reason="torch is not installed: pip install '.[parity]'")
    output = tmp_path / "step.json"
    small = ("--model=cifar_resnet8", "--batch_size=4", "--quick", "--parts=training")
    results = results_of(run("step.py", *small, f"--output={output}", **without_what_a_gpu_machine_lacks), output)
    assert results["what"] == "cifar_resnet8, batch 4, float32, cpu"
    assert [line["name"] for line in results["lines"]] == ["ours, training", "torch, training"]
    loss, mean_loss = results["checks"]
    assert loss.startswith("loss of ours, training and torch, training: equal but for")
    assert mean_loss.startswith("mean loss of two steps of ours, training and torch, training: equal but for")
    first = results["comparisons"][0]
    assert (first["name"], first["peers"], first["goal"]) == ("training, plain", ["torch, training"], 0.9)
    assert results["ratio"] == pytest.approx(results["ours"] / results["peer"], rel=1e-3)
    memory = results["memory"]["training"]
    assert memory["ratio"] == pytest.approx(memory["ours"] / memory["peer"], abs=0.02)
    assert {"jax", "torch"} <= results["versions"].keys()


@pytest.mark.nightly
@pytest.mark.parametrize("model", ["alexnet", "alexnet_owt", "resnet18", "resnet50"])
def test_both_steps_of_the_large_networks_agree_with_torchs(model):
    results = results_of(run("step.py", f"--model={model}", "--batch_size=2", "--quick"))
    assert [check.partition(" of ")[0] for check in results["checks"]] == ["loss", "mean loss", "logits"]


def test_results_that_differ_are_an_error(tmp_path):
    from step_nets import check_same

    def check(losses, precision="float32"):
        return check_same({"ours, x": {"losses": losses}, "torch, x": {"losses": [2.0, 1.0]}}, precision=precision)

    assert check_same({"ours, x": {}, "torch, x": {}}, precision="float32") == []
    assert check([2.0001, 1.004]) == [
        "loss of ours, x and torch, x: equal but for 5.0e-05 of the largest",
        "mean loss of two steps of ours, x and torch, x: equal but for 4.0e-03 of the largest",
    ]
    for losses, kind in (([2.001, 1.0], "loss"), ([2.0, 1.01], "mean loss of two steps"), ([float("nan"), 1], "loss")):
        with pytest.raises(InputError, match=rf"ours, x computes another {kind} than torch, x: .* in float32\)"):
            check(losses)
    check([2.02, 1.04], "bfloat16")
    logits = {}
    for name, value in (("ours, x", 1.02), ("torch, x", 1.0)):
        logits[name] = {"logits": f"{tmp_path}/{name}.npy"}
        np.save(logits[name]["logits"], np.array([[value, 10.0]]))
    with pytest.raises(InputError, match="another logits"):
        check_same(logits, precision="float32")
    check_same(logits, precision="bfloat16")


def test_alexnets_weights_are_carried_over(tmp_path):
    torch_nets = pytest.importorskip("torch_nets", reason="torch is not installed: pip install '.[parity]'")
    import step_nets

    from resnet_alexnet.pretrained.network import ModelSpec, shapes_of
    from resnet_alexnet.pretrained.torchvision import preprocessing

    spec = ModelSpec(
        "alexnet", step_nets.options("alexnet"), 1000, "softmax", preprocessing(cifar=False, num_classes=1000)
    )
    net = torch_nets.create("plain", "alexnet", num_classes=1000)
    theirs = {name: value.numpy() for name, value in net.state_dict().items()}
    ours = step_nets.to_ours("alexnet", theirs, spec)
    assert {name: array.shape for name, array in ours.items()} == shapes_of(spec.shapes())
    # tower, row, column, input, output; torch: output (the second tower's behind the first's), input, row, column
    np.testing.assert_array_equal(ours["params/conv2/kernel"][1, 2, 3, 4], theirs["conv2.weight"][128:, 4, 2, 3])
    np.testing.assert_array_equal(ours["params/conv3/kernel"][0, 0, 1, 200], theirs["conv3.weight"][:192, 200, 0, 1])
    np.testing.assert_array_equal(ours["params/conv2/bias"][1], theirs["conv2.bias"][128:])
    np.testing.assert_array_equal(ours["params/fc6/kernel"][5, 4, 7], theirs["fc6.weight"][:, 7 * 36 + 5 * 6 + 4])


@pytest.mark.parametrize("kind", ["training", "inference"])
def test_the_networks_of_flaxs_example_take_steps(tmp_path, monkeypatch, kind):
    import step_flax

    code = """
from flax import linen as nn

class ResNet18(nn.Module):
    num_classes: int
    dtype: type

    @nn.compact
    def __call__(self, x, train: bool = True):
        x = nn.BatchNorm(use_running_average=not train)(nn.Conv(4, (3, 3))(x))
        return nn.Dense(self.num_classes)(x.mean((1, 2)))
"""
    (tmp_path / "models.py").write_text(code)
    batch = {"image": np.zeros((2, 8, 8, 3), np.uint8), "label": np.array([0, 1], np.int32)}
    np.savez(tmp_path / "batch.npz", **batch)
    monkeypatch.setattr(sys, "path", [*sys.path])
    common = {"model": "resnet18", "num_classes": 10, "precision": "float32"}
    run_images, about = step_flax.create(kind, folder=str(tmp_path), example=str(tmp_path), **common)
    del sys.modules["models"]
    run_images(4)
    assert about["versions"]["jax"]


def setting(**changes):
    from step_lines import Setting

    values = {"model": "resnet50", "batch_size": 8, "precision": "float32", "platform": "cpu", "folder": "f"}
    return Setting(**{**values, "cores": (0, 1), "torch_python": "python", **changes})


def test_torch_has_both_layouts_with_and_without_the_allocators_setting_and_all_cores():
    import step_lines

    lines = {step_lines.short_name(line.name): line for line in step_lines.lines(setting(), "training")}
    torch = ["torch", "torch, channels_last", "torch, allocator", "torch, channels_last, allocator"]
    assert list(lines) == ["ours", *torch, "timm", "ours, allocator"]
    for name in torch:
        line = lines[name]
        for variable in ("MALLOC_ARENA_MAX", "GLIBC_TUNABLES"):
            assert (variable in line.environment) == ("allocator" in name)
        assert line.options["layout"] == ("channels_last" if "channels_last" in name else "contiguous")
        assert (line.options["threads"], line.environment["OMP_NUM_THREADS"], line.cores) == (2, "2", (0, 1))
    assert lines["ours"].environment["JAX_PLATFORMS"] == "cpu"


def test_on_a_gpu_torch_is_eager_and_compiled_and_small_images_stay_on_the_device():
    import step_lines

    large = {line.name: line for line in step_lines.lines(setting(platform="gpu"), "training")}
    modes = [line.options.get("mode") for line in large.values()][1:]
    assert modes == ["eager", "default", "max-autotune", None]
    small = setting(platform="gpu", model="cifar_resnet20", batch_size=128)
    lines = step_lines.lines(small, "training")
    assert [line.options["resident"] for line in lines] == [True] * 5
    assert small.images == 32 * 128
    assert not any(line.options["resident"] for line in step_lines.lines(small, "inference") if "ours" in line.name)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"training, plain": 1.1, "training, allocator": 1.0}),
        ({"model": "cifar_resnet20"}, {"training, plain": 0.9}),
        ({"model": "alexnet_owt"}, {"training, plain": 1.1}),
        ({"platform": "gpu"}, {"training, fastest": 1.1, "training, eager": 1.5}),
        ({"platform": "gpu", "model": "alexnet"}, {"training, fastest": 1.5}),
        ({"platform": "gpu", "model": "cifar_resnet20"}, {"training, fastest": 1.5, "training, eager": 8.0}),
    ],
)
def test_the_goals_of_a_network(changes, expected):
    import step_lines

    found = {row.name: row.goal for row in step_lines.comparisons(setting(**changes)) if row.goal is not None}
    assert found == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["step.py", "--model=resnet51"], "did you mean 'resnet50'"),
        (["step.py"], "--model is missing"),
        (["step.py", "--model=resnet50", "--torch_python=nowhere"], "--torch_python=nowhere is not a file"),
        (["step.py", "--model=resnet50", "--flax_example=docs"], "--flax_example=docs has no models.py"),
        (["step.py", "--model=resnet50", "--output=benchmarks"], "--output=benchmarks"),
        (["roofline.py", "--model=resnet51"], "did you mean 'resnet50'"),
        (["compile.py", "--model=resnet51", "--rounds=1"], "unknown model 'resnet51'"),
        (["report.py", "--results=nowhere"], "--results=nowhere: no such folder"),
    ],
)
def test_bad_input_is_one_line(words, message):
    result = run(*words)
    assert result.returncode == 2
    *_, line = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "script",
    [
        "step",
        "roofline",
        "kernels",
        "shares",
        "compile",
        "dispatch",
        "loop",
        "startup",
        "flags",
        "collectives",
        "report",
    ],
)
def test_help(script):
    result = run(f"{script}.py", "--help")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(f"usage: python benchmarks/{script}.py")
    assert max(map(len, result.stdout.splitlines())) <= 80


@pytest.mark.slow
def test_compiling_cold_and_from_the_cache(tmp_path):
    output = tmp_path / "compile.json"
    results = results_of(
        run("compile.py", "--model=cifar_resnet8", "--rounds=1", "--batch_size=2", f"--output={output}"), output
    )
    (net,) = results["nets"]
    assert all(net[which][stage] > 0 for which in ("cold", "cached") for stage in ("import", "trace", "compile"))
    assert net["seconds"] == pytest.approx(net["cold"]["trace"] + net["cold"]["compile"], abs=0.02)
    assert results["ratio"] == pytest.approx(results["peer"] / results["ours"], rel=0.02)


def test_what_does_not_compile_in_time_misses_its_goal():
    import compile as compiling

    cold = {"import": 1.0, "trace": 2.0, "compile": 8.0, "initialize": 3.0, "versions": {}}
    cached = {**cold, "compile": 1.0}
    net = compiling.summarize("resnet50", [(cold, cached)] * 3, timeout=60)
    assert (net["seconds"], net["goal"], net["met"]) == (10.0, 12.0, True)
    assert net["cached_percent"] == {"compile": 12.5, "both": 30.0}
    assert net["cached_met"] == {"compile": True, "both": True}
    late = compiling.summarize("cifar_resnet1202", [], timeout=60)
    assert (late["goal"], late["met"]) == (15.0, False)
    table = compiling.rows({"nets": [net, late]})
    assert table[2][3] == "over 60"
    assert compiling._run({"model": "cifar_resnet8", "batch_size": 2, "fields": []}, Path("c"), 0.01) is None


@pytest.mark.nightly
def test_the_loop_beside_its_bare_step(tmp_path):
    output = tmp_path / "loop.json"
    fields = "batch_size=4,log.every_steps=2,checkpoint.every_steps=2"
    results = results_of(run("loop.py", "--rounds=1", "--steps=4", f"--set={fields}", f"--output={output}"), output)
    assert [line["name"] for line in results["lines"]] == ["loop", "step"]
    assert results["comparisons"][0]["goal"] == 0.97
    assert results["ratio"] == pytest.approx(results["ours"] / results["peer"], rel=1e-3)


def test_the_loop_is_timed_from_its_first_checkpoint_to_its_last_step(monkeypatch):
    import loop_ours

    from resnet_alexnet.workdir.config import load_overridden

    runs = []

    def train_and_evaluate(config, workdir):
        runs.append((config.num_steps, config.eval.every_steps, config.eval.test))
        workdir.mkdir()
        lines = [{"step": step, "time": 100 + step**2, "train/loss": 1.0} for step in range(5, config.num_steps + 1, 5)]
        lines += [{"step": config.num_steps, "time": 1e9, "val/loss": 1.0}]
        (workdir / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))

    monkeypatch.setattr(loop_ours, "train_and_evaluate", train_and_evaluate)
    config = load_overridden("quickstart", ["--config.log.every_steps=5", "--config.checkpoint.every_steps=10"])
    run = loop_ours.whole_loop(config, 20)
    assert run(0) is None
    assert run(20) == 30**2 - 10**2
    assert runs == [(30, 0, "never")]


def test_a_loop_without_a_line_to_measure_from_is_an_error():
    import loop_ours

    from resnet_alexnet.workdir.config import load_overridden

    config = load_overridden("quickstart", ["--config.log.every_steps=3", "--config.checkpoint.every_steps=10"])
    with pytest.raises(InputError, match=r"log\.every_steps=3 does not divide checkpoint\.every_steps=10"):
        loop_ours.whole_loop(config, 4)


def test_the_hosts_time_of_a_step_beside_nnx(capsys):
    import dispatch

    dispatch.main(["--model=cifar_resnet8", "--image_size=8", "--rounds=2", "--steps=2"])
    results = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert results["n"] == 2
    assert results["ours"] == results["milliseconds"]["ours"]["median"] > 0
    assert results["met"] == (results["ratio"] <= 0.1)
    assert results["floor_ratios"]["median"] > 0


def test_only_the_time_to_dispatch_counts_not_that_to_compute(monkeypatch):
    import dispatch

    now = 0.0

    class Done:
        def block_until_ready(self):
            nonlocal now
            now += 100

    def step():
        nonlocal now
        now += 2
        return Done()

    monkeypatch.setattr(dispatch.time, "thread_time", lambda: now)
    assert dispatch.host_seconds(step, 3) == 2


def test_a_step_beside_the_roofline(capsys):
    import roofline

    roofline.main(["--model=cifar_resnet8", "--batch_size=8", "--quick"])
    results = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [net["model"] for net in results["nets"]] == ["cifar_resnet8"]
    first = results["nets"][0]
    assert results["ratio"] == pytest.approx(first["percent_of_limit"] / 100, abs=0.002)
    assert first["gigaflops_per_image"] == pytest.approx(0.07255, abs=1e-4)
    assert first["compiled_gigaflops_per_image"] == pytest.approx(first["gigaflops_per_image"], rel=0.1)
    assert (first["goal"], first["met"]) == (None, None)


@pytest.mark.parametrize("model", ["cifar_resnet20", "resnet18", "alexnet"])
def test_the_layers_that_are_timed_alone_are_all_that_multiply(model):
    import kernels
    import step_nets

    from resnet_alexnet.models.summary import summarize

    size, total = step_nets.sizes(model), 0
    for shape, count in kernels.layer_shapes(model).items():
        if len(shape.kernel) == 2:
            total += count * math.prod(shape.kernel)
            continue
        height = (shape.input[0] + sum(shape.padding) - shape.kernel[0]) // shape.strides + 1
        total += count * height**2 * math.prod(shape.kernel)
    rows = summarize(model, **size, **step_nets.options(model))
    assert total == sum(row.multiply_adds for row in rows)


def test_layers_alone_beside_torchs(tmp_path):
    output = tmp_path / "kernels.json"
    words = ["--model=cifar_resnet8", "--batch_size=2", "--rounds=1", f"--output={output}"]
    results = results_of(run("kernels.py", *words), output)
    assert sum(row["count"] for row in results["layers"]) == 8
    assert all(row["ours"] >= 0 and row["torch"] >= 0 for row in results["layers"])
    assert results["ratio"] == pytest.approx(results["peer"] / results["ours"], rel=0.1)


@pytest.mark.slow
def test_the_time_of_a_step_is_that_of_its_kernels(tmp_path):
    output = tmp_path / "shares.json"
    words = ["--model=cifar_resnet8", "--batch_size=2", "--rounds=2", f"--output={output}"]
    results = results_of(run("shares.py", *words), output)
    for part in results["parts"]:  # of two steps, the median is the mean
        own = sum(row["ms"] for row in results["kernels"] if row["kind"] == part["kind"])
        assert own == pytest.approx(part["ms"]["median"], abs=0.2)
    counts = Counter(row["kind"] for row in results["kernels"])
    # Seven convolutions and a linear layer; the images have no gradient.
    assert counts["convolutions and linear layers, forward"] == 8
    assert counts["gradients of their kernels"] == 8
    assert counts["gradients of their inputs"] == 7


PROGRAM = """HloModule jit_step, is_scheduled=true

%inside.1 (a: f32[4,8], b: f32[8,6]) -> f32[4,6] {
  %a = f32[4,8]{1,0} parameter(0)
  %b = f32[8,6]{1,0} parameter(1)
  ROOT %dot.9 = f32[4,6]{1,0} dot(%a, %b), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}

%inside.2 (a: f32[4,8]) -> f32[8,4] {
  %a.1 = f32[4,8]{1,0} parameter(0)
  ROOT %transpose.9 = f32[8,4]{1,0} transpose(%a.1), dimensions={1,0}
}

%inside.3 (a: f32[4,8]) -> f32[8,4] {
  %a.2 = f32[4,8]{1,0} parameter(0)
  %sqrt.9 = f32[4,8]{1,0} sqrt(%a.2)
  ROOT %transpose.8 = f32[8,4]{1,0} transpose(%sqrt.9), dimensions={1,0}
}

ENTRY %main (x: f32[4,8]) -> f32[4,6] {
  %linear = f32[4,6]{1,0} fusion(%x, %w), kind=kCustom, calls=%inside.1, metadata={op_name="jit(step)/jvp(fc)/dot"}
  %into_x = f32[4,8]{1,0} fusion(%y, %w), kind=kCustom, calls=%inside.1, metadata={op_name="transpose(jvp(fc))/dot"}
  %of_tower = f32[8,3,3,16]{3,2,1,0} convolution(%x, %y), window={size=3x3}, dim_labels=b01f_01io->b01f
  %of_map = f32[288,32]{1,0} dot(%x, %y), metadata={op_name="jit(step)/transpose(jvp(fc6))/dot_general"}
  %by_onednn = (f32[4,9,9,5]{3,2,1,0}, u8[8]{0}) custom-call(%x, %y), custom_call_target="__onednn$convolution", \
metadata={op_name="jit(step)/jvp(conv1)/conv"}
  %turned = f32[8,4]{1,0} fusion(%x), kind=kLoop, calls=%inside.2
  %copy_sqrt_fusion = f32[8,4]{1,0} fusion(%x), kind=kLoop, calls=%inside.3
  %total = f32[] reduce(%x, %zero), dimensions={0,1}, to_apply=%add
  %while.1 = (s32[], f32[2], f32[2], f32[2], f32[2], /*index=5*/f32[2]) while(%tuple), condition=%c, body=%b
}
""".replace("\\\n", "")


def test_a_kernel_is_of_the_kind_of_what_it_computes():
    from shares import COPY, FORWARD, INPUT_GRADIENT, KERNEL_GRADIENT, SUM, find_around, find_kinds

    kinds = find_kinds(PROGRAM, [(2, 3, 3, 8, 16), (6, 6, 8, 32), (8, 6), (16,)])
    assert {name: kinds.get(name) for name in ("linear", "into_x", "of_tower", "of_map", "by_onednn")} == {
        "linear": FORWARD,
        "into_x": INPUT_GRADIENT,
        "of_tower": KERNEL_GRADIENT,
        "of_map": KERNEL_GRADIENT,
        "by_onednn": FORWARD,
    }
    assert (kinds["turned"], kinds["total"]) == (COPY, SUM)
    assert "copy_sqrt_fusion" not in kinds  # it computes
    assert find_around(PROGRAM) == {"while.1"}


def test_kernels_that_run_at_one_moment_share_it():
    from shares import BETWEEN, Interval, divide_time

    intervals = [Interval("a", 10, 30), Interval("b", 20, 30), Interval("a", 20, 30), Interval("b", 36, 40)]
    times = divide_time(intervals)
    assert times == {"a": 10 + 10 * 2 / 3, "b": pytest.approx(10 / 3 + 4), BETWEEN: 6}
    assert sum(times.values()) == pytest.approx(40 - 10)


@pytest.mark.slow
def test_a_layer_alone_computes_what_torchs_does():
    import kernels
    import torch

    shape = kernels.Shape((9, 9, 4), (3, 3, 2, 6), strides=2, padding=(1, 1), groups=2)
    y, dx, dkernel = kernels.ours(shape, 3)()
    assert y.shape == (3, 5, 5, 6)
    assert (dx.shape, dkernel.shape) == ((3, 9, 9, 4), (3, 3, 2, 6))
    keys = jax.random.split(jax.random.key(0), 3)
    x, kernel, dy = (
        torch.from_numpy(np.array(jax.random.normal(key, dims)))
        for key, dims in zip(keys, ((3, 9, 9, 4), (3, 3, 2, 6), (3, 5, 5, 6)), strict=True)
    )
    x, kernel = x.permute(0, 3, 1, 2).requires_grad_(), kernel.permute(3, 2, 0, 1).requires_grad_()
    out = torch.nn.functional.conv2d(x, kernel, stride=2, padding=1, groups=2)
    out.backward(dy.permute(0, 3, 1, 2))
    np.testing.assert_allclose(y, out.detach().permute(0, 2, 3, 1), atol=1e-5)
    np.testing.assert_allclose(dx, x.grad.permute(0, 2, 3, 1), atol=1e-5)
    np.testing.assert_allclose(dkernel, kernel.grad.permute(2, 3, 1, 0), atol=1e-4)


@pytest.mark.slow
def test_the_one_all_reduce_is_counted(tmp_path):
    output = tmp_path / "collectives.json"
    fields = ("model.name=cifar_resnet8", "batch_size=16", "model.bn_group=None", "preprocess.image_size=8")
    words = ["--config=default", "--set=" + ",".join((*fields, "dataset.name=synthetic"))]
    results = results_of(run("collectives.py", *words, f"--output={output}"), output)
    assert results["count"] == 1
    assert results["met"]
    assert results["peer"] == 4 * (75_290 + 2 * 240)  # parameters, and two statistics of 240 channels


def test_a_start_is_timed_on_a_terminal_of_its_own(tmp_path):
    from startup import start

    said, go, done = (tmp_path / name for name in ("said", "go", "done"))
    code = f"""
import pathlib, sys, time
assert sys.stdout.isatty()
print("here", flush=True)
pathlib.Path({str(said)!r}).touch()
while not pathlib.Path({str(go)!r}).exists():
    time.sleep(0.01)
pathlib.Path({str(done)!r}).touch()
time.sleep(600)  # is killed
"""
    looks = 0

    def until():
        nonlocal looks
        looks += said.exists()
        if looks == 3:  # the first line was read by then
            go.touch()
        return done.exists()

    times = start([sys.executable, "-c", code], {}, until=until)
    assert 0 < times["first line"] < times["done"]
    with pytest.raises(InputError, match="ended with code 3: last words"):
        start([sys.executable, "-c", "print('last words'); raise SystemExit(3)"], {})


@pytest.mark.nightly
def test_starts(tmp_path):
    output = tmp_path / "startup.json"
    results = results_of(run("startup.py", "--model=cifar_resnet8", "--rounds=1", f"--output={output}"), output)
    names = ["help", "predict, cold", "predict, cached", "quickstart", "quickstart, cached"]
    assert [row["name"] for row in results["starts"]] == [name for name in names for _ in range(2)]
    assert all(row["seconds"]["median"] > 0 for row in results["starts"])


@pytest.mark.parametrize(("document", "flag"), [("docs/speed.md", "--speed"), ("README.md", "--readme")])
def test_the_tables_are_those_of_the_results(tmp_path, document, flag):
    text = (ROOT / document).read_text(encoding="utf-8")
    copy = tmp_path / "copy.md"
    copy.write_text(text.replace("| --- |", "| old |"), encoding="utf-8")
    result = run("report.py", f"{flag}={copy}")
    assert result.returncode == 0, result.stderr
    assert copy.read_text(encoding="utf-8").replace("| old |", "| --- |") == text
    assert "| --- |" in text


def measured(**changes):
    hardware = {"processor": "a processor", "cores": 2, "device": "cpu"}
    return {"n": 5, "date": "2026-11-27", "hardware": hardware, **changes}


def test_a_goal_is_reached_missed_or_not_measured():
    from report import goal_rows

    ratio = {"median": 1.2, "min": 1.0, "max": 1.5}
    found = {
        "step_resnet50_cpu.json": measured(
            comparisons=[{"name": "training, plain", "ratio": ratio}], memory={"training": {"ratio": 1.3}}
        ),
        "compile_cpu.json": measured(nets=[{"model": "resnet50", "seconds": 9.0}, {"model": "cifar_resnet1202"}]),
    }
    rows = {row[:3]: row[3:] for row in goal_rows(found)[1:]}
    on = "a processor, 2 cores, 2026-11-27"
    step, plain = "resnet50, training step, float32, CPU", "torch, the faster layout"
    assert rows["G7", step, plain][:5] == ("at least 1.1x", "1.20x (1.00 to 1.50)", "reached", "5", on)
    allocator = rows["G7", step, "torch that keeps freed memory"]
    assert allocator == ("at least 1x", "not measured yet", "", "", "", "`step.py --model=resnet50`")
    memory = rows["G7", "resnet50, peak memory of the training step, CPU", plain]
    assert memory[:3] == ("at most 1.1x", "1.3x", "missed")
    compiling = {name: row[1:3] for (_, name, _), row in rows.items() if "compiling, cold" in name}
    assert compiling["resnet50, tracing and compiling, cold, CPU"] == ("9 s", "reached")
    assert compiling["cifar_resnet1202, tracing and compiling, cold, CPU"] == ("not done in time", "missed")
    gpu = rows["G2", "resnet50, training step, bfloat16, one GPU", "eager torch"]
    assert gpu == ("at least 1.5x", "not measured: needs a GPU", "", "", "", "`gpu.sh resnet50`")


def test_a_goal_has_a_row_for_each_processor_that_was_measured():
    from report import goal_rows

    comparisons = [{"name": "training, plain", "ratio": dict.fromkeys(("median", "min", "max"), 1.2)}]
    files = {f"step_resnet50_{name}.json": measured(comparisons=comparisons, memory={}) for name in ("cpu", "cpu_b")}
    files["step_resnet50_one_cpu.json"] = measured(comparisons=comparisons, memory={})  # of another batch
    rows = [row for row in goal_rows(files) if row[1] == "resnet50, training step, float32, CPU"]
    assert [row[5] for row in rows] == ["reached", "reached", ""]  # the last is that of an allocator, not measured


def test_what_a_goal_leaves_for_all_but_the_products():
    from report import floor_rows
    from shares import FORWARD, KERNEL_GRADIENT, OTHER

    parts = [
        {"kind": kind, "ms": {"median": ms}} for kind, ms in ((FORWARD, 300), (KERNEL_GRADIENT, 400), (OTHER, 250))
    ]
    settings = {"model": "resnet18", "batch_size": 11}
    row = {"ours": 10.0, "peer": 11.0}  # images/s
    comparisons = [{"name": f"training, {name}", **row} for name in ("plain", "allocator", "timm")]
    found = {
        "shares_resnet18_cpu.json": measured(benchmark="shares", settings=settings, ours=1000, parts=parts),
        "step_resnet18_cpu.json": measured(benchmark="step", settings=settings, comparisons=comparisons),
        "shares_resnet50_cpu.json": measured(benchmark="shares", settings=settings, ours=1000, parts=parts),
    }
    on = "a processor, 2 cores, 2026-11-27"
    assert floor_rows(found)[1:] == [
        ("resnet18", "torch", "1,100", "1,000", "909", "700", "300", "209", on),
        ("resnet18", "torch that keeps freed memory", "1,100", "1,000", "1,000", "700", "300", "300", on),
    ]


def test_every_group_of_goals_has_a_row():
    from goals import all_goals

    assert list(dict.fromkeys(goal.line for goal in all_goals())) == [f"G{number}" for number in range(1, 13)]


def test_the_fastest_of_torchs_lines_counts_in_all_rounds():
    from rounds import Comparison, Line, Measured, Turn

    def line(*throughputs: float) -> Measured:
        return Measured(Line("", "", "", {}, ()), [Turn(value, 5 * value, 0.0) for value in throughputs], {})

    found = {"ours": line(10.0, 20.0, 30.0), "a": line(2.0, 4.0, 10.0), "b": line(10.0, 1.0, 2.0)}
    row = Comparison("x", "ours", ("a", "b", "c"), fastest=True).of(found)
    assert row is not None
    assert row["peers"] == ["a"]
    assert row["ratio"] == {"median": 5.0, "min": 3.0, "max": 5.0}
    assert Comparison("x", "ours", ("c",), fastest=True).of(found) is None
    assert found["a"].summary()["busy_cores"] == 0.2


class Side:
    """A side that runs 10 images per second, or 5 if it is called "slow", and notes what it is asked to do."""

    asked: ClassVar[list[tuple[str, int]]] = []

    def __init__(self, line, warm_up):
        self.name = line.name
        self.asked.append((f"start {self.name}", warm_up))

    def wait(self):
        return {"name": self.name}

    def run(self, images):
        from rounds import Turn

        self.asked.append((self.name, images))
        return Turn(5.0 if self.name == "slow" else 10.0, 1.0, 0.0)

    def peak_megabytes(self):
        return 7.0

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.asked.append((f"end {self.name}", 0))


LINE = """
import sys

sys.path.insert(0, {folder!r})
from serve import serve

ran = open({ran!r}, "w", buffering=1)


def run(images):
    print(images, file=ran)
    return images / 20


serve(lambda: (run, {{}}))
"""


@pytest.mark.parametrize(("settle", "ran"), [(0, "1 2"), (3, "1 3 2")])
def test_what_a_line_does_to_settle_is_not_in_its_turn(tmp_path, monkeypatch, settle, ran):
    import rounds

    (tmp_path / "line.py").write_text(LINE.format(folder=str(BENCHMARKS), ran=str(tmp_path / "ran")))
    monkeypatch.setattr(rounds, "__file__", str(tmp_path / "rounds.py"))  # beside which scripts are looked for
    line = rounds.Line("line", "line.py", sys.executable, {"settle": settle}, tuple(os.sched_getaffinity(0)))
    with rounds.Side(line, 1) as side:
        side.wait()
        turn = side.run(2)
    assert (tmp_path / "ran").read_text().split() == ran.split()
    assert turn.throughput == 20


def test_turns_are_as_long_as_the_fastest_line_needs_and_begin_once_all_are_checked(monkeypatch):
    import rounds

    monkeypatch.setattr(rounds, "Side", Side)
    monkeypatch.setattr(Side, "asked", asked := [])
    lines = [rounds.Line(name, "", "", {}, ()) for name in ("fast", "slow")]

    def check(said):
        asked.append(("check", len(said)))

    options = {"images": 4, "rounds": 2, "quiet": rounds.Quiet(0), "seconds": 1.5, "warm_up": 0, "check": check}
    measured = rounds.interleave(lines, **options)
    start, end = [("start fast", 0), ("start slow", 0), ("check", 2)], [("end slow", 0), ("end fast", 0)]
    assert asked == [*start, ("fast", 4), ("slow", 4), *[("fast", 16), ("slow", 16)] * 2, *end]  # 1.5 s of 10, in fours
    assert [len(line.turns) for line in measured.values()] == [2, 2]
    assert measured["slow"].peak_megabytes == 7.0


def test_peak_memory_is_compared_with_the_line_that_counts():
    import step_lines
    from rounds import Line, Measured, Turn

    def line(throughput: float, megabytes: float) -> Measured:
        return Measured(Line("", "", "", {}, ()), [Turn(throughput, throughput, 0.0)], {}, megabytes)

    lines = {"ours, training": line(1, 330), "torch, training": line(2, 100)}
    lines["torch, channels_last, training"] = line(3, 300)
    lines |= {"ours, inference": line(1, 60), "torch, inference": line(1, 40)}  # which has no goal
    found = step_lines.memory_ratios(setting(), lines)
    assert found["training"] == {"ours": 330, "peer": 300, "ratio": 1.1, "goal": 1.1, "met": True}
    assert found["inference"] == {"ours": 60, "peer": 40, "ratio": 1.5}


def gpu_script(*words: str, **environment: str) -> subprocess.CompletedProcess:
    environment = {**ENVIRONMENT, "PYTHON": sys.executable, **environment}
    called = [BENCHMARKS / "gpu.sh", "--platform=cpu", "--quick", *words]
    return subprocess.run(called, env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_the_script_for_a_gpu_tries_flags_and_prints_the_tables_last(tmp_path, without_what_a_gpu_machine_lacks):
    results = tmp_path / "results"
    result = gpu_script("flags", f"--results={results}", **without_what_a_gpu_machine_lacks)
    assert result.returncode == 0, result.stderr
    assert "left out" not in result.stdout
    *_, last = result.stdout.splitlines()
    assert last == ""
    assert "| G12 |" in result.stdout.splitlines()[-2]
    flags = read_json(results / "flags_resnet50_cpu.json")
    known, unknown = flags["flags"]
    assert known["ratio"] == pytest.approx(
        known["images_per_second"]["median"] / flags["plain"]["images_per_second"]["median"], abs=0.001
    )
    assert unknown == {"flag": "--xla_no_such_flag=true", "error": "this jaxlib does not know it"}


@pytest.mark.nightly
def test_the_script_for_a_gpu_does_all_its_jobs(tmp_path):
    result = gpu_script(f"--results={tmp_path}", "--budget=3600")
    assert result.returncode == 0, result.stderr
    assert "left out" not in result.stdout
    names = {file.name for file in tmp_path.iterdir()}
    steps = ("resnet50", "alexnet", "cifar_resnet20", "cifar_resnet110", "resnet50_autotune", "resnet50_one")
    assert {f"step_{name}_cpu.json" for name in steps} <= names
    assert {"roofline_resnet152_cpu.json", "benchmark_cifar_resnet20_cpu.json", "dispatch_cpu.json"} <= names


def test_the_script_for_a_gpu_leaves_out_what_does_not_fit_and_what_it_does_not_know():
    result = gpu_script("resnet50", "--budget=10")
    assert result.returncode == 0, result.stderr
    assert "left out: resnet50, training: no time left" in result.stdout
    result = gpu_script("resnet51")
    assert result.returncode == 2
    assert result.stderr.startswith("error: resnet51 is neither a flag nor a job (allowed: resnet50 roofline")
    assert gpu_script("--help").stdout.startswith("Measures everything that needs a GPU")


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck_finds_nothing():
    result = subprocess.run(["shellcheck", BENCHMARKS / "gpu.sh"], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout
