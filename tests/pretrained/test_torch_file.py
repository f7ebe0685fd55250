"""The reader of torch's files, which needs no torch, against files that torch wrote, and against hostile ones."""

import argparse
import io
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from collections import Counter, OrderedDict
from pathlib import Path

import numpy as np
import pytest

from resnet_alexnet.pretrained import torch_file

torch = pytest.importorskip("torch", reason="torch is not installed: pip install '.[parity]'")
FORMATS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
DTYPES = (
    *("float16", "bfloat16", "float32", "float64", "float8_e4m3fn", "float8_e5m2", "bool"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
)


def save(value, path: Path, zipped: bool, **options) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=zipped, **options)
    return path


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "saved.pth"


def assert_same(array, tensor):
    tensor = tensor.detach()
    assert str(array.dtype) == str(tensor.dtype).removeprefix("torch.")
    assert array.shape == tuple(tensor.shape)
    np.testing.assert_array_equal(array.astype(np.float64), tensor.to(torch.float64).numpy())


@FORMATS
def test_every_type_comes_back(path, zipped):
    values = torch.tensor(np.random.default_rng(0).integers(0, 100, (3, 4, 5)) / 3)
    saved = {dtype: values.to(getattr(torch, dtype)) for dtype in DTYPES}
    loaded = torch_file.load(save(saved, path, zipped))
    assert loaded.keys() == saved.keys()
    for name, array in loaded.items():
        assert_same(array, saved[name])


@FORMATS
def test_views_come_back(path, zipped):
    base = torch.arange(60.0)
    saved = {
        "base": base,
        "shared": base[10:40],
        "transposed": base.reshape(3, 4, 5).permute(2, 0, 1),
        "strided": base.reshape(6, 10)[1::2, 3::3],
        "one": base[7],
        "empty": torch.zeros(0, 3),
    }
    loaded = torch_file.load(save(saved, path, zipped))
    for name, tensor in saved.items():
        assert_same(loaded[name], tensor)
    assert all(np.shares_memory(loaded["base"], loaded[name]) for name in ("shared", "transposed", "strided", "one"))


@FORMATS
def test_what_training_scripts_save_comes_back(path, zipped):
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    saved = {
        "state_dict": net.state_dict(),  # an OrderedDict with an attribute of its own
        "parameters": dict(net.named_parameters()),
        "optimizer": optimizer.state_dict(),
        "shape": torch.Size((1, 2)),
        "best_prec1": 92.6,
        "arch": "resnet20",
        "more": [None, True, (1, 2.5), {3}, {"nested": OrderedDict(a=1)}],
    }
    loaded = torch_file.load(save(saved, path, zipped))
    assert loaded.keys() == saved.keys()
    for group in ("state_dict", "parameters"):
        assert loaded[group].keys() == saved[group].keys()
        for name, tensor in saved[group].items():
            assert_same(loaded[group][name], tensor)
    for name in ("shape", "best_prec1", "arch", "more"):
        assert loaded[name] == saved[name]
    assert loaded["optimizer"]["param_groups"][0]["lr"] == 0.1


@FORMATS
def test_what_torch_reads_beside_the_weights_comes_back_as_plain_values(path, zipped):
    with_attribute, parameter = torch.arange(3.0), torch.nn.Parameter(torch.ones(2))
    with_attribute.decay = parameter.decay = False
    saved = {
        "tensor": with_attribute,
        "parameter": parameter,
        "frozen": torch.nn.Parameter(torch.ones(2), requires_grad=False),
        "device": torch.device("cuda", 1),
        "dtype": torch.float32,
        "counts": Counter("aab"),
        "bytes": bytes(range(256)),
    }
    loaded = torch_file.load(save(saved, path, zipped))
    assert torch.load(path, weights_only=True).keys() == loaded.keys() == saved.keys()
    for name in ("tensor", "parameter", "frozen"):
        assert_same(loaded[name], saved[name])
    assert (loaded["device"], loaded["dtype"]) == ("cuda:1", "float32")
    assert (loaded["counts"], loaded["bytes"]) == (saved["counts"], saved["bytes"])


def test_a_tensor_whose_storage_has_another_type_is_refused(path):
    def rebuild(kind, dtype):
        tensor = Tensor(kind, 6, 0, (2,), (1,))
        tensor.function, tensor.rest = torch._utils._rebuild_tensor_v3, (*tensor.rest, False, OrderedDict(), dtype)
        return pickled(tensor)

    data = {"0": np.arange(6, dtype=np.uint16).tobytes()[:6]}
    np.testing.assert_array_equal(torch_file.load(archive(path, rebuild("UntypedStorage", torch.uint16), data)), [0, 1])
    for kind, dtype in (("CharStorage", torch.uint16), ("UntypedStorage", torch.float32), ("UntypedStorage", "O")):
        with pytest.raises(pickle.UnpicklingError, match="in a storage of"):
            torch_file.load(archive(path, rebuild(kind, dtype), data))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@FORMATS
