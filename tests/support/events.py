"""What a run writes for TensorBoard."""

import warnings
from pathlib import Path


def events_of(workdir: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard itself reads from the run: tag -> (step, value) pairs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # tensorboard's own imports
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    events = EventAccumulator(str(workdir / "events"))
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
