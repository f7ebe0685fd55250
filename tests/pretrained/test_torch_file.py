"""The reader of torch's files, which needs no torch, against files that torch wrote, and against hostile ones."""

import argparse
import io
import os
import pickle
import re
import struct
import subprocess
import sys
import tarfile
import zipfile
from collections import Counter, OrderedDict, defaultdict
from pathlib import Path

import numpy as np
import pytest

from resnet_alexnet.errors import InputError
from resnet_alexnet.pretrained import inert, torch_file

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
        "expanded": torch.tensor([3.0]).expand(64),
        "expanded channels": torch.arange(8.0).reshape(2, 1, 4).expand(2, 3, 4),
    }
    loaded = torch_file.load(save(saved, path, zipped))
    for name, tensor in saved.items():
        assert_same(loaded[name], tensor)
    assert all(np.shares_memory(loaded["base"], loaded[name]) for name in ("shared", "transposed", "strided", "one"))


@FORMATS
def test_negative_and_conjugate_bits_are_applied(path, zipped):
    pairs = torch.complex(torch.arange(6.0).reshape(2, 3), torch.ones(2, 3))
    saved = {
        "negated": torch._neg_view(torch.arange(6.0).reshape(2, 3)),
        "half": torch._neg_view(torch.arange(6.0).half()),
        "eight bits": torch._neg_view(torch.arange(6.0).to(torch.float8_e5m2)),
        "imaginary": pairs.conj().imag,  # a view with the bit, of a complex tensor
    }
    assert all(tensor.is_neg() for tensor in saved.values())
    loaded = torch_file.load(save(saved, path, zipped))
    for name in ("negated", "half", "imaginary"):
        assert_same(loaded[name].array, saved[name].resolve_neg())
    assert_same(loaded["eight bits"].array, (-torch.arange(6.0)).to(torch.float8_e5m2))  # torch has no minus for these
    parameter = torch_file.load(save(torch.nn.Parameter(saved["negated"]), path, zipped))
    assert_same(parameter.array, saved["negated"].resolve_neg())


def test_bits_that_are_not_known_are_refused(path):
    value = Tensor("FloatStorage", 6, 0, (6,), (1,), {"other": True})
    with pytest.raises(pickle.UnpicklingError, match="with the metadata"):
        torch_file.load(archive(path, pickled(value), {"0": bytes(24)}))


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
        tensor = Tensor(kind, 6, 0, (2,), (1,), dtype)
        tensor.function = torch._utils._rebuild_tensor_v3
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


class NoState:
    """Leaves nothing in the file but its name."""


class AttrDict(dict):
    """As training scripts have for their settings."""


