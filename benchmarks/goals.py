"""The goals of speed: what is compared with what, in which file of results the measurement is, and what measures it.

The benchmarks take their goals from here, and report.py writes the table of them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from resnet_alexnet.speed.windows import format_spread, spread

Results = Mapping[str, Any]
Spread = Mapping[str, float]
INPUT = "../../docs/results/input.json"  # of benchmarks/input.py, seen from benchmarks/results

# Images per second of ours for torch's, in a training step on a CPU by the clock; by the family of the network.
PLAIN = {"resnet": 1.1, "cifar": 0.9, "alexnet": 1.1}  # torch as it comes, in the faster of its layouts
ALLOCATOR = {"resnet": 1.0}  # torch whose allocator keeps freed memory
MEMORY = 1.1  # our peak memory for torch's, at most
GPU_STEP = {"fastest": 1.1, "eager": 1.5}  # ours for the fastest of torch's modes, and for eager torch
GPU_ALEXNET = 1.5  # AlexNet with local response normalization, for the fastest
GPU_CIFAR = {"fastest": 1.5, "eager": 8.0}  # the networks for small images, which launching kernels limits
ROOFLINE = {"resnet50": 50.0, "resnet152": 55.0, "resnet18": 45.0}  # percent of the limit of a GPU
GPU_ALEXNET_THROUGHPUT = 30_000  # images/s
CIFAR_SECONDS = {"cifar_resnet20": 45.0, "cifar_resnet110": 180.0}  # of 64,000 steps of 128 images on one H200
COMPILE_SECONDS = {"resnet50": 12.0, "resnet152": 25.0, "cifar_resnet1202": 15.0}  # cold, on a CPU
CACHED_PERCENT = {"compile": 15.0, "both": 30.0}  # of cold: compiling alone, and with tracing
DISPATCH = 0.1  # the host's time for a step, for nnx.jit's, at most
LOOP_COMPARISON = "the loop, its bare step"
LOOP = 0.97  # steps per second of the training loop, for the bare step's
COLLECTIVES = 8
COLLECTIVE_BYTES = 1.0  # percent by which they may differ from parameters and running statistics
STARTUP_SECONDS = {
    ("help", "done"): 1.0,
    ("predict, cached", "done"): 3.0,
    ("quickstart", "first line"): 1.0,
    ("quickstart", "done"): 10.0,
}


def family(model: str) -> str:
    """The family of a network, as the goals name it."""
    return model.partition("_")[0].rstrip("0123456789")


@dataclass(frozen=True)
class Goal:
    """A goal.

    Attributes:
        line: its group, G1 to G12.
        what: what is measured.
        beside: what it is compared with.
        bound: the number to reach.
        most: whether `bound` is the most that the number may be, not the least.
        unit: what follows the number, "x" for a ratio.
        file: the file of results, or a pattern such as "step_resnet50_cpu*.json" for those of several machines.
        read: results -> median, minimum and maximum of the number; None if the file does not have it.
        command: what measures it: a file of benchmarks/ and its flags, without --output.
        needs_gpu: whether that needs a GPU.
    """

    line: str
    what: str
    beside: str
    bound: float
    unit: str
    file: str
    read: Callable[[Results], Spread | None]
    command: str
    most: bool = False
    needs_gpu: bool = False

    def is_met(self, value: float) -> bool:
        """Whether a number reaches the goal."""
        return value <= self.bound if self.most else value >= self.bound

    def text(self) -> str:
        """The goal in words, such as "at least 1.1x"."""
        return f"at {'most' if self.most else 'least'} {self.bound:,g}{self.unit}"


def comparison(name: str) -> Callable[[Results], Spread | None]:
    """Reads the ratio of a comparison by its name."""
    return lambda results: next((row["ratio"] for row in results["comparisons"] if row["name"] == name), None)


def net(model: str, read: Callable[[Results], float | None]) -> Callable[[Results], Spread | None]:
    """Reads a number of one of the networks in results with several."""

    def number(results: Results) -> Spread | None:
        found = next((each for each in results["nets"] if each["model"] == model), None)
        value = None if found is None else read(found)
        return None if value is None else spread([value])

    return number


def all_goals() -> list[Goal]:
    """All goals, in the order of their groups, G1 first."""
    found = [*_gpu_goals(), *_input_goals(), *_cpu_goals(), *_other_goals()]
    return sorted(found, key=lambda goal: int(goal.line.removeprefix("G")))


def _gpu_goals() -> list[Goal]:
    gpu = {"needs_gpu": True}
    found = [
        Goal(
            "G1",
            f"{model}, training step, bfloat16, one GPU",
            "the roofline measured in the same process",
            percent,
            " %",
            f"roofline_{model}_gpu.json",
            net(model, lambda each: each["percent_of_limit"]),
            "gpu.sh roofline",
            **gpu,
        )
        for model, percent in ROOFLINE.items()
    ]
    found.append(
        Goal(
            "G1",
            "alexnet, training step, bfloat16, batch 1,024, one GPU",
            "",
            GPU_ALEXNET_THROUGHPUT,
            " images/s",
            "roofline_alexnet_gpu.json",
            net("alexnet", lambda each: each["images_per_second"]["median"]),
            "gpu.sh roofline",
            **gpu,
        )
    )
    names = {"fastest": "eager torch or torch.compile, the faster", "eager": "eager torch"}

    def steps(line: str, model: str, bounds: Mapping[str, float]) -> list[Goal]:
        return [
            Goal(
                line,
                f"{model}, training step, bfloat16, one GPU",
                names[which],
                bound,
                "x",
                f"step_{model}_gpu.json",
                comparison(f"training, {which}"),
                f"gpu.sh {model}",
                **gpu,
            )
            for which, bound in bounds.items()
        ]

    found += [*steps("G2", "resnet50", GPU_STEP), *steps("G3", "alexnet", {"fastest": GPU_ALEXNET})]
    found += [
        Goal(
            "G2",
            "resnet50, training step, bfloat16, one GPU",
            "torch.compile with max-autotune",
            GPU_STEP["fastest"],
            "x",
            "step_resnet50_autotune_gpu.json",
            comparison("training, fastest"),
            "gpu.sh max_autotune",
            **gpu,
        ),
        Goal(
            "G4",
            "resnet50, training loop on JPEG files, one GPU, 16 cores",
            "its bare step",
            LOOP,
            "x",
            "loop_photos_gpu.json",
            comparison(LOOP_COMPARISON),
            "loop.py --config=resnet50 --set=dataset.name=image_folder,dataset.data_dir=DIR",
            **gpu,
        ),
    ]
    for model, seconds in CIFAR_SECONDS.items():
        found.append(
            Goal(
                "G6",
                f"{model}, 64,000 steps of 128, bfloat16, one GPU",
                "",
                seconds,
                " s",
                f"benchmark_{model}_gpu.json",
                _seconds_of_a_run,
                f"gpu.sh {model}",
                most=True,
                **gpu,
            )
        )
        found += steps("G6", model, GPU_CIFAR)
    return found


def _seconds_of_a_run(results: Results) -> Spread:
    milliseconds = results["steps"]["training"]["milliseconds"]
    return {name: float(f"{64 * value:.4g}") for name, value in milliseconds.items()}


def _input_goals() -> list[Goal]:
    rows = (
        ("a core, torchvision", "photographs to crops, images/s a core", "torchvision with PIL", 2.0),
        ("a core, torchvision, equal resampling", "the same, resampled alike", "torchvision with PIL", 1.4),
        ("a core, tf.data", "photographs to crops, images/s a core", "tf.data, as in Flax's example", 2.2),
        ("ours, 2 workers for 2 times 1", "two worker processes", "twice one", 0.85),
    )
    command = "input.py --parts=core,loaders --photos=DIR"
    return [
        Goal("G5", what, beside, bound, "x", INPUT, comparison(name), command) for name, what, beside, bound in rows
    ]


CPU_NETS = ("resnet50", "resnet18", "cifar_resnet20", "cifar_resnet56", "cifar_resnet110", "alexnet", "alexnet_owt")


def _cpu_goals() -> list[Goal]:
    found = []
    for model in CPU_NETS:
        kind, file, command = family(model), f"step_{model}_cpu*.json", f"step.py --model={model}"  # of all processors
        beside = {"plain": "torch, the faster layout", "allocator": "torch that keeps freed memory"}
        for which, bounds in (("plain", PLAIN), ("allocator", ALLOCATOR)):
            if kind in bounds:
                read = comparison(f"training, {which}")
                what = f"{model}, training step, float32, CPU"
                found.append(Goal("G7", what, beside[which], bounds[kind], "x", file, read, command))
        what = f"{model}, peak memory of the training step, CPU"
        found.append(Goal("G7", what, beside["plain"], MEMORY, "x", file, _memory, command, most=True))
    return found


def _memory(results: Results) -> Spread | None:
    found = results["memory"].get("training")
    return None if found is None else spread([found["ratio"]])


def _other_goals() -> list[Goal]:
    compiling = "compile.py"
    found = [
        Goal(
            "G8",
            f"{model}, tracing and compiling, cold, CPU",
            "",
            seconds,
            " s",
            "compile_cpu.json",
            net(model, lambda each: each.get("seconds", float("inf"))),
            compiling,
            most=True,
        )
        for model, seconds in COMPILE_SECONDS.items()
    ]
    stages = {"compile": "compiling", "both": "tracing and compiling"}
    for stage, percent in CACHED_PERCENT.items():
        read = net("resnet50", lambda each, stage=stage: each.get("cached_percent", {}).get(stage))
        what = f"resnet50, {stages[stage]}, cached, CPU"
        found.append(Goal("G8", what, "cold", percent, " %", "compile_cpu.json", read, compiling, most=True))
    found += [
        Goal(
            "G9",
            "cifar_resnet110, the host's time for a training step",
            "nnx.jit on the same network",
            DISPATCH,
            "x",
            "dispatch_cpu.json",
            lambda results: results["ratios"],
            "dispatch.py",
            most=True,
        ),
        Goal(
            "G10",
            "collectives of a compiled training step on 8 devices",
            "one all-reduce, which XLA may split",
            COLLECTIVES,
            "",
            "collectives.json",
            lambda results: spread([results["count"]]),
            "collectives.py",
            most=True,
        ),
        Goal(
            "G10",
            "their bytes, difference",
            "parameters and running statistics",
            COLLECTIVE_BYTES,
            " %",
            "collectives.json",
            lambda results: spread([results["difference_percent"]]),
            "collectives.py",
            most=True,
        ),
        Goal(
            "G11",
            "training loop of the quickstart",
            "its bare step",
            LOOP,
            "x",
            "loop_cpu.json",
            comparison(LOOP_COMPARISON),
            "loop.py",
        ),
    ]
    starting = "startup.py"
    for (name, until), seconds in STARTUP_SECONDS.items():
        what = f"{name}, until {'it is done' if until == 'done' else 'the first line'}, two cores"
        read = _started(name, until)
        found.append(Goal("G12", what, "", seconds, " s", "startup_cpu.json", read, starting, most=True))
    return found


def _started(name: str, until: str) -> Callable[[Results], Spread | None]:
    def seconds(results: Results) -> Spread | None:
        rows: Sequence[Any] = results["starts"]
        return next((row["seconds"] for row in rows if (row["name"], row["until"]) == (name, until)), None)

    return seconds


def format_value(value: Spread, goal: Goal) -> str:
    """A measured number, with its least and greatest if there are several; three digits if it just misses its goal."""
    if value["min"] == value["max"]:
        return f"{value['median']:,.4g}{goal.unit}"
    just_missed = round(value["median"], 2) == goal.bound and not goal.is_met(value["median"])
    median, _, rest = format_spread(dict(value), digits=3 if just_missed else None).partition(" ")
    return f"{median}{goal.unit} {rest}"
