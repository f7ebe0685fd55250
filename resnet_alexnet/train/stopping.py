"""What a run that stops early says: at the first signal, at the second, when a check fails, and at its end."""

import signal

from resnet_alexnet.cli.command import PIPE_CLOSED
from resnet_alexnet.cli.early import EXIT_CODES
from resnet_alexnet.errors import InterruptedRunError


def answer(number: signal.Signals, *, steps: int, evaluates: bool, any_done: bool = True) -> str:
    """What the first signal leads to.

    Args:
        number: the signal.
        steps: how many steps are under way.
        evaluates: whether an evaluation is under way.
        any_done: whether any step is done; else there is nothing to save.
    """
    if not (steps or evaluates or any_done):
        return f"{number.name}: stopping before the first step"
    doing = "giving up the evaluation" if evaluates else f"finishing {steps} step{'s' if steps > 1 else ''}"
    after = f"{doing}, then saving" if steps or evaluates else "saving"
    again = "; press again to stop without saving" if number is signal.SIGINT else ""
    return f"{number.name}: {after}{again}"


def left(last_checkpoint: int) -> str:
    """What is left of a run that the second signal ends; its last checkpoint is that of a step, 0 if there is none."""
    if not last_checkpoint:
        return "stopped without saving; there is no checkpoint: run the same command again to start from step 0"
    return f"stopped without saving; run the same command again to resume at step {last_checkpoint}"


def kept(last_checkpoint: int) -> str:
    """What is left of a run that failed; its last checkpoint is that of a step, 0 if there is none."""
    return f"the last checkpoint is that of step {last_checkpoint}" if last_checkpoint else "no checkpoint was saved"


def stopped(number: signal.Signals | None, output: OSError | None, step: int) -> InterruptedRunError:
    """The end of a run that a signal stopped, or output that cannot be written, at a step; 0: nothing was saved."""
    if number is not None:
        cause, code = number.name, EXIT_CODES[number]
    else:
        assert output is not None
        cause = f"standard output cannot be written ({output.strerror})"
        code = PIPE_CLOSED if isinstance(output, BrokenPipeError) else 1
    if not step:
        return InterruptedRunError(
            f"{cause}: stopped before the first step; run the same command again to start from step 0", code
        )
    return InterruptedRunError(
        f"{cause}: saved a checkpoint at step {step}; run the same command again to resume", code
    )
