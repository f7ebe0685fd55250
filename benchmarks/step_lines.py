"""The lines of benchmarks/step.py: what is measured, and which lines are compared."""

import statistics
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import goals
import step_nets
from rounds import Comparison, Line, Measured

IN_FLAX = ("resnet18", "resnet50", "resnet152")  # in Flax's imagenet example
# With these, glibc keeps the memory that a step frees, instead of giving it back to the system and taking it again, and
# takes it in huge pages, as ours does.
ALLOCATOR = {
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
    "MALLOC_TOP_PAD_": "260000000",
}
STEPS_PER_CALL = 32  # that we dispatch together where images are on a GPU


@dataclass(frozen=True)
class Setting:
    """Settings of all lines.

    Attributes:
        model: the network.
        batch_size: images of a step.
        precision: "float32" or "bfloat16".
        platform: "cpu" or "gpu".
        folder: where the batch and the weights are.
        cores: cores that each line may use.
        torch_python: Python with torch; empty: leave it out.
        flax_example: folder with the models of Flax's example; empty: leave it out.
    """

    model: str
    batch_size: int
    precision: str
    platform: str
    folder: str
    cores: tuple[int, ...]
    torch_python: str = ""
    flax_example: str = ""

    @property
    def resident(self) -> bool:
        """Whether the images are on the device, as in runs on small images on a GPU."""
        return self.platform == "gpu" and step_nets.NETS[self.model].cifar

    @property
    def images(self) -> int:
        """Images that each line can process at once: those of a step, or of the steps that we dispatch together."""
        return self.batch_size * (STEPS_PER_CALL if self.resident else 1)

    @property
    def threads(self) -> dict[str, str]:
        """The environment with which torch has a thread for each core."""
        return dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(len(self.cores)))


def lines(setting: Setting, part: str) -> list[Line]:
    """The lines of a part, "training" or "inference"; the first is ours."""
    common = {"kind": part, "model": setting.model, "precision": setting.precision, "folder": setting.folder}
    jax = {"JAX_PLATFORMS": "cpu" if setting.platform == "cpu" else "cuda", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}

    def ours(name: str, about: str, environment: Mapping[str, str]) -> Line:
        options = {**common, "name": name, "batch_size": setting.batch_size}
        options["resident"] = setting.resident and part == "training"
        return Line(name, "step_ours.py", sys.executable, options, setting.cores, about, environment=environment)

    own_sizes = step_nets.sizes(setting.model)
    found = [ours(f"ours, {part}", "jax", jax)]
    if setting.torch_python:
        found += _torch_lines(setting, part, {**common, "num_classes": own_sizes["num_classes"]})
    if setting.platform == "cpu":
        found.append(
            ours(f"ours, allocator, {part}", "jax, with torch's setting of the allocator", {**jax, **ALLOCATOR})
        )
    if setting.flax_example:
        options = {**common, "num_classes": own_sizes["num_classes"], "example": setting.flax_example}
        name, about = f"flax example, {part}", "Flax's imagenet example, jax"
        found.append(Line(name, "step_flax.py", sys.executable, options, setting.cores, about, environment=jax))
    # While a process waits, the system takes the memory that it has given back: its next step gets that anew.
    return [replace(line, options={**line.options, "settle": setting.images}) for line in found]


def _torch_lines(setting: Setting, part: str, common: Mapping[str, Any]) -> list[Line]:
    """Torch's lines: on a CPU both layouts, with and without the allocator's setting; on a GPU eager and compiled."""
    first, *others = step_nets.NETS[setting.model].peers

    def line(name: str, peer: str, about: str, environment: Mapping[str, str], **options: Any) -> Line:
        name = f"{name}, {part}"
        given = {**common, "name": name, "peer": peer, **options}
        environment = {**setting.threads, **environment}
        return Line(name, "step_torch.py", setting.torch_python, given, setting.cores, about, environment=environment)

    if setting.platform == "gpu":
        gpu, about = {"device": "cuda", "resident": setting.resident}, f"{first}, channels_last"
        found = [
            line(f"torch {name}", first, about, {}, mode=mode, layout="channels_last", **gpu)
            for name, mode in modes(setting).items()
        ]
        return [*found, line("torch contiguous", first, f"{first}, eager, contiguous", {}, **gpu)]
    threads = {"threads": len(setting.cores)}
    found = []
    for suffix, environment in (("", {}), (", allocator", ALLOCATOR)):
        for layout, text in (("contiguous", "torch"), ("channels_last", "torch, channels_last")):
            about = f"{first}, {layout}" + (", keeps freed memory" if environment else "")
            found.append(line(f"{text}{suffix}", first, about, environment, layout=layout, **threads))
    options = {"layout": "channels_last", **threads}
    return [*found, *(line(peer, peer, f"{peer}, channels_last", {}, **options) for peer in others)]


