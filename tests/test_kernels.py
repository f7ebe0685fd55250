"""The picture of a network's first kernels."""

import numpy as np
import pytest
from PIL import Image

from resnet_alexnet import kernels
from resnet_alexnet.errors import InputError
from resnet_alexnet.features import kernels as features_kernels
from tests.support import tiny
from tests.support.networks import create_network
from tests.support.runs import write_run


def test_the_command_draws_a_run_folders_kernels(tmp_path, capsys):
    workdir, output = write_run(tmp_path / "run", tiny.config()), tmp_path / "kernels.png"
    kernels.main([f"--workdir={workdir}", f"--output={output}"])
    assert capsys.readouterr().out == f"wrote {output}\n"
    with Image.open(output) as picture:
        assert len(np.unique(np.asarray(picture.convert("L")))) > 50
    with pytest.raises(InputError, match=r"--output=kernels\.jpg"):
        kernels.main([f"--workdir={workdir}", "--output=kernels.jpg"])
    with pytest.raises(InputError, match="is no run folder"):
        kernels.main([f"--workdir={tmp_path}", f"--output={output}"])


def test_two_towers_are_two_blocks_pixel_for_pixel(tmp_path):
    network = create_network("alexnet", size=224)
    features_kernels.draw_kernels(network, tmp_path / "k.png")
    with Image.open(tmp_path / "k.png") as file:
        picture = np.asarray(file.convert("RGB"))
    _, towers = features_kernels.first_kernels(network)
    for block in (features_kernels.tile_kernels(tower, scale=4) for tower in towers):
        height, width, _ = block.shape
        found = [
            (y, x)
            for y in range(picture.shape[0] - height + 1)
            for x in range(picture.shape[1] - width + 1)
            if np.abs(picture[y : y + height, x : x + width][::5, ::5].astype(int) - block[::5, ::5]).max() <= 1
        ]
        assert len(found) == 1
