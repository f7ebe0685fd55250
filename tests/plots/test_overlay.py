"""Curves of several runs over each other."""

import math

import pytest

from resnet_alexnet.errors import InputError
from resnet_alexnet.plots.overlay import STYLES, draw_overlay, svg_overlay
from resnet_alexnet.plots.style import COLORS


def lines(shift=0.0, *, val=True):
    values = [(10, 60.0), (20, 50.0), (30, None), (40, 30.0)]
    found = [{"step": 0, "start": 1, "time": 1.0}]
    for step, error in values:
        error = None if error is None else error + shift
        found.append({"step": step, "train/top1_error": error, "train/loss": 1.0})
        if val:
            found.append({"step": step, "val/top1_error": error, "val/loss": 2.0})
    return found


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_a_few_runs_have_both_curves_with_their_gaps():
    figure = draw_overlay({"one": lines(), "$other_1$": lines(5.0)})
    errors, losses = figure.axes
    assert [len(axes.lines) for axes in (errors, losses)] == [4, 4]
    thin, bold = errors.lines[:2]
    assert thin.get_linewidth() < bold.get_linewidth()
    assert list(bold.get_xdata()) == [10, 20, 30, 40]
    assert math.isnan(bold.get_ydata()[2])
    assert {line.get_color() for line in errors.lines} == set(COLORS[:2])
    assert legend(figure) == ["one", "$other_1$"]
    assert not any(text.get_parse_math() for text in figure.legends[0].get_texts())


def test_many_runs_have_one_curve_each_and_all_look_different():
    count = len(COLORS) * len(STYLES)
    runs = {f"run {number}": lines(number / 10) for number in range(count)}
    figure = draw_overlay({**runs, "empty": []})
    errors, _ = figure.axes
    assert len(errors.lines) == count
    assert len({(line.get_color(), str(line._unscaled_dash_pattern)) for line in errors.lines}) == count
    assert legend(figure) == list(runs)
    mixed = draw_overlay({**runs, "without validation": lines(val=False)})
    assert [len(line.get_xdata()) for line in mixed.axes[0].lines[-2:]] == [4, 0]  # its training curve; no other


def test_the_text_is_the_same_for_the_same_runs_and_nothing_is_no_picture():
    assert svg_overlay({"one": lines()}) == svg_overlay({"one": lines()})
    assert svg_overlay({"<a> & b": lines()}).startswith("<svg")
    for runs in ({}, {"empty": []}, {"nan": [{"step": 1, "val/loss": None}]}):
        with pytest.raises(InputError, match="nothing to draw"):
            draw_overlay(runs)
