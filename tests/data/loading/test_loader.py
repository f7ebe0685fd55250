import itertools
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_alexnet.data.arrays import ArraySource
from resnet_alexnet.data.loading import loader
from resnet_alexnet.data.loading.loader import (
    batch_indices,
    chunk_length,
    epoch_order,
    eval_batches,
    steps_per_epoch,
    train_chunks,
)
from resnet_alexnet.errors import InputError


def make_source(num_examples):
    """A source whose images and labels tell their index."""
    index = np.arange(num_examples)
    images = np.zeros((num_examples, 2, 3, 1), np.uint8)
    images[:, 0, 0, 0], images[:, 1, 2, 0] = index % 256, index // 256
    return ArraySource(images, (index % 7).astype(np.int32), tuple("abcdefg"))


def image_indices(images):
    return images[..., 0, 0, 0].astype(int) + 256 * images[..., 1, 2, 0].astype(int)


def slow_batches(num_examples, *, batch_size, seed, num_steps):
    """The stated rule as a plain loop: shuffle, hand out whole batches, drop the rest, shuffle anew."""
    batches, epoch = [], 0
    while len(batches) < num_steps:
        waiting = list(np.random.default_rng([seed, epoch]).permutation(num_examples))
        while len(waiting) >= batch_size and len(batches) < num_steps:
            batches.append([int(waiting.pop(0)) for _ in range(batch_size)])
        epoch += 1
    return batches


def indices_by_step(chunks):
    """The example indices of every step, whichever way the chunks came."""
    steps = []
    for _, chunk in chunks:
        steps.extend((chunk["index"] if "index" in chunk else image_indices(chunk["image"])).tolist())
    return steps


# The order


@given(
    num_examples=st.integers(1, 40),
    batch_size=st.integers(1, 40),
    seed=st.integers(0, 2**32),
    num_steps=st.integers(1, 30),
)
def test_batches_are_those_of_a_plain_loop(num_examples, batch_size, seed, num_steps):
    batch_size = min(batch_size, num_examples)
    ours = [batch_indices(step, num_examples, batch_size=batch_size, seed=seed).tolist() for step in range(num_steps)]
    assert ours == slow_batches(num_examples, batch_size=batch_size, seed=seed, num_steps=num_steps)


def test_order_depends_on_the_step_alone():
    steps = np.random.default_rng(0).permutation(40)
    in_turn = slow_batches(23, batch_size=5, seed=3, num_steps=40)
    for step in steps:
        assert batch_indices(int(step), 23, batch_size=5, seed=3).tolist() == in_turn[step]


def test_every_example_at_most_once_an_epoch_and_no_two_epochs_alike():
    per_epoch = steps_per_epoch(50, 8)
    assert per_epoch == 6
    epochs = []
    for epoch in range(10):
        steps = range(epoch * per_epoch, (epoch + 1) * per_epoch)
        indices = np.concatenate([batch_indices(step, 50, batch_size=8, seed=0) for step in steps]).tolist()
        assert len(set(indices)) == 48
        epochs.append(tuple(indices))
    assert len(set(epochs)) == 10
    assert len({frozenset(range(50)) - set(epoch) for epoch in epochs}) > 1  # not always the same two are dropped


def test_seeds_differ():
    assert len({tuple(epoch_order(100, seed=seed, epoch=epoch)) for seed in range(5) for epoch in range(5)}) == 25


def test_shared_order_cannot_be_written_to():
    with pytest.raises(ValueError, match="read-only"):
        batch_indices(0, 10, batch_size=2, seed=0)[0] = 1


# Chunks


@pytest.mark.parametrize("resident", [False, True])
@pytest.mark.parametrize("steps_per_call", [1, 5])
def test_chunks_hold_the_batches_in_order(resident, steps_per_call):
    chunks = train_chunks(
        make_source(300),
        batch_size=16,
        seed=1,
        start_step=0,
        num_steps=60,
        steps_per_call=steps_per_call,
        resident=resident,
    )
    assert indices_by_step(chunks) == slow_batches(300, batch_size=16, seed=1, num_steps=60)


