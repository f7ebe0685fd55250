"""Runs the tasks of a sweep as a Slurm array job, and follows them by their files."""

import contextlib
import hashlib
import re
import shlex
import shutil
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from resnet_alexnet.cli.board import Board
from resnet_alexnet.cli.interrupt import EXIT_CODES, Interrupt
from resnet_alexnet.errors import InputError, InterruptedRunError
from resnet_alexnet.files import atomic_write
from resnet_alexnet.study.pool import BAD_INPUT, Task, last_lines, show
from resnet_alexnet.workdir.config import LOG_FILE
from resnet_alexnet.workdir.goodput import FAILED_CHECKS
from resnet_alexnet.workdir.metrics_log import METRICS_FILE

SCRIPT_FILE = "array.sbatch"
_SECONDS = 3.0  # between two questions to the scheduler
_ATTEMPTS = 5  # to ask it: a controller that restarts does not answer
_FAILED_CHECK = "|".join(f'"{mark}": true' for mark in FAILED_CHECKS)  # as `RunState.failed_check`
_SECONDS_TO_SAVE = 60  # before the time limit at which Slurm sends SIGTERM

# The run is a step of the job, as in launch/slurm.sbatch: to steps Slurm sends SIGTERM before the time limit, when it
# preempts the job and when it ends it, to this script only in the last case. Then it does not requeue the job itself.
_SCRIPT = """#!/bin/bash
#SBATCH --job-name={name}
#SBATCH --array=0-{last}%{jobs}
#SBATCH --output={output}
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=TERM@{seconds}
case $SLURM_ARRAY_TASK_ID in
{cases}
esac
mkdir -p "$folder" || exit 1
ended=
trap 'ended=1' TERM
for attempt in {attempts}; do
    echo "\\$ ${{run[*]}}" >>"$folder/{log}"
    srun --nodes=1 --ntasks=1 --cpus-per-task="$SLURM_CPUS_ON_NODE" "${{run[@]}}" >>"$folder/{log}" 2>&1 </dev/null
    code=$?
    [ -n "$ended" ] && break
    case $code in 0 | {bad_input} | 75) break ;; esac
    tail -n 1 "$folder/{metrics}" 2>/dev/null | grep -qE '{failed_check}' && break
done
task=${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID
if [ "$code" = 75 ] && scontrol show job "$task" | grep -q JobState=RUNNING; then
    scontrol requeue "$task"
fi
exit "$code"
"""


def run_array(
    tasks: Sequence[Task], *, workdir: Path, jobs: int, retries: int, options: Sequence[str], board: Board
) -> list[str]:
    """Runs all tasks as an array job; returns the names of those that failed.

    If the array of an earlier call is still in the queue, it is followed first, and only tasks that it lacks are
    submitted, after it. A signal ends the following: the array stays in the queue.

    Args:
        tasks: a task of the array each.
        workdir: the folder of the sweep, for the script and the output of the array. All nodes must see it.
        jobs: how many run at once.
        retries: how many times a run that failed is started again in its job; bad input is not.
        options: more words for sbatch, such as "--partition=gpu".
        board: where it is shown.

    Raises:
        InputError: Slurm refuses the job.
        InterruptedRunError: a signal came.
    """
    name, left, failed = _job_name(workdir), list(tasks), []
    if job := _active(name):
        board.say(f"following job {job}, which an earlier call submitted")
        known = _tasks_of_script(tasks, workdir)
        failed += _follow_to_end(known, name, job, board)
        left = [task for task in tasks if task not in known and not task.is_done()]  # the sweep has grown since
    if left:
        with atomic_write(workdir / SCRIPT_FILE) as temporary:
            temporary.write_text(array_script(left, workdir=workdir, jobs=jobs, retries=retries), encoding="utf-8")
        job = _call(["sbatch", "--parsable", *options, str(workdir / SCRIPT_FILE)]).partition(";")[0].strip()
        board.say(f"submitted {workdir / SCRIPT_FILE} as job {job}")
        failed += _follow_to_end(left, name, job, board)
    return failed


