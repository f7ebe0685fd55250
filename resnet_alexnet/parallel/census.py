"""What the processes of a run tell each other while they start: lines of JSON over TCP, through process 0.

JAX itself ends a process without a name when another one is missing or differs. Here process 0 hears from all others,
judges, and tells each of them, so that every process ends with the same error, or none does.
"""

import contextlib
import selectors
import socket
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from resnet_alexnet.errors import InputError
from resnet_alexnet.parallel.connection import Line, listen

_GREETING = "resnet_alexnet"  # the first line of a process names it; other connections are ignored
_SECONDS_AFTER_FAULT = 5.0  # that a fault waits for other processes, so that they are told of it too
_SECONDS_TO_ANSWER = 15.0  # that process 0 may take to judge, above the time that it waits for the others
_SECONDS_BETWEEN_TRIES = 0.1

Facts = Mapping[str, Any]
Judge = Callable[[Mapping[int, Facts]], Any]  # the messages of all processes -> the answer, or InputError


class DisagreementError(InputError):
    """What process 0 found wrong, or what is wrong with the connection to it: every process has been told."""


class Census:
    """The connections among the processes of a run; a context manager.

    Process 0 listens, and the others connect to it. Each of them calls `consult` the same number of times.
    """

    def __init__(self, address: tuple[str, int], num_processes: int, process_id: int, *, host: str, seconds: float):
        """Prepares; entering opens the connection.

        Args:
            address: the host and port on which process 0 listens.
            num_processes: how many processes the run has.
            process_id: the number of this process.
            host: the name of this machine.
            seconds: how long to wait for the other processes.
        """
        self._address, self._num_processes, self._process_id = address, num_processes, process_id
        self._host, self._seconds = host, seconds
        self._names = {process_id: host}  # the hosts of the processes that have come
        self._lines: dict[int, Line] = {}  # to process 0, or on process 0, to the others
        self._duplicates: list[tuple[int, str, Line]] = []  # whose number another process has
        self._selector = selectors.DefaultSelector()
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        try:
            if self._process_id == 0:
                self._listen()
            else:
                self._connect()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def name(self, process: int) -> str:
        """What messages call a process, such as "process 1 (hostb)"."""
        return f"process {process} ({self._names[process]})" if process in self._names else f"process {process}"

    def consult(self, message: Facts, judge: Judge = lambda messages: None, *, wait: bool = True) -> Any:
        """Sends a message to process 0, which judges those of all processes. Returns its answer, the same on all.

        Args:
            message: JSON values. An "error" is that of its process: it is raised on all, whatever they consult about.
            judge: the messages by process -> the answer, which is a JSON value. Only process 0 calls it.
            wait: wait for a process that has come as long as its connection is open, and not only for some time.

        Raises:
            DisagreementError: what `judge` raised, or a process has an error, is missing or gone; on all processes.
        """
        if self._process_id:
            return self._ask(message, wait=wait)
        verdict: dict[str, Any] = {"error": None, "answer": None}
        try:
            messages = {0: message, **self._gather(wait=wait)}
            self._check_errors(messages)
            verdict["answer"] = judge(messages)
        except InputError as error:
            verdict["error"] = str(error)
        for line in [*self._lines.values(), *(line for _, _, line in self._duplicates)]:
            with contextlib.suppress(OSError):  # it is gone, which the next call says
                line.send(verdict)
        if verdict["error"] is not None:
            raise DisagreementError(verdict["error"])
        return verdict["answer"]

    def _listen(self) -> None:
        listener = self._stack.enter_context(listen(*self._address))
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ, None)

    def _connect(self) -> None:
        host, port = self._address
        end = time.monotonic() + self._seconds
        while True:
            try:
                connection = socket.create_connection(self._address, timeout=max(0.1, end - time.monotonic()))
                break
            except OSError as error:
                if time.monotonic() > end:
                    raise DisagreementError(
                        f"process 0 is missing: nothing answers at {host}:{port} after {self._seconds:g} s "
                        f"({error.strerror or error}); start it, or check the address and the firewall"
                    ) from None
                time.sleep(_SECONDS_BETWEEN_TRIES)
        line = self._lines[0] = Line(self._stack.enter_context(connection))
        with contextlib.suppress(OSError):  # `_ask` says that it is gone
            line.send({"program": _GREETING, "process_id": self._process_id, "host": self._host})

    def _ask(self, message: Facts, *, wait: bool) -> Any:
        """Sends the message to process 0 and waits for its answer."""
        line, (host, port) = self._lines[0], self._address
        end = time.monotonic() + self._seconds + _SECONDS_TO_ANSWER
        verdict = None
        try:
            line.send(message)
            while verdict is None:
                line.socket.settimeout(None if wait else max(0.1, end - time.monotonic()))
                verdict = line.receive()
        except TimeoutError:
            raise DisagreementError(
                f"process 0 does not answer at {host}:{port}: it is stuck, or the port belongs to another program"
            ) from None
        except OSError as error:
            raise DisagreementError(
                f"process 0 at {host}:{port} left before the run began ({error.strerror or error}): its own message "
                "says why; if it is still running, the port belongs to another program"
            ) from None
        if verdict.get("error") is not None:
            raise DisagreementError(str(verdict["error"]))
        return verdict.get("answer")

    def _gather(self, *, wait: bool) -> dict[int, Facts]:
        """A message of each of the other processes.

        Raises:
            InputError: some are missing or gone, or two have the same number.
        """
        messages: dict[int, Facts] = {}
        gone: list[int] = []
        others = set(range(1, self._num_processes))
        end = time.monotonic() + self._seconds
        while others - messages.keys() - set(gone):
            if gone or self._duplicates:
                end = min(end, time.monotonic() + _SECONDS_AFTER_FAULT)
                wait = False
            patient = wait and others <= self._lines.keys()
            left = end - time.monotonic()
            if not patient and left <= 0:
                break
            for key, _ in self._selector.select(None if patient else left):
                self._receive(key.data, messages, gone)
        self._check_complete(messages, gone)
        self._stop_listening()  # all have come
        return messages

    def _stop_listening(self) -> None:
        for key in list(self._selector.get_map().values()):
            if key.data not in self._lines.values():  # the listener, and strangers
                self._selector.unregister(key.fileobj)
                if isinstance(key.fileobj, socket.socket):
                    key.fileobj.close()

    def _receive(self, line: Line | None, messages: dict[int, Facts], gone: list[int]) -> None:
        """Takes what a connection has for us; None is the listener."""
        if line is None:
            self._accept()
            return
        process = next((number for number, known in self._lines.items() if known is line), None)
        try:
            line.socket.setblocking(False)
            while (values := line.receive()) is not None:
                if process is None:
                    process = self._meet(line, values)
                else:
                    messages[process] = values
        except BlockingIOError:
            return
        except OSError:
            self._selector.unregister(line.socket)
            if process is not None:
                gone.append(process)

    def _accept(self) -> None:
        listener = next(key.fileobj for key in self._selector.get_map().values() if key.data is None)
        assert isinstance(listener, socket.socket)
        with contextlib.suppress(OSError):  # it has gone again
            connection, _ = listener.accept()
            self._stack.enter_context(connection)
            self._selector.register(connection, selectors.EVENT_READ, Line(connection))

    def _meet(self, line: Line, greeting: Facts) -> int | None:
        """Notes who is at a connection; its number, unless another process has that.

        Raises:
            ConnectionAbortedError: it is not one of us.
        """
        process, host = greeting.get("process_id"), greeting.get("host")
        if greeting.get("program") != _GREETING or not isinstance(process, int) or not isinstance(host, str):
            raise ConnectionAbortedError("another program")
        if process == 0 or process in self._lines:
            self._duplicates.append((process, host, line))
            return None
        self._lines[process], self._names[process] = line, host
        return process

    def _check_errors(self, messages: Mapping[int, Facts]) -> None:
        """Raises InputError if processes have errors; it names them, unless all have the same."""
        errors = {process: message["error"] for process, message in messages.items() if message.get("error")}
        if len(errors) == len(messages) and len(set(errors.values())) == 1:
            raise InputError(errors[0])
        if errors:
            raise InputError("; ".join(f"{self.name(process)}: {error}" for process, error in errors.items()))

    def _check_complete(self, messages: Mapping[int, Facts], gone: list[int]) -> None:
        """Raises InputError if a process is missing or gone, or two have the same number."""
        faults = []
        for process, host, _ in self._duplicates:
            faults += [f"{self.name(process)} is there twice, on {host} too: give each its own --process_id"]
        if gone:
            faults.append(f"{', '.join(map(self.name, gone))} left before the run began: its own message says why")
        silent = [each for each in range(1, self._num_processes) if each not in messages and each not in gone]
        absent = [each for each in silent if each not in self._lines]
        if absent and not faults:  # after a fault nobody waits for all
            there = ", ".join(self.name(each) for each in sorted(self._names))
            faults.append(
                f"{', '.join(map(self.name, absent))} of {self._num_processes} missing after {self._seconds:g} s "
                f"(there: {there}); start all, or raise hosts.connect_seconds"
            )
        if stuck := [each for each in silent if each in self._lines]:
            faults.append(f"{', '.join(map(self.name, stuck))} does not answer")
        if faults:
            raise InputError("; ".join(faults))

    def _close(self) -> None:
        self._selector.close()
        self._stack.close()


def check_same(facts: Mapping[int, Facts], name: Callable[[int], str]) -> None:
    """Checks that the facts of all processes are the same; fit for a `Judge`.

    Args:
        facts: by process, what must be equal, by its name.
        name: what messages call a process.

    Raises:
        InputError: some differ. The message names them and the processes.
    """
    differing = []
    for key in sorted({key for each in facts.values() for key in each}):
        groups: dict[str, list[int]] = {}
        for process, each in sorted(facts.items()):
            groups.setdefault(str(each.get(key)), []).append(process)
        if len(groups) > 1:
            held = (f"{value} on {_some(list(map(name, processes)))}" for value, processes in groups.items())
            differing.append(f"{key} is {', but '.join(held)}")
    if differing:
        raise InputError(f"the processes differ: {_some(differing, '; ')}")


def _some(texts: list[str], separator: str = ", ", most: int = 4) -> str:
    """Joins some texts, and says how many more there are."""
    rest = len(texts) - most
    return separator.join(texts[:most]) + (f"{separator}and {rest} more" if rest > 0 else "")