def test_streamed_chunk_has_images_and_labels_of_its_source():
    source = make_source(20)
    next_step, chunk = next(train_chunks(source, batch_size=4, seed=0, start_step=0, num_steps=6, steps_per_call=3))
    assert next_step == 3
    assert {key: (value.shape, value.dtype.name) for key, value in chunk.items()} == {
        "image": ((3, 4, 2, 3, 1), "uint8"),
        "label": ((3, 4), "int32"),
    }
    index = image_indices(chunk["image"])
    np.testing.assert_array_equal(chunk["image"], source.images[index])
    np.testing.assert_array_equal(chunk["label"], source.labels[index])


def test_resident_chunk_has_indices_only():
    arguments = {"batch_size": 4, "seed": 0, "start_step": 0, "num_steps": 6, "steps_per_call": 3}
    _, chunk = next(train_chunks(make_source(20), **arguments, resident=True))
    assert list(chunk) == ["index"]
    assert chunk["index"].dtype == np.int32
    assert chunk["index"].shape == (3, 4)


@pytest.mark.parametrize("resident", [False, True])
@pytest.mark.parametrize("start_step", [0, 1, 7, 12, 23, 24])
def test_resumed_run_continues_the_undisturbed_one(resident, start_step):
    arguments = {
        "batch_size": 8,
        "seed": 5,
        "num_steps": 24,
        "steps_per_call": 4,
        "boundaries": (12,),
        "resident": resident,
    }
    whole = indices_by_step(train_chunks(make_source(50), start_step=0, **arguments))
    resumed = indices_by_step(train_chunks(make_source(50), start_step=start_step, **arguments))
    assert len(whole) == 24
    assert resumed == whole[start_step:]


@given(
    num_steps=st.integers(1, 60),
    boundaries=st.lists(st.integers(0, 30), max_size=3),
    steps_per_call=st.integers(1, 12),
    data=st.data(),
)
def test_chunks_end_at_every_boundary_and_have_one_length(num_steps, boundaries, steps_per_call, data):
    start_step = data.draw(st.integers(0, num_steps))
    chunks = train_chunks(
        make_source(9),
        batch_size=2,
        seed=0,
        start_step=start_step,
        num_steps=num_steps,
        steps_per_call=steps_per_call,
        boundaries=boundaries,
        resident=True,
    )
    length = chunk_length(num_steps=num_steps, steps_per_call=steps_per_call, boundaries=boundaries)
    done, lengths = start_step, []
    for next_step, chunk in chunks:
        lengths.append(len(chunk["index"]))
        assert next_step == done + lengths[-1]
        inside = range(done + 1, next_step)
        assert not any(step % period == 0 for step in inside for period in (*boundaries, num_steps) if period)
        done = next_step
    assert done == num_steps
    assert all(size == length for size in lengths[1:])
    assert all(size <= length <= steps_per_call for size in lengths[:1])
    if start_step % length == 0:
        assert set(lengths) <= {length}


@pytest.mark.parametrize(
    ("num_steps", "boundaries", "steps_per_call", "expected"),
    [
        (1000, (100, 250), 20, 10),
        (1000, (100, 0), 20, 20),
        (1000, (), 1, 1),
        (997, (100,), 50, 1),
        (64000, (400,), 300, 200),
    ],
)
def test_chunk_length_is_the_largest_common_divisor_allowed(num_steps, boundaries, steps_per_call, expected):
    assert chunk_length(num_steps=num_steps, steps_per_call=steps_per_call, boundaries=boundaries) == expected


@pytest.mark.parametrize("hosts", [1, 2, 4])
@pytest.mark.parametrize("resident", [False, True])
def test_rows_of_all_hosts_make_up_the_global_batch(hosts, resident):
    arguments = {
        "batch_size": 8,
        "seed": 2,
        "start_step": 3,
        "num_steps": 12,
        "steps_per_call": 3,
        "resident": resident,
    }
    local = 8 // hosts
    per_host = [
        indices_by_step(train_chunks(make_source(50), rows=slice(host * local, (host + 1) * local), **arguments))
        for host in range(hosts)
    ]
    joined = [list(itertools.chain(*rows)) for rows in zip(*per_host, strict=True)]
    assert joined == slow_batches(50, batch_size=8, seed=2, num_steps=12)[3:]


