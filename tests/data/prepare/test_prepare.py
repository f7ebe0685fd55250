import hashlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import grain
import numpy as np
import pytest
import tensorflow_datasets as tfds

from resnet_alexnet.data.images.decode import decode
from resnet_alexnet.data.prepare import __main__ as prepare
from resnet_alexnet.data.prepare import build, preparation
from resnet_alexnet.data.prepare.recode import central_square
from resnet_alexnet.data.statistics import load_statistics
from resnet_alexnet.errors import InputError
from tests.support import archives as made
from tests.support.archives import WNIDS, WORDS, Archives, encode_kind
from tests.support.images import photograph
from tests.support.processes import wait_for, wait_until

CHECKOUT = Path(__file__).parents[3]
SECONDS = 60  # that anything may take on a busy machine
SKIP_DECODING = {"image": tfds.decode.SkipDecoding()}
VERSION = "imagenet2012/5.1.0"


@pytest.fixture(scope="module")
def archives(tmp_path_factory) -> Archives:
    """Enough photographs that there is time to stop in the middle."""
    return made.write_archives(tmp_path_factory.mktemp("archives"), train_per_class=30)


@pytest.fixture(scope="module")
def few(tmp_path_factory) -> Archives:
    return made.write_archives(tmp_path_factory.mktemp("few"))


@pytest.fixture(scope="module")
def undisturbed(archives, tmp_path_factory) -> Path:
    """What two processes prepared, left alone: the folder of all sets."""
    output = tmp_path_factory.mktemp("undisturbed")
    with started(*archives.flags(), f"--output={output}", "--photos_per_shard=3", "--workers=2") as process:
        out, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, errors) == (0, "")
    assert "train: 120 photographs, 95 unchanged; CMYK 5, PNG 10, gray 5, rotated 5\n" in out
    return output


def serial(work, shared, tasks: Sequence, workers: int) -> Iterator[int]:
    for task in tasks:
        yield from work(shared, task)


@pytest.fixture
def in_this_process(monkeypatch):
    """Does the work of the processes here, for tests that are not about them."""
    monkeypatch.setattr(build, "run_tasks", serial)


def started(*flags: str, under: Sequence[str] = ()) -> subprocess.Popen:
    """The command, as the leader of a process group of its own."""
    return subprocess.Popen(
        [*under, sys.executable, "-m", "resnet_alexnet.data.prepare", *flags],
        cwd=CHECKOUT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_until_gone(process: subprocess.Popen) -> None:
    """Waits until no process is left of those that the command started."""

    def is_gone() -> bool:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return True
        return False

    wait_until(is_gone, lambda: f"the end of the process group {process.pid}")


def worker_of(process: subprocess.Popen) -> int:
    """The process that does the work, of a command with one worker."""
    lines = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True
    ).stdout
    found = [line.split() for line in lines.splitlines() if "spawn_main" in line]
    (worker,) = (int(pid) for pid, parent, *_ in found if int(parent) == process.pid)
    return worker


def shards_done(output: Path, count: int) -> Callable[[], bool]:
    return lambda: len(list((output / f"{VERSION}.incomplete" / "finished").glob("[!.]*"))) >= count


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def tree_of(output: Path) -> set[str]:
    return {path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file()}


# What comes out.


def test_every_photograph_is_there_with_its_label_and_name(archives, undisturbed):
    builder = tfds.builder_from_directory(undisturbed / VERSION)
    assert builder.info.features["label"].names == list(WNIDS)
    assert {split: info.num_examples for split, info in builder.info.splits.items()} == {"train": 120, "validation": 8}
    for split, photos in (("train", archives.train_photos), ("validation", archives.validation_photos)):
        records = list(builder.as_data_source(split, decoders=SKIP_DECODING))
        assert {record["file_name"].decode() for record in records} == photos.keys()
        for record in records:
            name, wnid = record["file_name"].decode(), WNIDS[record["label"]]
            assert wnid == (name.partition("_")[0] if split == "train" else archives.validation_wnids[name])
            difference = decode(record["image"]).astype(int) - decode(photos[name])
            assert np.abs(difference).mean() < 4
            if not name.startswith(WNIDS[0]):
                assert record["image"] == photos[name]


