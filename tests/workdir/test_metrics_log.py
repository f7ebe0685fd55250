import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from resnet_alexnet.errors import InputError, TrainingError
from resnet_alexnet.workdir.metrics_log import MetricsLog, cut_back, read_metrics
from tests.support.events import events_of, multiplexer


def record_run(workdir: Path, steps: range, *, start_step: int = 0, finish: bool = False) -> None:
    with MetricsLog(workdir, start_step=start_step) as recorder:
        for step in steps:
            recorder.write(step, {"epoch": step / 4, "train/loss": 1 / (step + 1)})
        if finish:
            recorder.finish(steps[-1])


def strict(text: str) -> dict:
    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_lines_are_strict_json_and_the_finished_marker_comes_last(tmp_path):
    with MetricsLog(tmp_path / "new" / "run", start_step=0) as recorder:
        recorder.write(10, {"train/loss": 2.5, "learning_rate": 0.1})
        recorder.write(20, {"train/loss": float("nan"), "val/loss": float("inf"), "val/top1_error": 12.5})
        recorder.finish(20)
    lines = (tmp_path / "new" / "run" / "metrics.jsonl").read_text().splitlines()
    assert [strict(line) for line in lines] == [
        {"step": 10, "train/loss": 2.5, "learning_rate": 0.1},
        {"step": 20, "train/loss": None, "val/loss": None, "val/top1_error": 12.5},
        {"step": 20, "finished": True},
    ]


def test_a_line_is_on_disk_as_soon_as_write_returns_even_if_the_process_dies(tmp_path):
    program = (
        "import os, sys, pathlib\n"
        "from resnet_alexnet.workdir.metrics_log import MetricsLog\n"
        "log = MetricsLog(pathlib.Path(sys.argv[1]), start_step=0)\n"
        "log.write(7, {'train/loss': 0.5})\n"
        "os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False).returncode == -9
    assert read_metrics(tmp_path / "metrics.jsonl") == [{"step": 7, "train/loss": 0.5}]


def test_every_line_is_synced_to_the_disk(tmp_path, monkeypatch):
    synced = []
    with MetricsLog(tmp_path, start_step=0) as recorder:
        metrics = (tmp_path / "metrics.jsonl").stat().st_ino
        monkeypatch.setattr("os.fsync", lambda file: synced.append(os.fstat(file).st_ino))
        recorder.write(1, {"train/loss": 1.0})
        recorder.finish(1)
    assert synced.count(metrics) == 2


def test_a_line_torn_anywhere_is_dropped_and_the_whole_ones_stay(tmp_path):
    path = tmp_path / "metrics.jsonl"
    whole = b'{"step": 1, "train/loss": 2.5}\n'
    last = '{"step": 2, "train/loss": null, "note": "\N{GREEK SMALL LETTER MU}"}'.encode()
    for length in range(len(last)):
        path.write_bytes(whole + last[:length])
        assert [line["step"] for line in read_metrics(path)] == [1]
    path.write_bytes(whole + last)  # it lacks nothing but its line break
    assert [line["step"] for line in read_metrics(path)] == [1, 2]


@pytest.mark.parametrize(
    "bad", ['{"step": 2, "tra', '{"step": 2, "train/loss": NaN}', "[1]", '{"epoch": 1.0}', '{"step": true}', ""]
)
def test_a_malformed_line_is_an_error_that_names_file_and_line(tmp_path, bad):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n' + bad + '\n{"step": 3}\n')
    with pytest.raises(InputError, match=r"metrics\.jsonl, line 2 "):
        read_metrics(path)


def test_a_missing_file_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="no metrics at"):
        read_metrics(tmp_path / "metrics.jsonl")


