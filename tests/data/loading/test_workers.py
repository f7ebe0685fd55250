"""Worker processes: the same chunks, bounded memory, and nothing left when the run ends, whatever ends it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from resnet_alexnet.data.loading import workers
from resnet_alexnet.data.loading.loader import train_chunks
from resnet_alexnet.errors import InputError, TrainingError
from tests.support.photo_sets import create_source, write_folder

CHECKOUT = Path(__file__).parents[3]
SECONDS = 60  # that anything may take on a busy machine


def read(source, **options):
    options = {"batch_size": 8, "seed": 3, "start_step": 0, "num_steps": 12, **options}
    return list(train_chunks(source, **options))


def assert_same_chunks(ours, theirs):
    assert [step for step, _ in ours] == [step for step, _ in theirs]
    for (_, a), (_, b) in zip(ours, theirs, strict=True):
        assert a.keys() == b.keys() == {"image", "label"}
        for key in a:
            np.testing.assert_array_equal(a[key], b[key])


# The same batches


@pytest.mark.parametrize("count", [1, 3, 8])
def test_chunks_do_not_depend_on_the_number_of_workers(source, count):
    assert_same_chunks(read(source, workers=count), read(source, workers=0))


@pytest.mark.parametrize("count", [0, 2])
def test_a_run_that_is_resumed_in_the_middle_of_an_epoch_goes_on_alike(source, count):
    whole = read(source, workers=0)
    for start_step in (2, 7):  # an epoch has four steps
        assert_same_chunks(read(source, start_step=start_step, workers=count), whole[start_step:])


def test_hosts_read_their_rows_and_together_the_whole_batch(source):
    whole = read(source, workers=0)
    hosts = [read(source, rows=slice(first, first + 4), workers=2) for first in (0, 4)]
    for (_, chunk), (_, first), (_, second) in zip(whole, *hosts, strict=True):
        for key in chunk:
            np.testing.assert_array_equal(chunk[key], np.concatenate([first[key], second[key]], axis=1))


def test_chunks_of_several_steps_and_a_short_first_one(source):
    options = {"num_steps": 12, "steps_per_call": 4, "start_step": 2}
    ours, theirs = read(source, workers=2, **options), read(source, workers=0, **options)
    assert [chunk["image"].shape[0] for _, chunk in ours] == [2, 4, 4]
    assert_same_chunks(ours, theirs)


def test_a_chunk_stays_what_it_is_while_others_are_read(source):
    chunks = train_chunks(source, batch_size=4, seed=0, start_step=0, num_steps=40, workers=1)
    _, first = next(chunks)
    kept = first["image"].copy()
    for _ in range(10):  # many times around the blocks
        next(chunks)
    np.testing.assert_array_equal(first["image"], kept)
    chunks.close()


def test_more_workers_than_chunks_are_not_started(source):
    assert len(read(source, num_steps=2, workers=8)) == 2


def test_automatic_numbers_follow_the_cores(monkeypatch):
    for cores, expected in ((1, 0), (4, 0), (8, 8), (96, 16)):
        monkeypatch.setattr(workers, "count_cores", lambda cores=cores: cores)
        assert workers.count_workers(workers.AUTO) == expected
    assert workers.count_workers(3) == 3
    assert workers.count_workers(0) == 0


# Errors


def test_what_a_worker_meets_reaches_the_run(source, tmp_path):
    folder = write_folder(tmp_path)
    lost = create_source(folder)
    (folder / "train" / "bee" / "05.jpg").unlink()
    with pytest.raises(InputError, match=r"05\.jpg cannot be read"):
        read(lost, workers=2)


class Broken:
    """Photographs whose reading has a mistake in its code."""

    classes, labels, channels = ("a", "b"), None, 3

    def __len__(self):
        return 40

    def read(self, index):
        return {}["no such key"]

    def where(self, index):
        return "nowhere"


def test_a_mistake_in_a_worker_comes_with_its_traceback(source):
    from dataclasses import replace

    with pytest.raises(RuntimeError, match=r"(?s)a worker process failed.*test_workers\.py.*KeyError: 'no such key'"):
        read(replace(source, photos=Broken()), workers=1)


def children():
    return [child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())]


def test_a_worker_that_is_killed_is_noticed(source):
    chunks = train_chunks(source, batch_size=4, seed=0, start_step=0, num_steps=1000, workers=2)
    next(chunks)
    children()[0].kill()
    with pytest.raises(TrainingError, match=r"ended with exit code -9.*lower dataset\.workers"):
        for _ in chunks:
            pass
    assert not children()


# The end


def test_closing_ends_the_workers_at_once(source):
    chunks = train_chunks(source, batch_size=4, seed=0, start_step=0, num_steps=1000, workers=3)
    next(chunks)
    assert len(children()) == 3
    chunks.close()
    assert not children()


def test_workers_import_no_jax(source):
    chunks = train_chunks(source, batch_size=4, seed=0, start_step=0, num_steps=1000, workers=1)
    next(chunks)
    mapped = {Path(region.path).name for region in children()[0].memory_maps()}
    chunks.close()
    assert any("simplejpeg" in name or "_jpeg" in name for name in mapped)
    assert not any("jaxlib" in name or name.startswith("_jax") or "xla" in name for name in mapped)


RUN = """
import signal, sys, time
sys.path.insert(0, {checkout!r})
from tests.support.photo_sets import create_source
from resnet_alexnet.data.loading.loader import train_chunks

if __name__ == "__main__":
    source = create_source({folder!r})
    for step, _ in train_chunks(source, batch_size=8, seed=0, start_step=0, num_steps=10**7, workers=3):
        if step == 5:
            print("running", flush=True)
        if step > 5:
            time.sleep(0.01)
"""


def start(folder, tmp_path):
    """A process that reads with three workers, in a group of its own; returns it and its workers."""
    script = tmp_path / "run.py"
    script.write_text(RUN.format(checkout=str(CHECKOUT), folder=str(folder)))
    process = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "running\n"
    family = psutil.Process(process.pid).children(recursive=True)
    assert sum("spawn_main" in " ".join(child.cmdline()) for child in family) == 3
    return process, family


@pytest.mark.parametrize("to_group", [False, True], ids=["to the run", "to all its processes"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_no_process_and_no_shared_memory_is_left(folder, tmp_path, number, to_group):
    process, family = start(folder, tmp_path)
    mapped = {region.path for child in family for region in child.memory_maps()}
    assert any("memfd:chunks" in path for path in mapped)  # memory without a name ...
    assert not any(path.startswith("/dev/shm") for path in mapped)  # ... and none that has one
    (os.killpg if to_group else os.kill)(process.pid, number)
    _, errors = process.communicate(timeout=SECONDS)
    _, alive = psutil.wait_procs(family, timeout=SECONDS)
    assert not alive
    if number == signal.SIGINT:
        assert errors.count("Traceback") == 1  # the run's own; no worker says anything
        assert errors.rstrip().endswith("KeyboardInterrupt")
    else:
        assert errors == ""


# Memory


def test_memory_does_not_grow_over_epochs(source):
    chunks = train_chunks(source, batch_size=12, seed=0, start_step=0, num_steps=3000, workers=2)

    def used():
        family = [psutil.Process(), *children()]
        return sum(process.memory_info().rss for process in family)

    for step, _ in chunks:  # three steps an epoch
        if step == 300:
            early = used()
        if step == 1500:
            break
    late = used()
    chunks.close()
    assert late - early < 8 * 2**20  # 400 epochs; a leak of one batch an epoch would be 8 MB
