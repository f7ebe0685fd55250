"""The processes of a run on several hosts: who they are, whether all are there, and JAX's connection among them.

The only module that uses jax.distributed. One process without others never touches it.
"""

import contextlib
import ipaddress
import os
import secrets
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
from jax.experimental import multihost_utils

from resnet_alexnet.errors import InputError, InterruptedRunError
from resnet_alexnet.parallel.census import Census, check_same
from resnet_alexnet.parallel.connection import listen

_FLAGS = "--coordinator_address, --num_processes and --process_id"
_DETECTED_PORTS = 61440  # from here on, JAX derives the coordinator's port from the number of the cluster's job
_SECONDS_TO_APPEAR = 5.0  # that a new file may take to be seen on another host


@dataclass(frozen=True)
class Processes:
    """The processes of a run, and which of them this one is.

    Attributes:
        host: the machine on which process 0 runs, by name or address.
        port: on which JAX's coordinator listens there.
        num_processes: how many there are.
        process_id: the number of this one.
        local_device_ids: the devices of this machine that this process uses; empty for all, None if not said.
        local_process_id: the number of this process among those of this machine, if the cluster says so.
    """

    host: str
    port: int
    num_processes: int
    process_id: int
    local_device_ids: tuple[int, ...] | None = None
    local_process_id: int | None = None

    @property
    def census_port(self) -> int:
        """On which process 0 hears from the others before it starts JAX's coordinator: the next port.

        Ports that JAX derives from the number of a job have the next job's beside them, so there it is far below.
        """
        return self.port + 1 if self.port < _DETECTED_PORTS else self.port - 32768


def detect(
    coordinator_address: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    local_device_ids: tuple[int, ...] | None = None,
) -> Processes | None:
    """The processes of this run by the given flags, or by JAX's detection of clusters; None for a single process.

    Raises:
        InputError: the flags are incomplete or contradict each other, or the cluster cannot be asked.
    """
    given = (coordinator_address, num_processes, process_id)
    if coordinator_address is not None and num_processes is not None and process_id is not None:
        local_process_id = None
    elif any(each is not None for each in given):
        raise InputError(f"{_FLAGS} belong together: give all of them, or none")
    else:
        coordinator_address, num_processes, process_id, local_process_id = _ask_cluster()
    if coordinator_address is None or num_processes is None or process_id is None or num_processes == 1:
        if local_device_ids is not None:
            raise InputError(f"--local_device_ids is for several processes: it needs {_FLAGS}, or a cluster")
        return None
    if not 0 <= process_id < num_processes:
        raise InputError(f"--process_id={process_id} (allowed: 0 to {num_processes - 1}, of {num_processes} processes)")
    host, _, port = coordinator_address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) <= 65535:
        raise InputError(f"--coordinator_address={coordinator_address} (allowed: HOST:PORT, the port from 1 to 65535)")
    return Processes(host.strip("[]"), int(port), num_processes, process_id, local_device_ids, local_process_id)


def _ask_cluster() -> tuple[str | None, int | None, int | None, int | None]:
    """The coordinator's address, the number of processes, that of this one, and that on this machine; None if none."""
    from jax._src import clusters  # there is no public way to ask before jax.distributed.initialize

    address, address_port = os.environ.get("JAX_COORDINATOR_ADDRESS"), os.environ.get("JAX_COORDINATOR_PORT")
    if address and ":" not in address and address_port:
        address = f"{address}:{address_port}"
    try:
        address, num_processes, process_id, local = clusters.ClusterEnv.auto_detect_unset_distributed_params(
            address, None, None, None, None, 300
        )
    except Exception as error:  # each kind of cluster fails in its own ways
        raise InputError(
            f"JAX cannot ask the cluster in which it finds itself ({' '.join(str(error).split())}): give {_FLAGS}; "
            "for a single process, --coordinator_address=localhost:1234 --num_processes=1 --process_id=0"
        ) from None
    return address, num_processes, process_id, local[0] if local else None


def own_name(processes: Processes) -> str:
    """What the messages of this process begin with."""
    return f"process {processes.process_id} of {processes.num_processes} ({socket.gethostname()})"


