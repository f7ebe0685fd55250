"""The command that tests trained networks."""

import json
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from resnet_alexnet import pretrained
from resnet_alexnet.data.arrays import ArraySource
from resnet_alexnet.errors import InputError
from resnet_alexnet.evaluate import __main__ as evaluate
from resnet_alexnet.evaluate import scoring
from resnet_alexnet.evaluate.scores import Scores, load_scores
from resnet_alexnet.plots import confusion
from resnet_alexnet.train import inputs, loop
from resnet_alexnet.train.state import create_state
from resnet_alexnet.workdir.checkpoint import Checkpointer
from resnet_alexnet.workdir.folder import create_workdir
from resnet_alexnet.workdir.metrics_log import read_metrics
from tests.support import tiny
from tests.support.networks import create_network
from tests.support.photo_sets import write_folder

TOO_LONG = "a" * 300  # for the name of a file


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A finished tiny run, and one of another depth, whose network has not been trained."""
    folder = tmp_path_factory.mktemp("runs")
    config = tiny.config(num_steps=20, eval__every_steps=10, checkpoint__every_steps=10)
    loop.train_and_evaluate(config, folder / "shallow")
    network = create_network("cifar_resnet14", size=8, channels=1, classes=[f"class_{label}" for label in range(10)])
    state = create_state(network.params, network.batch_stats, opt_state=(), sums={})
    create_workdir(folder / "deep", config)
    with Checkpointer(folder / "deep" / "checkpoints", keep=1) as checkpointer:
        checkpointer.save(0, state, {"network": network.spec.to_json()})
    return folder


def run(capsys, *arguments):
    """What the command prints, by the names of its rows."""
    capsys.readouterr()
    evaluate.main([str(argument) for argument in arguments])
    title, *rows = capsys.readouterr().out.splitlines()
    return title, {row[:16].strip(): row[16:].strip() for row in rows}


def test_a_finished_run_has_the_error_of_its_record(runs, capsys, tmp_path):
    output = tmp_path / "new" / "folder"
    title, rows = run(capsys, f"--workdir={runs / 'shallow'}", f"--output={output}")
    report = json.loads((output / "report.json").read_text())
    (line,) = [line for line in read_metrics(runs / "shallow" / "metrics.jsonl") if "test/top1_error" in line]
    assert report["top1_error"] == line["test/top1_error"]
    assert report["top5_error"] == line["test/top5_error"]
    assert title == "shallow"
    assert rows["images"] == "40, synthetic test"
    assert rows["error"].startswith(f"top-1 {report['top1_error']:.2f} % (95 %: ")
    assert sorted(os.listdir(output)) == ["confusion.png", "report.json", "scores.npz"]
    scores = load_scores(output / "scores.npz")
    assert scores.scores.shape == (40, 10)
    assert scores.names[3] == "test/3"
    assert report["settings"]["model"] == "cifar_resnet8"
    with Image.open(output / "confusion.png") as picture:
        assert picture.width > 500


def test_the_best_checkpoint_or_one_by_its_number(runs, capsys):
    lines = read_metrics(runs / "shallow" / "metrics.jsonl")
    errors = {line["step"]: line["val/top1_error"] for line in lines if "val/top1_error" in line}
    assert errors.keys() == {10, 20}
    for step, error in (("best", min(errors.values())), ("10", errors[10]), ("last", errors[20])):
        _, rows = run(capsys, f"--workdir={runs / 'shallow'}", "--split=validation", f"--step={step}")
        assert rows["error"].startswith(f"top-1 {error:.2f} %")


def test_the_training_error_is_that_of_the_images_held_in_as_they_are_and_each_once(runs, capsys, tmp_path):
    _, rows = run(capsys, f"--workdir={runs / 'shallow'}", "--split=train", f"--output={tmp_path}")
    assert rows["images"] == "180, synthetic train"  # of 200, of which a tenth is held out
    report = json.loads((tmp_path / "report.json").read_text())
    scores, network = load_scores(tmp_path / "scores.npz"), pretrained.load_network(runs / "shallow")
    config = tiny.config(augment__pad=4)
    source = inputs.read_splits(config.dataset, config.preprocess, config.augment).train
    assert isinstance(source, ArraySource)
    logits = network.module()(network.spec.preprocessing.normalize(jnp.asarray(source.images)))
    np.testing.assert_array_equal(scores.labels, source.labels)
    assert len(set(scores.names)) == 180
    np.testing.assert_allclose(scores.scores, jax.nn.softmax(logits), rtol=1e-4, atol=1e-6)
    assert report["top1_error"] == 100 * np.mean(np.argmax(logits, axis=1) != source.labels)
    assert rows["calibration"].startswith(f"expected error {report['calibration']['expected_error']:.2f} %")


def test_an_ensemble_of_different_depth_from_networks_and_from_their_files(runs, capsys, tmp_path):
    both = f"--workdir={runs / 'shallow'},{runs / 'deep'}"
    title, rows = run(capsys, both, f"--output={tmp_path}", "--flip")
    assert title == "mean of 2 networks"
    parts = [load_scores(tmp_path / f"{name}.npz") for name in ("shallow", "deep")]
    mean = load_scores(tmp_path / "scores.npz")
    np.testing.assert_allclose(mean.scores, (parts[0].scores + parts[1].scores) / 2, rtol=1e-6)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["parts"].keys() == {"shallow", "deep"}
    assert report["settings"]["mean_of"][1]["model"] == "cifar_resnet14"
    files = ",".join(str(tmp_path / f"{name}.npz") for name in ("shallow", "deep"))
    again, again_rows = run(
        capsys, f"--from={files}", f"--against={tmp_path / 'deep.npz'}", f"--output={tmp_path / 'again'}"
    )
    assert again == title
    assert again_rows.items() >= {name: rows[name] for name in ("images", "test", "shallow", "deep", "error")}.items()
    assert again_rows["against"] == f"{tmp_path / 'deep.npz'}: {report['parts']['deep']['top1_error']:.2f} %"
    compared = json.loads((tmp_path / "again" / "report.json").read_text())["against"]
    difference = report["top1_error"] - report["parts"]["deep"]["top1_error"]
    assert compared["difference"] == pytest.approx(difference)
    assert again_rows["difference"].startswith(f"{difference:+.2f} points")


def test_a_run_and_a_weight_file_on_photographs_in_the_way_of_each_paper(tmp_path, capsys, monkeypatch):
    """With --config, as there is no run: the views are the networks' own business."""
    write_folder(tmp_path / "photos", per_class=2)
    write_folder(tmp_path / "photos", split="test", per_class=3)
    networks = {f"net{seed}": create_network(size=16, shorter_side=20, seed=seed) for seed in (0, 1)}
    for name in networks:
        (tmp_path / f"{name}.safetensors").touch()
    monkeypatch.setattr(pretrained, "load_network", lambda path, **_: networks[path.stem])
    words = ["--config=resnet18", "--config.dataset.name=image_folder"]
    words += [f"--config.dataset.data_dir={tmp_path / 'photos'}", "--batch_size=4"]
    words += [f"--weights={tmp_path / 'net0.safetensors'},{tmp_path / 'net1.safetensors'}"]
    _, rows = run(capsys, *words, "--views=ten_crop", "--corners=photograph")
    assert rows["test"] == "ten crop 16 x 16, with mirror images, scale 20 (the network's own), mean of probabilities"
    assert rows["images"] == "9, image_folder test"
    _, rows = run(capsys, *words, "--views=fully_convolutional", "--scales=16,20", "--average=logits", "--flip=false")
    assert rows["test"] == "fully convolutional, scale 16, 20, mean of logits"
    assert rows.keys() >= {"net0", "net1", "error"}


