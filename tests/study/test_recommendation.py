"""The recommendation for one's own photographs: from files of scores, and from the command on real JPEG files."""

import base64
import io
import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from scipy.stats import binomtest

from resnet_alexnet.cli.command import exit_code
from resnet_alexnet.data import sources
from resnet_alexnet.evaluate.report import report
from resnet_alexnet.evaluate.scores import Scores
from resnet_alexnet.study.design import Budget
from resnet_alexnet.study.execute import plan_studies
from resnet_alexnet.study.findings import read_findings
from resnet_alexnet.study.page import write_report
from resnet_alexnet.study.recommendation import _picture, recommend
from resnet_alexnet.study.run import main
from tests.support import processes, sweeps
from tests.support.studies import write_run

CLASSES = ("cat", "dog")
IMAGES = 200
STUDY = """
from resnet_alexnet.study.design import Arm, Comparison, Study


def create_study(budget, argument=""):
    shared = {{"num_steps": budget.num_steps, "preprocess.image_size": budget.image_size, "batch_size": 16,
              "augment.crop": "random_crop", "dataset.name": "image_folder", "eval.every_steps": 5,
              "log.every_steps": 2, "schedule.name": "constant", "model.width": 4, "checkpoint.every_steps": 0}}
    arms = [Arm(name, "default", {{**shared, "model.name": name}}, (rate,)) for name, rate in {rates}]
    names = {{"larger": arms[0].name, "smaller": arms[1].name}}
    pair = Comparison("One is better.", "unseen_error", **names, margin=1.0, source="-")
    return Study("Photographs", "Which one?", arms, [pair], budget.seeds, recommends=True)
"""
RATES = '(("cifar_plain8", 0.1), ("cifar_resnet8", 0.1), ("cifar_resnet14", 0.1))'


def write_scores(folder, wrong):
    """The files of an evaluation in which the images of these numbers are wrong, with a probability of 0.9."""
    labels = np.arange(IMAGES, dtype=np.int32) % 2
    right = np.where(np.isin(np.arange(IMAGES), list(wrong)), 0.1, 0.9).astype(np.float32)
    both = np.stack([np.where(labels == 0, right, 1 - right), np.where(labels == 1, right, 1 - right)], axis=1)
    names = tuple(f"test/{CLASSES[label]}/{number}.jpg" for number, label in enumerate(labels))
    scores = Scores(both, labels, names, CLASSES, {"split": "test"})
    folder.mkdir(parents=True)
    scores.save(folder / "scores.npz")
    (folder / "report.json").write_text(json.dumps(report(scores)))


@pytest.fixture
def done(tmp_path):
    """The folder of a study with three networks, which get 20, 22 and 60 of 200 photographs wrong; 5 are common."""
    file, workdir = tmp_path / "photos.py", tmp_path / "runs"
    file.write_text(STUDY.format(rates=RATES))
    photographs = tmp_path / "photographs"
    (photographs / "test" / "cat").mkdir(parents=True)
    Image.new("RGB", (40, 30), "red").save(photographs / "test" / "cat" / "4.jpg")
    budget, words = Budget(600, 32, 40, 1), [f"--config.dataset.data_dir={photographs}"]
    planned = plan_studies([str(file)], "photographs", words, budget)
    workdir.mkdir()
    values = {"scale": "photographs", "studies": [str(file)], "overrides": words, "budget": vars(budget)}
    (workdir / "studies.json").write_text(json.dumps(values))
    wrong = {"cifar_resnet8": range(20), "cifar_resnet14": range(15, 37), "cifar_plain8": range(15, 75)}
    for point in planned.counted(lambda point: None):
        name = point.config.model.name
        folder = write_run(workdir, point, {"cifar_resnet8": 10.0, "cifar_resnet14": 11.0, "cifar_plain8": 30.0}[name])
        write_scores(folder / "measured" / "unseen", wrong[name])
    return workdir


def test_the_network_with_the_lowest_validation_error_is_recommended_and_how_sure_that_is(done):
    (finding,) = read_findings(str(done)).studies
    found = recommend(finding, [])
    assert found.sentences[0].startswith("Use cifar_resnet8: of 3 settings it has the lowest validation error")
    assert "On the 200 photographs of the test split it gets 10.0 % wrong" in found.sentences[0]
    # 15 photographs are wrong in resnet8 alone, 17 in resnet14 alone: no difference; plain8 has 55 of its own
    assert found.sentences[1].startswith("It had fewer errors than cifar_plain8 (McNemar's test, p at most 0.05 after")
    assert "200 photographs are too few to tell it apart from cifar_resnet14 (" in found.sentences[2]
    assert found.sentences[3].startswith("A full training, 90 epochs with images of 224 pixels, would take about ")
    rows = {row[0].text: [cell.text for cell in row] for row in found.networks.rows}
    assert list(rows) == ["cifar_resnet8", "cifar_resnet14", "cifar_plain8"]
    assert rows["cifar_resnet14"][3] == "1.00"
    assert rows["cifar_resnet14"][4] == f"{binomtest(17, 32).pvalue:.3f}"
    assert rows["cifar_plain8"][4] == "< 0.001"
    assert binomtest(55, 70).pvalue * 2 < 0.001  # Holm doubles the smaller of two