def test_tfds_reads_it_by_name_decodes_it_and_cuts_it_into_sub_splits(undisturbed):
    builder = tfds.builder("imagenet2012", data_dir=undisturbed)
    first, rest = builder.as_data_source(["train[:75%]", "train[75%:]"])
    assert (len(first), len(rest)) == (90, 30)
    assert first[0]["image"].shape[2] == 3
    names = [record["file_name"] for part in (first, rest) for record in part]
    assert len(set(names)) == 120
    assert names != sorted(names)


def test_grain_reads_its_files(undisturbed):
    files = sorted(map(str, (undisturbed / VERSION).glob("imagenet2012-train.array_record-*")))
    assert len(files) == 40
    source = grain.sources.ArrayRecordDataSource(files)
    assert len(source) == 120
    features = tfds.builder_from_directory(undisturbed / VERSION).info.features
    assert {features.deserialize_example_np(record)["label"] for record in source} == {0, 1, 2, 3}


def test_nothing_reads_it_with_tensorflow(undisturbed):
    code = f"""
import sys
from resnet_alexnet.data.readers.tfds import read_tfds
photos = read_tfds("imagenet2012", {str(undisturbed)!r})["train"]
photos.read(0)
assert "tensorflow" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, check=True)


def test_the_manifest_says_what_is_there_and_what_was_changed(undisturbed):
    folder = undisturbed / VERSION
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["settings"]["quality"] == 95
    assert manifest["settings"]["chroma"] == "420"
    train = manifest["splits"]["train"]
    assert (train["records"], train["as_published"], train["unreadable"]) == (120, 95, {})
    cmyk = [f"n01440764_{number * 37 + 2}.JPEG" for number in range(0, 30, 6)]
    assert sorted(train["reencoded"]["CMYK"]["first"]) == sorted(cmyk)
    assert {reason: kind["photographs"] for reason, kind in train["reencoded"].items()} == {
        "CMYK": 5,
        "PNG": 10,
        "gray": 5,
        "rotated": 5,
    }
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert manifest["files"].keys() | {"manifest.json"} == files.keys()
    for name, entry in manifest["files"].items():
        assert entry["bytes"] == len(files[name])
        assert entry["sha256"] == hashlib.sha256(files[name]).hexdigest()
    assert sum(entry.get("records", 0) for entry in manifest["files"].values()) == 128
    assert not any(str(CHECKOUT).encode() in data for data in files.values())


def test_classes_have_their_words_beside_their_names(undisturbed):
    assert (undisturbed / VERSION / "label.labels.txt").read_text().split() == list(WNIDS)
    assert (undisturbed / VERSION / "label.words.txt").read_text().splitlines() == list(WORDS)


def test_statistics_are_those_of_the_training_photographs(archives, undisturbed):
    statistics = load_statistics(undisturbed / VERSION / "statistics.npz")
    squares = np.stack([central_square(decode(data)) for data in archives.train_photos.values()]).astype(np.float64)
    assert statistics.count == 120
    np.testing.assert_allclose(statistics.pixel_mean, squares.mean(0), rtol=1e-12)
    np.testing.assert_allclose(statistics.covariance, np.cov(squares.reshape(-1, 3).T, bias=True), rtol=1e-9)


@pytest.mark.usefixtures("in_this_process")
def test_resizing(few, tmp_path, capsys):
    prepare.main([*few.flags(), f"--output={tmp_path}", "--resize=200", "--quality=80", "--name=small"])
    assert "resized 18" in capsys.readouterr().out
    builder = tfds.builder_from_directory(tmp_path / "small/5.1.0")
    for record in builder.as_data_source("train"):
        expected = 150 if record["file_name"].startswith(WNIDS[1].encode()) else 200
        assert min(record["image"].shape[:2]) == expected


@pytest.mark.usefixtures("in_this_process")
def test_raw(few, tmp_path):
    prepare.main([*few.flags(), f"--output={tmp_path}", "--encoding=raw"])
    source = tfds.builder("imagenet2012", data_dir=tmp_path).as_data_source("train", decoders=SKIP_DECODING)
    assert len(source) == 24
    for record in source:
        pixels = decode(record["image"])
        assert pixels.base is not None  # a view
        original = few.train_photos[record["file_name"].decode()]
        np.testing.assert_array_equal(pixels, central_square(decode(original)))
    decoded = tfds.builder_from_directory(tmp_path / VERSION).as_data_source("train")[0]["image"]
    np.testing.assert_array_equal(decoded, decode(source[0]["image"]))


@pytest.fixture(scope="module")
def small_images(tmp_path_factory) -> Path:
    """A folder of images of one small size: 5 of each of two classes for training, one of each for testing."""
    folder = tmp_path_factory.mktemp("folder") / "Small-Images"
    for split, count in (("train", 5), ("test", 1)):
        for label, name in enumerate(("a cat", "dog")):
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                suffix, kind = (".jpg", "RGB") if number % 2 else (".png", "PNG")
                data = encode_kind(photograph(32, 32, seed=10 * label + number), kind)
                (folder / split / name / f"{number}{suffix}").write_bytes(data)
    return folder


@pytest.mark.usefixtures("in_this_process")
def test_a_folder_of_small_images(small_images, tmp_path):
    prepare.main([f"--images={small_images}", f"--output={tmp_path}"])
    folder = tmp_path / "small_images/1.0.0"
    builder = tfds.builder_from_directory(folder)
    assert (builder.name, builder.info.features["label"].names) == ("small_images", ["a cat", "dog"])
    assert {split: info.num_examples for split, info in builder.info.splits.items()} == {"train": 10, "test": 2}
    names = {record["file_name"].decode() for record in builder.as_data_source("train")}
    assert {"a cat/0.png", "dog/3.jpg"} < names
    assert not (folder / "label.words.txt").exists()
    images = np.stack([decode(path.read_bytes()) for path in small_images.glob("train/*/*")]).astype(np.float64)
    np.testing.assert_allclose(load_statistics(folder / "statistics.npz").pixel_mean, images.mean(0))


# Stopped and started again.


@pytest.mark.slow
def test_it_is_the_same_after_sigkill_and_no_process_is_left(archives, undisturbed, tmp_path):
    flags = [*archives.flags(), f"--output={tmp_path}", "--photos_per_shard=3"]
    for count, workers in ((1, 2), (5, 1)):
        with started(*flags, f"--workers={workers}") as process:
            wait_for(process, shards_done(tmp_path, count))
            process.kill()
        wait_until_gone(process)
        assert not (tmp_path / VERSION).exists()
    (tmp_path / f"{VERSION}.incomplete/data/.x.tmp").touch()  # as one that is killed while it writes leaves
    with started(*flags, "--workers=2") as process:
        out, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, errors) == (0, "")
    assert re.search(r"\(\d+ of 43 files are complete\)", out)
    assert content(tmp_path) == content(undisturbed)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)])
def test_a_signal_stops_it_in_order(archives, undisturbed, tmp_path, number, code):
    flags = [*archives.flags(), f"--output={tmp_path}", "--photos_per_shard=3", "--workers=2"]
    with started(*flags) as process:
        wait_for(process, shards_done(tmp_path, 1))
        os.killpg(process.pid, number)  # as a terminal does: to every process of the command
        _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == code, errors
    assert re.fullmatch(r"stopped: \d+ of 43 files are complete; run the same command again to resume\n", errors)
    wait_until_gone(process)
    assert not [name for name in tree_of(tmp_path) if name.endswith(".tmp")]
    for path in (tmp_path / f"{VERSION}.incomplete/data").iterdir():
        assert path.read_bytes() == (undisturbed / VERSION / path.name).read_bytes()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)])
def test_a_signal_stops_it_while_archives_are_listed(archives, tmp_path, number, code):
    os.mkfifo(tmp_path / "devkit")  # whose end never comes
    with started(f"--val={archives.validation}", f"--devkit={tmp_path / 'devkit'}", f"--output={tmp_path}") as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("listing the archives")
        process.send_signal(number)
        _, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, errors) == (code, "stopped; run the same command again to resume\n")


@pytest.mark.usefixtures("in_this_process")
def test_signals_are_as_before_when_it_is_done(small_images, tmp_path):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    prepare.main([f"--images={small_images}", f"--output={tmp_path}"])
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_worker_that_is_killed(archives, tmp_path):
    flags = [*archives.flags(), f"--output={tmp_path}", "--photos_per_shard=1", "--workers=1"]
    with started(*flags) as process:
        wait_for(process, shards_done(tmp_path, 1))
        worker = worker_of(process)
        # What a terminal sends to all processes is not for the workers.
        blocked = re.search(r"SigBlk:\s*(\w+)", Path(f"/proc/{worker}/status").read_text())
        assert blocked
        assert {number for number in range(1, 64) if int(blocked[1], 16) >> (number - 1) & 1} == {1, 2, 15}
        os.kill(worker, signal.SIGKILL)
        _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    assert re.fullmatch(r"error: a worker process was killed, .*to resume, run the same command again.*\n", errors)
    wait_until_gone(process)


@pytest.mark.usefixtures("in_this_process")
def test_a_disk_that_fills(archives, undisturbed, tmp_path):
    """The limit on the size of a file stands for a disk without room: both fail in the same call."""
    flags = [*archives.flags(), f"--output={tmp_path}", "--photos_per_shard=3", "--workers=2"]
    limited = ["sh", "-c", 'ulimit -f 100; exec "$@"', "sh"]  # blocks of 512 bytes
    with started(*flags, under=limited) as process:
        _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 2
    assert re.fullmatch(
        r"error: \S+-of-00040 cannot be written \(.*File too large\): free disk space, then run.*\n", errors
    )
    assert not [name for name in tree_of(tmp_path) if ".array_record" in name]
    assert not (tmp_path / VERSION).exists()
    prepare.main(flags)
    assert content(tmp_path) == content(undisturbed)


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("place", ["save_statistics", "write_metadata"])
def test_a_disk_that_fills_at_the_very_end(archives, undisturbed, tmp_path, monkeypatch, place):
    def fail(*arguments, **keywords) -> None:
        raise OSError(28, "No space left on device")

    flags = [*archives.flags(), f"--output={tmp_path}", "--photos_per_shard=3"]
    with monkeypatch.context() as patch:
        patch.setattr(preparation, place, fail)
        with pytest.raises(
            InputError, match=r"incomplete cannot be written \(No space left on device\): free disk space"
        ):
            prepare.main(flags)
    assert not (tmp_path / VERSION).exists()
    prepare.main(flags)
    assert content(tmp_path) == content(undisturbed)


@pytest.mark.usefixtures("in_this_process")
def test_output_that_nobody_reads_any_more_is_no_full_disk(small_images, tmp_path, monkeypatch):
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            if "to write" in text:  # the line behind those of the splits
                raise BrokenPipeError
            return super().write(text)

    monkeypatch.setattr(sys, "stdout", Closed())
    with pytest.raises(BrokenPipeError):
        prepare.main([f"--images={small_images}", f"--output={tmp_path}"])
    assert "test: 2 photographs" in sys.stdout.getvalue()


@pytest.mark.usefixtures("in_this_process")
def test_too_little_room_is_told_before_anything_is_written(few, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=12_345_678))
    expected = r"needs about \d+\.\d MB more, estimated from \d+ photographs, but its disk has 12.3 MB free: free disk"
    with pytest.raises(InputError, match=expected):
        prepare.main([*few.flags(), f"--output={tmp_path}", "--encoding=raw", "--photos_per_shard=3"])
    assert not [name for name in tree_of(tmp_path) if ".array_record" in name]
    # Other settings, as the message advises, are no conflict while no shard is finished.
    (tmp_path / f"{VERSION}.incomplete/data/imagenet2012-train.array_record-00000-of-00099").touch()
    monkeypatch.undo()
    monkeypatch.setattr(build, "run_tasks", serial)
    prepare.main([*few.flags(), f"--output={tmp_path}"])
    assert len(list((tmp_path / VERSION).glob("*.array_record-*"))) == 2


@pytest.mark.usefixtures("in_this_process")
def test_the_room_needed_is_estimated_well(few, tmp_path, capsys):
    prepare.main([*few.flags(), f"--output={tmp_path}", "--encoding=raw"])
    estimated = re.search(r"about ([\d.]+) MB to write, [\d,.]+ [MGT]B free", capsys.readouterr().out)
    assert estimated
    written = sum(map(len, content(tmp_path).values()))
    assert written < float(estimated[1]) * 1e6 < 1.5 * written


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("name", ["statistics.npz", "imagenet2012-val*"])
def test_a_set_that_is_there_but_not_whole_is_named(archives, undisturbed, tmp_path, name):
    output = shutil.copytree(undisturbed, tmp_path / "sets")
    path = next((output / VERSION).glob(name))
    path.write_bytes(path.read_bytes()[:-10])
    for _ in range(2):
        with pytest.raises(
            InputError, match=f"{path.name} is missing or incomplete: remove .*, then run the same command again"
        ):
            prepare.main([*archives.flags(), f"--output={output}", "--photos_per_shard=3"])
        path.unlink(missing_ok=True)


@pytest.mark.usefixtures("in_this_process")
def test_a_set_that_is_there_is_not_made_again(archives, undisturbed, tmp_path, capsys):
    output = shutil.copytree(undisturbed, tmp_path / "sets")
    (output / f"{VERSION}.incomplete/finished").mkdir(parents=True)  # left by a process killed at the very end
    flags = [*archives.flags(), f"--output={output}"]
    prepare.main([*flags, "--photos_per_shard=3"])
    assert f"{output / VERSION} is already prepared" in capsys.readouterr().out
    assert content(output) == content(undisturbed)
    assert not (output / f"{VERSION}.incomplete").exists()
    with pytest.raises(
        InputError, match=rf"^{output / VERSION} was prepared with quality 95, not 90; photos_per_shard 3"
    ):
        prepare.main([*flags, "--quality=90"])
    (output / VERSION / "manifest.json").unlink()
    with pytest.raises(InputError, match=rf"^{output / VERSION} exists, but was not made by this command"):
        prepare.main([*flags, "--photos_per_shard=3"])


@pytest.mark.usefixtures("in_this_process")
def test_other_settings_do_not_go_on_with_what_was_begun(few, tmp_path, monkeypatch):
    flags = [*few.flags(), f"--output={tmp_path}"]
    with monkeypatch.context() as patch:
        patch.setattr(preparation, "finish", lambda *_, **__: sys.exit(9))
        with pytest.raises(SystemExit):
            prepare.main(flags)
    with pytest.raises(
        InputError, match=r"incomplete was started with resize 0, not 256: use the same settings to resume"
    ):
        prepare.main([*flags, "--resize=256"])
    with pytest.raises(
        InputError, match=r"was started with .*other photographs .photographs_sha256.*: use the same settings to resume"
    ):
        prepare.main([f"--train={few.train}", "--allow_incomplete", f"--output={tmp_path}"])
    with (
        preparation.opened(tmp_path / f"{VERSION}.incomplete", json.loads(settings_of(tmp_path))),
        pytest.raises(InputError, match="is being written by another process"),
    ):
        prepare.main(flags)
    prepare.main(flags)
    assert (tmp_path / VERSION / "manifest.json").exists()


@pytest.mark.usefixtures("in_this_process")
def test_a_photograph_that_was_replaced_is_noticed(small_images, tmp_path, monkeypatch):
    images = shutil.copytree(small_images, tmp_path / "images")
    flags = [f"--images={images}", "--photos_per_shard=3"]
    with monkeypatch.context() as patch:
        patch.setattr(preparation, "finish", lambda *_, **__: sys.exit(9))
        with pytest.raises(SystemExit):
            prepare.main([*flags, f"--output={tmp_path / 'stopped'}"])
    (images / "train/dog/1.jpg").write_bytes(encode_kind(photograph(40, 32, seed=99)))
    for output in ("stopped", "anew"):
        prepare.main([*flags, f"--output={tmp_path / output}"])
    assert content(tmp_path / "stopped") == content(tmp_path / "anew")
    (images / "train/dog/1.jpg").write_bytes(encode_kind(photograph(50, 32, seed=98)))
    with pytest.raises(
        InputError,
        match=r"^\S+images/1.0.0 was prepared with other photographs .sizes_sha256.: choose another --output",
    ):
        prepare.main([*flags, f"--output={tmp_path / 'anew'}"])


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("content", ["", "[1]"])
def test_damaged_settings_of_what_was_begun_are_named(small_images, tmp_path, monkeypatch, content):
    flags = [f"--images={small_images}", f"--output={tmp_path}"]
    with monkeypatch.context() as patch:
        patch.setattr(preparation, "finish", lambda *_, **__: sys.exit(9))
        with pytest.raises(SystemExit):
            prepare.main(flags)
    (settings,) = tmp_path.glob("*/*/settings.json")
    settings.write_text(content)
    with pytest.raises(InputError, match=rf"^{settings} is not .*; remove {settings.parent} to start over$"):
        prepare.main(flags)


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("content", ["", "[1]", "{}", '{"settings": {}, "files": []}'])
def test_a_folder_with_another_manifest_is_left_alone(small_images, tmp_path, content):
    folder = tmp_path / "small_images/1.0.0"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(content)
    with pytest.raises(InputError, match=rf"^{folder} exists, but was not made by this command"):
        prepare.main([f"--images={small_images}", f"--output={tmp_path}"])
    assert (folder / "manifest.json").read_text() == content


def settings_of(output: Path) -> str:
    return (output / f"{VERSION}.incomplete" / "settings.json").read_text()


# Bad input.


@pytest.fixture(scope="module")
def with_unreadable(tmp_path_factory) -> Archives:
    archives = made.write_archives(tmp_path_factory.mktemp("unreadable"))
    photos = {wnid: {f"{wnid}_{n}.JPEG": encode_kind(photograph(280, 360, seed=n)) for n in range(3)} for wnid in WNIDS}
    photos[WNIDS[2]][f"{WNIDS[2]}_1.JPEG"] = encode_kind(photograph(280, 360, seed=1), "truncated")
    made.write_train_archive(archives.train, photos)
    return archives


@pytest.mark.usefixtures("in_this_process")
def test_an_unreadable_photograph_stops_with_its_name_and_may_be_left_out(with_unreadable, tmp_path, capsys):
    flags = [*with_unreadable.flags(), f"--output={tmp_path}", "--photos_per_shard=2", "--workers=2"]
    name = f"{WNIDS[2]}_1.JPEG"
    with started(*flags) as process:
        _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 2
    assert re.fullmatch(rf"error: {with_unreadable.train}: {name} cannot be read: .*--skip_unreadable.*\n", errors)
    wait_until_gone(process)
    assert not [file for file in tree_of(tmp_path) if file.endswith(".tmp")]
    prepare.main([*flags, "--skip_unreadable"])
    assert "train: 11 photographs, 11 unchanged; left out as unreadable 1\n" in capsys.readouterr().out
    manifest = json.loads((tmp_path / VERSION / "manifest.json").read_text())
    assert manifest["splits"]["train"]["unreadable"].keys() == {name}
    builder = tfds.builder_from_directory(tmp_path / VERSION)
    assert builder.info.splits["train"].num_examples == len(list(builder.as_data_source("train"))) == 11


@pytest.mark.usefixtures("in_this_process")
def test_a_split_of_which_nothing_can_be_read(tmp_path):
    (tmp_path / "images/train/cat").mkdir(parents=True)
    (tmp_path / "images/train/cat/0.jpg").write_bytes(b"no image")
    with pytest.raises(InputError, match="none of the 1 photographs of train can be read"):
        prepare.main([f"--images={tmp_path / 'images'}", f"--output={tmp_path / 'out'}", "--skip_unreadable"])


@pytest.mark.parametrize("name", ["cat ", " cat", "a\ncat", "a\rcat", " "])
def test_a_class_name_that_the_file_of_them_cannot_hold(tmp_path, name):
    for folder in (name, "dog"):
        (tmp_path / "images/train" / folder).mkdir(parents=True)
        (tmp_path / "images/train" / folder / "0.jpg").touch()
    with pytest.raises(InputError, match=r"has a class folder .*: class names must be one line") as error:
        prepare.main([f"--images={tmp_path / 'images'}", f"--output={tmp_path / 'out'}"])
    assert len(str(error.value).splitlines()) == 1
    assert not (tmp_path / "out").exists()


BAD_FLAGS = {
    "nothing": (["--output=o"], "give ImageNet's archives .* or --images=FOLDER, one of the two"),
    "both": (["--train=a", "--images=b", "--output=o"], "one of the two"),
    "no output": (["--train=a"], "--output is missing: the folder to put the set in, such as --output=data"),
    "quality": (["--train=a", "--output=o", "--quality=101"], "--quality=101 .allowed: a whole number from 1 to 100"),
    "resize": (["--train=a", "--output=o", "--resize=-1"], "--resize=-1 .allowed: a whole number from 0 to"),
    "workers": (["--train=a", "--output=o", "--workers=0"], "--workers=0 .allowed: a whole number from 1 to"),
    "encoding": (["--train=a", "--output=o", "--encoding=jpg"], "--encoding=jpg, did you mean 'jpeg'"),
    "raw": (["--train=a", "--output=o", "--encoding=raw", "--resize=480"], "leave out --resize and --quality"),
    "name": (["--train=a", "--output=o", "--name=Image Net"], "--name=Image Net: allowed are small letters"),
    "switch": (["--train=a", "--output=o", "--skip_unreadable=yes"], "--skip_unreadable=yes .allowed: true, false"),
    "unknown": (["--training=a"], r"unknown flag --training.*allowed: .*--train, --val"),
    "missing": (["--train=no/such.tar", "--output=o"], "^no/such.tar cannot be read"),
    "no folder": (["--images=no/such", "--output=o"], "no/such does not exist"),
    "digit": (["--images=123", "--output=o"], "'123', after --images: allowed are small .*; give another by --name"),
    "own name": (
        ["--train=a", "--output=o", "--name=npz"],
        "^--name=npz: no run .* dataset.name=npz is something else$",
    ),
    "own folder": (["--images=Image_Folder", "--output=o"], "called 'image_folder', after --images: .* by --name"),
}


@pytest.mark.parametrize(("flags", "message"), BAD_FLAGS.values(), ids=BAD_FLAGS)
def test_bad_flags(flags, message):
    with pytest.raises(InputError, match=message):
        prepare.main(flags)


@pytest.mark.usefixtures("in_this_process")
def test_an_output_that_is_a_file(few, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"incomplete cannot be written \(Not a directory\): choose another --output"):
        prepare.main([*few.flags(), f"--output={tmp_path / 'file'}"])