@pytest.mark.parametrize(
    ("step", "kept"), [(0, []), (4, [0, 2, 4]), (5, [0, 2, 4]), (8, [0, 2, 4, 6, 8]), (99, [0, 2, 4, 6, 8])]
)
def test_cutting_back_keeps_the_steps_done_and_drops_the_finished_marker(tmp_path, step, kept):
    record_run(tmp_path, range(0, 10, 2), finish=True)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 8, "tes')
    lines = cut_back(tmp_path, step)
    assert [line["step"] for line in lines] == kept
    assert read_metrics(tmp_path / "metrics.jsonl") == lines
    assert not any("finished" in line for line in lines)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["events", "metrics.jsonl"]


def test_cutting_back_a_folder_without_a_record_does_nothing(tmp_path):
    assert cut_back(tmp_path, 5) == []
    assert list(tmp_path.iterdir()) == []


def test_a_crash_while_cutting_back_leaves_the_old_record(tmp_path, monkeypatch):
    record_run(tmp_path, range(4))
    before = (tmp_path / "metrics.jsonl").read_bytes()

    def crash(*_):
        raise OSError("no space left")

    monkeypatch.setattr("os.replace", crash)
    with pytest.raises(InputError, match=r"metrics\.jsonl cannot be written: no space left"):
        cut_back(tmp_path, 2)
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


def test_a_resumed_run_has_the_same_record_and_events_as_an_undisturbed_one(tmp_path):
    record_run(tmp_path / "undisturbed", range(1, 9), finish=True)
    record_run(tmp_path / "resumed", range(1, 7))  # killed after step 6, its last checkpoint at 4
    record_run(tmp_path / "resumed", range(5, 9), start_step=4, finish=True)
    logs = [(tmp_path / run / "metrics.jsonl").read_bytes() for run in ("undisturbed", "resumed")]
    assert logs[0] == logs[1]
    assert events_of(tmp_path / "resumed") == events_of(tmp_path / "undisturbed")
    assert [step for step, _ in events_of(tmp_path / "resumed")["train/loss"]] == list(range(1, 9))


def test_events_hold_the_finite_values_of_the_lines(tmp_path):
    with MetricsLog(tmp_path, start_step=0) as recorder:
        recorder.write(1, {"train/loss": 2.5, "epoch": 0.5})
        recorder.write(2, {"train/loss": float("nan"), "epoch": 1.0})
        recorder.finish(2)
    assert events_of(tmp_path) == {"train/loss": [(1, 2.5)]}


def test_splits_of_a_quantity_share_a_chart_and_epochs_have_none(tmp_path):
    with MetricsLog(tmp_path / "first", start_step=0) as recorder:
        recorder.write(1, {"epoch": 0.5, "train/loss": 2.5, "learning_rate": 0.1})
        recorder.write(1, {"epoch": 0.5, "val/loss": 3.5, "val/top1_error": 50.0})
        recorder.write(1, {"epoch": 0.5, "test/loss": 4.5})
    found = multiplexer(tmp_path)
    tags = {run: sorted(content) for run, content in found.PluginRunToTagToContent("scalars").items()}
    assert tags == {
        "first/events/train": ["learning_rate", "loss"],
        "first/events/val": ["loss", "top1_error"],
        "first/events/test": ["loss"],
    }


def test_of_a_start_nothing_is_drawn(tmp_path):
    with MetricsLog(tmp_path, start_step=0, config={"num_steps": 7}, began=100.0) as recorder:
        recorder.write(1, {"train/loss": 2.0, "time": 101.0, "seconds/steps": 1.0})
    assert events_of(tmp_path) == {"train/loss": [(1, 2.0)]}


