"""Files of weights as people have them: nested, prefixed, in half precision, damaged, and not weights at all."""

import argparse
import os
import pickle
import sys
import types
import zipfile

import numpy as np
import pytest
import safetensors.numpy

from resnet_alexnet.errors import InputError
from resnet_alexnet.pretrained import state_dict

torch = pytest.importorskip("torch", reason="torch is not installed: pip install '.[parity]'")
SAVED = {"conv.weight": torch.arange(12.0).reshape(3, 4) / 7, "bn.num_batches_tracked": torch.tensor(5)}


def save(value, path, *, zipped=True, protocol=2):
    torch.save(value, path, _use_new_zipfile_serialization=zipped, pickle_protocol=protocol)
    return path


def assert_saved(contents, tolerance=0.0, keys=""):
    arrays = contents.state_dicts[keys]
    assert arrays.keys() == SAVED.keys()
    assert arrays["conv.weight"].dtype == np.float32
    np.testing.assert_allclose(arrays["conv.weight"], SAVED["conv.weight"], rtol=tolerance)
    assert arrays["bn.num_batches_tracked"] == 5


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_floating_point_numbers_become_float32(tmp_path, dtype, zipped):
    saved = {**SAVED, "conv.weight": SAVED["conv.weight"].to(getattr(torch, dtype))}
    assert_saved(state_dict.read(save(saved, tmp_path / "x.pth", zipped=zipped)), tolerance=4e-3)


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize("zipped", [True, False])
def test_any_protocol_of_pickle_is_read(tmp_path, zipped, protocol):
    assert_saved(state_dict.read(save(SAVED, tmp_path / "x.pth", zipped=zipped, protocol=protocol)))


@pytest.mark.parametrize(
    ("keys", "wrap"),
    [
        ("state_dict", lambda saved: {"state_dict": saved, "best_prec1": 92.6}),
        ("model", lambda saved: {"model": saved, "optimizer": {"state": {}, "param_groups": []}, "epoch": 3}),
        ("net", lambda saved: {"net": saved, "acc": 0.9}),
        ("", lambda saved: {**saved, "epoch": 7, "arch": "resnet18", "best": np.float64(91.2)}),
        ("checkpoint.model", lambda saved: {"checkpoint": {"model": saved, "args": argparse.Namespace(lr=0.1)}}),
        ("0", lambda saved: [saved]),
        (
            "state_dict",
            lambda saved: {"state_dict": {name: torch.nn.Parameter(value, False) for name, value in saved.items()}},
        ),
    ],
)
def test_state_dicts_are_found_wherever_scripts_put_them(tmp_path, keys, wrap):
    contents = state_dict.read(save(wrap(SAVED), tmp_path / "x.th"))
    assert list(contents.state_dicts) == [keys]
    assert_saved(contents, keys=keys)


def test_all_state_dicts_are_found_and_an_optimizers_state_is_none(tmp_path):
    net = torch.nn.Conv2d(3, 4, 3)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    net(torch.ones(1, 3, 5, 5)).sum().backward()
    optimizer.step()
    saved = {"model": net.state_dict(), "model_ema": net.state_dict(), "optimizer": optimizer.state_dict()}
    assert state_dict.read(save(saved, tmp_path / "x.pth")).state_dicts.keys() == {"model", "model_ema"}


def test_a_container_that_contains_itself_ends(tmp_path):
    saved = {"state_dict": SAVED}
    saved["again"] = saved["state_dict"] | {"self": saved}
    saved["again"]["self"] = saved
    assert set(state_dict.read(save(saved, tmp_path / "x.pth")).state_dicts) == {"state_dict", "again"}


@pytest.mark.parametrize("zipped", [True, False])
def test_a_negated_tensor_is_read_as_torch_means_it(tmp_path, zipped):
    saved = {**SAVED, "conv.weight": torch._neg_view(-SAVED["conv.weight"])}
    path = save(saved, tmp_path / "x.pth", zipped=zipped)
    torch.testing.assert_close(torch.load(path)["conv.weight"].resolve_neg(), SAVED["conv.weight"])
    assert_saved(state_dict.read(path))


