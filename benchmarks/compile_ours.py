"""This project's process for benchmarks/compile.py: imports, traces and compiles a training step, and tells the times.

Takes one JSON object with the name of the model, the batch size, and fields of the config as FIELD=VALUE.
"""

import json
import sys
import time
from importlib.metadata import version

from resnet_alexnet.cli import memory


def main(options: dict) -> None:
    """Prints the seconds of each stage as one JSON object."""
    memory.collect_less_often()  # as the commands do
    started = time.perf_counter()
    import jax

    from resnet_alexnet.speed.steps import TrainingStep, random_batch
    from resnet_alexnet.train.experiment import create_experiment
    from resnet_alexnet.train.stand_in import create_stand_in
    from resnet_alexnet.workdir.config import load_config, override

    imported = time.perf_counter() - started
    config = load_config("default")
    cifar = options["model"].startswith("cifar")
    config.update_from_flattened_dict(
        {
            "model.name": options["model"],
            "batch_size": options["batch_size"],
            "dataset.name": "synthetic",
            "dataset.num_classes": 10 if cifar else 1000,
            "dataset.num_examples": 10 * options["batch_size"],
            "dataset.on_device": "no",
            "preprocess.image_size": 32 if cifar else 224,
            "dataset.channels": 3,
        }
    )
    override(config, [f"--config.{field}" for field in options["fields"]])
    experiment = create_experiment(config, jax.devices()[:1], read=create_stand_in)
    step = TrainingStep(experiment, random_batch(experiment, options["batch_size"]))
    seconds = {
        "import": imported,
        "trace": step.compilation.trace_seconds,
        "compile": step.compilation.compile_seconds,
        "initialize": step.init_seconds,
    }
    print(json.dumps({**seconds, "versions": {name: version(name) for name in ("jax", "jaxlib", "flax")}}))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