class Hostile:
    """Makes a file when it is unpickled by Python's own means."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch '{self.marker}'",)


@FORMATS
def test_a_hostile_pickle_calls_nothing(path, tmp_path, zipped):
    marker = tmp_path / "marker"
    save({"weight": torch.ones(2), "extra": Hostile(marker)}, path, zipped)
    torch.load(path, weights_only=False)
    assert marker.exists(), "the file is not as hostile as it should be"
    marker.unlink()
    loaded = torch_file.load(path)
    assert isinstance(loaded["extra"], inert.Inert)
    assert loaded["extra"].kind == f"{os.system.__module__}.system"
    assert_same(loaded["weight"], torch.ones(2))
    assert not marker.exists()


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (torch.nn.Linear(1, 1), "torch.nn.modules.linear.Linear"),
        (argparse.Namespace(lr=1), "argparse.Namespace"),
        (np.float64(1), r"numpy.*multiarray.scalar"),
        (np.ones(3), r"numpy.*multiarray._reconstruct"),
        (torch.ones(2).to_sparse(), "torch._utils._rebuild_sparse_tensor"),
        (torch.ones(2, dtype=torch.complex64), "torch.ComplexFloatStorage"),
        (torch.ones(1).expand(2**16 + 1), "torch.Tensor.expand"),
        (NoState(), ".*NoState"),
        (AttrDict(a=1), ".*AttrDict"),
        (Path("x"), "pathlib.*Path"),
        (defaultdict(list, a=[1]), None),
    ],
)
def test_what_is_neither_tensor_nor_container_is_inert(path, value, name):
    loaded = torch_file.load(save({"value": value, "weight": torch.ones(2)}, path, True))
    assert_same(loaded["weight"], torch.ones(2))
    if name is None:
        assert loaded["value"] == value
    else:
        assert isinstance(loaded["value"], inert.Inert)
        assert re.fullmatch(name, loaded["value"].kind)


@pytest.mark.parametrize("value", [eval, getattr, torch_file.load, torch.load])
def test_functions_are_not_found(path, value):
    loaded = torch_file.load(save({"value": value}, path, True))["value"]
    assert loaded is not value
    assert issubclass(loaded, inert.Inert)


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
    def __init__(self, kind, length, offset, size, stride, *more):
        self.storage, self.rest, self.more = Storage(kind, length), (offset, size, stride), more
        self.function = torch._utils._rebuild_tensor_v2

    def __reduce__(self):
        return self.function, (self.storage, *self.rest, False, OrderedDict(), *self.more)


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
        (0, (2, 2), (1,)),
    ],
)
def test_a_tensor_cannot_leave_its_storage(path, offset, size, stride):
    archive(path, pickled(Tensor("FloatStorage", 6, offset, size, stride)), {"0": bytes(24)})
    with pytest.raises((pickle.UnpicklingError, ValueError)):
        torch_file.load(path)


@pytest.mark.parametrize(("size", "stride"), [((2**40,), (0,)), ((2**62, 4), (0, 0))])
def test_a_tensor_that_repeats_its_numbers_is_inert(path, size, stride):
    archive(path, pickled(Tensor("FloatStorage", 6, 0, size, stride)), {"0": bytes(24)})
    assert isinstance(torch_file.load(path), inert.Inert)


@pytest.mark.parametrize(
    ("value", "storages", "message"),
    [
        (Tensor("FloatStorage", 8, 0, (2,), (1,)), {"0": bytes(24)}, "storage 0 is not 8 float32"),
        (Tensor("FloatStorage", -1, 0, (2,), (1,)), {"0": bytes(24)}, "a reference to -1"),
        ([Tensor("FloatStorage", 6, 0, (6,), (1,)), Tensor("IntStorage", 6, 0, (6,), (1,))], {"0": bytes(24)}, "int32"),
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
    assert inert.tensor.__defaults__ is None


def test_the_older_format_checks_what_it_reads(path):
    save({"a": torch.arange(3.0)}, path, False)
    whole = path.read_bytes()
    tail = struct.pack("<q", 3) + np.arange(3, dtype=np.float32).tobytes()
    assert whole.endswith(tail)
    for damaged, error in (
        (whole[:-1], "truncated"),
        (whole[: -len(tail)] + struct.pack("<q", 2) + tail[8:], "truncated"),
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
        f"arrays = state_dict.read(Path({str(path)!r})).state_dicts['state_dict']\n"
        "print(sorted(arrays), arrays['module.bias'].tolist())"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == f"['module.bias', 'module.weight'] {net.bias.tolist()}\n"


# The tar archive of torch before 0.1.10, which torch still reads but no longer writes


class TarTensor:
    def __init__(self, key):
        self.key = key


class TarPickler(pickle.Pickler):
    def persistent_id(self, obj):
        return obj.key if isinstance(obj, TarTensor) else None


def write_tar(path: Path, arrays: dict, *, views=(), wrap=lambda saved: saved) -> Path:
    """Writes arrays as torch did; `views` are storages inside others: (key, root, offset, length)."""
    storages, tensors, pickled = io.BytesIO(), io.BytesIO(), io.BytesIO()
    for stream in (storages, tensors):
        pickle.dump(len(arrays), stream, 2)
    for i, array in enumerate(arrays.values()):
        pickle.dump((i, "cpu", torch.FloatStorage), storages, 2)
        storages.write(struct.pack("<q", array.size) + array.astype("<f4").tobytes())
        pickle.dump((1000 + i, i, torch.FloatTensor), tensors, 2)
        strides = [stride // array.itemsize for stride in array.strides]
        tensors.write(struct.pack(f"<i4x{2 * array.ndim + 1}q", array.ndim, *array.shape, *strides, 0))
    pickle.dump(list(views), storages, 2)
    TarPickler(pickled, 2).dump(wrap(OrderedDict((name, TarTensor(1000 + i)) for i, name in enumerate(arrays))))
    info = {"protocol_version": 1000, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    members = {"sys_info": pickle.dumps(info, 2), "pickle": pickled, "tensors": tensors, "storages": storages}
    with tarfile.open(path, "w:", format=tarfile.PAX_FORMAT) as archive:
        for name, data in members.items():
            data = data if isinstance(data, bytes) else data.getvalue()
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def tar_arrays():
    rng = np.random.default_rng(0)
    return {"conv1.weight": rng.standard_normal((4, 3, 2, 2)).astype(np.float32), "fc.bias": np.float32([1, 2, 3])}


def test_the_tar_archive_of_old_is_read_as_torch_reads_it(path):
    write_tar(path, tar_arrays())
    expected = torch.load(path, weights_only=False)
    loaded = torch_file.load(path)
    assert list(loaded) == list(expected)
    for name, tensor in expected.items():
        assert_same(loaded[name], tensor)


def test_a_hostile_tar_archive_calls_nothing(path, tmp_path):
    marker = tmp_path / "marker"
    write_tar(path, tar_arrays(), wrap=lambda saved: {"model": saved, "extra": Hostile(marker)})
    loaded = torch_file.load(path)
    np.testing.assert_array_equal(loaded["model"]["fc.bias"], [1, 2, 3])
    assert not marker.exists()


def test_other_tar_archives_are_named(path):
    with tarfile.open(path, "w:") as archive:
        archive.add(__file__, "resnet50.pth")
    with pytest.raises(InputError, match="a tar archive that torch did not save"):
        torch_file.load(path)


def test_a_tar_archive_cut_anywhere_is_an_error(path):
    whole = write_tar(path, tar_arrays()).read_bytes()
    needed = whole.rstrip(b"\0")
    for length in range(512, len(needed), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(Exception):  # noqa: B017, PT011 - of many types
            torch_file.load(path)


# What would take the process down


@pytest.mark.parametrize(
    "code",
    [
        b"\x80\x02}N" + b"\x85" * 5000 + b"Ns.",  # a tuple in a tuple in ... as the key of a dict
        b"\x80\x02}(N" + b"\x85q\x00h\x00" * 3000 + b"lNs.",
        b"\x80\x02Nr\xff\xff\xff\x3f.",  # a memo of gigabytes
    ],
)
def test_pickles_that_take_pythons_reader_down_are_refused(path, code):
    with pytest.raises(pickle.UnpicklingError, match=r"too deep|unusual"):
        torch_file.load(archive(path, code, {}))


def test_a_pickle_does_not_change_classes_of_this_process(path):
    archive(path, b"\x80\x02ccollections\nCounter\nN}X\x05\x00\x00\x00itemsX\x04\x00\x00\x00booms\x86b.", {})
    torch_file.load(path)
    assert Counter("aab").items()


def test_a_devices_name_does_not_grow(path):
    code = b"\x80\x02X\x02\x00\x00\x00ab" + b"q\x00ctorch\ndevice\n(h\x00h\x00tR" * 60 + b"."
    assert len(torch_file.load(archive(path, code, {}))) < 100


def test_parameters_that_old_versions_saved_as_objects_have_their_tensor(path):
    """torch 0.1 to 0.3: an object of the class Parameter, made of the tensor, or whose state begins with it."""
    tensor = Tensor("FloatStorage", 6, 0, (6,), (1,))

    code = pickled(tensor)[2:-1]  # without the protocol and the end
    old = b"\x80\x02ctorch.nn.parameter\nParameter\n)\x81(" + code + b"\x88N\x89NtbX\x01\x00\x00\x00a\x86."
    new = b"\x80\x02ctorch.nn.parameter\nParameter\n" + code + b"\x85\x81."
    data = {"0": np.arange(6, dtype=np.float32).tobytes()}
    for parameter in (torch_file.load(archive(path, old, data))[0], torch_file.load(archive(path, new, data))):
        np.testing.assert_array_equal(parameter.array, np.arange(6))


# What NumPy and Python's pickle save


NUMPY_ARRAYS = {
    "float": np.arange(12.0, dtype=np.float32).reshape(3, 4) / 7,
    "fortran": np.asfortranarray(np.arange(12, dtype=np.int16).reshape(3, 4)),
    "big": np.arange(6, dtype=">f8").reshape(2, 3),
    "bool": np.array([True, False]),
    "one": np.array(5),
    "empty": np.zeros((0, 3), np.uint8),
}


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize("how", ["zip", "legacy", "pickle"])
def test_arrays_of_numpy_come_back(path, how, protocol):
    if how == "pickle":
        path.write_bytes(pickle.dumps(NUMPY_ARRAYS, protocol=protocol))
    else:
        save(NUMPY_ARRAYS, path, how == "zip", pickle_protocol=protocol)
    loaded = torch_file.load(path)
    for name, array in NUMPY_ARRAYS.items():
        assert (loaded[name].array.dtype, loaded[name].array.shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(loaded[name].array, array)


def test_arrays_of_numpy_that_are_not_of_numbers_are_none(path):
    values = [np.array([{"a": 1}], dtype=object), np.array(["text"]), np.array(["2020"], "M8[Y]"), np.ones(2, "f2,i4")]
    loaded = torch_file.load(save(values, path, True))
    assert [value.array for value in loaded] == [None] * 4
    code = pickle.dumps(np.arange(4, dtype=np.int32), protocol=2)
    for few in (
        code.replace(b"K\x04", b"K\x05"),
        code.replace(b"i4", b"i9"),
        code.replace(b"K\x04\x85", b"J\xfc\xff\xff\xff\x85"),
    ):
        assert few != code
        path.write_bytes(few)
        assert torch_file.load(path).array is None


@pytest.mark.parametrize("protocol", range(2, 6))
def test_pickled_tensors_come_back(path, protocol):
    saved = {"a": torch.arange(12.0).reshape(3, 4), "half": torch.ones(3).half(), "b": torch.arange(4)[1::2]}
    path.write_bytes(pickle.dumps({0: saved, "epoch": 3}, protocol=protocol))
    loaded = torch_file.load(path)
    for name, tensor in saved.items():
        assert_same(loaded[0][name], tensor)


def test_a_file_inside_another_calls_nothing(path, tmp_path):
    marker, inner = tmp_path / "marker", io.BytesIO()
    torch.save(Hostile(marker), inner)
    code = b"\x80\x03ctorch.storage\n_load_from_bytes\nB" + struct.pack("<I", len(inner.getvalue()))
    path.write_bytes(code + inner.getvalue() + b"\x85R.")
    assert isinstance(torch_file.load(path), inert.Inert)
    assert not marker.exists()
