"""How far a run is, read while it may be beginning."""

import pytest

from resnet_alexnet.errors import InputError
from resnet_alexnet.study import state


def test_a_run_that_begins_while_it_is_looked_at_has_done_nothing_yet(tmp_path, monkeypatch):
    read = state.read_metrics

    def read_too_early(path):
        try:
            return read(path)
        finally:
            path.write_text('{"step": 1, "epoch": 0.1}\n')

    monkeypatch.setattr(state, "read_metrics", read_too_early)
    assert state.read_state(tmp_path).lines == []
    assert state.read_state(tmp_path).step == 1


def test_a_damaged_file_is_an_error(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("no JSON\n")
    with pytest.raises(InputError, match=r"metrics\.jsonl"):
        state.read_state(tmp_path)
