"""What a run that stops early says: at the first signal, at the second, when a check fails, and at its end."""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator

from resnet_alexnet.cli.command import PIPE_CLOSED
from resnet_alexnet.cli.early import EXIT_CODES
from resnet_alexnet.cli.interrupt import Interrupt
from resnet_alexnet.cli.output import Output
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


class Stop:
    """Whether a run is to end early: by a signal, or because its output is lost.

    Several processes must stop at the same step, so one that is asked to stop asks all: it sends itself SIGTERM, which
    JAX passes on, and goes on until all have reached a common point.
    """

    def __init__(
        self,
        answer: Callable[[signal.Signals], None],
        left: Callable[[], str],
        output: Output,
        *,
        all_stop: Callable[[], bool] | None = None,
    ) -> None:
        """Prepares.

        Args:
            answer: see `Interrupt`.
            left: see `Interrupt`.
            output: where the run is shown.
            all_stop: of several processes, whether all are to stop here; each calls it equally often.
        """
        signals = [number for number in EXIT_CODES if all_stop is None or number is not signal.SIGTERM]
        self.interrupt = Interrupt(answer, left, signals=signals)
        self._output, self._all_stop = output, all_stop
        self._passed_on = False

    def reached(self) -> bool:
        """Whether the run is to stop here. Of several processes, each calls this at the same places."""
        asked = self.interrupt.signal is not None or self._output.error is not None
        if self._all_stop is None:
            return asked
        if asked and not self._passed_on:
            self._passed_on = True
            os.kill(os.getpid(), signal.SIGTERM)
        return self._all_stop()

    @contextlib.contextmanager
    def raised(self) -> Iterator[None]:
        """In the block, a signal raises KeyboardInterrupt at once; of several processes, see `raise_if_reached`."""
        with self.interrupt.raised() if self._all_stop is None else contextlib.nullcontext():
            yield

    def raise_if_reached(self) -> None:
        """Raises KeyboardInterrupt if several processes are to stop here."""
        if self._all_stop is not None and self.reached():
            raise KeyboardInterrupt

    def stopped(self, step: int) -> InterruptedRunError:
        """The end of the run, which has saved a checkpoint at this step; 0: nothing was saved."""
        number, error = self.interrupt.signal, self._output.error
        if number is not None:
            cause, code = number.name, EXIT_CODES[number]
        elif error is not None:
            cause = f"standard output cannot be written ({error.strerror})"
            code = PIPE_CLOSED if isinstance(error, BrokenPipeError) else 1
        else:
            cause, code = "one of the processes was told to stop", EXIT_CODES[signal.SIGTERM]
        if not step:
            done, again = "stopped before the first step", "start from step 0"
        else:
            done, again = f"saved a checkpoint at step {step}", "resume"
        return InterruptedRunError(f"{cause}: {done}; run the same command again to {again}", code)
