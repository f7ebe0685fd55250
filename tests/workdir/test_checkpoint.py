import resource
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resnet_alexnet.errors import InputError, TrainingError
from resnet_alexnet.train.state import TrainState, create_state
from resnet_alexnet.workdir.checkpoint import (
    SET_ASIDE,
    Checkpointer,
    DamagedCheckpointError,
    digest,
    from_leaves,
    read,
    read_metadata,
    to_leaves,
)
from tests.support.files import snapshot
from tests.support.trees import assert_same_leaves

pytestmark = pytest.mark.usefixtures("leftovers")

METADATA = {"config": {"batch_size": 16, "classes": ["a", "b"]}, "preprocessing": {"mean": [0.1, 33.3]}}
DTYPES = ("float32", "bfloat16", "float16", "int32", "uint32", "int8", "uint8", "bool")


def state_of(step: int) -> TrainState:
    """A small state that no other step has."""
    params = {"stem": {"kernel": jnp.arange(3000.0).reshape(10, 300) / 7 + step, "bias": jnp.full((3,), step / 3)}}
    opt_state = optax.trace(0.9).init(params)
    state = create_state(params, {"norm": {"mean": jnp.ones(5) * step}}, opt_state, {"count": jnp.float32(step)})
    return state.replace(step=jnp.int32(step))


def save(folder: Path, *steps: int, keep: int = 2, errors: dict[int, float] | None = None) -> None:
    """Saves steps and then notes their errors; a new process knows the errors of the steps before."""
    errors = errors or {}
    before = {step: error for step, error in errors.items() if step < steps[0]}
    with Checkpointer(folder / "checkpoints", keep=keep, errors=before) as checkpointer:
        for step in steps:
            checkpointer.save(step, state_of(step), METADATA)
            if step in errors:
                checkpointer.note_error(step, errors[step])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def assert_same(state: TrainState, expected: TrainState) -> None:
    assert_same_leaves(to_leaves(state), to_leaves(expected))


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """A folder with the checkpoints of steps 1 and 2; to be copied, not changed."""
    folder = tmp_path_factory.mktemp("saved")
    save(folder, 1, 2)
    return folder


@pytest.fixture
def copied(saved, tmp_path) -> Path:
    shutil.copytree(saved, tmp_path / "run")
    return tmp_path / "run"


def restore(folder: Path, like: TrainState | None = None):
    with Checkpointer(folder / "checkpoints", keep=2) as checkpointer:
        return checkpointer.restore(lambda: jax.eval_shape(lambda: state_of(0)) if like is None else like)


def test_the_newest_checkpoint_comes_back_whole_with_its_record(saved):
    restored = restore(saved)
    assert_same(restored.state, state_of(2))
    assert restored.metadata == METADATA
    assert restored.warnings == ()


def test_nothing_comes_back_from_an_empty_folder_and_no_state_is_asked_for(tmp_path):
    with Checkpointer(tmp_path / "checkpoints", keep=2) as checkpointer:
        assert checkpointer.restore(lambda: pytest.fail("asked for nothing")) is None


@settings(max_examples=8)
@given(data=st.data())
def test_every_type_and_shape_comes_back_bit_by_bit(tmp_path_factory, data):
    seed = data.draw(st.integers(0, 2**32 - 1))
    shapes = data.draw(st.lists(st.sampled_from([(), (1,), (3, 2), (5, 1, 2)]), min_size=1, max_size=3))
    random = np.random.default_rng(seed)
    params = {}
    for dtype in DTYPES:  # any bits at all: NaNs, infinities and denormals among them
        kind = jnp.dtype(dtype)
        for i, shape in enumerate(shapes):
            bits = random.integers(0, 256, (*shape, kind.itemsize), np.uint8)
            array = bits[..., 0] % 2 == 1 if dtype == "bool" else bits.view(kind).reshape(shape)
            params[f"{dtype}_{i}"] = array
    state = create_state(params, {}, (), {})
    folder = tmp_path_factory.mktemp("types")
    with Checkpointer(folder / "checkpoints", keep=1) as checkpointer:
        checkpointer.save(int(state.step), state, {})
    restored = restore(folder, jax.eval_shape(lambda: state))
    assert_same(restored.state, state)


def test_leaves_and_state_are_two_forms_of_the_same():
    state = state_of(3)
    leaves = to_leaves(state)
    assert leaves["params/stem/kernel"].shape == (10, 300)
    assert leaves["opt_state/trace/stem/bias"].shape == (3,)
    assert_same(from_leaves(leaves, state_of(0)), state)


