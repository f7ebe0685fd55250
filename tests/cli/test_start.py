"""What commands that compute do first."""

from argparse import Namespace

import pytest

from resnet_alexnet.cli import compiled, memory, start


@pytest.mark.parametrize("wanted", [True, False])
def test_a_command_says_that_it_begins_and_then_sets_how_programs_and_memory_are_kept(monkeypatch, wanted):
    done = []
    monkeypatch.setattr(start, "announce", lambda: done.append("announce"))
    monkeypatch.setattr(compiled, "keep", lambda wanted: done.append(("programs", wanted)))
    monkeypatch.setattr(memory, "keep_freed", lambda: done.append("memory"))
    start.begin(Namespace(compile_cache=wanted))
    assert done == ["announce", ("programs", wanted), "memory"]
