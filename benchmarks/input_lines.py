"""The lines of benchmarks/input.py: what is measured, and which lines are compared."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rounds import Comparison, Line

LOOP_IMAGES = 4  # factor for the images per round of loaders and loops: a pipeline takes longer to become steady
MANY = 8  # worker processes in the memory measurement
STEP_FACTORS = (0.8, 1.0, 1.25)  # step time of the simulated device, relative to the time to read a batch


@dataclass(frozen=True)
class Setting:
    """Settings of all lines.

    Attributes:
        folder: image folder with the photographs.
        size: side of the crops, in pixels.
        batch_size: images per batch.
        workers: processes or threads of the lines with several.
        cores: cores that the lines with several may use.
        torch_python: Python with PyTorch; empty: leave it out.
        tf_python: Python with TensorFlow; empty: leave it out.
    """

    folder: str
    size: int
    batch_size: int
    workers: int
    cores: tuple[int, ...]
    torch_python: str = ""
    tf_python: str = ""

    def line(
        self, name: str, script: str, about: str, *, cores: Sequence[int] = (), busy: bool = True, **options: Any
    ) -> Line:
        """Creates a line. It runs on one core unless `cores` are given; see `Line` for the parameters."""
        python = {"input_torch.py": self.torch_python, "input_tf.py": self.tf_python}.get(script, sys.executable)
        common = {"folder": self.folder, "size": self.size, "batch_size": self.batch_size}
        return Line(name, script, python, {**common, **options}, tuple(cores) or self.cores[-1:], about, busy)


def core_lines(setting: Setting) -> list[Line]:
    """Returns the lines of one thread on one core, from encoded photographs in memory."""
    ours = [
        setting.line(f"ours, {name}", "input_ours.py", about, kind="core", interpolation=name)
        for name, about in (
            ("bilinear", "OpenCV, 2x2 pixels"),
            ("area", "OpenCV, mean of all pixels: equal to PIL's antialiasing"),
            ("bicubic", "OpenCV, 4x4 pixels: equal to tf.image's"),
        )
    ]
    decode = setting.line("ours, decoding alone", "input_ours.py", "whole photographs, simplejpeg", kind="decode")
    raw = setting.line("ours, raw cache", "input_ours.py", "uncompressed 256 x 256, random crop", kind="raw")
    pil = setting.line("torchvision", "input_torch.py", "PIL, RandomResizedCrop, bilinear, antialiased", kind="core")
    pil_decode = setting.line("PIL, decoding alone", "input_torch.py", "whole photographs", kind="decode")
    tf = setting.line("tf.data", "input_tf.py", "decode the crop, bicubic 4x4, normalize in float32", threads=1)
    return _installed([*ours, decode, raw, pil, pil_decode, tf])


def loader_lines(setting: Setting) -> list[Line]:
    """Returns the lines from files to batches in the training process, with threads or worker processes."""
    lines = []
    for count in sorted({1, setting.workers}):
        plural = "" if count == 1 else "s"
        threads, workers = f"{count} thread{plural}", f"{count} worker{plural}"
        cores = setting.cores
        own = {"kind": "loader", "interpolation": "bilinear"}
        torch = "PIL, RandomResizedCrop, uint8, no floats"
        lines += [
            # There are as many threads as cores.
            setting.line(f"ours, {threads}", "input_ours.py", "bilinear", cores=cores[-count:], workers=0, **own),
            setting.line(f"ours, {workers}", "input_ours.py", "bilinear", cores=cores, workers=count, **own),
            setting.line(f"DataLoader, {workers}", "input_torch.py", torch, cores=cores, kind="loader", workers=count),
            setting.line(f"tf.data, {threads}", "input_tf.py", "as above", cores=cores[-count:], threads=count),
        ]
    many = setting.workers
    apart = {"kind": "apart", "interpolation": "bilinear", "cores": setting.cores, "processes": many}
    lines.append(setting.line(f"{many} processes apart", "input_ours.py", "bilinear, for nobody", **apart))
    return _installed(lines)


def form_lines(setting: Setting) -> list[Line]:
    """Returns the lines of partial decoding and of decoding whole photographs."""
    common = {"kind": "core", "interpolation": "bilinear"}
    return [
        setting.line("rows down to the crop", "input_ours.py", "partial decoding", **common),
        setting.line("whole photographs", "input_ours.py", "decoded, then cropped", whole=True, **common),
    ]


def process_lines(setting: Setting, count: int) -> list[Line]:
    """Returns the lines of our worker processes and of Grain's."""
    common = {"interpolation": "bilinear", "workers": count, "cores": setting.cores}
    return [
        setting.line(f"our processes, {count}", "input_ours.py", "dataset.workers", kind="loader", **common),
        setting.line(f"Grain's processes, {count}", "input_ours.py", "mp_prefetch", kind="grain", **common),
    ]


def memory_lines(setting: Setting) -> list[Line]:
    """Returns the loaders with many worker processes, to measure their memory."""
    name, common = f"{MANY} workers", {"kind": "loader", "workers": MANY, "cores": setting.cores}
    return _installed(
        [
            setting.line(f"ours, {name}", "input_ours.py", "", interpolation="bilinear", **common),
            setting.line(f"DataLoader, {name}", "input_torch.py", "", **common),
        ]
    )