@pytest.mark.parametrize("prefetch", [0, 1, 5])
def test_prefetching_does_not_change_the_batches(prefetch):
    chunks = train_chunks(make_source(30), batch_size=4, seed=0, start_step=0, num_steps=20, prefetch=prefetch)
    assert indices_by_step(chunks) == slow_batches(30, batch_size=4, seed=0, num_steps=20)


def test_chunks_are_picklable_and_random_access_for_worker_processes():
    chunks = loader._Chunks(
        source=make_source(30),
        batch_size=4,
        seed=0,
        start_step=1,
        num_steps=12,
        length=3,
        rows=slice(0, 2),
        resident=False,
    )
    copy = pickle.loads(pickle.dumps(chunks))
    for number in (3, 0, 2):
        (step, chunk), (copied_step, copied) = chunks[number], copy[number]
        assert step == copied_step
        np.testing.assert_array_equal(chunk["image"], copied["image"])


class BrokenSource(ArraySource):
    def gather(self, indices, draw=None):
        raise InputError("the disk is gone")


def test_error_of_a_source_reaches_the_caller():
    source = make_source(10)
    broken = BrokenSource(source.images, source.labels, source.classes)
    with pytest.raises(InputError, match="the disk is gone"):
        next(train_chunks(broken, batch_size=2, seed=0, start_step=0, num_steps=4))


def test_closing_ends_the_prefetching_threads():
    chunks = train_chunks(make_source(50), batch_size=4, seed=0, start_step=0, num_steps=1000, prefetch=3)
    next(chunks)
    prefetching = [thread for thread in threading.enumerate() if "grain-prefetch" in thread.name]
    assert prefetching
    chunks.close()
    for thread in prefetching:
        thread.join(timeout=10)
    assert not any(thread.is_alive() for thread in prefetching)


def test_interpreter_exits_after_an_early_break():
    code = """
import numpy as np
from resnet_alexnet.data.loading.loader import train_chunks
from resnet_alexnet.data.sources import create_splits
source = create_splits("synthetic", image_size=8, num_examples=100).train
chunks = train_chunks(source, batch_size=8, seed=0, start_step=0, num_steps=10**6)
for next_step, chunk in chunks:
    if next_step == 5:
        break
print("left at", next_step)
"""
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, check=True, timeout=60, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("left at 5\n", "")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 11}, "batch_size=11 is more than the 10 training examples"),
        ({"batch_size": 0}, r"batch_size=0 \(allowed: 1"),
        ({"seed": -1}, "seed=-1"),
        ({"start_step": 21}, r"start_step=21 \(allowed: 0 to num_steps=20"),
        ({"start_step": -1}, "start_step=-1"),
        ({"steps_per_call": 0}, "steps_per_call=0"),
        ({"boundaries": (5, -2)}, "a period of -2 steps"),
        ({"prefetch": -1}, "prefetch=-1"),
    ],
)
def test_bad_arguments_are_refused_at_the_call(change, message):
    arguments = {"batch_size": 2, "seed": 0, "start_step": 0, "num_steps": 20} | change
    with pytest.raises(InputError, match=message):
        train_chunks(make_source(10), **arguments)


# Evaluation


@given(num_examples=st.integers(1, 60), local=st.integers(1, 9), hosts=st.sampled_from([1, 2, 4]))
def test_evaluation_sees_every_image_exactly_once_in_order(num_examples, local, hosts):
    source = make_source(num_examples)
    batch_size = hosts * local
    per_host = [
        list(eval_batches(source, batch_size=batch_size, rows=slice(host * local, (host + 1) * local)))
        for host in range(hosts)
    ]
    seen, labels = [], []
    for parts in zip(*per_host, strict=True):
        for batch in parts:
            assert batch["image"].shape == (local, 2, 3, 1)
            assert (batch["image"].dtype, batch["label"].dtype, batch["mask"].dtype) == (np.uint8, np.int32, bool)
            seen.extend(image_indices(batch["image"])[batch["mask"]].tolist())
            labels.extend(batch["label"][batch["mask"]].tolist())
            assert not batch["image"][~batch["mask"]].any()
            assert not batch["label"][~batch["mask"]].any()
    assert seen == list(range(num_examples))
    assert labels == source.labels.tolist()


def test_evaluation_refuses_an_empty_batch():
    with pytest.raises(InputError, match="batch_size=0"):
        eval_batches(make_source(3), batch_size=0)