def test_the_digest_sees_names_types_shapes_bits_and_the_record():
    leaves = {"a": np.array([0.0, 1.0], np.float32), "b": np.zeros(2, jnp.bfloat16)}
    others = [
        {"a": leaves["a"], "c": leaves["b"]},
        {"a": leaves["a"].view(np.int32), "b": leaves["b"]},
        {"a": leaves["a"].reshape(2, 1), "b": leaves["b"]},
        {"a": np.array([-0.0, 1.0], np.float32), "b": leaves["b"]},
        {"a": leaves["a"]},
    ]
    digests = {digest(each, {"x": 1}) for each in [leaves, *others]} | {digest(leaves, {"x": 2}), digest(leaves, {})}
    assert len(digests) == len(others) + 3
    assert digest(dict(reversed(leaves.items())), {"x": 1}) == digest(leaves, {"x": 1})


def test_what_was_saved_is_the_state_of_that_moment_though_it_is_donated_at_once(tmp_path):
    @jax.jit
    def forget(state):
        return jax.tree.map(lambda leaf: leaf * 0 + 99, state)

    step = jax.jit(forget, donate_argnums=0)
    with Checkpointer(tmp_path / "checkpoints", keep=3) as checkpointer:
        for number in (1, 2, 3):
            state = jax.device_put(state_of(number))
            checkpointer.save(int(state.step), state, METADATA)
            jax.block_until_ready(step(state))
            assert state.params["stem"]["kernel"].is_deleted()
    for number in (3, 2, 1):
        assert_same(restore(tmp_path).state, state_of(number))
        shutil.rmtree(tmp_path / "checkpoints" / str(number))


def test_a_state_on_the_host_may_be_overwritten_as_soon_as_it_is_saved(tmp_path):
    with Checkpointer(tmp_path / "checkpoints", keep=3) as checkpointer:
        for number in (1, 2, 3):
            leaves = to_leaves(state_of(number))
            checkpointer.save(int(leaves["step"]), from_leaves(leaves, state_of(0)), METADATA)
            for leaf in leaves.values():
                leaf[...] = 99
    for number in (3, 2, 1):
        assert_same(restore(tmp_path).state, state_of(number))
        shutil.rmtree(tmp_path / "checkpoints" / str(number))


def test_a_restored_state_may_be_donated(saved):
    state = restore(saved).state
    moved = jax.tree.map(jnp.array, state)
    jax.block_until_ready(jax.jit(lambda s: jax.tree.map(lambda leaf: leaf * 0, s), donate_argnums=0)(moved))
    assert_same(state, state_of(2))


@pytest.mark.parametrize("processes", [1, 8])
def test_the_last_and_the_best_stay_whether_or_not_the_process_is_new(tmp_path, processes):
    errors = {1: 30.0, 2: 10.0, 4: 40.0, 5: 10.0, 6: 20.0, 9: 9.5}
    expected = {1: "1", 2: "12", 3: "23", 4: "234", 5: "245", 6: "256", 7: "267", 8: "278", 9: "289", 10: ["10", "9"]}
    if processes == 1:
        save(tmp_path, *range(1, 11), errors=errors)
        assert names(tmp_path / "checkpoints") == expected[10]
        return
    for step in range(1, 11):
        save(tmp_path, step, errors=errors)
        assert names(tmp_path / "checkpoints") == list(expected[step])


def test_without_errors_only_the_last_stay(tmp_path):
    save(tmp_path, *range(1, 6), keep=3)
    assert names(tmp_path / "checkpoints") == list("345")


def test_a_step_that_is_saved_already_is_not_saved_again(copied):
    before = snapshot(copied / "checkpoints")
    save(copied, 2)
    assert snapshot(copied / "checkpoints") == before


