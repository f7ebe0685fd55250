"""What a run writes down: how often its curves are drawn."""

from types import SimpleNamespace

from resnet_alexnet.train import records


def test_curves_are_updated_at_most_every_ten_seconds_and_drawn_at_once(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(records, "time", SimpleNamespace(monotonic=lambda: now[0]))
    picture, log = tmp_path / "curves.png", SimpleNamespace(lines=[{"step": 1, "train/loss": 2.0}])
    run = records.Records(log, None, None, picture, title="a run", batch_size=1, images=1, classes=2)

    def updates(after: float) -> bool:
        """Whether an update so many seconds later draws."""
        picture.unlink(missing_ok=True)
        now[0] += after
        run.update_curves()
        return picture.exists()

    assert [updates(9), updates(2), updates(9), updates(2)] == [False, True, False, True]
    run.draw_curves()
    assert [updates(9), updates(2)] == [False, True]
    picture.unlink()
    run.draw_curves()
    assert picture.exists()