def test_the_config_is_text_and_its_fields_are_hyperparameters(tmp_path):
    config = {"batch_size": 16, "model": {"name": "net", "lrn": True, "dropout": None}, "schedule": {"at": [1, 2]}}
    with MetricsLog(tmp_path, start_step=0, config=config) as recorder:
        recorder.write(1, {"val/top1_error": 50.0})
    found = multiplexer(tmp_path)
    (text,) = found.Tensors("events", "config/text_summary")
    shown = text.tensor_proto.string_val[0].decode()
    assert json.loads(shown) == config
    assert all(line.startswith("    ") for line in shown.splitlines())  # a code block of Markdown
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # tensorboard's own imports
        from tensorboard.plugins.hparams import plugin_data_pb2
    content = found.PluginRunToTagToContent("hparams")["events"]["_hparams_/session_start_info"]
    fields = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
    assert {name: value.WhichOneof("kind") for name, value in fields.items()} == {
        "batch_size": "number_value",
        "model.name": "string_value",
        "model.lrn": "bool_value",
        "schedule.at": "string_value",
    }
    assert fields["batch_size"].number_value == 16


@pytest.mark.parametrize("end", ["stopped", "diverged", "stuck"])
def test_the_line_that_says_how_a_run_ended_is_gone_when_it_resumes(tmp_path, end):
    with MetricsLog(tmp_path, start_step=0) as recorder:
        recorder.write(4, {"train/loss": 2.0})
        recorder.write(6, {"train/loss": 1.0}, end=end)
    assert read_metrics(tmp_path / "metrics.jsonl")[-1] == {"step": 6, "train/loss": 1.0, end: True}
    assert events_of(tmp_path) == {"train/loss": [(4, 2.0), (6, 1.0)]}
    with MetricsLog(tmp_path, start_step=6) as recorder:
        assert recorder.lines == [{"step": 4, "train/loss": 2.0}]
    assert read_metrics(tmp_path / "metrics.jsonl") == [{"step": 4, "train/loss": 2.0}]
    assert events_of(tmp_path) == {"train/loss": [(4, 2.0)]}


def test_opening_replaces_older_event_files_and_leaves_other_files_alone(tmp_path):
    record_run(tmp_path, range(1, 3))
    (event_file,) = (tmp_path / "events" / "train").iterdir()
    event_file.rename(event_file.with_name("events.out.tfevents.1000000000.elsewhere"))
    (tmp_path / "events" / "notes.txt").write_text("mine")
    record_run(tmp_path, range(1, 3))
    assert len(list((tmp_path / "events").rglob("events.out.tfevents.*"))) == 1
    assert (tmp_path / "events" / "notes.txt").read_text() == "mine"


FULL = """
import resource, sys
from pathlib import Path
from resnet_alexnet.workdir.metrics_log import MetricsLog

resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))  # a disk on which the config has no room
with MetricsLog(Path(sys.argv[1]), start_step=0, config={"name": "x" * 9000}) as metrics_log:
    for step in range(40):  # more than tensorboardX's queue holds
        metrics_log.write(step, {"val/loss": 1.0})
"""


def test_events_that_cannot_be_written_are_one_warning_and_the_metrics_go_on(tmp_path):
    result = subprocess.run([sys.executable, "-c", FULL, tmp_path], capture_output=True, text=True, timeout=60)
    (file,) = (tmp_path / "events").glob("events.*")
    assert result.stdout == f"warning: {file} cannot be written (File too large): no more is written for TensorBoard\n"
    assert (result.returncode, result.stderr) == (0, "")
    assert len(read_metrics(tmp_path / "metrics.jsonl")) == 40


def write_to_full_disk(workdir: Path) -> None:
    with MetricsLog(workdir, start_step=0) as metrics_log:
        metrics_log._file.close()
        metrics_log._file = Path("/dev/full").open("a")  # noqa: SIM115
        metrics_log.write(1, {"val/loss": 1.0})


def test_metrics_that_cannot_be_written_are_one_error_that_names_the_file(tmp_path):
    with pytest.raises(TrainingError) as error:
        write_to_full_disk(tmp_path)
    assert str(error.value) == (
        "/dev/full cannot be written (No space left on device): free some space there and run the same command again; "
        "it resumes from the last checkpoint, if there is one"
    )
