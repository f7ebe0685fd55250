"""The picture of a sweep: which panel it gets, and where things stand in it."""

import numpy as np
import pytest
from matplotlib import image
from matplotlib.figure import Figure

from resnet_alexnet.errors import InputError
from resnet_alexnet.plots import sweep
from resnet_alexnet.plots.sweep import Setting, draw_sweep


def setting(finals=(30.0,), **values) -> Setting:
    return Setting(values, [([0, 10, 20], [90.0, 50.0, final]) for final in finals], finals)


@pytest.mark.parametrize(
    ("settings", "panel"),
    [
        ([setting((30.0, 32.0), rate=rate) for rate in (0.1, 0.01)], "_draw_dots"),
        ([setting(rate=rate, size=size) for rate in (0.1, 0.2) for size in (8, 16)], "_draw_heat_map"),
        ([setting(rate=n / 10, size=n) for n in range(1, 6)], "_draw_parallel"),
        ([setting(rate=rate, size=8, net=net) for rate in (0.1, 0.2) for net in ("A", None)], "_draw_parallel"),
        ([setting()], None),
        ([setting(rate=0.1), setting((), rate=0.2)], "_draw_dots"),
    ],
)
def test_the_panel_follows_from_the_number_of_fields(tmp_path, monkeypatch, settings, panel):
    drawn = []
    for name in ("_draw_dots", "_draw_heat_map", "_draw_parallel"):
        draw = getattr(sweep, name)
        monkeypatch.setattr(sweep, name, lambda *args, name=name, draw=draw: (drawn.append(name), draw(*args)))
    draw_sweep(settings, tmp_path / "sweep.png", title="a title with $ and [brackets]")
    assert drawn == ([panel] if panel else [])
    pixels = image.imread(tmp_path / "sweep.png")
    assert pixels.shape[:2] == (520, 1100)
    assert np.ptp(pixels[..., :3]) > 0.9


def test_numbers_stand_by_size_or_by_its_logarithm_and_names_in_equal_distances():
    assert sweep._places([0.001, 0.1, 0.01])[0] == pytest.approx([0, 1, 0.5])
    assert sweep._places([1, 2, 5])[0] == pytest.approx([0, 0.25, 1])
    assert sweep._places(["b", "a", "c", "b"])[0] == [0, 0.5, 1, 0]
    assert sweep._places([7, 7]) == ([0, 0], {0: "7"})


@pytest.mark.parametrize("fields", [("net",), ("net", "mask"), ("net", "mask", "size")])
def test_what_would_be_a_broken_formula_is_drawn_as_it_is(tmp_path, fields):
    values = [{"net": f"$_{{{name}$", "mask": f"{name}$x^{{$", "size": f"${name}^{{$"} for name in "ab"]
    settings = [setting(**{field: value[field] for field in fields}) for value in values]
    draw_sweep(settings, tmp_path / "sweep.png", title="$_{")
    assert (tmp_path / "sweep.png").exists()


def test_the_settings_in_the_legend_have_colors_of_their_own_and_the_others_are_gray():
    figure = Figure()
    axes, most = figure.subplots(), len(sweep.COLORS)
    sweep._draw_curves(axes, [setting(rate=n) for n in range(1, most + 4)])
    sweep._draw_legend(figure, axes)
    (legend,) = figure.legends
    named = [line.get_color() for line in legend.get_lines()]
    assert named == list(sweep.COLORS)
    assert len(set(named)) == most
    assert [line.get_color() for line in axes.get_lines()].count("#bfbfbf") == 3


def test_a_long_value_is_shortened():
    assert len(sweep._text("a_module/with/a/long/name.py:create")) == 20


def test_the_mean_curve_is_that_of_the_steps_all_have():
    assert sweep._mean_curve([([0, 10, 20], [8.0, 4.0, 2.0]), ([0, 20], [6.0, 4.0])]) == ([0, 20], [7.0, 3.0])


def test_without_an_error_there_is_nothing_to_draw(tmp_path):
    with pytest.raises(InputError, match="no run has a validation error yet"):
        draw_sweep([Setting({}, [([], [])], [])], tmp_path / "sweep.png", title="")
    assert list(tmp_path.iterdir()) == []
