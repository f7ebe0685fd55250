"""A real Slurm of two nodes on the loopback addresses of this machine, started and stopped by the tests.

Everything is in a folder of its own: nothing of the machine's own Slurm is read or changed. The ports are free ones and
the ids of the jobs, from which jax takes the coordinator's port, start at random. So several clusters can run at once.
"""

import contextlib
import getpass
import os
import random
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.ports import free_ports
from tests.support.processes import wait_until

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "scancel")
# Debian has the daemons where only root's PATH looks.
PATH = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])
MISSING = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]
needs_slurm = pytest.mark.skipif(bool(MISSING), reason=f"Slurm is not installed (missing: {', '.join(MISSING)})")
NODES = ("127.0.0.2", "127.0.0.3")  # names that are addresses resolve without an entry in /etc/hosts
ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")
SECONDS = 60  # that anything waited for may take on a busy machine
EVERY = 0.1  # seconds in which Slurm is asked once
# Over two partitions: jobs in "urgent" preempt those in "all", which get SIGTERM and are requeued.
CONFIG = """
ClusterName=loop
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_interval=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
SlurmctldTimeout=10
SlurmdTimeout=20
KillWait=5
JobRequeue=1
FirstJobId={first_job}
NodeName=127.0.0.[2-3] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{ports[1]}-{ports[2]}] CPUs=1
PartitionName=all Nodes=127.0.0.[2-3] Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=30
PartitionName=urgent Nodes=127.0.0.[2-3] MaxTime=INFINITE State=UP PriorityTier=2 PreemptMode=OFF
"""


@dataclass(frozen=True)
class Cluster:
    """A running cluster, with its folder and the environment in which Slurm's commands find it."""

    folder: Path
    environment: dict[str, str]

    def run(self, *command: str | Path, check: bool = True, **options) -> subprocess.CompletedProcess[str]:
        """Runs one of Slurm's commands."""
        options = {"env": self.environment, "capture_output": True, "text": True, "timeout": SECONDS, **options}
        result = subprocess.run(list(map(str, command)), **options)
        assert result.returncode == 0 or not check, f"{command}: {result.stderr}"
        return result

    def submit(self, *arguments: str | Path, cwd: Path | None = None, **variables: str) -> str:
        """Submits a job with sbatch's arguments, which has `variables` in its environment; its id."""
        environment = {**self.environment, **variables}
        return self.run("sbatch", "--parsable", *arguments, cwd=cwd, env=environment).stdout.strip()

    def show(self, job: str) -> dict[str, str]:
        """The fields of a job, or of its first task, as scontrol shows them."""
        lines = self.run("scontrol", "show", "job", "--oneliner", job).stdout.splitlines()
        return dict(re.findall(r"(\S+?)=(\S*)", lines[0]))

    def wait(self, job: str, *states: str, seconds: float = SECONDS) -> dict[str, str]:
        """Waits until a job is in one of `states`; its fields."""
        return self._wait(job, lambda fields: fields["JobState"] in states, seconds)

    def wait_for_end(self, job: str, *, restarts: int = 0, seconds: float = SECONDS) -> dict[str, str]:
        """Waits until a job that was queued again `restarts` times has ended, or is queued once more; its fields."""

        def holds(fields: dict[str, str]) -> bool:
            queued = fields["JobState"] == "PENDING" and int(fields["Restarts"]) > restarts
            return queued or fields["JobState"] in ENDED

        return self._wait(job, holds, seconds)

    def _wait(self, job: str, holds: Callable[[dict[str, str]], bool], seconds: float) -> dict[str, str]:
        fields = {}

        def ask() -> bool:
            fields.update(self.show(job))
            return holds(fields)

        wait_until(ask, lambda: f"job {job}: {fields}", seconds, every=EVERY)
        return fields

    def start_again(self, job: str) -> None:
        """Lets a job that was queued again start: Slurm would hold it back for two minutes.

        A node refuses a job that starts again in the second in which it ended.
        """
        self.run("scontrol", "update", f"JobId={job}", "StartTime=now+2seconds")

    def logs(self) -> str:
        """What the daemons have to say."""
        return "\n".join(f"{file.name}:\n{file.read_text()}" for file in sorted((self.folder / "log").iterdir()))


@contextlib.contextmanager
def started_cluster() -> Iterator[Cluster]:
    """A cluster whose two nodes are idle; at the end its jobs are killed and its daemons stopped."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))  # the path of a unix socket has to be short
    # Without what a job of the machine's own Slurm has set, if the tests run in one.
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SBATCH", "SRUN"))}
    environment = {**outside, "PATH": PATH, "SLURM_CONF": str(folder / "slurm.conf")}
    cluster = Cluster(folder, environment)
    port = free_ports(3)
    for name in ("state", "log"):
        (folder / name).mkdir()
    (folder / "slurm.conf").write_text(
        CONFIG.format(
            folder=folder,
            host=socket.gethostname().partition(".")[0],
            user=getpass.getuser(),
            ports=range(port, port + 3),
            first_job=random.SystemRandom().randrange(1, 2**16),
        )
    )
    try:
        start_daemons(cluster)
        yield cluster
    finally:
        with contextlib.suppress(AssertionError, subprocess.SubprocessError):
            end_jobs(cluster)
        stop_daemons(folder)
        shutil.rmtree(folder)


def start_daemons(cluster: Cluster) -> None:
    """Starts munge, the controller and a daemon for each node, and waits until the nodes are idle."""
    folder = cluster.folder
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o400)
    files = {
        "socket": "munge.socket",
        "key-file": "munge.key",
        "pid-file": "munged.pid",
        "log-file": "log/munged.log",
        "seed-file": "munge.seed",
    }
    cluster.run("munged", "--force", *(f"--{option}={folder / name}" for option, name in files.items()))
    configured = "-f", str(folder / "slurm.conf")
    for command in (["slurmctld", *configured], *(["slurmd", *configured, "-N", node] for node in NODES)):
        # A daemon keeps the pipes of its parent open, so they would never end.
        cluster.run(*command, capture_output=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def idle() -> bool:
        nodes = cluster.run("sinfo", "--noheader", "--Node", "--partition=all", "--format=%T", check=False)
        return nodes.stdout.split() == ["idle"] * len(NODES)

    wait_until(idle, lambda: f"idle nodes\n{cluster.logs()}", SECONDS, every=EVERY)


def end_jobs(cluster: Cluster) -> None:
    """Kills what runs and cancels what waits."""
    everything = f"--user={getpass.getuser()}"
    for options in (["--signal=KILL", "--full"], []):
        cluster.run("scancel", *options, everything, check=False)
    idle = "squeue", "--noheader"
    wait_until(lambda: not cluster.run(*idle).stdout, lambda: "the end of all jobs", seconds=20, every=EVERY)


def stop_daemons(folder: Path) -> None:
    """Kills the daemons, which have nothing to keep, by their pid files."""
    for file in folder.glob("*.pid"):
        with contextlib.suppress(ValueError, ProcessLookupError):
            os.kill(int(file.read_text()), signal.SIGKILL)
