"""Free ports of this machine."""

import contextlib
import socket


def free_ports(count: int) -> int:
    """The first of `count` free ports of 127.0.0.1 in a row."""
    while True:
        # OSError: the next one is in use. OverflowError: there is none.
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError, OverflowError):
            sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
            sockets[0].bind(("127.0.0.1", 0))
            first = sockets[0].getsockname()[1]
            for number in range(1, count):
                sockets[number].bind(("127.0.0.1", first + number))
            return first
