import re

import pytest

from resnet_alexnet.cli.progress import Progress, print_summary, progress_bar
from tests.support.terminal import run_on_a_terminal, screen

RECORD = {
    "epoch": 3.21,
    "train/loss": 0.8123,
    "train/top1_error": 28.125,
    "learning_rate": 0.1,
    "images_per_second": 4120.4,
}
BAR_PROGRAM = """
import time
from resnet_alexnet.cli.progress import Progress, print_summary
with Progress(1000, 100, batch_size=64, images=5000, best_error=40.0) as bar:
    bar.say("[a message] :smile:")
    for step in range(101, 201):
        bar.advance(step)
    bar.update(200, {record})
    bar.update(200, {{"epoch": 3.21, "val/loss": 0.9, "val/top1_error": 31.25}})
    time.sleep(0.3)
    bar.advance({last})
print_summary("resnet[8]", [("test error", "11.4 %"), ("workdir", "/runs/[red]x")])
"""


class Clock:
    """Seconds that pass only when told."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_plain_output_is_one_line_per_record(capsys):
    clock = Clock()
    with Progress(1000, clock=clock) as bar:
        bar.say("[started]")
        clock.now = 30.0  # compiling, which does not count in the pace
        bar.advance(1)
        clock.now = 30.0 + 199 * 0.09
        bar.update(200, RECORD)
        bar.update(200, {"epoch": 3.21, "val/loss": 0.00012, "val/top1_error": 25.0, "val/top5_error": 2.04})
        bar.advance(300)
    assert capsys.readouterr().out.splitlines() == [
        "[started]",
        "step 200/1000  epoch 3.2  loss 0.812  error 28.1 %  lr 0.1  4120 images/s  eta 1:12",
        "step 200/1000  epoch 3.2  val loss 1.2e-04  val error 25.0 %  val top-5 error 2.0 %  eta 1:12",
    ]


def test_time_left_is_not_guessed_before_there_is_a_pace(capsys):
    with Progress(1000, 500) as bar:
        bar.update(501, {"train/loss": float("nan"), "images_per_second": 3.24})
    assert capsys.readouterr().out == "step 501/1000  loss nan  3.2 images/s\n"


@pytest.mark.parametrize(("pace", "eta"), [(0.01, "0:09"), (1, "14:59"), (10, "2:29:50"), (1000, "10d 9:43:20")])
def test_time_left_reads_as_a_clock(capsys, pace, eta):
    clock = Clock()
    bar = Progress(1000, clock=clock)
    bar.advance(100)
    clock.now = pace
    bar.update(101, {})
    assert capsys.readouterr().out == f"step 101/1000  eta {eta}\n"


def test_a_pipe_gets_plain_lines_even_where_color_is_forced(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with Progress(10) as bar:
        bar.update(5, {"train/loss": 1.0})
    print_summary("run", [("a", 1)])
    assert "\x1b" not in capsys.readouterr().out


def test_plain_summary_is_aligned(capsys):
    print_summary("quickstart", [("test error", "11.4 %"), ("steps", 560)])
    assert capsys.readouterr().out == "quickstart\n  test error  11.4 %\n  steps       560\n"


@pytest.mark.parametrize(
    ("columns", "facts"),
    [
        (32, r"0:0\d left"),
        (40, r"epoch 3\.2  0:0\d left"),
        (80, r"epoch 3\.2  best val error 31\.2 %  \d+ images/s  0:0\d left"),
        (200, r"epoch 3\.2  loss 0\.812  error 28\.1 %  best val error 31\.2 %  \d+ images/s  0:0\d left"),
    ],
)
def test_a_terminal_shows_one_bar_with_what_fits_below_the_messages(columns, facts):
    stream = run_on_a_terminal(BAR_PROGRAM.format(record=RECORD, last=250), columns=columns)
    lines = screen(stream)
    assert lines[:2] == ["[a message] :smile:", "step 200  epoch 3.2  val loss 0.900  val error 31.2 %"]
    bars = [line for line in lines if "━" in line]
    assert len(bars) == 1
    assert lines[2] == bars[0]
    assert re.fullmatch(rf"250/1000 [━╸╺]{{4,}} {facts}", bars[0])
    assert len(bars[0]) == columns
    assert "\x1b[?25h" in stream  # the cursor is given back


def test_an_evaluation_has_a_bar_of_its_own_while_it_runs():
    program = """
import time
from resnet_alexnet.cli.progress import Progress
with Progress(10) as bar:
    for count in bar.follow([64, 64, 22], 150, "validation", size=int):
        time.sleep(0.6)
    bar.advance(10)
