import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from resnet_alexnet.errors import InputError
from resnet_alexnet.plots.curves import TRAIN_COLOR, VAL_COLOR, draw, learning_rate_drops, series


def records_of_a_run(*, val: bool = True) -> list[dict]:
    lines: list[dict] = []
    for step in range(10, 201, 10):
        error = 80 / (1 + step / 40)
        rate = 0.1 if step <= 100 else 0.01
        lines.append(
            {
                "step": step,
                "epoch": step / 50,
                "train/loss": error / 30,
                "train/top1_error": error,
                "learning_rate": rate,
            }
        )
        if val and step % 50 == 0:
            lines.append({"step": step, "epoch": step / 50, "val/loss": error / 20, "val/top1_error": error + 5})
    return [*lines, {"step": 200, "test/top1_error": 21.5}, {"step": 200, "finished": True}]


def pixels_of(path, color: str) -> np.ndarray:
    """Where the picture has exactly this color: Bool[Array, "height width"]."""
    image = np.asarray(Image.open(path).convert("RGB")).astype(int)
    return np.all(np.abs(image - np.round(np.array(to_rgb(color)) * 255)) <= 2, axis=-1)


def thickness(panel: np.ndarray) -> float:
    """Median height in pixels of a curve, over the columns that it crosses."""
    heights = panel.sum(axis=0)
    return float(np.median(heights[heights > 0]))


def test_a_run_gives_a_png_of_1000_by_450_with_both_curves_in_both_panels_and_nothing_else(tmp_path):
    path = tmp_path / "curves.png"
    draw(records_of_a_run(), path, title="quickstart")
    with Image.open(path) as image:
        assert (image.format, image.size) == ("PNG", (1000, 450))
    assert [file.name for file in tmp_path.iterdir()] == ["curves.png"]
    for panel in (np.s_[60:, :500], np.s_[60:, 500:]):  # below the legend
        train, val = pixels_of(path, TRAIN_COLOR)[panel], pixels_of(path, VAL_COLOR)[panel]
        assert min(train.sum(), val.sum()) > 100
        assert thickness(val) >= thickness(train) + 1


def test_the_same_run_gives_the_same_bytes_and_replaces_the_old_picture(tmp_path):
    path = tmp_path / "curves.png"
    path.write_bytes(b"old")
    draw(records_of_a_run(), path, title="a")
    first = path.read_bytes()
    draw(records_of_a_run(), path, title="a")
    assert path.read_bytes() == first
    draw(records_of_a_run(), path, title="b")
    assert path.read_bytes() != first


def test_a_crash_leaves_the_old_picture(tmp_path, monkeypatch):
    path = tmp_path / "curves.png"
    path.write_bytes(b"old")

    def crash(*_):
        raise OSError("no space left")

    monkeypatch.setattr("os.replace", crash)
    with pytest.raises(InputError, match="cannot be written: no space left"):
        draw(records_of_a_run(), path, title="a")
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize(
    "lines",
    [
        [{"step": 5, "train/loss": 2.3, "train/top1_error": 88.0}],
        [{"step": 0, "epoch": 0.0, "val/loss": 2.3}],
        [{"step": 7, "epoch": 0.1, "test/top1_error": 0.0}],
        records_of_a_run(val=False),
        [*records_of_a_run(), {"step": 210, "train/loss": None, "train/top1_error": None, "val/loss": None}],
    ],
    ids=["one point", "step 0", "test only", "no validation", "null values"],
)
def test_sparse_records_are_drawn(tmp_path, lines):
    draw(lines, tmp_path / "curves.png", title="$no_{math$ <a> long name " + "x" * 80)
    assert np.asarray(Image.open(tmp_path / "curves.png").convert("L")).std() > 5


@pytest.mark.parametrize("lines", [[], [{"step": 4, "finished": True}], [{"step": 4, "train/loss": None}]])
def test_records_without_a_number_to_draw_are_an_input_error(tmp_path, lines):
    with pytest.raises(InputError, match="nothing to draw"):
        draw(lines, tmp_path / "curves.png", title="empty")
    assert list(tmp_path.iterdir()) == []


def test_drawing_leaves_matplotlibs_settings_alone(tmp_path):
    before = dict(matplotlib.rcParams)
    draw(records_of_a_run(), tmp_path / "curves.png", title="a")
    assert dict(matplotlib.rcParams) == before


def test_series_skips_records_without_the_key_and_makes_none_a_gap():
    steps, values = series([{"step": 1, "a": 2.0}, {"step": 2}, {"step": 3, "a": None}], "a")
    assert steps == [1, 3]
    np.testing.assert_array_equal(values, [2.0, np.nan])


def test_steps_of_the_learning_rate_are_drops_and_smooth_or_rising_rates_are_not():
    def drops(rates):
        return learning_rate_drops([{"step": 10 * i, "learning_rate": rate} for i, rate in enumerate(rates)])

    assert drops([0.1, 0.1, 0.01, 0.01, 0.001]) == [(20, 0.01), (40, 0.001)]
    assert drops([0.01, 0.01, 0.1, 0.1]) == []
    assert drops([0.1 * (1 + np.cos(i / 20 * np.pi)) for i in range(21)]) == []
    assert drops([]) == []
