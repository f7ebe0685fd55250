import csv
import json
import re
from pathlib import Path

import pytest

from resnet_alexnet.errors import InputError
from resnet_alexnet.results import main
from resnet_alexnet.study.results import HEADER, Result, read_result, update
from tests.support.studies import TWO_ARMS, error_of, write_runs, write_study
from tests.support.terminal import run_on_a_terminal, screen

ROOT = Path(__file__).parents[2]
MARKS = "before\n<!-- results -->\nold\n<!-- /results -->\nafter\n"


def write_record(folder: Path, *, model: str = "cifar_resnet20", lines: int = 4, **environment: object) -> Path:
    """A run of 2 epochs of 450 images, 100 images/s but for a slow first log; `lines` cuts its log short."""
    folder.mkdir(parents=True)
    config = {"batch_size": 45, "model": {"name": model}, "dataset": {"name": "cifar10"}, "seed": 3}
    config |= {"optim": {"learning_rate": 0.1}}
    (folder / "config.json").write_text(json.dumps(config))
    machine = {"backend": "cpu", "cpu_count": 2, "devices": ["cpu"]} | environment
    (folder / "environment.json").write_text(json.dumps(machine))
    logged = [
        {"step": 5, "epoch": 0.5, "train/loss": 2.0, "images_per_second": 1.0},
        {"step": 20, "epoch": 2.0, "train/loss": 1.0, "images_per_second": 100.0},
        {"step": 20, "epoch": 2.0, "test/top1_error": 8.5, "images_per_second": 100.0},
        {"step": 20, "finished": True},
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in logged[:lines]))
    return folder


def test_a_record_is_read_as_its_run_says(tmp_path):
    assert read_result(write_record(tmp_path / "run")) == Result(
        model="cifar_resnet20",
        dataset="cifar10",
        train_images=450,
        epochs=2.0,
        test_error=8.5,
        seconds=9.0,
        hardware="2 CPU cores",
    )


def test_the_command_writes_a_row_for_each_record_between_the_marks_and_only_there(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(MARKS)
    write_record(tmp_path / "runs" / "b", model="alexnet_cifar", backend="gpu", devices=["H200", "H200"])
    write_record(tmp_path / "runs" / "a")
    for _ in range(2):  # the second time it replaces what it wrote
        main([f"--runs={tmp_path}/runs/*", f"--readme={readme}"])
    lines = readme.read_text().splitlines()
    assert lines[:2] == ["before", "<!-- results -->"]
    assert lines[-2:] == ["<!-- /results -->", "after"]
    assert lines[4:-2] == [
        "| [a](runs/a) | cifar_resnet20, cifar10 | 450 | 2 | 8.50 % | 8.75 % | 9 s | 2 CPU cores |",
        "| [b](runs/b) | alexnet_cifar, cifar10 | 450 | 2 | 8.50 % | - | 9 s | 2 x H200 |",
    ]


@pytest.mark.parametrize("lines", range(4))
def test_an_unfinished_run_is_no_result(tmp_path, lines):
    with pytest.raises(InputError, match="has no result"):
        read_result(write_record(tmp_path / "run", lines=lines))


def test_a_missing_file_is_named(tmp_path):
    folder = write_record(tmp_path / "run")
    (folder / "environment.json").unlink()
    with pytest.raises(InputError, match=r"environment\.json cannot be read"):
        read_result(folder)


def test_bad_arguments_are_refused_and_nothing_is_written(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("no marks")
    write_record(tmp_path / "run")
    with pytest.raises(InputError, match="lacks the lines"):
        main([f"--runs={tmp_path}/run", f"--readme={readme}"])
    with pytest.raises(InputError, match="matches no folder"):
        main([f"--runs={tmp_path}/none*", f"--readme={readme}"])
    with pytest.raises(InputError, match=r"--readme=none\.md: no such file"):
        main([f"--runs={tmp_path}/run", "--readme=none.md"])
    assert readme.read_text() == "no marks"


def test_without_a_readme_the_results_are_shown_and_other_runs_are_named(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_record(tmp_path / "runs" / "a")
    write_record(tmp_path / "runs" / "b", lines=2)
    write_record(tmp_path / "c\x1b[31m", model="alexnet_cifar")
    main([])
    out, err = capsys.readouterr()
    assert [re.split("  +", line) for line in out.splitlines()] == [
        list(HEADER),
        ["runs/a", "cifar_resnet20, cifar10", "450", "2", "8.50 %", "8.75 %", "9 s", "2 CPU cores"],
    ]
    assert err.startswith("left out: runs/b/metrics.jsonl has no result")
    main(["runs/a", "c\x1b[31m"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["run", "runs/a", r"c\x1b[31m"]
    main(["--runs=runs/*"])
    assert capsys.readouterr().out == out
    with pytest.raises(InputError, match="none of these folders has a result"):
        main(["runs/b"])


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_the_results_fit_the_terminal(tmp_path, columns):
    write_record(tmp_path / "a")
    program = f"import os; os.chdir({str(tmp_path)!r}); from resnet_alexnet.results import main; main(['a'])"
    lines = [line for line in screen(run_on_a_terminal(program, columns=columns)) if line]
    assert max(map(len, lines)) <= columns
    if columns == 200:
        assert [re.split("  +", line)[0] for line in lines] == ["run", "a"]
    else:
        assert lines[:2] == ["a", "  network: cifar_resnet20, cifar10"]
        assert lines[4] == "  test error: 8.50 %"


def test_the_table_of_the_readme_is_what_the_records_say():
    folders = sorted(path for path in (ROOT / "docs" / "results").iterdir() if path.is_dir())
    assert folders
    assert update(ROOT / "README.md", folders) == (ROOT / "README.md").read_text(encoding="utf-8")


def test_all_numbers_of_runs_and_studies_are_one_table(tmp_path):
    run = write_record(tmp_path / "run")
    write_runs(tmp_path / "study", write_study(tmp_path / "widths.py", TWO_ARMS), error=error_of)
    main([str(run), str(tmp_path / "study"), f"--csv={tmp_path / 'all.csv'}"])
    with (tmp_path / "all.csv").open() as file:
        rows = list(csv.DictReader(file))
    first = [row for row in rows if row["run_folder"] == "run"]
    assert [(row["metric"], row["unit"], row["value"]) for row in first] == [
        ("test_error", "%", "8.5"),
        ("epochs", "", "2"),
        ("training_seconds", "s", "9"),
    ]
    assert {(row["seed"], row["learning_rate"]) for row in first} == {("3", "0.1")}
    of_study = [row for row in rows if row["study"] == "widths" and row["metric"] == "test_error"]
    assert {(row["setting"], row["seed"]): row["value"] for row in of_study}["wide", "2"] == "22.2"
    assert {row["scale"] for row in of_study} == {"cpu"}


def test_an_unfinished_run_is_named_and_no_table_is_written(tmp_path):
    run = write_record(tmp_path / "run", lines=2)
    with pytest.raises(InputError, match="has no result"):
        main([str(run), f"--csv={tmp_path / 'all.csv'}"])
    assert not (tmp_path / "all.csv").exists()


def test_the_committed_table_is_what_the_records_say(tmp_path):
    records, runs = ROOT / "docs" / "report" / "records", ROOT / "docs" / "results" / "*"
    main([str(records), f"--runs={runs}", f"--csv={tmp_path / 'results.csv'}"])
    assert (tmp_path / "results.csv").read_text() == (ROOT / "docs" / "results.csv").read_text()
