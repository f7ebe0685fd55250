"""Study files: ours at every scale, and mistakes in those of users."""

import pytest

from resnet_alexnet.errors import InputError
from resnet_alexnet.study import papers
from resnet_alexnet.study.design import SCALES, Comparison, find_studies, read_studies, study_names
from resnet_alexnet.study.execute import plan_studies
from resnet_alexnet.study.metrics import METRICS
from tests.support.studies import TWO_ARMS, write_study

PAIR = [papers.one(source="[H15]", where="table 2", model=model) for model in ("plain18", "resnet18")]  # 27.94, 27.88


@pytest.mark.parametrize("scale", SCALES)
def test_all_our_studies_can_be_planned_at_every_scale_or_say_why_not(scale):
    planned = plan_studies(["all"], scale)
    names = [plan.study.name for plan in planned.plans] + [absent.name for absent in planned.absent]
    assert sorted(names) == sorted(study_names())
    assert all(absent.reason for absent in planned.absent)
    for plan in planned.plans:
        assert plan.study.question.endswith("?")
        assert all(comparison.metric in METRICS for comparison in plan.study.comparisons)


def test_the_studies_answer_the_questions_of_the_two_papers():
    assert study_names() == [
        *("degradation", "shortcuts", "signals", "alexnet_vs_resnet", "ingredients", "activation", "losses"),
        *("recipe", "ensembles", "features", "robustness"),
    ]
    beside = {"all", "scales", "first_look", "your_photographs"}  # the list, what is shared, a part, of other data
    assert {path.stem for path in find_studies("all")[0].parent.glob("*.py")} - beside == set(study_names())


def test_at_the_scale_cpu_the_main_comparisons_have_three_seeds():
    planned = plan_studies(["all"], "cpu")
    seeds = {plan.study.name: plan.study.seeds for plan in planned.plans}
    for name in ("alexnet_vs_resnet", "degradation", "shortcuts", "losses", "recipe"):
        assert seeds[name] >= 3


def test_every_arm_of_a_study_has_as_many_learning_rates_as_the_others(tmp_path):
    file = write_study(
        tmp_path / "uneven.py",
        """
    arms = [arm("a"), arm("b", (0.1, 0.2))]
    return Study("T", "Q?", arms, [compare("test_error", "a", "b")], 1)
""",
    )
    with pytest.raises(InputError, match="different numbers of learning rates: one would be tuned more"):
        read_studies(str(file), "cpu")


def test_a_study_is_found_by_its_name_and_by_its_path(tmp_path, monkeypatch):
    (ours,) = find_studies("degradation")
    assert find_studies("configs/studies/degradation.py")[0].resolve() == ours
    monkeypatch.chdir(tmp_path)  # where there is no such file
    assert find_studies("configs/studies/degradation.py") == [ours]
    assert len(find_studies("all")) == len(study_names()) == len(find_studies("configs/studies/all.py"))
    with pytest.raises(InputError, match=r"no such study, did you mean 'degradation'\? \(allowed: degradation, "):
        find_studies("degredation")


def test_a_study_of_ones_own_is_read_with_its_name(tmp_path):
    ((study,), absent) = read_studies(str(write_study(tmp_path / "widths.py", TWO_ARMS)), "cpu")
    assert (study.name, [arm.name for arm in study.arms], absent) == ("widths", ["narrow", "wide", "both"], [])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("    return 3\n", "defines no function create_study(scale) that returns a Study"),
        ("    return Study('T', 'Q?', [arm('a'), arm('a')], [], 1)\n", "two arms are called 'a'"),
        (
            "    return Study('T', 'Q?', [arm('a')], [compare('test_error', 'a', 'b')], 1)\n",
            "no arm is called 'b' (there are: a)",
        ),
        ("    return Study('T', 'Q?', [arm('a')], [], 1)\n", "compares nothing, or has no seeds"),
        ("    raise ValueError('no idea')\n", "no idea"),
        ("    return Study('T', 'Q?', [Arm('e', members=('x',))], [], 1)\n", "no arm is called 'x'"),
    ],
)
def test_mistakes_in_a_study_are_one_line_that_names_the_file(tmp_path, body, message):
    file = write_study(tmp_path / "mine.py", body)
    with pytest.raises(InputError) as error:
        read_studies(str(file), "cpu")
    assert message in str(error.value)
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_scale_that_a_study_lacks_is_named_with_the_reason(tmp_path):
    file = write_study(tmp_path / "mine.py", "    raise ScaleError('too large')\n")
    studies, (absent,) = read_studies(str(file), "imagenet")
    assert (studies, absent.name, absent.reason) == ([], "mine", "too large")


def test_a_claim_is_one_of_equality_where_the_papers_difference_is_below_the_margin():
    claim = Comparison("c", "test_error", "a", "b", 0.5, "[H15] table 2", published=PAIR)
    assert claim.claims_equality
    assert not Comparison("c", "test_error", "a", "b", 0.05, "[H15]", published=PAIR).claims_equality
    assert not Comparison("c", "test_error", "a", "b", 0.5, "[H15]").claims_equality
    assert Comparison("c", "test_error", "a", "b", 0.5, "[H15]", equality=True).claims_equality
    assert not Comparison("c", "test_error", "a", "b", 0.5, "[H15]", published=PAIR, equality=False).claims_equality