def test_after_a_failed_save_no_step_is_skipped_in_silence(tmp_path):
    """Orbax takes the step that failed for the latest (maxtext#5260), and its own save would skip those before."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Checkpointer(tmp_path / "checkpoints", keep=2) as checkpointer:
        checkpointer.save(1, state_of(1), METADATA)
        checkpointer.wait()
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # bytes of a file
        try:
            checkpointer.save(3, state_of(3), METADATA)
            with pytest.raises(TrainingError, match="cannot write a checkpoint"):
                checkpointer.wait()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        with pytest.raises(TrainingError, match="cannot write a checkpoint"):
            checkpointer.save(2, state_of(2), METADATA)
    # One checkpointer, as in a run that resumes: each removes in the background what the failed save has left.
    with Checkpointer(tmp_path / "checkpoints", keep=2) as checkpointer:
        restored = checkpointer.restore(lambda: jax.eval_shape(lambda: state_of(0)))
        checkpointer.save(2, state_of(2), METADATA)
    assert restored is not None
    assert_same(restored.state, state_of(1))
    assert names(tmp_path / "checkpoints") == ["1", "2"]


def test_what_another_process_cannot_read_is_not_restored_here(copied):
    asked = []

    def lowest(step):
        asked.append(step)
        return min(step, 1)

    with Checkpointer(copied / "checkpoints", keep=2, lowest=lowest) as checkpointer:
        restored = checkpointer.restore(lambda: state_of(0))
    assert asked[0] == 2
    assert restored is not None
    assert_same(restored.state, state_of(1))
    assert "checkpoint 2 is damaged and was moved" in restored.warnings[0]
    assert restored.warnings[0].endswith("another process cannot read it")
    assert names(copied / "checkpoints") == ["1"]


@pytest.mark.parametrize("process", [0, 1])
def test_of_several_processes_one_moves_damaged_checkpoints_and_the_others_wait_for_it(copied, monkeypatch, process):
    shutil.rmtree(copied / "checkpoints" / "2" / "metadata")
    (copied / SET_ASIDE / "2").mkdir(parents=True)
    seen = []

    def lowest(number):
        """Once all have found the same step, process 0 has moved the checkpoint before the others go on."""
        if seen and process == 1:
            (copied / "checkpoints" / "2").rename(copied / SET_ASIDE / "2.1")
        seen.append(names(copied / "checkpoints"))
        return number

    with Checkpointer(copied / "checkpoints", keep=2, lowest=lowest) as checkpointer:
        monkeypatch.setattr("jax.process_index", lambda: process)
        restored = checkpointer.restore(lambda: jax.eval_shape(lambda: state_of(0)))
        monkeypatch.undo()
        assert restored is not None
        place = "2.1: " if process == 0 else f"{SET_ASIDE}: "
        assert f"checkpoint 2 is damaged and was moved to {copied / SET_ASIDE}" in restored.warnings[0]
        assert place in restored.warnings[0]
        checkpointer.save(2, state_of(2), METADATA)  # it is not there any more
    assert seen == [["1", "2"], ["1"]]
    assert names(copied / SET_ASIDE) == ["2", "2.1"]
    assert names(copied / "checkpoints") == ["1", "2"]


def test_what_a_killed_process_was_writing_is_cleaned_away(copied):
    for step in ("3", "4"):
        shutil.copytree(copied / "checkpoints" / "2", copied / "checkpoints" / f"{step}.orbax-checkpoint-tmp")
    with Checkpointer(copied / "checkpoints", keep=3) as checkpointer:
        restored = checkpointer.restore(lambda: jax.eval_shape(lambda: state_of(0)))
        assert restored is not None
        assert_same(restored.state, state_of(2))
        checkpointer.save(3, state_of(3), METADATA)
    assert names(copied / "checkpoints") == ["1", "2", "3"]
    assert_same(restore(copied).state, state_of(3))


def harm(path: Path, how: str) -> None:
    """Damages a file, or removes a file or folder."""
    if how == "removed":
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        return
    data = bytearray(path.read_bytes())
    if how == "bit flipped":
        data[len(data) // 2] ^= 1
    path.write_bytes(data[: {"emptied": 0, "halved": len(data) // 2}.get(how, len(data))])


def harms(checkpoint: Path) -> list[tuple[Path, str]]:
    """Every way in which one file or folder of a checkpoint can be bad."""
    ways = []
    for path in sorted(checkpoint.rglob("*")):
        kinds = ["removed"] if path.is_dir() else ["removed", "emptied", "halved", "bit flipped"]
        ways += [(path.relative_to(checkpoint), how) for how in kinds]
    return ways


# TensorStore's other reads, still under way when the first one fails, find the event loop closed.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_any_damage_gives_the_exact_state_or_the_checkpoint_before(saved, tmp_path):
    fallbacks = set()
    for number, (path, how) in enumerate(harms(saved / "checkpoints" / "2")):
        folder = tmp_path / str(number)
        shutil.copytree(saved, folder)
        harm(folder / "checkpoints" / "2" / path, how)
        restored = restore(folder)
        assert restored is not None
        step = int(restored.state.step)
        assert_same(restored.state, state_of(step))
        assert restored.metadata == METADATA
        if step == 2:  # the file did not matter
            assert restored.warnings == ()
            continue
        fallbacks.add(f"{path.parts[0]}, {how}")
        (warning,) = restored.warnings
        assert warning.startswith(f"warning: checkpoint 2 is damaged and was moved to {folder / SET_ASIDE / '2'}: ")
        assert "\n" not in warning
        assert len(warning) < 200 + len(str(folder)) + 200
        assert names(folder / "checkpoints") == ["1"]
        assert names(folder / SET_ASIDE) == ["2"]
    for item in ("state", "metadata"):
        assert fallbacks >= {f"{item}, {how}" for how in ("removed", "halved", "bit flipped")}


@pytest.mark.parametrize("damage", ["empty", "no metadata", "digest"])
def test_a_step_that_was_set_aside_is_saved_again_and_again(copied, damage, monkeypatch):
    for attempt in ("2", "2.1", "2.2"):
        step = copied / "checkpoints" / "2"
        if damage == "empty":
            shutil.rmtree(step)
            step.mkdir()
        elif damage == "no metadata":
            shutil.rmtree(step / "metadata")
        else:
            metadata = step / "metadata" / "metadata"
            text = metadata.read_text()
            start = text.index('"digest"') + len('"digest": "')
            metadata.write_text(text[:start] + ("1" if text[start] == "0" else "0") + text[start + 1 :])
        with Checkpointer(copied / "checkpoints", keep=2) as checkpointer:
            restored = checkpointer.restore(lambda: jax.eval_shape(lambda: state_of(0)))
            assert restored is not None
            assert_same(restored.state, state_of(1))
            assert str(copied / SET_ASIDE / attempt) in restored.warnings[0]
            checkpointer.save(2, state_of(2), METADATA)
        assert_same(restore(copied).state, state_of(2))
    assert names(copied / SET_ASIDE) == ["2", "2.1", "2.2"]


def test_all_damaged_is_an_error_that_moves_nothing(copied):
    shutil.rmtree(copied / "checkpoints" / "1" / "state")
    shutil.rmtree(copied / "checkpoints" / "2" / "metadata")
    before = snapshot(copied)
    message = r"all checkpoints in .* are damaged \(2: .*; 1: .*\); none was moved"
    with pytest.raises(DamagedCheckpointError, match=message):
        restore(copied)
    assert snapshot(copied) == before


def test_a_state_of_another_network_is_an_error_that_moves_nothing(copied):
    state = state_of(0)
    wider = {"stem": {"kernel": jnp.zeros((10, 301)), "bias": jnp.zeros(3)}}
    fewer = {"stem": {"bias": jnp.zeros(3)}}
    before = snapshot(copied)
    for params in (wider, fewer, {"stem": {**state.params["stem"], "extra": jnp.zeros(2)}}):
        with pytest.raises(DamagedCheckpointError):
            restore(copied, jax.eval_shape(lambda params=params: state.replace(params=params)))
    assert snapshot(copied) == before


def test_the_best_is_the_one_with_the_lowest_error_that_is_not_damaged(saved, copied):
    errors = {1: 20.0, 2: 30.0, 9: 1.0}
    assert read(saved / "checkpoints", "best", errors=errors)[0] == 1
    shutil.rmtree(copied / "checkpoints" / "1" / "state")
    step, *_, warnings = read(copied / "checkpoints", "best", errors=errors)
    assert step == 2
    assert "checkpoint 1 in" in warnings[0]
    with pytest.raises(InputError, match="no checkpoint best"):
        read(copied / "checkpoints", "best", errors={9: 1.0})


def test_the_metadata_is_read_without_the_state(saved, copied, tmp_path):
    shutil.rmtree(copied / "checkpoints" / "2" / "state")
    metadata = read_metadata(copied / "checkpoints")
    assert {name: metadata[name] for name in METADATA} == METADATA
    shutil.rmtree(copied / "checkpoints" / "2" / "metadata")
    assert read_metadata(copied / "checkpoints") == {}
    assert read_metadata(tmp_path / "nowhere") == {}


FULL = """
import sys
from pathlib import Path
import numpy as np
from resnet_alexnet.errors import TrainingError
from resnet_alexnet.workdir.checkpoint import Checkpointer

