"""What a run writes for TensorBoard."""

import warnings
from pathlib import Path


def multiplexer(logdir: Path):
    """TensorBoard's own reader of all runs below a folder, with their names."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # tensorboard's own imports
        from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
    found = EventMultiplexer().AddRunsFromDirectory(str(logdir))
    found.Reload()
    return found


def events_of(workdir: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard itself reads from the run: the name of a split and a tag -> (step, value) pairs."""
    found = multiplexer(workdir / "events")
    scalars = {}
    for run, tags in found.PluginRunToTagToContent("scalars").items():
        for tag in tags:
            values = [(event.step, float(event.tensor_proto.float_val[0])) for event in found.Tensors(run, tag)]
            scalars[f"{run}/{tag}"] = values
    return scalars
