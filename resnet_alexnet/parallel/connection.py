"""A TCP connection that carries lines of JSON, and the socket that waits for one."""

import contextlib
import errno
import json
import os
import socket
from collections.abc import Mapping
from typing import Any

from resnet_alexnet.errors import InputError

_MOST_BYTES = 2**20  # of a line
_SECONDS_TO_SEND = 10.0


class Line:
    """A connection that carries one JSON object per line."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self._bytes = b""

    def send(self, values: Mapping[str, Any]) -> None:
        """Sends an object.

        Raises:
            OSError: the other side is gone, or does not read.
        """
        self.socket.settimeout(_SECONDS_TO_SEND)
        self.socket.sendall(json.dumps(values).encode() + b"\n")

    def receive(self) -> dict[str, Any] | None:
        """Reads what is there, or waits for the socket's timeout; an object once its line is complete.

        Raises:
            ConnectionError: the other side is gone, or sent something else.
            TimeoutError: nothing came within the socket's timeout.
        """
        if b"\n" not in self._bytes:
            received = self.socket.recv(65536)
            if not received:
                raise ConnectionResetError("closed")
            self._bytes += received
            if len(self._bytes) > _MOST_BYTES:
                raise ConnectionAbortedError("too long a line")
        line, found, rest = self._bytes.partition(b"\n")
        if not found:
            return None
        self._bytes = rest
        values = None
        with contextlib.suppress(ValueError):
            values = json.loads(line)
        if not isinstance(values, dict):
            raise ConnectionAbortedError("not a JSON object")
        return values


def listen(host: str, port: int) -> socket.socket:
    """Listens at an address of this machine, or if the name is not one of its own, at all of its addresses.

    Raises:
        InputError: the port is in use, or may not be used.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        try:
            return socket.create_server(address[:2], family=family, backlog=1024)
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:
                raise
        return socket.create_server(("", port), backlog=1024)  # the name is that of a proxy or service
    except OSError as error:
        number = error.errno or 0  # not above 0 if it is the name that cannot be resolved
        reason = os.strerror(number) if number > 0 else error.strerror
        raise InputError(
            f"process 0 cannot listen at {host}:{port}: {reason} "
            "(choose another --coordinator_address, or under Slurm or MPI another JAX_COORDINATOR_PORT)"
        ) from None