def test_the_confusion_matrix_names_imagenets_classes_in_words(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(confusion, "draw_confusion", lambda matrix, confusions, names, path, title: drawn.append(names))
    classes = ("n01440764", "n02690373", "other")
    scores = Scores(np.eye(3, dtype=np.float32), np.arange(3, dtype=np.int32), ("a", "b", "c"), classes, {}, name="x")
    evaluate._write(tmp_path, scores, {"x": scores}, {}, title="x")
    assert drawn == [["tench", "airliner", "other"]]


def test_two_runs_of_one_name_are_told_apart(runs, tmp_path):
    for path in ("a/run", "b/run", "b/scores"):
        (tmp_path / path).mkdir(parents=True)
    named = evaluate._name_paths([tmp_path / path for path in ("a/run", "b/run", "b/scores")])
    assert list(named) == ["run", "run_2", "scores_2"]


def test_scores_are_called_by_the_folder_they_were_written_to(tmp_path):
    files = [tmp_path / name for name in ("flipped/scores.npz", "plain/scores.npz", "plain/deep.npz")]
    for path in files:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert list(evaluate._name_paths(files)) == ["flipped", "plain", "deep"]


def test_files_that_were_made_in_different_ways_say_each(runs, capsys, tmp_path):
    for name, flags in (("plain", ()), ("flipped", ("--flip",))):
        run(capsys, f"--workdir={runs / 'shallow'}", f"--output={tmp_path / name}", *flags)
    files = ",".join(str(tmp_path / name / "scores.npz") for name in ("plain", "flipped"))
    evaluate.main([f"--from={files}", f"--output={tmp_path / 'mean'}"])
    printed = capsys.readouterr().out
    assert "center 8 x 8, scale the network's own, mean" in printed
    assert "center 8 x 8, with mirror images, scale the network's own, mean" in printed
    _, rows = run(capsys, f"--from={tmp_path / 'mean' / 'scores.npz'},{tmp_path / 'plain' / 'scores.npz'}")
    assert "None" not in "".join(map(str, rows.values()))


@pytest.fixture(scope="module")
def saved(runs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    evaluate.main([f"--workdir={runs / 'shallow'}", f"--output={folder}"])
    evaluate.main([f"--workdir={runs / 'shallow'}", f"--output={folder / 'val'}", "--split=validation"])
    return folder


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "no network: give --workdir=DIR, --weights=FILE, or --from=FILE.npz"),
        ("--workdir=RUNS/nowhere", "nowhere: no such folder"),
        ("--workdir=RUNS", "is not a run folder: it has no config.json"),
        ("--weights=RUNS --config=default", "is a folder: name a run folder with --workdir"),
        ("--weights=RUNS/shallow/config.json", "--config is missing: the recipe that names the data"),
        ("--workdir=RUNS/shallow --step=7", "has no checkpoint 7 .there are: "),
        ("--workdir=RUNS/shallow --step=first", "--step=first .allowed: last, best"),
        ("--workdir=RUNS/shallow --splti=test", "did you mean '--split'"),
        ("--workdir=RUNS/shallow --split=tset", "the split of synthetic is 'tset', did you mean 'test'"),
        ("--workdir=RUNS/shallow --views=crops", "--views=crops, did you mean 'ten_crop'"),
        ("--workdir=RUNS/shallow --views=ten_crop", "needs scales for cifar_resnet8, which takes images of 8"),
        ("--workdir=RUNS/shallow --scales=8,x", "--scales=x .allowed: a whole number from 1"),
        ("--workdir=RUNS/shallow --scales=7", "scales=7 is smaller than the crops of 8 pixels that cifar_resnet8"),
        ("--workdir=RUNS/shallow --flip=maybe", "--flip=maybe .allowed: true, false"),
        ("--workdir=RUNS/shallow --batch_size=0", "--batch_size=0"),
        ("--workdir=RUNS/shallow --precision=float16", "--precision=float16, did you mean 'bfloat16'"),
        ("--workdir=RUNS/shallow --output=RUNS/shallow/config.json/x", "config.json is not a folder that can be"),
        ("--workdir=RUNS/shallow --config.dataset.num_classes=12", "shallow lacks 2 of the 12 classes of the data"),
        ("--workdir=RUNS/shallow --config.dataset.name=fashion_mnist", "shallow lacks 10 of the 10 classes of the da"),
        ("--workdir=RUNS/shallow --against=SAVED/val/scores.npz", "has 20 images, the test split 40"),
        ("--workdir=RUNS/shallow --from=SAVED/scores.npz", "--workdir with --from: the scores in the files are"),
        ("--from=SAVED/scores.npz --config.dataset.name=npz", "--config with --from"),
        ("--from=SAVED/scores.npz,SAVED/val/scores.npz", "is not of the same split as"),
        ("--from=SAVED/scores.npz --against=SAVED/val/scores.npz", "same split as .*: it has 20 images, not 40"),
        ("--from=SAVED/report.json", "report.json is damaged or not a file of scores"),
        ("--from=SAVED/nothing.npz", "nothing.npz does not exist"),
        (f"--workdir={TOO_LONG}", "no such folder"),
        (f"--weights={TOO_LONG} --config=default", "no such file"),
        (f"--from={TOO_LONG}", "does not exist .allowed: a file of scores"),
        (f"--from=SAVED/scores.npz --output={TOO_LONG}", "cannot be made: File name too long"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_nothing_is_written(runs, saved, tmp_path, words, message):
    words = words.replace("RUNS", str(runs)).replace("SAVED", str(saved)).split()
    output = [] if any(word.startswith("--output") for word in words) else [f"--output={tmp_path / 'new'}"]
    with pytest.raises(InputError, match=message) as error:
        evaluate.main([*words, *output])
    assert "\n" not in str(error.value)
    assert not (tmp_path / "new").exists()


def test_networks_of_other_classes_are_named(runs, monkeypatch):
    network = pretrained.load_network(runs / "shallow")
    other = create_network(size=8, channels=1, classes=tuple("abcdefghij"))
    monkeypatch.setattr(pretrained, "load_network", lambda path, **_: network if path.name == "shallow" else other)
    with pytest.raises(
        InputError, match=r"deep lacks 10 of the 10 classes of the data: 'class_0', .* \(it has 10: 'a', "
    ):
        evaluate.main([f"--workdir={runs / 'shallow'},{runs / 'deep'}"])


def test_a_split_of_some_of_the_classes_gives_both_errors(runs, capsys, tmp_path):
    """As ImageNet-A and -R, of 200 classes, for a network of 1,000."""
    output = tmp_path / "some"
    flags = ["--split=train", "--config.dataset.classes=('class_7','class_2','class_5')"]
    _, rows = run(capsys, f"--workdir={runs / 'shallow'}", f"--output={output}", *flags)
    assert rows["of 3 classes"].endswith("), if only the classes that have images can be predicted")
    result = json.loads((output / "report.json").read_text())
    assert (result["classes"], result["among_present"]["classes"]) == (10, 3)
    assert result["among_present"]["top1_error"] <= result["top1_error"]
    assert {name for name, part in result["per_class"].items() if part["images"]} == {"class_2", "class_5", "class_7"}
    _, again = run(capsys, f"--from={output / 'scores.npz'}")
    assert again["of 3 classes"] == rows["of 3 classes"]


def test_weights_that_give_no_numbers_are_reported(runs, capsys, monkeypatch):
    monkeypatch.setattr(scoring, "probabilities", lambda logits, scores: logits * np.nan)
    _, rows = run(capsys, f"--workdir={runs / 'shallow'}")
    assert rows["error"].startswith("top-1 100.00 %")
    assert rows["not classified"] == "40 images, whose scores are NaN"