def _tasks_of_script(tasks: Sequence[Task], workdir: Path) -> list[Task]:
    """Those of the tasks that the array that was submitted last runs."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        script = (workdir / SCRIPT_FILE).read_text(encoding="utf-8")
        return [task for task in tasks if f") {_folder_word(task)} run=" in script]
    return []


def _follow_to_end(tasks: Sequence[Task], name: str, job: str, board: Board) -> list[str]:
    """Follows an array until it has ended; returns the names of the tasks that failed."""
    woken = threading.Event()
    with Interrupt(lambda number: woken.set(), lambda: "stopped following the array") as interrupt:
        running = _follow(tasks, name, board, woken)
    if interrupt.signal is not None:
        raise InterruptedRunError(
            f"{interrupt.signal.name}: job {job} goes on; run the same command again to follow it, scancel {job} to "
            "stop it",
            EXIT_CODES[interrupt.signal],
        )
    failed = []
    for task in tasks:
        if task.name in running:
            board.end(task.name, task.describe() if task.is_done() else "ended", done=task.is_done())
        if not task.is_done():
            failed.append(task.name)
            board.say("\n".join([f"{task.name} failed", *last_lines(task.folder)]))
    return failed


def check_slurm() -> None:
    """Raises InputError if Slurm's programs are not here."""
    if shutil.which("sbatch") is None:
        raise InputError("--slurm: there is no program sbatch here (run this on a host of a Slurm cluster)")


def array_script(tasks: Sequence[Task], *, workdir: Path, jobs: int, retries: int) -> str:
    """The text of the script for sbatch. Each task repeats a run that fails, and is requeued if it was stopped."""
    cases = [f"{number}) {_folder_word(task)} run=({shlex.join(task.command)}) ;;" for number, task in enumerate(tasks)]
    return _SCRIPT.format(
        name=_job_name(workdir),
        last=len(tasks) - 1,
        jobs=jobs,
        output=str(workdir.absolute() / "slurm-%a.txt").replace(" ", "\\ "),
        seconds=_SECONDS_TO_SAVE,
        cases="\n".join(cases),
        attempts=" ".join(map(str, range(retries + 1))),
        log=LOG_FILE,
        metrics=METRICS_FILE,
        failed_check=_FAILED_CHECK,
        bad_input=BAD_INPUT,
    )


def _folder_word(task: Task) -> str:
    return f"folder={shlex.quote(str(task.folder.absolute()))}"


def _follow(tasks: Sequence[Task], name: str, board: Board, woken: threading.Event) -> set[str]:
    """Shows the tasks until the queue has none of them any more, or `woken`; returns the names of those not done."""
    running: set[str] = set()
    done: set[str] = set()
    while not woken.wait(_SECONDS):
        is_active = bool(_active(name))  # before the files are read: what ended until now is in them
        for task in tasks:
            begun = (task.folder / LOG_FILE).exists()
            if task.name not in running | done and begun:
                running.add(task.name)
                board.start(task.name, task.num_steps)
            if task.name in running:
                show(board, task)
            if task.name in running and task.is_done():
                running.remove(task.name)
                done.add(task.name)
                board.end(task.name, task.describe(), done=True)
        if not is_active:
            break
    return running


def _job_name(workdir: Path) -> str:
    """The same for each call with this workdir, and for no other."""
    digest = hashlib.sha256(str(workdir.resolve()).encode()).hexdigest()[:8]
    return f"{re.sub(r'[^A-Za-z0-9_.-]', '-', workdir.resolve().name)[:40]}-{digest}"


def _active(name: str) -> str:
    """The number of the user's job of this name that is not over; empty if there is none."""
    command = ["squeue", "--me", "--noheader", f"--name={name}", "--format=%F"]
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return next(iter(_call(command).split()), "")
        except InputError:
            if attempt == _ATTEMPTS:
                raise
            time.sleep(_SECONDS)
    return ""


def _call(command: Sequence[str]) -> str:
    """The output of a program of Slurm.

    Raises:
        InputError: it fails.
    """
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise InputError(f"{command[0]} failed: {' '.join((result.stderr or result.stdout).split())}")
    return result.stdout
