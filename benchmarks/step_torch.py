"""PyTorch's process for benchmarks/step.py: the training step or the inference step of a network."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch_nets
from serve import Run, forget_peak, serve
from torch.nn import functional as F

CHECKED_STEPS = 2  # whose losses are compared
STD = 255.0  # what pixels are divided by
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def create(
    name: str,
    kind: str,
    peer: str,
    model: str,
    num_classes: int,
    precision: str,
    folder: str,
    device: str = "cpu",
    layout: str = "contiguous",
    mode: str = "eager",
    threads: int = 0,
    resident: bool = False,
) -> tuple[Run, dict[str, Any]]:
    """Creates the line `kind`, "training" or "inference"; with "weights", writes weights.npz and runs nothing.

    Args:
        name: of the line, for the file of its logits.
        kind: of the step.
        peer: whose network it is, see `torch_nets.create`.
        model: our name of the network.
        num_classes: logits of an image.
        precision: "float32", or "bfloat16" by autocast.
        folder: with batch.npz and weights.npz.
        device: "cpu" or "cuda".
        layout: of maps and kernels in memory, one of LAYOUTS.
        mode: "eager", or the mode of torch.compile: "default", "reduce-overhead" or "max-autotune".
        threads: of the CPU; 0 for torch's default.
        resident: whether the images of the batch are on the device before the step.
    """
    net = torch_nets.create(peer, model, num_classes=num_classes)
    weights = Path(folder) / "weights.npz"
    if kind == "weights":
        np.savez(weights, **{key: value.numpy() for key, value in net.state_dict().items()})
        return lambda images: None, {}
    if threads:
        torch.set_num_threads(threads)
    torch.backends.cudnn.benchmark = True
    with np.load(weights) as arrays:
        net.load_state_dict({key: torch.from_numpy(arrays[key]) for key in arrays.files})
    with np.load(Path(folder) / "batch.npz") as file:
        image, label = (torch.from_numpy(file[key]) for key in ("image", "label"))
    net = net.to(device, memory_format=LAYOUTS[layout])
    step = Step(net, image, label.long(), device=device, layout=layout, precision=precision, mode=mode)
    if resident:
        step.image, step.label = step.image.to(device), step.label.to(device)
    about: dict[str, Any] = {
        "versions": {"torch": torch.__version__},
        "malloc": {key: value for key, value in os.environ.items() if key.startswith(("MALLOC_", "GLIBC_"))},
    }
    if kind == "training":
        about["losses"] = step.check_losses()
        net.train()  # with dropout
    else:
        net.eval()
        about["logits"] = f"{folder}/{name}.npy"
        np.save(about["logits"], step.logits().float().cpu().numpy())
    forget_peak()
    take = step.train if kind == "training" else step.infer

    def run(images: int) -> None:
        for _ in range(images // len(image)):
            take()
        step.wait()
        about["device_megabytes"] = torch.cuda.max_memory_allocated() / 1e6 if device == "cuda" else None

    return run, about


class Step:
    """A network with its optimizer, on one batch again and again."""

    def __init__(
        self,
        net: torch.nn.Module,
        image: torch.Tensor,
        label: torch.Tensor,
        *,
        device: str,
        layout: str,
        precision: str,
        mode: str,
    ):
        self.net, self.image, self.label, self.device = net, image, label, device
        self.layout, self.precision = LAYOUTS[layout], precision
        # one kernel for all parameters, where there is one
        self.optimizer = torch.optim.SGD(
            net.parameters(), lr=0.001, momentum=0.9, weight_decay=1e-4, fused=True if device == "cuda" else None
        )
        self.call: Callable[[torch.Tensor], torch.Tensor] = net if mode == "eager" else torch.compile(net, mode=mode)
        if device == "cuda":  # as a loader with pin_memory=True gives them
            self.image, self.label = image.pin_memory(), label.pin_memory()

    def check_losses(self) -> list[float]:
        """The mean loss after each of the first steps, without dropout."""
        self.net.train()
        for module in self.net.modules():
            if isinstance(module, torch.nn.Dropout):
                module.eval()
        losses: list[float] = []
        for _ in range(CHECKED_STEPS):
            losses.append(self.train().item())
        return [float(np.mean(losses[: count + 1])) for count in range(len(losses))]

    def train(self) -> torch.Tensor:
        """Takes a training step and returns its loss, perhaps before it is computed."""
        image, label = self._input(), self.label.to(self.device, non_blocking=True)
        self.optimizer.zero_grad(set_to_none=True)
        with self._autocast():
            loss = F.cross_entropy(self.call(image), label)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def infer(self) -> torch.Tensor:
        """Returns the logits, once they are computed."""
        logits = self.logits()
        self.wait()
        return logits

    @torch.inference_mode()
    def logits(self) -> torch.Tensor:
        """Returns the logits, perhaps before they are computed. The net is in evaluation mode."""
        with self._autocast():
            return self.call(self._input())

    def wait(self) -> None:
        """Waits until all is computed."""
        if self.device == "cuda":
            torch.cuda.synchronize()

    def _input(self) -> torch.Tensor:
        """The uint8 images (batch, height, width, channels), normalized and laid out."""
        image = self.image.to(self.device, non_blocking=True).permute(0, 3, 1, 2)
        return image.to(torch.float32, memory_format=self.layout).sub_(0.0).div_(STD)

    def _autocast(self) -> AbstractContextManager:
        return torch.autocast(self.device, dtype=torch.bfloat16, enabled=self.precision == "bfloat16")


if __name__ == "__main__":
    serve(create)