def test_photographs_that_all_get_wrong_are_named_and_shown(done):
    (finding,) = read_findings(str(done)).studies
    found = recommend(finding, [])
    assert (found.wrong_count, found.photographs) == (5, 200)
    assert {each.name for each in found.wrong} == {f"test/{CLASSES[n % 2]}/{n}.jpg" for n in range(15, 20)}
    for each in found.wrong:
        assert (each.label, each.prediction) in {("cat", "dog"), ("dog", "cat")}
        assert each.label == each.name.split("/")[1]
        assert each.votes == "3 of 3"
        assert not each.picture  # there is no such file


def test_the_command_trains_at_full_length_and_size(done):
    (finding,) = read_findings(str(done)).studies
    command = recommend(finding, []).command
    assert "--config.model.name=cifar_resnet8" in command
    assert command.count("num_steps") == command.count("image_size") == 1
    assert "--config.preprocess.image_size=224" in command
    assert re.search(r"--config\.num_steps=900\b", command)  # 90 epochs of 10 steps
    assert "--config.seed" not in command
    assert "checkpoint" not in command  # a long run saves as its recipe does


def test_the_report_has_it_in_every_form(done, tmp_path):
    write_report(read_findings(str(done)), tmp_path / "out")
    page, text = (tmp_path / "out" / "report.html").read_text(), (tmp_path / "out" / "REPORT.md").read_text()
    for told in ("Use cifar", "test/cat/16.jpg", "cifar"):
        assert told in page
        assert told in text.replace("\\", "")
    assert "1 question on your photographs" in page


def test_damaged_scores_are_named_and_the_rest_is_compared(done, tmp_path):
    (scores,) = done.glob("runs/cifar_resnet14*/measured/unseen/scores.npz")
    scores.write_bytes(b"no scores")
    (finding,) = read_findings(str(done)).studies
    problems = []
    found = recommend(finding, problems)
    assert len(found.networks.rows) == 2
    assert len(problems) == 1
    assert "cifar_resnet14 is not among those that can be recommended" in problems[0]
    write_report(read_findings(str(done)), tmp_path / "out")
    assert "not among those that can be recommended" in (tmp_path / "out" / "report.html").read_text()


def test_a_network_that_was_better_on_the_test_is_named(done):
    for point, wrong in (("cifar_resnet8", range(60)), ("cifar_resnet14", range(5))):
        (folder,) = done.glob(f"runs/{point}*/measured/unseen")
        shutil.rmtree(folder)
        write_scores(folder, wrong)
    (finding,) = read_findings(str(done)).studies
    found = recommend(finding, [])
    assert found.sentences[0].startswith("Use cifar_resnet8")  # by its validation error
    assert found.sentences[1].startswith("Mind that cifar_resnet14 had fewer errors on these photographs")


def test_an_arm_without_validation_or_cost_does_not_stop_the_report(done, tmp_path):
    (metrics,) = done.glob("runs/cifar_resnet8*/metrics.jsonl")
    lines = [line for line in metrics.read_text().splitlines() if "val/top1_error" not in line]
    metrics.write_text("".join(f"{line.replace('images_per_second', 'other')}\n" for line in lines))
    (other,) = done.glob("runs/cifar_resnet14*/metrics.jsonl")
    other.write_text(other.read_text().replace("images_per_second", "other"))
    (finding,) = read_findings(str(done)).studies
    problems = []
    found = recommend(finding, problems)
    assert found.sentences[0].startswith("Use cifar_resnet14: of 2 settings")
    assert not any("A full training" in sentence for sentence in found.sentences)
    assert len(problems) == 1
    assert "has no validation error: cifar_resnet8 is not among those" in problems[0]
    write_report(read_findings(str(done)), tmp_path / "out")


@pytest.mark.parametrize(
    ("split", "place", "elsewhere"),
    [("test", "test", "train"), ("validation", "val", "train"), ("validation", "train", "test")],
)
def test_the_picture_of_a_photograph_is_that_of_its_split(tmp_path, split, place, elsewhere):
    for part, color in ((place, "red"), (elsewhere, "blue")):
        (tmp_path / part / "cat").mkdir(parents=True)
        Image.new("RGB", (300, 200), color).save(tmp_path / part / "cat" / "1.jpg")
    picture = _picture(tmp_path, split, "cat/1.jpg")
    with Image.open(io.BytesIO(base64.b64decode(picture))) as image:
        assert image.size == (128, 85)
        red, _, blue = image.getpixel((5, 5))
    assert red > 200 > 50 > blue
    assert not _picture(tmp_path, split, "cat/2.jpg")


