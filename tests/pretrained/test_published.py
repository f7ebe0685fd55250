"""Published weights by name: a real server on this machine in place of the publishers'."""

import dataclasses
import functools
import hashlib
import http.server
import re
import threading
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from resnet_alexnet import pretrained
from resnet_alexnet.errors import InputError
from resnet_alexnet.models import check_model
from resnet_alexnet.pretrained import published
from tests.support import torch_peers
from tests.support.networks import published as published_weights

ROOT = Path(__file__).parents[2]
NAME = "akamaster:resnet8"


@pytest.fixture
def server(tmp_path):
    """The address of a folder that is served, and the folder."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        handler.func.log_message = lambda *_: None
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}", folder
        running.shutdown()
        thread.join()


@pytest.fixture
def offered(server, tmp_path, monkeypatch):
    """Published weights of a small network on the server, under a name, and an empty cache."""
    address, folder = server
    data = safetensors.numpy.save(published_weights().state_dicts[""])
    checksum = hashlib.sha256(data).hexdigest()[:8]
    (folder / f"resnet8-{checksum}.th").write_bytes(data)
    entry = published.Published(f"{address}/resnet8-{checksum}.th", "cifar_resnet8", 12.0, {"mean": (1.0, 2.0, 3.0)})
    monkeypatch.setitem(published.PUBLISHED, NAME, entry)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return entry


def test_a_published_network_is_downloaded_once_with_its_publishers_preprocessing(offered, server, capsys):
    seen = []

    def progress(items, length, description):
        seen.append((length, description))
        return items

    network = pretrained.load_network(NAME, progress=progress)
    assert network.spec.model == "cifar_resnet8"
    np.testing.assert_array_equal(network.spec.preprocessing.mean, np.float32([1, 2, 3]))
    assert seen == [(1, f"downloading {offered.file}, MiB")]
    assert capsys.readouterr().err == "", "the publisher's are not presumed"
    for file in server[1].iterdir():
        file.unlink()
    again = pretrained.load_network(NAME, progress=progress)
    np.testing.assert_array_equal(again.params["head"]["kernel"], network.params["head"]["kernel"])
    assert len(seen) == 1


def test_torchs_own_copy_is_taken(offered, server, tmp_path):
    (file,) = server[1].iterdir()
    copy = tmp_path / "cache" / "torch" / "hub" / "checkpoints" / offered.file
    copy.parent.mkdir(parents=True)
    file.rename(copy)
    assert published.fetch(offered) == copy
    copy.write_bytes(b"damaged")
    with pytest.raises(InputError, match=rf"{copy} is damaged: its checksum is not {offered.checksum}; remove it"):
        published.fetch(offered)


def test_a_damaged_download_leaves_nothing(offered, server, tmp_path):
    (file,) = server[1].iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(InputError, match=f"came with another checksum than {offered.checksum}: download it elsewhere"):
        published.fetch(offered)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_without_a_network_the_address_is_said(offered, server):
    for path in server[1].iterdir():
        path.unlink()
    with pytest.raises(InputError, match=rf"{offered.url} cannot be downloaded .*404.*or put it at .*{offered.file}"):
        published.fetch(offered)
    nowhere = dataclasses.replace(offered, url="http://127.0.0.1:9/x-01234567.pth")
    with pytest.raises(InputError, match=r"cannot be downloaded .*refused"):
        published.fetch(nowhere)


def test_only_names_with_a_source_are_published_ones():
    assert published.find("weights.pth") is None
    assert published.find("/torchvision/resnet18") is None
    assert published.find("torchvision:resnet18").file == "resnet18-f37072fd.pth"
    with pytest.raises(InputError, match=r"called 'torchvision:resnet81', did you mean 'torchvision:resnet18'\?"):
        published.find("torchvision:resnet81")


def test_torchvisions_are_those_that_torchvision_names():
    """Address, error and size of the resized photograph, in torchvision's own documentation of its weights."""
    theirs = {}
    for model in ("AlexNet", "ResNet18", "ResNet34", "ResNet50", "ResNet101", "ResNet152"):
        for weights in getattr(torch_peers.torchvision.models, f"{model}_Weights"):
            error = 100 - weights.meta["_metrics"]["ImageNet-1K"]["acc@1"]
            theirs[weights.url] = (round(error, 3), weights.transforms.keywords.get("resize_size", 256))
    ours = {
        entry.url: (entry.error, entry.preprocessing.get("shorter_side", 256))
        for name, entry in published.PUBLISHED.items()
        if name.startswith("torchvision:")
    }
    assert ours == theirs


def test_every_entry_has_a_model_a_checksum_and_a_row_in_the_documents():
    text = (ROOT / "docs" / "weights.md").read_text(encoding="utf-8")
    for name, entry in published.PUBLISHED.items():
        check_model(entry.model)
        assert re.fullmatch("[0-9a-f]{8}", entry.checksum), name
        assert re.search(rf"\| `{name}` \|[^\n]*{entry.checksum}[^\n]*\| {entry.error:.2f} ", text), name
