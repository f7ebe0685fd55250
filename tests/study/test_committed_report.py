"""The report in docs/ is what its records say, and answers every question."""

from pathlib import Path

import pytest

from resnet_alexnet.study import markdown
from resnet_alexnet.study.charts import charts
from resnet_alexnet.study.design import study_names
from resnet_alexnet.study.findings import read_findings
from resnet_alexnet.study.page import HTML_FILE, PICTURES

REPORT = Path(__file__).parents[2] / "docs" / "report"


@pytest.fixture(scope="module")
def findings():
    return read_findings(str(REPORT / "records"))


def test_every_question_is_answered_from_finished_runs(findings):
    assert [finding.study.name for finding in findings.studies] == study_names()
    assert not findings.problems
    for finding in findings.studies:
        assert finding.verdicts[0].difference.verdict != "not run"
        for arm in finding.arms:
            assert len(arm.finished) == finding.study.seeds, f"{finding.study.name}, {arm.arm.name}"


def test_the_text_is_what_the_records_say(findings):
    drawn = {finding.study.name: charts(finding) for finding in findings.studies}
    lines = markdown.lines(findings, drawn, {}, page=HTML_FILE, folder=PICTURES)
    assert "\n".join(lines) + "\n" == (REPORT / "REPORT.md").read_text(encoding="utf-8")


def test_its_pictures_are_there_and_no_others(findings):
    text = (REPORT / "REPORT.md").read_text(encoding="utf-8")
    pictures = {path.name for path in (REPORT / PICTURES).iterdir()}
    assert pictures == {part.partition(")")[0] for part in text.split(f"({PICTURES}/")[1:]}
