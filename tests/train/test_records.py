"""What a run writes down: how often its curves are drawn."""

from types import SimpleNamespace

from resnet_alexnet.train import records


def test_curves_are_drawn_every_ten_seconds_and_after_the_last_evaluation(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(records, "time", SimpleNamespace(monotonic=lambda: now[0]))
    picture, log = tmp_path / "curves.png", SimpleNamespace(lines=[{"step": 1, "train/loss": 2.0}])
    run = records.Records(log, None, None, picture, title="a run", batch_size=1, images=1, classes=2)

    def updates(after: float, *, last: bool = False) -> bool:
        """Whether an update so many seconds later draws."""
        picture.unlink(missing_ok=True)
        now[0] += after
        run.update_curves(last=last)
        return picture.exists()

    assert [updates(9), updates(2), updates(9), updates(2)] == [False, True, False, True]
    assert updates(1, last=True)
    assert [updates(9), updates(2)] == [False, True]
