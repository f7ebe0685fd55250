"""What is shown of many runs, on a terminal and elsewhere."""

import re
import time

from resnet_alexnet.cli.board import Board
from tests.support.terminal import run_on_a_terminal, screen

PROGRAM = """
import time
from resnet_alexnet.cli.board import Board
with Board(3, 1) as board:
    board.start("rate=0.1", 40)
    board.start("[b]rate=0.2", 40)
    board.update("rate=0.1", 20, "validation error 12.50 %")
    time.sleep(0.6)
    board.end("rate=0.1", "validation error 9.00 %", done=True)
    board.say("a message")
"""


def test_a_line_for_each_start_and_end_where_there_is_no_terminal(capsys, monkeypatch):
    clock = iter((0.0, 0.0, 60.0, 65.0))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    with Board(2, 1) as board:
        board.start("a", 40)
        board.update("a", 20, "validation error 12.50 %")
        board.end("a", "failed (exit code 1), is tried again", done=False)
        monkeypatch.undo()
        board.start("a\x1b", 40)
        board.end("a\x1b", "validation error 9.00 %", done=True)
    assert capsys.readouterr().out.splitlines() == [
        "started: a",
        "1/2 done: a: failed (exit code 1), is tried again, 60 s",
        "started: a\\x1b",
        "2/2 done: a\\x1b: validation error 9.00 %, 0 s",
    ]


def test_the_time_left_follows_from_what_was_done_so_far(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with Board(22, 2) as board:  # 20 to do
        board.start("a", 40)
        board.start("b", 40)
        now[0] = 60.0
        board.update("b", 20, "-")
        board.end("a", "ended", done=True)  # 1.5 runs in a minute: 18.5 left
        now[0] = 3600.0
        board.end("b", "ended", done=True)  # 2 in an hour: 18 left
        for number in range(18):
            board.start(str(number), 40)
            board.end(str(number), "ended", done=True)
    lines = [line for line in capsys.readouterr().out.splitlines() if "done" in line]
    assert lines[0] == "3/22 done: a: ended, 60 s; about 12 min left"
    assert lines[1] == "4/22 done: b: ended, 3600 s; about 9.0 h left"
    assert lines[-1] == "22/22 done: 17: ended, 0 s"


def test_a_bar_for_all_runs_and_one_for_each_under_way_on_a_terminal():
    stream = run_on_a_terminal(PROGRAM, columns=110)
    assert "validation error 12.50 %" in stream
    assert "20/40" in stream
    lines = screen(stream)
    told = r"2/3 done: rate=0\.1: validation error 9\.00 %, \d+ s; about \d+ s left"
    assert any(re.fullmatch(told, line) for line in lines)
    assert "a message" in lines
    left = [line for line in lines if "━" in line]
    assert [line.split()[0] for line in left] == ["runs", "[b]rate=0.2"]
    assert "2/3" in left[0]


def test_long_names_leave_room_for_the_counts_on_80_columns():
    name = "learning_rate=0.02,batch_size=64,weight_decay=0.0001,shortcut=projection,seed="
    program = f"""
import time
from resnet_alexnet.cli.board import Board
with Board(3) as board:
    for seed in range(2):
        board.start("{name}" + str(seed), 64000)
        board.update("{name}" + str(seed), 32000 + seed, "validation error 12.50 %")
    time.sleep(0.6)
"""
    bars = [line for line in screen(run_on_a_terminal(program, columns=80)) if "/64000" in line]
    assert [line.split()[0][-7:] for line in bars] == [",seed=0", ",seed=1"]
    for seed, line in enumerate(bars):
        assert line.rstrip().endswith(f" {32000 + seed}/64000 validation error 12.50 %")
        assert line.count("━") + line.count("╸") + line.count("╺") >= 5
