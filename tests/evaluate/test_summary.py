"""The summary of a report."""

import pytest

from resnet_alexnet.evaluate.report import report
from resnet_alexnet.evaluate.summary import summary_rows
from tests.support.scores import make_scores


@pytest.mark.parametrize(("classes", "shown"), [(4, False), (5, False), (6, True)])
def test_the_top_5_error_is_shown_only_where_it_can_be_above_zero(classes, shown):
    result = report(make_scores(60, tuple("abcdef"[:classes])))
    assert ("top5_error" in result) == (classes >= 5)
    rows = dict(summary_rows(result))
    assert "top-1" in rows["error"]
    assert ("top-5" in rows["error"]) == shown