def test_every_binary_protocol_comes_back(path, zipped, protocol):
    saved = {"a": torch.arange(3.0)}
    save(saved, path, zipped, pickle_protocol=protocol)
    assert path.read_bytes().startswith((torch_file.ZIP, *torch_file.PICKLES))
    assert_same(torch_file.load(path)["a"], saved["a"])


class Hostile:
    """Makes a file when it is unpickled by Python's own means."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch '{self.marker}'",)


@FORMATS
def test_a_hostile_pickle_is_refused_by_name_and_nothing_is_called(path, tmp_path, zipped):
    marker = tmp_path / "marker"
    save({"weight": torch.ones(2), "extra": Hostile(marker)}, path, zipped)
    torch.load(path, weights_only=False)
    assert marker.exists(), "the file is not as hostile as it should be"
    marker.unlink()
    with pytest.raises(pickle.UnpicklingError, match=rf"^GLOBAL {os.system.__module__}\.system$"):
        torch_file.load(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (torch.nn.Linear(1, 1), "torch.nn.modules.linear.Linear"),
        (argparse.Namespace(lr=1), "argparse.Namespace"),
        (eval, "builtins.eval"),
        (getattr, "builtins.getattr"),
        (np.float64(1), r"numpy.*multiarray.scalar"),
        (torch_file.load, "resnet_alexnet.pretrained.torch_file.load"),
        (torch.load, "torch.serialization.load"),
        (torch.complex64, "torch.complex64"),
        (torch.ones(2).to_sparse(), "torch._utils._rebuild_sparse_tensor"),
    ],
)
def test_anything_but_tensors_in_containers_is_refused_by_name(path, value, name):
    with pytest.raises(pickle.UnpicklingError, match=f"GLOBAL {name.replace('builtins', '(builtins|__builtin__)')}$"):
        torch_file.load(save({"value": value}, path, True))


def archive(path: Path, pickled: bytes, storages: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    """A file in torch's newer format, written by hand."""
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("x/data.pkl", pickled)
        file.writestr("x/version", b"3\n")
        for key, data in storages.items():
            file.writestr(f"x/data/{key}", data)
    return path


class Storage:
    def __init__(self, kind: str, length: int):
        self.kind, self.length = kind, length


class Pickler(pickle.Pickler):
    """Writes a tensor for (kind, length, offset, size, stride): a storage of that length, and a view of it."""

    def persistent_id(self, obj):
        if isinstance(obj, Storage):
            return ("storage", getattr(torch, obj.kind), "0", "cpu", obj.length)
        return None


class Tensor:
    def __init__(self, kind, length, offset, size, stride):
        self.storage, self.rest = Storage(kind, length), (offset, size, stride)
        self.function = torch._utils._rebuild_tensor_v2

    def __reduce__(self):
        return self.function, (self.storage, *self.rest, False, OrderedDict())


def pickled(value) -> bytes:
    buffer = io.BytesIO()
    Pickler(buffer, protocol=2).dump(value)
    return buffer.getvalue()


def test_files_written_by_hand_are_as_torchs(path):
    data = np.arange(6, dtype=np.float32)
    archive(path, pickled(Tensor("FloatStorage", 6, 1, (2, 2), (3, 1))), {"0": data.tobytes()})
    expected = torch.load(path, weights_only=True).numpy()
    np.testing.assert_array_equal(torch_file.load(path), expected)
    np.testing.assert_array_equal(expected, [[1, 2], [4, 5]])


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [
        (0, (7,), (1,)),
        (5, (2,), (1,)),
        (0, (2, 2), (5, 1)),
        (-1, (2,), (1,)),
        (0, (2,), (-1,)),
        (0, (-2,), (1,)),
        (6, (1,), (1,)),
        (0, (2**40,), (0,)),
        (0, (2**62, 4), (0, 0)),
        (0, (2, 2), (1,)),
    ],
)
def test_a_tensor_cannot_leave_its_storage(path, offset, size, stride):
    archive(path, pickled(Tensor("FloatStorage", 6, offset, size, stride)), {"0": bytes(24)})
    with pytest.raises((pickle.UnpicklingError, ValueError)):
        torch_file.load(path)