@pytest.mark.filterwarnings("ignore")  # torch's, of sparse and quantized tensors
def test_tensors_that_are_not_read_are_named_with_the_reason(tmp_path):
    ones = torch.ones(2, 3)
    others = {
        "sparse": ones.to_sparse(),
        "rows": torch.nn.Parameter(ones.to_sparse_csr()),
        "meta": ones.to("meta"),
        "quantized": torch.quantize_per_tensor(ones, 0.1, 0, torch.qint8),
        "complex": ones.to(torch.complex64),
        "large": torch.ones(1).expand(2**17),
    }
    net = torch.nn.Linear(2, 3)
    net.register_buffer("rows", others["rows"].detach())
    file = state_dict.read(save({"net": {**SAVED, **others}, "module": net}, tmp_path / "x.pth"))
    assert_saved(file, keys="net")
    reasons = {name.removeprefix("net."): why.partition(";")[0] for name, why in file.unread.items()}
    assert reasons == {
        **dict.fromkeys(("sparse", "rows", "module.rows"), "sparse"),
        **{"meta": "on the device meta, without numbers", "large": "expanded"},
        **{name: name for name in ("quantized", "complex")},
    }
    with pytest.raises(InputError, match=r"no state dict .*: sparse \(sparse; save it with to_dense\(\)\), rows"):
        state_dict.read(save(others, tmp_path / "x.pth"))


def test_numbers_too_large_for_float32_are_infinite(tmp_path):
    contents = state_dict.read(save({"a": torch.full((1, 1), 1e300, dtype=torch.float64)}, tmp_path / "x.pt"))
    assert np.isinf(contents.state_dicts[""]["a"]).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_safetensors_of_any_precision_are_read_with_their_text(tmp_path, dtype):
    from safetensors.torch import save_file

    saved = {**SAVED, "conv.weight": SAVED["conv.weight"].to(getattr(torch, dtype))}
    save_file(saved, tmp_path / "x.safetensors", metadata={"format": "pt"})
    contents = state_dict.read(tmp_path / "x.safetensors")
    assert_saved(contents, tolerance=4e-3)
    assert contents.metadata == {"format": "pt"}


def test_safetensors_with_null_for_their_text_have_none(tmp_path):
    data = safetensors.numpy.save({"a": np.ones(1, np.float32)})
    header = b'{"__metadata__":null,' + data[9 : 8 + int.from_bytes(data[:8], "little")]
    path = tmp_path / "x.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + data[-4:])
    contents = state_dict.read(path)
    assert (contents.state_dicts[""], contents.metadata) == ({"a": np.ones(1)}, {})


def test_a_file_is_known_by_its_content_not_by_its_name(tmp_path):
    assert_saved(state_dict.read(save(SAVED, tmp_path / "x.safetensors")))


class Hostile:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch '{self.marker}'",)


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize("zipped", [True, False])
def test_what_is_no_tensor_is_ignored_and_nothing_is_called(tmp_path, zipped, protocol):
    saved = {"state_dict": SAVED, "extra": Hostile(tmp_path / "marker")}
    path = save(saved, tmp_path / "x.pth", zipped=zipped, protocol=protocol)
    assert_saved(state_dict.read(path), keys="state_dict")
    with pytest.raises(InputError, match=r"contains no state dict .it contains: extra."):
        state_dict.read(save({"extra": Hostile(tmp_path / "marker")}, path, zipped=zipped, protocol=protocol))
    assert not (tmp_path / "marker").exists()


