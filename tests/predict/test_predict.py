"""The command that names what is in photographs."""

import csv
import io
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from resnet_alexnet import pretrained
from resnet_alexnet.data.images.decode import decode
from resnet_alexnet.errors import InputError
from resnet_alexnet.evaluate import scoring
from resnet_alexnet.evaluate.protocol import TestProtocol
from resnet_alexnet.predict import __main__
from resnet_alexnet.predict.classify import predict
from resnet_alexnet.predict.photographs import Photograph
from resnet_alexnet.pretrained import weights
from resnet_alexnet.train import loop
from tests.support import processes, tiny
from tests.support.images import encode, photograph, png_of_size
from tests.support.photo_sets import write_folder

CLASSES = ("ant", "bee", "cat", "dog", "elk", "fox")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two trained runs: on images of 8 pixels as they are, and on crops of photographs."""
    folder = tmp_path_factory.mktemp("runs")
    loop.train_and_evaluate(tiny.config(num_steps=2), folder / "arrays")
    write_folder(folder / "photographs", classes=CLASSES)
    views = {"crop": "random_crop", "scale": (20, 24), "pad": 0}
    fields = {f"augment__{name}": value for name, value in views.items()}
    fields |= {"dataset__name": "image_folder", "dataset__data_dir": str(folder / "photographs")}
    fields |= {"dataset__num_classes": None, "dataset__num_examples": None, "dataset__channels": None}
    fields |= {"preprocess__image_size": 16, "preprocess__shorter_side": 20, "batch_size": 8, "num_steps": 2}
    loop.train_and_evaluate(tiny.config(**fields), folder / "crops")
    return folder


@pytest.fixture
def album(tmp_path):
    """Photographs of several formats and sizes, and files that are none."""
    (tmp_path / "a.jpg").write_bytes(encode(photograph(40, 60)))
    (tmp_path / "b.png").write_bytes(encode(photograph(31, 24, seed=1), "PNG"))
    (tmp_path / "gray.png").write_bytes(encode(photograph(24, 24, channels=1, seed=2), "PNG"))
    (tmp_path / "tiny.webp").write_bytes(encode(photograph(5, 3, seed=3), "WEBP"))
    (tmp_path / "text.jpg").write_text("not an image")
    (tmp_path / "bomb.png").write_bytes(png_of_size(30_000, 30_000))
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "line.png").write_bytes(encode(photograph(1, 200, seed=4), "PNG"))
    (tmp_path / "cut.jpg").write_bytes(encode(photograph(40, 60))[:300])
    return tmp_path


BAD = {
    "text.jpg": "it is not an image of a known format",
    "bomb.png": "too many pixels",
    "empty.jpg": "the file is empty",
    "line.png": "one side is 100 times the other",
    "cut.jpg": "runcated",
}


def predictions(capsys, *arguments):
    __main__.main([*map(str, arguments), "--format=json"])
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def slow_probabilities(workdir, file, *, shorter_side, size, mode, interpolation):
    """What a network says of one photograph: everything again by Pillow or OpenCV, one image, no step of ours."""
    import cv2

    network = pretrained.load_network(workdir)
    preprocessing = network.spec.preprocessing
    image = np.asarray(Image.open(file).convert(mode))
    height, width = image.shape[:2]
    scale = shorter_side / min(height, width)
    resized = cv2.resize(image, (int(width * scale + 1e-9), int(height * scale + 1e-9)), interpolation=interpolation)
    top, left = round((resized.shape[0] - size) / 2), round((resized.shape[1] - size) / 2)
    crop = resized[top : top + size, left : left + size].reshape(1, size, size, -1)
    logits = np.asarray(network.module()((crop - preprocessing.mean) / preprocessing.std), np.float64)[0]
    powers = np.exp(logits - logits.max())
    return dict(zip(preprocessing.classes, powers / powers.sum(), strict=True))


@pytest.mark.parametrize(
    ("run", "view"),
    [
        ("arrays", {"shorter_side": 8, "size": 8, "mode": "L", "interpolation": 3}),  # OpenCV's INTER_AREA
        ("crops", {"shorter_side": 20, "size": 16, "mode": "RGB", "interpolation": 1}),  # and INTER_LINEAR
    ],
)
def test_answers_are_those_of_the_network_on_the_photograph_alone(runs, album, capsys, run, view):
    files = [album / "b.png", album / "gray.png"]
    for found, file in zip(predictions(capsys, f"--workdir={runs / run}", "--topk=99", *files), files, strict=True):
        assert found["photograph"] == str(file)
        given = {prediction["class"]: prediction["probability"] for prediction in found["predictions"]}
        assert given == pytest.approx(slow_probabilities(runs / run, file, **view), abs=1e-5)
        assert list(given.values()) == sorted(given.values(), reverse=True)


def test_topk_batches_and_order(runs, album, capsys):
    files = [album / name for name in ("tiny.webp", "a.jpg", "b.png", "gray.png", "a.jpg")]
    whole = predictions(capsys, f"--workdir={runs / 'crops'}", "--topk=2", *files)
    assert [len(found["predictions"]) for found in whole] == [2] * 5
    assert whole[1] == whole[4]
    alone = [
        predictions(capsys, f"--workdir={runs / 'crops'}", "--topk=2", "--batch_size=1", file)[0] for file in files
    ]
    for one, other in zip(whole, alone, strict=True):
        assert one["photograph"] == other["photograph"]
        assert [a["class"] for a in one["predictions"]] == [a["class"] for a in other["predictions"]]


def test_a_bad_image_is_named_and_the_others_are_answered(runs, album, capsys):
    with pytest.raises(InputError, match="6 of 10 photographs were not classified"):
        __main__.main([f"--workdir={runs / 'crops'}", "--format=json", str(album), str(album / "none.jpg")])
    output = capsys.readouterr()
    found = {line["photograph"]: line for line in map(json.loads, output.out.splitlines())}
    assert len(found) == 10
    for name, reason in {**BAD, "none.jpg": "No such file"}.items():
        assert reason in found[str(album / name)]["error"]
        assert f"{album / name}: " in output.err
    for name in ("a.jpg", "b.png", "gray.png", "tiny.webp"):
        assert len(found[str(album / name)]["predictions"]) == 5


def test_an_output_that_is_no_number_is_no_answer(runs, album, tmp_path, capsys):
    network = pretrained.load_network(runs / "crops")
    network.params["head"]["kernel"] = np.full_like(network.params["head"]["kernel"], 3e38)
    weights.save(network, tmp_path / "large.safetensors")
    with pytest.raises(InputError, match="1 of 1 photographs were not classified"):
        __main__.main([f"--weights={tmp_path / 'large.safetensors'}", "--format=json", str(album / "a.jpg")])
    output = capsys.readouterr()
    assert json.loads(output.out)["error"] == "the network's output is NaN: its weights may be too large"
    assert output.err.endswith(f"{album / 'a.jpg'}: the network's output is NaN: its weights may be too large\n")


def test_no_photograph_is_drawn_over(runs, album):
    before = (album / "b.png").read_bytes()
    with pytest.raises(InputError, match=r"b\.png is one of the photographs: name another file"):
        __main__.main([f"--workdir={runs / 'crops'}", f"--picture={album}/../{album.name}/b.png", str(album)])
    assert (album / "b.png").read_bytes() == before


def test_a_link_that_leads_in_a_loop_is_a_photograph_that_cannot_be_read(runs, album, tmp_path, capsys):
    (album / "loop.png").symlink_to(album / "loop.png")
    with pytest.raises(InputError, match="1 of 2 photographs were not classified"):
        __main__.main(
            [
                f"--workdir={runs / 'crops'}",
                f"--picture={tmp_path / 'x.png'}",
                str(album / "loop.png"),
                str(album / "a.jpg"),
            ]
        )
    assert f"{album / 'loop.png'}: Too many levels of symbolic links" in capsys.readouterr().err


def run_command(*arguments, **options):
    called = [sys.executable, "-m", "resnet_alexnet.predict", *map(str, arguments)]
    return subprocess.run(called, cwd=processes.CHECKOUT, capture_output=True, **options)


def test_the_process_reads_standard_input_and_ends_with_2_where_one_is_bad(runs, album):
    result = run_command(
        f"--workdir={runs / 'crops'}", "--format=csv", "-", album / "text.jpg", input=(album / "a.jpg").read_bytes()
    )
    assert result.returncode == 2
    assert result.stderr.decode().splitlines() == [
        f"{album / 'text.jpg'}: it is not an image of a known format",
        "error: 1 of 2 photographs were not classified; the errors are above",
    ]
    rows = list(csv.DictReader(io.StringIO(result.stdout.decode())))
    assert [row["photograph"] for row in rows] == ["standard input"] * 5 + [str(album / "text.jpg")]
    assert {row["class"] for row in rows[:5]} < set(CLASSES)


def test_whoever_closes_the_output_early_sees_no_error(runs, album):
    command = [sys.executable, "-m", "resnet_alexnet.predict", f"--workdir={runs / 'crops'}", "--format=json"]
    with subprocess.Popen(
        [*command, *[str(album / "a.jpg")] * 600],
        cwd=processes.CHECKOUT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout.readline().startswith(b'{"photograph"')
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 141


def test_the_picture_shows_those_that_could_be_read(runs, album, tmp_path, capsys):
    picture = tmp_path / "answers.png"
    __main__.main([f"--workdir={runs / 'crops'}", f"--picture={picture}", str(album / "a.jpg"), str(album / "b.png")])
    with Image.open(picture) as image:
        assert image.size[0] > 200
    assert str(album / "a.jpg") in capsys.readouterr().out
    picture.unlink()
    with pytest.raises(InputError, match="1 of 1"):
        __main__.main([f"--workdir={runs / 'crops'}", f"--picture={picture}", str(album / "text.jpg")])
    assert not picture.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x.jpg"], "--workdir or --weights is missing: --workdir, a run folder; --weights, a weight file"),
        (["--workdir={crops}", "--weights=f.safetensors", "x.jpg"], "--workdir and --weights exclude each other"),
        (["--workdir=nowhere", "x.jpg"], "--workdir=nowhere: no such folder"),
        (["--weights=nowhere", "x.jpg"], "--weights=nowhere: no such file"),
        (["--workdir={photographs}", "x.jpg"], "is not a run folder"),
        (["--workdir={crops}"], "no photograph is named"),
        (["--workdir={crops}", "--topk=0", "x.jpg"], "--topk=0 \\(allowed: a whole number from 1 to"),
        (["--workdir={crops}", "--format=xml", "x.jpg"], "--format=xml \\(allowed: table, json, csv\\)"),
        (["--workdir={crops}", "--top=3", "x.jpg"], "unknown flag --top, did you mean '--topk'"),
        (["--workdir={crops}", "--step=7", "x.jpg"], "has no checkpoint 7 \\(there are: 2\\)"),
        (["--workdir={crops}", "--step=first", "x.jpg"], "--step=first \\(allowed: last, best"),
        (["--workdir={crops}", "--picture=a.jpg", "x.jpg"], "a file that ends in .png"),
        (["--workdir={crops}", "--views=ten_crop", "--scales=9", "x.jpg"], "scales=9"),
    ],
)
def test_what_is_wrong_with_the_command_is_said_before_anything_is_read(runs, arguments, message):
    folders = {name: runs / name for name in ("crops", "photographs")}
    with pytest.raises(InputError, match=message):
        __main__.main([word.format(**folders) for word in arguments])


def test_ten_crops_and_whole_photographs_give_answers_of_their_own(runs, album, capsys):
    found = {
        views: predictions(capsys, f"--workdir={runs / 'crops'}", f"--views={views}", "--scales=32", album / "a.jpg")
        for views in ("center", "ten_crop", "fully_convolutional")
    }
    best = {views: line[0]["predictions"][0]["probability"] for views, line in found.items()}
    assert len(set(best.values())) == 3
    assert decode((album / "a.jpg").read_bytes()).shape == (40, 60, 3)


def slow_pipe(folder, file, after):
    """A photograph that never comes, after some that do: a pipe that nobody writes to."""
    os.mkfifo(folder / "never.jpg")
    return [*[str(file)] * after, str(folder / "never.jpg"), str(file)]


def test_each_batch_is_answered_when_it_is_done_and_ctrl_c_keeps_the_answers(runs, album, tmp_path):
    command = [sys.executable, "-m", "resnet_alexnet.predict", f"--workdir={runs / 'crops'}", "--format=json"]
    photographs = slow_pipe(tmp_path, album / "a.jpg", 70)
    with subprocess.Popen(
        [*command, "--batch_size=4", *photographs],
        cwd=processes.CHECKOUT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            answers = [process.stdout.readline()]
            process.send_signal(signal.SIGINT)
            # `communicate` may lack what `readline` read ahead.
            rest, errors = process.stdout.read(), process.stderr.read()
            process.wait(processes.SECONDS)
        finally:
            process.kill()
    answers += rest.splitlines()
    assert 1 <= len(answers) <= 70
    assert all(json.loads(answer)["photograph"] == photographs[0] for answer in answers)
    assert (process.returncode, errors) == (130, "interrupted\n")


def test_photographs_of_any_shape_are_answered_in_order_and_few_are_held(runs, monkeypatch, tmp_path):
    """Whole photographs are scored in batches of one shape. The first has a shape that no other has."""
    monkeypatch.setattr(scoring, "_MOST_BEHIND", 3)
    shapes = [(40, 44), *[(40, 60), (60, 40)] * 10]
    read, answered = [], []

    def photo(index, shape):
        def load():
            read.append(index)
            return encode(photograph(*shape, seed=index))

        return Photograph(str(index), load)

    network = pretrained.load_network(runs / "crops")
    photographs = [photo(index, shape) for index, shape in enumerate(shapes)]
    protocol = TestProtocol(views="fully_convolutional", scales=(32,))
    monkeypatch.setattr(scoring, "_IMAGES_AHEAD", 1)
    for prediction in predict(network, photographs, protocol=protocol, topk=1, batch_size=1):
        answered.append((int(prediction.photograph), len(read)))
    assert [index for index, _ in answered] == list(range(21))
    assert max(seen - index for index, seen in answered[:10]) < 12
    alone = [next(predict(network, [each], protocol=protocol, topk=1, batch_size=1)) for each in photographs[:3]]
    again = predict(network, photographs[:3], protocol=protocol, topk=1, batch_size=8)
    assert [each.classes[0][0] for each in again] == [each.classes[0][0] for each in alone]