@pytest.mark.parametrize(
    ("value", "storages", "message"),
    [
        (Tensor("FloatStorage", 8, 0, (2,), (1,)), {"0": bytes(24)}, "storage 0 is not 8 float32"),
        (Tensor("FloatStorage", -1, 0, (2,), (1,)), {"0": bytes(24)}, "a reference to -1"),
        ([Tensor("FloatStorage", 6, 0, (6,), (1,)), Tensor("IntStorage", 6, 0, (6,), (1,))], {"0": bytes(24)}, "int32"),
        (Tensor("ComplexFloatStorage", 3, 0, (2,), (1,)), {"0": bytes(24)}, "GLOBAL torch.ComplexFloatStorage"),
    ],
)
def test_a_storage_is_what_the_tensor_says(path, value, storages, message):
    with pytest.raises(pickle.UnpicklingError, match=message):
        torch_file.load(archive(path, pickled(value), storages))


def test_a_compressed_archive_may_be_a_bomb_and_is_refused(path):
    tensor = pickled(Tensor("FloatStorage", 6, 0, (6,), (1,)))
    with pytest.raises(pickle.UnpicklingError, match=r"x/data\.pkl is compressed"):
        torch_file.load(archive(path, tensor, {"0": bytes(24)}, zipfile.ZIP_DEFLATED))


def test_a_pickle_cannot_change_what_the_reader_calls(path):
    """BUILD with a pair sets attributes: here the defaults of the function that makes tensors."""
    code = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nN}U\x0c__defaults__K\x01\x85s\x86b."
    function = torch_file.load(archive(path, code, {}))
    assert function.__defaults__ == (1,), "the pickle does not do what it should"
    saved = {"a": torch.arange(3.0)}
    assert_same(torch_file.load(save(saved, path, True))["a"], saved["a"])
    assert torch_file._tensor.__defaults__ is None


def test_the_older_format_checks_what_it_reads(path):
    save({"a": torch.arange(3.0)}, path, False)
    whole = path.read_bytes()
    tail = struct.pack("<q", 3) + np.arange(3, dtype=np.float32).tobytes()
    assert whole.endswith(tail)
    for damaged, error in (
        (whole[:-1], "truncated"),
        (whole[: -len(tail)] + struct.pack("<q", 2) + tail[8:], "truncated"),
        (pickle.dumps({"a": 1}, protocol=2), "not saved by torch"),
        (whole.replace(b"little_endian", b"middle_endian"), "little_endian"),
    ):
        path.write_bytes(damaged)
        with pytest.raises((pickle.UnpicklingError, KeyError), match=error):
            torch_file.load(path)


def older(path: Path, tensor: Tensor, keys: list[str], data: bytes) -> Path:
    """A file in torch's older format, written by hand."""
    parts = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
    path.write_bytes(b"".join(map(pickled, parts)) + pickled(tensor) + pickled(keys) + data)
    return path


def test_the_older_format_allocates_no_more_than_the_file_has(path):
    data = struct.pack("<q", 6) + np.arange(6, dtype=np.float32).tobytes()
    older(path, Tensor("FloatStorage", 6, 2, (2,), (1,)), ["0"], data)
    np.testing.assert_array_equal(torch_file.load(path), [2, 3])
    older(path, Tensor("FloatStorage", 2**40, 2, (2,), (1,)), ["0"], data)
    with pytest.raises(pickle.UnpicklingError, match="ends before its storages"):
        torch_file.load(path)
    older(path, Tensor("FloatStorage", 6, 2, (2,), (1,)), [], data)
    with pytest.raises(pickle.UnpicklingError, match="do not match the tensors"):
        torch_file.load(path)


@FORMATS
def test_a_file_cut_anywhere_is_an_error(path, zipped):
    save({"a": torch.arange(5.0), "b": torch.ones(2, 2)}, path, zipped)
    whole = path.read_bytes()
    for length in range(len(torch_file.ZIP), len(whole), 37):
        path.write_bytes(whole[:length])
        with pytest.raises(Exception):  # noqa: B017, PT011 - of many types
            torch_file.load(path)


def test_no_torch_is_needed(path):
    """The whole way, in a process that has no torch."""
    net = torch.nn.Linear(3, 2)
    save({"state_dict": {f"module.{name}": value for name, value in net.state_dict().items()}}, path, True)
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path\n"
        "from resnet_alexnet.pretrained import state_dict\n"
        f"arrays = state_dict.read(Path({str(path)!r})).arrays\n"
        "print(sorted(arrays), arrays['bias'].tolist())"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == f"['bias', 'weight'] {net.bias.tolist()}\n"