def test_a_module_that_was_saved_whole_has_the_arrays_of_its_state_dict(tmp_path):
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Sequential(torch.nn.BatchNorm2d(4)))
    arrays = state_dict.read(save(net, tmp_path / "x.pth")).state_dicts[""]
    assert arrays.keys() == net.state_dict().keys()
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(arrays[name], value)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_torchscript_program_is_named(tmp_path):
    torch.jit.save(torch.jit.trace(torch.nn.Linear(1, 1), torch.ones(1, 1)), tmp_path / "x.pt")
    with pytest.raises(
        InputError, match="is a TorchScript program, not weights: where it was made, save the state_dict"
    ):
        state_dict.read(tmp_path / "x.pt")


def whole(tmp_path, kind) -> bytes:
    if kind == "safetensors":
        return safetensors.numpy.save({"a": np.ones(100, np.float32)})
    return save({"a": torch.ones(100)}, tmp_path / "whole.pth", zipped=kind == "zip").read_bytes()


@pytest.mark.parametrize("kind", ["safetensors", "zip", "legacy"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_file_that_is_cut_short_is_named_in_one_line(tmp_path, kind, share):
    data = whole(tmp_path, kind)
    path = tmp_path / "weights"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError, match=rf"^{path} is damaged, truncated|^{path} is damaged or truncated") as error:
        state_dict.read(path)
    assert len(str(error.value)) < 400
    assert "\n" not in str(error.value)
    assert "weights_only" not in str(error.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"\n<!DOCTYPE html><html>Sign in</html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"resnet50", "neither a .safetensors file nor a torch file"),
        (b"\x00" * 50, "neither"),
        (b"\x08\x07\x12\x07pytorch", "an ONNX file"),
        (b"\x08\x01\x12\x07", "a SavedModel of TensorFlow"),
        (b"\x81\xa6params", "a msgpack file, as Flax writes them"),
        (b"GGUF\x03", "a GGUF file"),
        (b'{"weight_map": {}}', "a JSON file, not weights"),
        (b"\x80\x02}q\x00.", r"contains no state dict \(it contains: nothing\)"),
        (b"\x80\x02}q\x00", "is damaged, truncated or not a torch file"),
        (b"\xff\xff\xff\xff\x00\x00\x00\x00{}", "is damaged or truncated"),
        (b"\x02\x00\x00\x00\x00\x00\x00\x00{]", "is damaged or truncated"),
    ],
)
def test_what_is_no_weight_file_is_named_in_one_line(tmp_path, data, message):
    path = tmp_path / "resnet50.pth"
    path.write_bytes(data)
    with pytest.raises(InputError, match=message) as error:
        state_dict.read(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_no_file_is_named(tmp_path):
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        state_dict.read(tmp_path)
    with pytest.raises(InputError, match="cannot be read: No such file"):
        state_dict.read(tmp_path / "none.pth")


@pytest.mark.parametrize("compressed", [False, True])
def test_an_archive_of_numpys_is_read(tmp_path, compressed):
    arrays = {name: value.numpy() for name, value in SAVED.items()}
    (np.savez_compressed if compressed else np.savez)(tmp_path / "x.npz", **arrays)
    assert_saved(state_dict.read(tmp_path / "x.npz"))


def test_an_archive_of_numpys_with_objects_or_too_much_is_refused(tmp_path):
    np.savez(tmp_path / "x.npz", model=np.array(SAVED, dtype=object))
    with pytest.raises(InputError, match=r"holds Python objects, which are not loaded: save each array by its name"):
        state_dict.read(tmp_path / "x.npz")
    np.savez_compressed(tmp_path / "bomb.npz", a=np.zeros((1000, 1000)))
    with pytest.raises(InputError, match=r"bomb\.npz would take 8,000,128 bytes of memory, far more than weights"):
        state_dict.read(tmp_path / "bomb.npz")
    np.savez(tmp_path / "x.npz", a=np.ones((9, 9)))
    data = bytearray((tmp_path / "x.npz").read_bytes())
    data[300] ^= 1
    (tmp_path / "x.npz").write_bytes(data)
    with pytest.raises(InputError, match=r"x\.npz is damaged or truncated: Bad CRC"):
        state_dict.read(tmp_path / "x.npz")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("config.json", "model.weights.h5"), "a Keras file"),
        (("x/resnet18.pth", "x/README"), r"a zip archive with x/resnet18\.pth in it: unpack it first"),
        (("archive/models/model.json",), "a program of torch.export, not weights: where it was made, save"),
        (("notes.txt",), "a zip archive that torch did not save"),
    ],
)
def test_other_archives_are_named(tmp_path, names, message):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name in names:
            archive.writestr(name, b"")
    with pytest.raises(InputError, match=message):
        state_dict.read(tmp_path / "x.zip")


