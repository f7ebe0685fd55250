"""The census, with threads as the processes: the sockets are real."""

import contextlib
import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from resnet_alexnet.errors import InputError
from resnet_alexnet.parallel import census
from resnet_alexnet.parallel.census import Census, check_same
from resnet_alexnet.parallel.connection import listen
from tests.support.teams import free_port


def process(port: int, count: int, number: int, converse=lambda each: each.consult({}), seconds=20.0):
    """What a process hears: the result of `converse`, or the text of the error."""
    try:
        with Census(("127.0.0.1", port), count, number, host=f"host{number}", seconds=seconds) as each:
            return converse(each)
    except InputError as error:
        return f"error: {error}"


def together(count, converse=lambda each: each.consult({}), *, numbers=None, seconds=20.0, before=None):
    """What each process hears; `before` is called with the port once process 0 listens."""
    port, numbers = free_port(), list(range(count)) if numbers is None else numbers
    with ThreadPoolExecutor(len(numbers)) as pool:
        heard = []
        for number in numbers:
            heard.append(pool.submit(process, port, count, number, converse, seconds))
            if number == 0 and before is not None:
                before(port)
        return [each.result() for each in heard]


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(census, "_SECONDS_AFTER_FAULT", 0.3)
    monkeypatch.setattr(census, "_SECONDS_TO_ANSWER", 2.0)


def test_all_hear_the_same_answers_in_turn():
    def converse(each):
        number = each._process_id
        first = each.consult({"n": number}, lambda messages: sum(m["n"] for m in messages.values()))
        return first, each.consult({"n": number}, lambda messages: sorted(messages)), each.name(0)[:9]

    heard = together(4, converse)
    assert [each[:2] for each in heard] == [(6, [0, 1, 2, 3])] * 4


def test_process_0_may_come_last():
    assert together(3, numbers=[2, 1, 0]) == [None] * 3


def test_who_is_missing_is_named_on_all():
    heard = together(4, numbers=[0, 2], seconds=2)
    assert (
        heard
        == [
            "error: process 1, process 3 of 4 missing after 2 s (there: process 0 (host0), process 2 (host2)); "
            "start all, or raise hosts.connect_seconds"
        ]
        * 2
    )


def test_without_process_0_the_others_name_it():
    (heard,) = together(2, numbers=[1], seconds=0.5)
    assert heard.startswith("error: process 0 is missing: nothing answers at 127.0.0.1:")


def test_two_processes_with_one_number_are_named_on_all():
    heard = together(3, numbers=[0, 1, 1])
    assert set(heard) == {"error: process 1 (host1) is there twice, on host1 too: give each its own --process_id"}


def test_a_second_process_0_cannot_listen():
    port = free_port()
    with listen("127.0.0.1", port):
        heard = process(port, 2, 0)
    assert heard.startswith(f"error: process 0 cannot listen at 127.0.0.1:{port}: Address already in use (choose ")


def test_what_differs_is_named_with_its_processes():
    def converse(each):
        facts = {"jax": "1" if each._process_id < 2 else "2", "seed": 0}
        each.consult(facts, lambda messages: check_same(messages, each.name))

    expected = (
        "error: the processes differ: jax is 1 on process 0 (host0), process 1 (host1), but 2 on process 2 (host2)"
    )
    assert together(3, converse) == [expected] * 3


def test_many_differences_are_cut_short():
    facts = {0: {str(key): 0 for key in range(9)}, 1: {}}
    with pytest.raises(InputError, match=r"0 is 0 on p0, but None on p1; .*; and 5 more$"):
        check_same(facts, lambda process: f"p{process}")


def test_an_error_of_one_process_is_raised_on_all_whatever_the_others_ask():
    def converse(each):
        if each._process_id == 1:
            return each.consult({"error": "no data here"})
        return each.consult({"number": 3}, lambda messages: min(m["number"] for m in messages.values()))

    assert together(3, converse) == ["error: process 1 (host1): no data here"] * 3


def test_an_error_that_all_have_is_said_once():
    assert together(2, lambda each: each.consult({"error": "bad batch"})) == ["error: bad batch"] * 2


def test_a_process_that_leaves_is_named_at_once():
    def converse(each):
        each.consult({})
        return "left" if each._process_id == 1 else each.consult({})

    heard = together(3, converse, seconds=86400)
    assert heard[1] == "left"
    assert heard[0] == heard[2] == "error: process 1 (host1) left before the run began: its own message says why"


def test_when_process_0_leaves_the_others_say_so():
    def converse(each):
        each.consult({})
        return "left" if each._process_id == 0 else each.consult({})

    heard = together(2, converse)
    assert heard[0] == "left"
    assert heard[1].startswith("error: process 0 at 127.0.0.1:")
    assert "left before the run began" in heard[1]


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff\xfe\x00\n" * 10,
        b"[1, 2]\n",
        b'{"program": "resnet_alexnet", "process_id": "1", "host": "h"}\n',
        b'{"program": "other", "process_id": 1, "host": "h"}\n',
        b"x" * (2**20 + 70000),
        json.dumps({"program": "resnet_alexnet", "process_id": 1}).encode(),
    ],
    ids=["closed", "http", "binary", "list", "types", "program", "long", "torn"],
)
def test_what_other_programs_send_is_ignored(sent):
    def disturb(port):
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(sent)
                return

    assert together(2, before=disturb) == [None] * 2


def test_silent_connections_do_not_hold_up_the_others():
    opened = []

    def disturb(port):
        while len(opened) < 5:
            with contextlib.suppress(OSError):
                opened.append(socket.create_connection(("127.0.0.1", port)))

    try:
        assert together(3, before=disturb) == [None] * 3
    finally:
        for connection in opened:
            connection.close()


def test_a_process_that_is_slow_to_send_is_waited_for():
    port = free_port()
    lines = b'{"program": "resnet_alexnet", "process_id": 1, "host": "slow"}\n{"n": 1}\n'

    def slow():
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as connection:
                for number in range(len(lines)):
                    connection.sendall(lines[number : number + 1])
                return connection.recv(100)

    with ThreadPoolExecutor(2) as pool:
        answer = pool.submit(slow)
        assert process(port, 2, 0, lambda each: each.consult({"n": 0}, lambda m: m[1]["n"])) == 1
        assert json.loads(answer.result()) == {"error": None, "answer": 1}


def test_another_program_at_the_port_of_process_0_is_suspected():
    port = free_port()

    def serve(listener):
        connection, _ = listener.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(b"220 mail.example ESMTP\r\n")

    with listen("127.0.0.1", port) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        heard = process(port, 2, 1)
        thread.join()
    assert "the port belongs to another program" in heard
