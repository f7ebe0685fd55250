"""The goodput of real runs, against an account kept from outside: one undisturbed, one killed twice."""

import itertools
import os
import time
from collections import defaultdict

import pytest

from resnet_alexnet.workdir.goodput import read_goodput
from resnet_alexnet.workdir.metrics_log import read_metrics
from tests.support import tiny
from tests.support.processes import MAIN, lines_written, run, words

pytestmark = pytest.mark.slow
OWN = {"start", "compile"}  # parts that a start takes again whatever was saved


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("compiled")


def parts_of(line):
    return {name.removeprefix("seconds/"): line[name] for name in line if name.startswith("seconds/")}


def test_the_parts_of_an_undisturbed_run_add_up_to_its_time(tmp_path, cache):
    before = time.time()
    code, output, errors = run([*MAIN, *words(tiny.config()), f"--workdir={tmp_path / 'run'}"], cache)
    after = time.time()
    assert code == 0, errors
    first, *lines, finished = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert finished == {"step": 40, "finished": True}
    assert (first["step"], first["start"]) == (0, 1)
    assert before < first["time"] < lines[-1]["time"] < after
    times = [first["time"], *(line["time"] for line in lines)]
    for begin, end, line in zip(times, times[1:], lines, strict=False):
        assert sum(parts_of(line).values()) == pytest.approx(end - begin, abs=0.02)
    goodput = read_goodput([first, *lines, finished])
    assert goodput is not None
    assert goodput.total == pytest.approx(lines[-1]["time"] - first["time"], abs=0.1)
    assert {"steps", "start", "compile", "evaluation", "save"} <= goodput.seconds.keys()
    assert not {"lost", "down", "input_wait"} & goodput.seconds.keys()
    for before, line in itertools.pairwise(lines):
        if "images_per_second" in line:  # the meter's own time of the steps is an upper bound
            seconds = (line["step"] - before["step"]) * 16 / line["images_per_second"]
            assert 0 < line["seconds/steps"] <= seconds + 0.01
    assert f"  goodput              {goodput}\n" in output
    assert 0 < goodput.percent < 100


def test_a_run_that_is_killed_twice_tells_what_it_lost(tmp_path, cache):
    workdir = tmp_path / "run"
    file, sessions, moments = workdir / "metrics.jsonl", [], []

    def saved():
        names = [path.name for path in workdir.glob("checkpoints/*")]
        return max((int(name) for name in names if name.isdigit()), default=0)

    def start(*fields, until=None):
        resumes_at = saved()
        code, _, errors = run([*MAIN, *fields, f"--workdir={workdir}"], cache, until=until)
        assert code == (0 if until is None else -9), errors
        sessions.append((resumes_at, read_metrics(file), os.stat(file).st_mtime))

    def silent():  # its only line is that of its start, and it has gone on for a while
        if read_metrics(file)[-1].get("start") != 2:
            return False
        moments.append(os.stat(file).st_mtime)
        return moments[-1] > moments[0] + 2

    config = tiny.config(num_steps=10**6, log__every_steps=30, eval__every_steps=45, checkpoint__every_steps=40)
    start(*words(config), until=lines_written(workdir, 5))
    quiet = ["--config.log.every_steps=900000", "--config.eval.every_steps=0", "--config.checkpoint.every_steps=0"]
    start(*quiet, until=silent)
    start(*quiet, f"--config.num_steps={saved() + 20}", "--config.log.every_steps=10")

    expected: dict[str, float] = defaultdict(float)
    for number, (_, lines, alive) in enumerate(sessions):
        begin = max(index for index, line in enumerate(lines) if "start" in line)
        is_last = number == len(sessions) - 1
        end = next(line["time"] for line in reversed(lines) if "time" in line)
        kept_until = 10**9 if is_last else sessions[number + 1][0]
        for line in lines[begin + 1 :]:
            for part, seconds in parts_of(line).items():
                expected[part if line["step"] <= kept_until or part in OWN else "lost"] += seconds
        if not is_last:
            expected["lost"] += alive - end
            following = [line for line in sessions[number + 1][1] if line.get("start") == number + 2]
            expected["down"] += following[0]["time"] - alive
    final = sessions[-1][1]
    goodput = read_goodput(final)
    assert goodput is not None
    assert goodput.seconds == pytest.approx(dict(expected), abs=0.05)
    assert goodput.seconds["lost"] > 2
    assert goodput.starts == 3
    wall = final[-2]["time"] - final[0]["time"]
    assert goodput.total + goodput.seconds["down"] == pytest.approx(wall, abs=0.1)