def input_alone(setting: Setting) -> Line:
    """Returns the line that reads images as the loop does, without a step."""
    return _loop_line(setting, "input alone", "bilinear", kind="input", device="stand_in")


def loop_lines(setting: Setting, images_per_second: float) -> list[Line]:
    """Returns the lines of the training loop, its input alone and its step alone, on a simulated and a real device."""
    lines = [input_alone(setting)]
    for factor in STEP_FACTORS:
        seconds = factor * setting.batch_size / images_per_second
        about = f"a stand-in for a device, {1000 * seconds:.0f} ms for a step and none of the CPU's time"
        for kind in ("step", "loop"):
            name = f"{kind}, step {factor:g}x"
            lines.append(_loop_line(setting, name, about, kind=kind, device="stand_in", step_seconds=seconds))
    if len(setting.cores) < 2:
        return lines
    half = len(setting.cores) // 2
    step_cores, input_cores = setting.cores[:half], setting.cores[half:]
    for kind, name in (("input", "input alone"), ("step", "step"), ("loop", "loop")):
        lines.append(
            setting.line(
                f"{name}, real step",
                "input_loop.py",
                f"ResNet-8 on 32 x 32 crops; {half} core for the step, {len(input_cores)} for the images",
                busy=False,
                kind=kind,
                device="real",
                cores=step_cores,
                input_cores=input_cores,
                workers=0,
                size=32,
            )
        )
    return lines


def comparisons(setting: Setting) -> list[Comparison]:
    """Returns all comparisons. The caller leaves out those with a line that was not measured."""
    several, one = f"{setting.workers} workers", "1 worker"
    threads = f"{setting.workers} threads"
    found = [
        Comparison("a core, torchvision", "ours, bilinear", ("torchvision",), goal=2.0, by_cpu=True),
        Comparison("a core, torchvision, equal resampling", "ours, area", ("torchvision",), goal=1.4, by_cpu=True),
        Comparison("a core, tf.data", "ours, bilinear", ("tf.data",), goal=2.2, by_cpu=True),
        Comparison("a core, tf.data, equal resampling", "ours, bicubic", ("tf.data",), by_cpu=True),
        Comparison("a core, decoding alone, PIL", "ours, decoding alone", ("PIL, decoding alone",), by_cpu=True),
        Comparison("a core, all for decoding alone", "ours, bilinear", ("ours, decoding alone",), by_cpu=True),
        Comparison("a core, partial decoding for whole", "rows down to the crop", ("whole photographs",), by_cpu=True),
        Comparison("a core, raw cache for JPEG", "ours, raw cache", ("ours, bilinear",), by_cpu=True),
    ]
    for name, goal in (("ours", 0.85), ("DataLoader", None)):
        found.append(
            Comparison(
                f"{name}, {several} for {setting.workers} times 1",
                f"{name}, {several}",
                (f"{name}, {one}",),
                times=setting.workers,
                goal=goal,
            )
        )
    found += [
        Comparison(
            f"ours, {threads} for {setting.workers} times 1",
            f"ours, {threads}",
            ("ours, 1 thread",),
            times=setting.workers,
            goal=0.85,
        ),
        Comparison(f"ours, {several} for 1, by CPU time", f"ours, {several}", (f"ours, {one}",), by_cpu=True),
        Comparison(
            f"{several} apart for {setting.workers} times 1",
            f"{setting.workers} processes apart",
            ("ours, 1 thread",),
            times=setting.workers,
        ),
        Comparison(f"loader, {several}, DataLoader", f"ours, {several}", (f"DataLoader, {several}",)),
        Comparison(f"loader, {threads}, DataLoader's {several}", f"ours, {threads}", (f"DataLoader, {several}",)),
        Comparison(f"loader, {threads}, tf.data", f"ours, {threads}", (f"tf.data, {threads}",)),
    ]
    ours, grains = (f"{whose} processes, {setting.workers}" for whose in ("our", "Grain's"))
    found += [
        Comparison("our processes for Grain's, by CPU time", ours, (grains,), by_cpu=True),
        Comparison("our processes for Grain's, by the clock", ours, (grains,)),
    ]
    for factor in STEP_FACTORS:
        name = f"step {factor:g}x"
        found.append(
            Comparison(f"loop, {name}, the slower side", f"loop, {name}", ("input alone", f"step, {name}"), goal=0.97)
        )
    slower = ("input alone, real step", "step, real step")
    return [*found, Comparison("loop, real step, the slower side", "loop, real step", slower, goal=0.97)]


def _loop_line(setting: Setting, name: str, about: str, **options: Any) -> Line:
    return setting.line(
        name,
        "input_loop.py",
        about,
        cores=setting.cores,
        busy=False,
        input_cores=setting.cores,
        workers=0,
        **options,
    )


def _installed(lines: list[Line]) -> list[Line]:
    return [line for line in lines if line.python]