@pytest.mark.parametrize("keys", [(0,), (3, 1), ("fold", 2.5)])
def test_keys_may_be_numbers(tmp_path, keys):
    saved = SAVED
    for key in reversed(keys):
        saved = {key: saved, "epoch": 1}
    assert_saved(state_dict.read(save(saved, tmp_path / "x.pth")), keys=".".join(map(str, keys)))


def test_arrays_of_numpy_are_weights(tmp_path):
    arrays = {name: value.numpy() for name, value in SAVED.items()}
    assert_saved(state_dict.read(save({"model": arrays}, tmp_path / "x.pth")), keys="model")
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"model": arrays, "__author__": "me"}))
    assert_saved(state_dict.read(tmp_path / "x.pkl"), keys="model")


class Learner:
    """Pickled as fastai's."""

    def __init__(self, **attributes):
        self.__dict__.update(attributes)


Learner.__module__, Learner.__qualname__ = "fastai.learner", "Learner"


@pytest.fixture
def fastai(monkeypatch):
    """A module in whose name a Learner is pickled."""
    module = types.ModuleType("fastai.learner")
    module.Learner = Learner
    monkeypatch.setitem(sys.modules, "fastai", types.ModuleType("fastai"))
    monkeypatch.setitem(sys.modules, "fastai.learner", module)


@pytest.mark.usefixtures("fastai")
def test_what_fastai_saves_is_read_and_what_has_no_network_is_named(tmp_path):
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    state = {"hypers": [{"lr": 0.1}], "state": [{"grad_avg": torch.ones(4, 3, 3, 3), "sqr_avg": torch.ones(4, 3)}]}
    saved = {"model": model.state_dict(), "opt": state}
    exported = Learner(model=model, dls=[1], opt_func=len)
    for value in (saved, exported):
        contents = state_dict.read(save(value, tmp_path / "x.pkl"))
        assert list(contents.state_dicts) == ["model"]
        assert contents.state_dicts["model"].keys() >= {"0.weight", "1.running_var"}
        np.testing.assert_array_equal(contents.state_dicts["model"]["0.weight"], model[0].weight.detach())
    message = (
        r"no state dict: it is a pickled fastai\.learner\.Learner; where .*, save the weights with learn\.save\(NAME\)"
    )
    with pytest.raises(InputError, match=message):
        state_dict.read(save(Learner(model=None), tmp_path / "x.pkl"))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1, 2], "contains no state dict .it contains: a list"),
        ({"epoch": 3, "optimizer": {}}, r"contains no state dict.*it contains: epoch, optimizer"),
        ({"state_dict": {"a": 1}}, "contains no state dict"),
        ({}, "it contains: nothing"),
    ],
)
def test_a_file_of_torchs_without_weights_is_named(tmp_path, value, message):
    with pytest.raises(InputError, match=message):
        state_dict.read(save(value, tmp_path / "x.pth"))


def test_a_type_that_numpy_lacks_is_named(tmp_path):
    from safetensors.torch import save_file

    save_file({"a": torch.ones(2, dtype=torch.float8_e4m3fn)}, tmp_path / "x.safetensors")
    with pytest.raises(InputError, match="a has type F8_E4M3"):
        state_dict.read(tmp_path / "x.safetensors")