"""
    stream = run_on_a_terminal(program)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream)
    assert re.search(r"0/10 [━╸╺]+ compiling", text)
    assert re.search(r"validation 128/150 [━╸╺]+ \d+/s  0:0\d left", text)
    assert [line.split()[0] for line in screen(stream) if line] == ["10/10"]


def test_an_evaluation_elsewhere_than_on_a_terminal_tells_now_and_then_how_far_it_is(capsys):
    clock = Clock()
    bar = Progress(10, clock=clock)
    for _ in bar.follow([500] * 4, 2000, "validation", size=int):
        clock.now += 40
    assert capsys.readouterr().out == (
        "1,000 of 2,000 validation  12/s  1:20 left\n2,000 of 2,000 validation  12/s  0:00 left\n"
    )


def test_time_left_counts_down_between_slow_steps_and_waits_for_a_late_one(capsys):
    clock = Clock()
    bar = Progress(4, clock=clock)
    for step in (1, 2):
        clock.now = 10.0 * step
        bar.advance(step)
    told = []
    for clock.now in (20, 24, 29, 35, 300):
        bar.update(2, {})
        told.append(capsys.readouterr().out.split()[-1])
    assert told == ["0:20", "0:16", "0:11", "0:10", "0:10"]


def test_a_finished_bar_tells_what_the_run_took_and_a_table_follows():
    lines = screen(run_on_a_terminal(BAR_PROGRAM.format(record=RECORD, last=1000)))
    assert re.search(r"^1000/1000 ━+ .* took 0:0\d$", lines[2])
    assert lines[3] == "resnet[8]"
    assert [re.sub(" +", " ", line) for line in lines[5:7]] == [
        "│ test error │ 11.4 % │",
        "│ workdir │ /runs/[red]x │",
    ]


def test_a_dumb_terminal_gets_plain_lines():
    lines = screen(run_on_a_terminal(BAR_PROGRAM.format(record=RECORD, last=1000), term="dumb"))
    assert lines[1].startswith("step 200/1000  epoch 3.2  loss 0.812")
    assert not any("━" in line for line in lines)


def test_items_are_passed_on_in_silence_where_there_is_no_terminal(capsys):
    assert list(progress_bar("abc", 3, "letters")) == ["a", "b", "c"]
    assert capsys.readouterr().out == ""


def test_plain_lines_come_now_and_then_with_the_rate_and_the_time_left(capsys):
    clock = iter([0.0, 5.0, 11.0, 11.0, 22.0, 40.0]).__next__
    counts = iter([100, 1000, 0, 2200, 0])
    done = []
    for count in progress_bar(counts, 100_000, "photographs", size=int, line_seconds=10.0, clock=clock):
        done.append((count, capsys.readouterr().out))
    assert done == [
        (100, ""),
        (1000, ""),
        (0, "1,100 of 100,000 photographs  100/s  16:29 left\n"),
        (2200, ""),
        (0, "3,300 of 100,000 photographs  200/s  8:04 left\n"),
    ]
    assert capsys.readouterr().out == ""  # nothing was done since


def test_a_terminal_shows_a_bar_of_sizes_and_removes_it():
    program = """
import time
from resnet_alexnet.cli.progress import progress_bar
for _ in progress_bar([700, 800, 0], 2000, "photographs", size=int, line_seconds=0):
    time.sleep(0.3)
print("the end")
"""
    stream = run_on_a_terminal(program)
    bars = re.findall(
        r"photographs .*?\n?1,500/2,000 [\d.e+]+/s \d:\d\d:\d\d", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream)
    )
    assert bars
    assert [line for line in screen(stream) if line] == ["the end"]


OUTSIDE = "[red]\x1b]0;owned\x07\x1b[2J\u202e\nnext[/]"  # as the name of a folder, a class or a file may be


def test_names_from_outside_neither_steer_a_terminal_nor_are_markup(capsys):
    program = f"""
from resnet_alexnet.cli.progress import Progress, print_summary, progress_bar
name = {OUTSIDE!r}
with Progress(10) as bar:
    bar.say(name.replace("\\n", "|"))
for _ in progress_bar([1], 1, name):
    pass
print_summary(name, [(name, name)])
"""
    stream = run_on_a_terminal(program, columns=200)
    shown = r"[red]\x1b]0;owned\x07\x1b[2J\u202e"
    assert stream.count(shown) >= 4
    assert not {"\x07", "\u202e"} & set(stream)
    assert "\x1b]0" not in stream
    assert "\x1b[2J" not in stream
    print_summary(OUTSIDE, [(OUTSIDE, OUTSIDE)])
    assert capsys.readouterr().out.replace("\n", "").isprintable()