rng = np.random.default_rng(0)
state = {f"layer{number}": rng.integers(256, size=20_000, dtype=np.uint8) for number in range(60)}
try:
    with Checkpointer(Path(sys.argv[1]) / "checkpoints", keep=2) as checkpointer:
        checkpointer.save(1, state, {})
except TrainingError as error:
    print(error)
"""


@pytest.fixture
def full_disk(tmp_path):
    """A file system of 200 kB."""
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", tmp_path], capture_output=True)
    if made.returncode:
        pytest.skip(f"this user cannot mount a small file system: {made.stderr.decode().strip()}")
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


def assert_one_line(folder: Path, limit: str = "") -> None:
    program = f"{limit}\n{FULL}"
    result = subprocess.run([sys.executable, "-c", program, folder], capture_output=True, text=True, timeout=120)
    assert result.stdout.startswith(f"cannot write a checkpoint to {folder / 'checkpoints'} (")
    assert "free some space there and run the same command again" in result.stdout
    assert (result.returncode, len(result.stdout.splitlines()), result.stderr) == (0, 1, "")


def test_a_full_disk_is_one_line(full_disk):
    assert_one_line(full_disk)


def test_a_file_that_may_not_grow_is_one_line(tmp_path):
    assert_one_line(tmp_path, "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))")
