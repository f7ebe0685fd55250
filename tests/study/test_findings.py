"""Findings and answers from run folders: every number is that of a file, and what is missing is said."""

import json
import shutil

import pytest

from resnet_alexnet.errors import InputError
from resnet_alexnet.study.answers import answer, describe, show
from resnet_alexnet.study.design import Arm, Comparison, Study
from resnet_alexnet.study.findings import ArmFinding, StudyFinding, Verdict, read_findings
from resnet_alexnet.study.plan import Choice
from resnet_alexnet.study.seeds import Seed
from resnet_alexnet.study.verdicts import judge
from tests.support.studies import TWO_ARMS, error_of, write_run, write_runs, write_study

THREE_SEEDS = TWO_ARMS.replace("seeds=2", "seeds=3")


@pytest.fixture
def study(tmp_path):
    """The folder of a study with all its runs, and its plan."""
    file = write_study(tmp_path / "widths.py", THREE_SEEDS)
    return tmp_path / "runs", write_runs(tmp_path / "runs", file, error=error_of)


def test_numbers_are_those_of_the_files(study):
    workdir, _ = study
    findings = read_findings(str(workdir))
    (finding,) = findings.studies
    narrow, wide, both = finding.arms
    assert (narrow.choice.rate, narrow.choice.errors) == (0.01, {0.01: 31.0, 0.1: 36.0})
    assert narrow.values("test_error") == pytest.approx([32.1, 32.2, 32.3])
    assert wide.values("train_error") == pytest.approx([20.1, 20.2, 20.3])
    assert both.values("test_error") == [7.0, 7.0, 7.0]
    first, second = finding.verdicts
    assert (first.difference.verdict, first.difference.value) == ("reproduced", pytest.approx(10.0))
    assert second.comparison.metric == "train_error"
    assert first.adjusted_p == pytest.approx(first.difference.p)
    assert findings.problems == []
    ((environment, count),) = findings.environments
    assert (environment["git_commit"], count) == ("0123abc", 6)


def test_the_answer_has_the_numbers_of_the_primary_comparison(study):
    workdir, _ = study
    (finding,) = read_findings(str(workdir)).studies
    assert answer(finding) == (
        "As claimed, narrow has 10.0 points more test error than wide (3 seeds each, 95 % interval 9.8 to 10.2)."
    )


def test_a_change_in_a_run_folder_changes_the_findings(study):
    workdir, _ = study
    run = next(iter((workdir / "runs").glob("*seed=2*")))
    text = (run / "metrics.jsonl").read_text()
    before = read_findings(str(workdir)).studies[0].verdicts[0].difference.value
    lines = [json.loads(line) for line in text.splitlines()]
    for line in lines:
        if "test/top1_error" in line:
            line["test/top1_error"] += 30
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    after = read_findings(str(workdir)).studies[0].verdicts[0].difference.value
    assert abs(after - before) == pytest.approx(10.0)


def runs_of(study, width: int, seed: int):
    """The folder of a run that counts."""
    workdir, planned = study
    (plan,) = planned.plans
    arm = plan.arms["narrow" if width == 4 else "wide"]
    findings = read_findings(str(workdir)).studies[0].arm(arm.arm.name)
    return next(each.folder for each in findings.seeds if each.seed == seed)


def status(study, width: int, seed: int) -> str:
    (finding,) = read_findings(str(study[0])).studies
    arm = finding.arm("narrow" if width == 4 else "wide")
    return next(each.status for each in arm.seeds if each.seed == seed)


def test_a_missing_run_is_missing_and_no_number(study):
    shutil.rmtree(runs_of(study, 4, 2))
    assert status(study, 4, 2) == "missing"
    (finding,) = read_findings(str(study[0])).studies
    assert len(finding.arm("narrow").values("test_error")) == 2
    assert finding.verdicts[0].difference.verdict == "indicative"


def test_an_unfinished_run_is_unfinished(study):
    file = runs_of(study, 4, 2) / "metrics.jsonl"
    file.write_text("".join(line + "\n" for line in file.read_text().splitlines()[:-1]))
    assert status(study, 4, 2) == "unfinished"


def test_a_metrics_file_that_is_cut_in_a_line_is_unfinished(study):
    file = runs_of(study, 4, 2) / "metrics.jsonl"
    text = file.read_text()
    file.write_text(text[: text.index("test/top1_error") + 4])
    assert status(study, 4, 2) == "unfinished"