@contextlib.contextmanager
def connected(
    processes: Processes, facts: Mapping[str, str], shared_file: Path, *, connect_seconds: int, heartbeat_seconds: int
) -> Iterator[Census]:
    """Checks that all processes are there, agree and see the run folder; then connects JAX's.

    In the block the processes can go on to consult each other. JAX stays connected after it, unless the run was
    stopped: then all leave together.

    Args:
        processes: the processes of the run.
        facts: what must be the same on all, by its name: the config, the versions.
        shared_file: a file in the run folder that process 0 may write and remove, to see whether the others see it.
        connect_seconds: how long to wait for a process.
        heartbeat_seconds: how long a process may be silent before JAX takes it for dead.

    Raises:
        InputError: one is missing or differs, or does not see the run folder, or a port is in use; on all processes.
    """
    host = socket.gethostname()
    with Census(
        (processes.host, processes.census_port),
        processes.num_processes,
        processes.process_id,
        host=host,
        seconds=connect_seconds,
    ) as census:
        alone = _compare(census, processes, host, facts)
        _check_shared(census, shared_file)
        local_device_ids = processes.local_device_ids
        if local_device_ids is None:
            local_device_ids = () if alone or processes.local_process_id is None else (processes.local_process_id,)
        named = processes.local_device_ids is None and "JAX_LOCAL_DEVICE_IDS" in os.environ
        try:
            jax.distributed.initialize(
                _address(processes.host, processes.port),
                processes.num_processes,
                processes.process_id,
                local_device_ids=None if named else local_device_ids,
                cluster_detection_method="deactivate",
                initialization_timeout=connect_seconds,
                heartbeat_timeout_seconds=heartbeat_seconds,
                coordinator_bind_address=_bind_address(processes),
            )
        except RuntimeError as error:
            raise InputError(f"JAX cannot connect the processes: {' '.join(str(error).split())}") from None
        _check_devices(census)
        try:
            yield census
        except InterruptedRunError:  # on which all have agreed
            # Waits for all. If one left earlier, JAX (if it was process 0) or `srun --kill-on-bad-exit` would end the
            # others.
            jax.distributed.shutdown()
            raise


def _compare(census: Census, processes: Processes, host: str, facts: Mapping[str, str]) -> bool:
    """Checks that all agree on `facts`; returns whether this process is the only one of its machine."""

    def judge(messages: Mapping[int, Any]) -> list[str]:
        listen(processes.host, processes.port).close()  # JAX's own failure to do so would end the others without a name
        check_same({process: message["facts"] for process, message in messages.items()}, census.name)
        hosts = [message["host"] for message in messages.values()]
        return [each for each in set(hosts) if hosts.count(each) > 1]

    facts = {**facts, "number of processes": str(processes.num_processes)}
    shared = census.consult({"host": host, "facts": facts}, judge, wait=False)
    return host not in shared


def _check_shared(census: Census, file: Path) -> None:
    """Checks that all processes see the run folder of process 0, by a file in it that it writes and removes."""
    with contextlib.ExitStack() as stack:

        def write(messages: object) -> str:
            return stack.enter_context(_token(file))

        def judge(messages: Mapping[int, Any]) -> None:
            blind = [process for process, message in messages.items() if not message["sees"]]
            if blind:
                raise InputError(
                    f"--workdir={file.parent} of {census.name(0)} is not seen by {', '.join(map(census.name, blind))} "
                    "(allowed: a folder that all hosts share, under the same path)"
                )

        token = census.consult({}, write, wait=False)
        end = time.monotonic() + _SECONDS_TO_APPEAR
        while not (sees := _read(file) == token) and time.monotonic() < end:
            time.sleep(0.1)
        census.consult({"sees": sees}, judge, wait=False)


@contextlib.contextmanager
def _token(file: Path) -> Iterator[str]:
    """Writes a random text to a file. At the end removes it, and each folder that was created for it and is empty."""
    text = secrets.token_hex(8)
    new = [folder for folder in file.parents if not os.path.exists(folder)]
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        yield text
    except OSError as error:
        raise InputError(f"--workdir={file.parent} cannot be written: {error.strerror}") from None
    finally:
        with contextlib.suppress(OSError):
            file.unlink(missing_ok=True)
            for folder in new:
                folder.rmdir()


def _read(file: Path) -> str | None:
    try:
        return file.read_text()
    except (OSError, ValueError):
        return None


def _check_devices(census: Census) -> None:
    """Checks that all processes have equally many devices of one kind."""
    local = jax.local_devices()
    facts = {"the number of devices": len(local), "the kind of device": local[0].device_kind}
    census.consult(facts, lambda messages: check_same(messages, census.name))


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _bind_address(processes: Processes) -> str | None:
    """Where JAX's coordinator listens: on a loopback address only there; None for JAX's default, all addresses."""
    with contextlib.suppress(OSError, ValueError):
        resolved = socket.getaddrinfo(processes.host, processes.port, type=socket.SOCK_STREAM)[0][4][0]
        if ipaddress.ip_address(str(resolved)).is_loopback:
            return _address(str(resolved), processes.port)
    return None


class StopPoint:
    """Asks JAX whether all processes are to stop here, because one of them got SIGTERM."""

    def __init__(self) -> None:
        self._asked = 0

    def __call__(self) -> bool:
        """True at the same call on all processes. Each calls this equally often. Does not wait for the devices."""
        self._asked += 1
        return multihost_utils.reached_preemption_sync_point(self._asked)