def modes(setting: Setting) -> dict[str, str]:
    """Torch's modes on a GPU, by their names in the table; CUDA graphs for networks that launching kernels limits."""
    small = step_nets.NETS[setting.model].cifar
    graphs = {"reduce-overhead": "reduce-overhead"} if small else {"max-autotune": "max-autotune"}
    return {"eager": "eager", "compile": "default", **graphs}


def weights_line(setting: Setting) -> Line:
    """The line that writes torch's weights, and measures nothing."""
    first, num_classes = step_nets.NETS[setting.model].peers[0], step_nets.sizes(setting.model)["num_classes"]
    options = {
        **{"name": "weights", "kind": "weights", "peer": first, "model": setting.model, "num_classes": num_classes},
        **{"precision": setting.precision, "folder": setting.folder},
    }
    return Line("torch's weights", "step_torch.py", setting.torch_python, options, setting.cores)


def comparisons(setting: Setting) -> list[Comparison]:
    """All comparisons, by the clock and by CPU time. The caller leaves out those with a line that was not measured."""
    found = []
    for part in ("training", "inference"):
        for title, ours, peers in _pairs(setting, part):
            goal, names = _goal(setting, title) if part == "training" else None, tuple(peers)
            found.append(Comparison(f"{part}, {title}", ours, names, goal=goal, fastest=True))
            if setting.platform == "cpu":
                found.append(Comparison(f"{part}, {title}, by CPU time", ours, names, by_cpu=True, fastest=True))
    return found


def _goal(setting: Setting, title: str) -> float | None:
    """The goal of a comparison of training steps."""
    family = goals.family(setting.model)
    if setting.platform == "cpu":
        return {"plain": goals.PLAIN, "allocator": goals.ALLOCATOR}.get(title, {}).get(family)
    if family == "alexnet":
        return {"fastest": goals.GPU_ALEXNET}.get(title)
    return (goals.GPU_CIFAR if family == "cifar" else goals.GPU_STEP).get(title)


def _pairs(setting: Setting, part: str) -> list[tuple[str, str, list[str]]]:
    """What is compared: a title, our line, and torch's of which the fastest counts."""
    ours, layouts = f"ours, {part}", ("torch", "torch, channels_last")
    if setting.platform == "gpu":
        names = [f"torch {name}, {part}" for name in (*modes(setting), "contiguous")]
        return [
            ("fastest", ours, names),
            ("eager", ours, [names[0], names[-1]]),
            ("flax", ours, [f"flax example, {part}"]),
        ]
    plain = [f"{name}, {part}" for name in layouts]
    kept = [f"{name}, allocator, {part}" for name in layouts]
    return [
        ("plain", ours, plain),
        ("allocator", ours, kept),
        ("both with the allocator's setting", f"ours, allocator, {part}", kept),
        ("timm", ours, [f"timm, {part}"]),
        ("flax", ours, [f"flax example, {part}"]),
    ]


def memory_ratios(setting: Setting, measured: Mapping[str, Measured]) -> dict[str, Any]:
    """Our peak memory over that of the line of torch that we are compared with, by part; in MB."""
    found = {}
    for part in ("training", "inference"):
        _, ours, peers = _pairs(setting, part)[0]
        there = {name: measured[name] for name in peers if name in measured}
        if ours not in measured or not there:
            continue
        peer = max(there.values(), key=lambda line: statistics.median(line.throughputs()))
        sizes = [_peak(setting, line) for line in (measured[ours], peer)]
        if None not in sizes:
            mine, theirs = sizes
            found[part] = {
                "ours": round(mine),
                "peer": round(theirs),
                "ratio": round(mine / theirs, 2),
            }
            if part == "training":
                found[part] |= {"goal": goals.MEMORY, "met": mine <= goals.MEMORY * theirs}
    return found


def _peak(setting: Setting, line: Measured) -> Any:
    """The peak memory of a line in MB: of the device, or on a CPU of the process."""
    return line.side.get("device_megabytes") if setting.platform == "gpu" else line.peak_megabytes


def short_name(name: str) -> str:
    """The name of a line without its part."""
    return name.rpartition(", ")[0]