def test_how_far_an_unfinished_run_came_is_told(study):
    file = runs_of(study, 4, 2) / "metrics.jsonl"
    file.write_text("".join(line + "\n" for line in file.read_text().splitlines() if '"step": 10' not in line))
    (finding,) = read_findings(str(study[0])).studies
    seed = finding.arm("narrow").seeds[1]
    assert (seed.status, seed.steps, seed.numbers, seed.points, seed.lines) == ("unfinished", (8, 10), {}, {}, ())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"top1_error": 3', "is not JSON"),
        ("[]", "is not a JSON object"),
        ('{"images": "many"}', "what it should have"),
    ],
)
def test_a_damaged_measurement_is_named_and_the_rest_counts(study, text, problem):
    folder = runs_of(study, 4, 2)
    (folder / "measured" / "test" / "report.json").write_text(text)
    findings = read_findings(str(study[0]))
    assert [line for line in findings.problems if problem in line and str(folder) in line]
    seed = findings.studies[0].arm("narrow").seeds[1]
    assert seed.numbers["test_error"] == pytest.approx(32.2)
    assert seed.test_images is None


@pytest.mark.parametrize("text", ['{"steps": []}', '{"steps": [{"layers": 3}]}', '{"steps": null}', "{}"])
def test_a_measurement_of_another_form_is_named_and_the_rest_counts(study, text):
    folder = runs_of(study, 4, 2) / "measured" / "signals"
    folder.mkdir()
    (folder / "signals.json").write_text(text)
    findings = read_findings(str(study[0]))
    assert findings.problems == [f"{folder} lacks what it should have: what it says is left out"]
    assert len(findings.studies[0].arm("narrow").values("test_error")) == 3


def test_a_folder_that_is_matched_twice_is_no_second_run(study):
    workdir, _ = study
    assert read_findings(str(workdir.parent / "**")).studies[0].verdicts[0].difference.verdict == "reproduced"
    assert not [line for line in read_findings(str(workdir.parent / "**")).problems if "same config" in line]


def test_a_damaged_metrics_file_is_named(study):
    folder = runs_of(study, 4, 2)
    (folder / "metrics.jsonl").write_text("not JSON\n{}\n")
    assert status(study, 4, 2) == "unreadable"
    assert any(str(folder) in problem for problem in read_findings(str(study[0])).problems)


def test_runs_that_diverged_are_told(tmp_path):
    file = write_study(tmp_path / "widths.py", THREE_SEEDS)
    write_runs(tmp_path / "runs", file, error=lambda c: None if (c.seed, c.model.width) == (2, 8) else error_of(c))
    (finding,) = read_findings(str(tmp_path / "runs")).studies
    assert [seed.status for seed in finding.arm("wide").seeds] == ["finished", "diverged", "finished"]
    assert finding.verdicts[0].difference.verdict == "indicative"


def test_an_arm_that_could_not_be_tuned_has_no_runs(tmp_path):
    file = write_study(tmp_path / "widths.py", THREE_SEEDS)
    write_runs(tmp_path / "runs", file, error=lambda c: None if c.model.width == 8 else error_of(c))
    (finding,) = read_findings(str(tmp_path / "runs")).studies
    assert [seed.status for seed in finding.arm("wide").seeds] == ["missing"] * 3
    assert answer(finding) == "Not answered: no run of wide is finished."
    assert finding.arm("wide").command == ()
    assert " ".join(finding.arm("narrow").command).endswith("--config.optim.learning_rate=0.01 --config.seed=1")


def test_two_folders_with_the_same_config_and_seed_are_named_and_one_counts(study):
    folder = runs_of(study, 4, 2)
    shutil.copytree(folder, folder.with_name("zz_copy"))
    findings = read_findings(str(study[0]))
    assert [problem for problem in findings.problems if "has the same config and seed as" in problem]
    assert len(findings.studies[0].arm("narrow").values("test_error")) == 3


def test_a_run_of_another_data_set_belongs_to_no_study(study):
    workdir, planned = study
    point = planned.tuning()[0]
    point.config.dataset.num_examples = 300
    strange = write_run(workdir, type(point)("strange", {}, (), point.config, ""), 5.0)
    (problem,) = read_findings(str(workdir)).problems
    assert problem.startswith(
        f"{strange} belongs to no arm of these studies at the scale cpu (dataset.name=synthetic, "
    )


