"""Files that are written whole or not at all, and JSON files."""

import errno
import os
import pickle
import sys

import pytest

from resnet_alexnet.errors import InputError
from resnet_alexnet.files import absolute_guest, atomic_write, is_guest, load_guest, read_json, run_file, write_json


def test_the_file_is_replaced_when_all_is_written(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with atomic_write(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.txt"]


def write(path, error, *, remedy=""):
    with atomic_write(path, remedy=remedy) as temporary:
        temporary.write_text("half")
        raise error


def test_the_contents_are_on_disk_before_the_name_and_the_name_before_it_returns(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    calls = []
    fsync, replace = os.fsync, os.replace

    def record_fsync(descriptor):
        calls.append(("fsync", os.fstat(descriptor).st_ino))
        fsync(descriptor)

    def record_replace(source, target):
        calls.append(("replace", os.stat(source).st_ino))
        replace(source, target)

    monkeypatch.setattr("os.fsync", record_fsync)
    monkeypatch.setattr("os.replace", record_replace)
    with atomic_write(path) as temporary:
        temporary.write_text("new")
    file = path.stat().st_ino
    assert calls == [("fsync", file), ("replace", file), ("fsync", tmp_path.stat().st_ino)]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EIO])
def test_sync_errors_raise_unless_the_file_system_cannot_sync(tmp_path, monkeypatch, number):
    def fail(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("os.fsync", fail)
    if number == errno.EINVAL:
        write_json(tmp_path / "a.json", {})
        assert os.listdir(tmp_path) == ["a.json"]
    else:
        with pytest.raises(InputError, match=r"a\.json cannot be written: Input/output error"):
            write_json(tmp_path / "a.json", {})
        assert os.listdir(tmp_path) == []


def test_the_error_ends_with_the_remedy(tmp_path):
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(InputError, match=r"a\.txt cannot be written \(No space left on device\): make room$"):
        write(tmp_path / "a.txt", error, remedy="make room")


@pytest.mark.parametrize(
    ("error", "raised", "message"),
    [
        (KeyError("x"), KeyError, "x"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), InputError, r"a\.txt cannot be written: No space left"),
    ],
)
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, error, raised, message):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(raised, match=message):
        write(path, error)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_an_unwritable_folder_is_reported(tmp_path):
    with pytest.raises(InputError, match="cannot be written: No such file or directory"):
        write(tmp_path / "nowhere" / "a.txt", KeyError())


def test_a_guest_is_taken_from_its_file_with_the_files_beside_it(tmp_path, monkeypatch):
    (tmp_path / "beside_a_guest.py").write_text("ANSWER = 42\n")
    text = "import beside_a_guest\n\ndef answer():\n    return beside_a_guest.ANSWER\n"
    (tmp_path / "a_guest.py").write_text(text)
    monkeypatch.setattr("sys.path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    assert is_guest("a_guest.py:answer")
    assert not is_guest("resnet50")
    answer = load_guest("a_guest.py:answer", field="model.name")
    assert answer() == 42
    assert pickle.loads(pickle.dumps(answer)) is answer  # as for a worker process
    monkeypatch.chdir("/")
    assert load_guest(absolute_guest(f"{tmp_path}/a_guest.py:answer"), field="model.name") is answer


def test_guests_of_one_file_name_in_two_folders_are_two(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.path", list(sys.path))
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        file = tmp_path / str(number) / "twice.py"
        file.write_text(f"NUMBER = {number}\n")
        assert load_guest(f"{file}:NUMBER", field="model.name") == number


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        (None, "LeNet", r"model.name=.*bad.py:LeNet: there is no such file"),
        ("x = 1\nimport no_such_module\n", "LeNet", "bad.py: line 2: ModuleNotFoundError: .*no_such_module"),
        ("x = (1\n", "LeNet", "line 1: SyntaxError"),
        ("1 / 0\n", "LeNet", "line 1: ZeroDivisionError: division by zero"),
        (
            "class LeNet:\n    pass\n",
            "LeNett",
            r"does not define 'LeNett', did you mean 'LeNet'\? \(it defines: LeNet\)",
        ),
        ("class LeNet:\n    pass\n", "", r"give the name of an object in .*, as FILE.py:NAME \(it defines: LeNet\)"),
    ],
)
def test_a_guest_that_cannot_be_loaded_is_reported_in_one_line(tmp_path, monkeypatch, text, name, message):
    monkeypatch.setattr("sys.path", list(sys.path))
    if text:
        (tmp_path / "bad.py").write_text(text)
    with pytest.raises(InputError, match=message) as raised:
        load_guest(f"{tmp_path}/bad.py:{name}", field="model.name")
    assert "\n" not in str(raised.value)


def test_a_file_that_is_as_long_and_as_old_as_before_runs_as_it_is_now(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    file = tmp_path / "own.py"
    for number in (1, 2):
        file.write_text(f"value = {number}\n")
        os.utime(file, (10**9, 10**9))
        module = run_file(file, "own_file", where="own")
        assert module.value == number
    assert [path.name for path in tmp_path.iterdir()] == ["own.py"]


def test_json_round_trip(tmp_path):
    values = {"a": [1, 2.5, None], "b": {"c": "ü"}}
    write_json(tmp_path / "a.json", values)
    assert read_json(tmp_path / "a.json") == values


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"a\.json cannot be read: No such file or directory$"),
        (b"", r"a\.json is not JSON: "),
        (b'{"a": NaN}', r"a\.json is not JSON: NaN is not a JSON number"),
        (b'{"a": -Infinity}', r"a\.json is not JSON: -Infinity is not"),
        (b"[" * 100_000 + b"]" * 100_000, "it has too many levels"),
        (b'{"a":' * 500 + b"1" + b"}" * 500, "it has too many levels"),
        (b'{"a": \xff}', r"a\.json is not JSON: "),
        (b"[1]", r"a\.json is not a JSON object$"),
    ],
)
def test_a_file_that_is_not_a_json_object_is_reported_in_one_line(tmp_path, content, message):
    if content is not None:
        (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        read_json(tmp_path / "a.json")
    assert len(str(error.value).splitlines()) == 1