def test_folders_with_other_budgets_are_named_and_left_out(done):
    other = done.with_name("runs2")
    shutil.copytree(done, other)
    values = json.loads((other / "studies.json").read_text())
    values["budget"]["num_steps"] = 80
    (other / "studies.json").write_text(json.dumps(values))
    findings = read_findings(str(done.parent / "runs*"))
    assert any("runs2 has studies at the scale photographs" in problem for problem in findings.problems)
    assert findings.studies[0].is_run


def write_photographs(folder, *, train=40, test=10, classes=("Trouser", "Bag", "Sandal")):
    """JPEG files of real products, from the embedded sample of Fashion-MNIST."""
    splits = sources.create_splits("fashion_mnist")
    for name, source, count in (("train", splits.train, train), ("test", splits.test, test)):
        for label in classes:
            place = folder / name / label
            place.mkdir(parents=True)
            rows = np.flatnonzero(source.labels == source.classes.index(label))[:count]
            for row in rows:
                Image.fromarray(source.images[row, ..., 0]).resize((48, 40)).save(place / f"{row}.jpg", quality=90)
    return folder


def command(file, photographs, workdir, *words, seconds=sweeps.SECONDS):
    study = [sys.executable, "-m", "resnet_alexnet.study.run", f"--config={file}", f"--workdir={workdir}"]
    return subprocess.run(
        [*study, f"--config.dataset.data_dir={photographs}", *words],
        env={**os.environ, "PYTHONPATH": str(processes.CHECKOUT), **sweeps.one_device()},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def assert_refused(capsys, file, photographs, workdir, words, message):
    """The command, run in this process, which takes less time, ends with code 2 and one line that has `message`."""
    capsys.readouterr()
    study = [f"--config={file}", f"--workdir={workdir}", f"--config.dataset.data_dir={photographs}", *words]
    assert exit_code(lambda: main(study)) == 2
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1
    assert message in errors


@pytest.mark.nightly
def test_our_study_of_photographs_keeps_to_its_time_and_recommends_a_network(tmp_path):
    photographs = write_photographs(tmp_path / "photographs", train=30, test=20, classes=("Trouser", "Bag"))
    result = command("your_photographs", photographs, tmp_path / "runs", "--budget=15m", seconds=3000)
    assert result.returncode == 0, result.stderr
    text = (tmp_path / "runs" / "report" / "REPORT.md").read_text()
    assert re.search(r"\*\*Use (AlexNet|ResNet-\d\d)", text)
    for name in ("AlexNet", "ResNet-18", "ResNet-34", "ResNet-50", "ResNet-18, not augmented"):
        assert f"| {name} |" in text


@pytest.mark.slow
def test_the_command_compares_networks_on_photographs_and_continues(tmp_path, capsys):
    file, photographs = tmp_path / "photos.py", write_photographs(tmp_path / "photographs")
    body = STUDY.format(rates='(("cifar_plain8", 0.1), ("cifar_resnet8", 0.1))')
    for field, value in {"num_steps": 12, "image_size": 24, "seeds": 1}.items():  # less than there is time for
        body = body.replace(f"budget.{field}", str(value))
    file.write_text(body)
    result = command(file, photographs, tmp_path / "runs", "--budget=20m")
    assert result.returncode == 0, result.stderr
    assert "trial runs of 8 steps: 2" in result.stdout
    said = r"in 20m fit \d runs? of each setting, of [\d,]+ steps with images of \d+ pixels"
    assert re.search(said, result.stdout)
    page = (tmp_path / "runs" / "report" / "report.html").read_text()
    assert "Use cifar_" in page
    assert "The command that trains it at full length" in page
    again = command(file, photographs, tmp_path / "runs", "--budget=20m")
    assert again.returncode == 0, again.stderr
    assert "trial runs" not in again.stdout
    for workdir, words, message in (
        (photographs, ["--budget=5m"], "is neither the folder of studies nor empty"),
        (tmp_path / "new", ["--budget=5m", "--print"], "--print with --budget: only trial runs can say what fits"),
        (
            tmp_path / "new",
            ["--budget=5m", "--config.num_steps=9"],
            "--config.num_steps=9: with --budget, num_steps is",
        ),
    ):
        assert_refused(capsys, file, photographs, workdir, words, message)
        assert not (workdir / "pilot").exists()
    said = "has studies with --budget=20m (give the same, or use another folder)"
    assert_refused(capsys, file, photographs, tmp_path / "runs", ["--budget=10m"], said)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("photographs", "message"),
    [
        ({"classes": ("Bag",)}, "one class|1 class"),
        ({"train": 2, "test": 1}, "^error: validation_fraction=0.1 holds out no image of image_folder train"),
    ],
)
def test_photographs_that_are_too_few_are_named(tmp_path, photographs, message):
    file = tmp_path / "photos.py"
    file.write_text(STUDY.format(rates='(("cifar_plain8", 0.1), ("cifar_resnet8", 0.1))'))
    folder = write_photographs(tmp_path / "photographs", **photographs)
    result = command(file, folder, tmp_path / "runs", "--budget=20m")
    assert result.returncode == 2, result.stdout
    assert re.search(message, result.stderr.splitlines()[-1]), result.stderr