def test_folders_of_other_scales_are_left_out_and_named(study, tmp_path):
    workdir, _ = study
    write_runs(tmp_path / "runs2", tmp_path / "widths.py", error=error_of, scale="gpu")
    findings = read_findings(str(tmp_path / "runs*"))
    assert findings.scale == "cpu"
    assert [problem for problem in findings.problems if "runs2 has studies at the scale gpu" in problem]
    assert findings.studies[0].verdicts[0].difference.verdict == "reproduced"
    assert workdir.is_dir()


def test_run_folders_alone_are_matched_with_our_studies(study):
    workdir, _ = study
    findings = read_findings(str(workdir / "runs" / "*"))
    assert len(findings.studies) == 11
    assert len(findings.problems) == 10  # runs, of no study of ours


def test_nothing_that_matches_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no folder matches"):
        read_findings(str(tmp_path / "none*"))


def test_a_folder_of_something_else_is_named(study, tmp_path):
    (tmp_path / "runs_of_mine").mkdir()
    problems = read_findings(str(tmp_path / "runs*")).problems
    assert problems == [f"{tmp_path / 'runs_of_mine'} is neither a folder of studies nor a run folder: it is left out"]


def finding_of(larger, smaller, *, metric="test_error", equality=False):
    """A study with one comparison of two arms, decided by numbers of their runs."""
    comparison = Comparison(
        "One is larger.", metric, larger="A", smaller="B", margin=1.0, source="a test", equality=equality
    )
    difference = judge(larger, smaller, margin=1.0, claims_equality=equality)
    seeds = {"A": larger, "B": smaller}
    arms = [
        ArmFinding(Arm(name), Choice({}, None, is_open=False), [Seed(1, "finished") for _ in values])
        for name, values in seeds.items()
    ]
    study = Study("A", "A?", [arm.arm for arm in arms], [comparison], 3)
    return StudyFinding(study, arms, [Verdict(comparison, larger, smaller, difference)])


@pytest.mark.parametrize(
    ("finding", "said"),
    [
        (
            finding_of([9.0, 9.1, 9.2], [1.0, 1.1, 1.2]),
            "As claimed, A has 8.00 points more test error than B (3 seeds each, 95 % interval 7.77 to 8.23).",
        ),
        (
            finding_of([1.0, 1.1, 1.2], [9.0, 9.1, 9.2]),
            "Not as claimed: B has 8.00 points more test error than A (3 seeds each, 95 % interval 7.77 to 8.23).",
        ),
        (
            finding_of([5.0, 5.1, 5.2], [5.0, 5.1, 5.1]),
            "Not as claimed: the two are equal within 1 point; A has 0.03 points more test error than B (3 seeds each, "
            "90 % interval \N{MINUS SIGN}0.12 to 0.19).",
        ),
        (
            finding_of([5.0, 5.1, 5.2], [5.0, 5.1, 5.1], equality=True),
            "As claimed, the two are equal within 1 point; A has 0.03 points more test error than B (3 seeds each, "
            "90 % interval \N{MINUS SIGN}0.12 to 0.19).",
        ),
        (
            finding_of([10.0, 14.0, 18.0], [12.0, 13.0, 14.0, 13.0]),
            "Undecided, for the difference is within the noise: A has 1.0 points more test error than B (3 and 4 "
            "seeds, 95 % interval \N{MINUS SIGN}8.5 to 10.5).",
        ),
        (
            finding_of([200.0], [150.0], metric="training_seconds"),
            "Too few runs for a verdict; they point to the claim: A takes 50.0 s longer to train than B (1 seed each).",
        ),
        (finding_of([], [1.0]), "Not answered: no run of A is finished."),
    ],
)
def test_each_verdict_in_words(finding, said):
    assert answer(finding) == said


def test_a_metric_that_no_run_has_is_named(study):
    for report in (study[0] / "runs").glob("*/measured/training/report.json"):
        report.unlink()
    (finding,) = read_findings(str(study[0])).studies
    assert describe(finding, finding.verdicts[1]) == "Not answered: no training error was measured for narrow and wide."


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([123.4, 5.0], ["123", "5"]),
        ([31.24, 2.0], ["31.2", "2.0"]),
        ([0.5, -3.0], ["0.50", "\N{MINUS SIGN}3.00"]),
        ([0.0123], ["0.012"]),
        ([0.0], ["0"]),
    ],
)
def test_numbers_have_the_digits_that_they_need(values, shown):
    assert show(*values) == shown
