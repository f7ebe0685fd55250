"""Which runs a study needs, and how a learning rate is chosen."""

import pytest

from resnet_alexnet.errors import InputError
from resnet_alexnet.study.design import TUNING_SEED, study_names
from resnet_alexnet.study.execute import plan_studies
from resnet_alexnet.study.plan import create_plan
from resnet_alexnet.study.state import RunState, read_state
from tests.support.studies import TWO_ARMS, write_metrics, write_study


@pytest.fixture
def plan(tmp_path):
    (plan,) = plan_studies([str(write_study(tmp_path / "widths.py", TWO_ARMS))], "cpu").plans
    return plan


def choose(plan, tmp_path, **runs):
    """The choice of the arm "narrow" after runs with these errors, by learning rate."""
    arm = plan.arms["narrow"]
    for rate, options in runs.items():
        point = arm.tuning[float(rate.removeprefix("rate").replace("_", "."))]
        write_metrics(tmp_path / point.name, **{"steps": 10, **options})
    return arm, arm.choose(lambda point: read_state(tmp_path / point.name))


def test_candidates_never_see_the_test_split_and_have_a_seed_of_their_own(plan):
    points = list(plan.tuning())
    assert len(points) == 4
    for point in points:
        assert point.config.eval.test == "never"
        assert point.config.seed == TUNING_SEED
    assert {point.config.optim.learning_rate for point in points} == {0.01, 0.1}


def test_the_candidate_with_the_lowest_last_validation_error_is_run_with_all_seeds(plan, tmp_path):
    arm, choice = choose(plan, tmp_path, rate0_01={"error": 40.0}, rate0_1={"error": 30.0})
    assert (choice.rate, choice.is_open, choice.errors) == (0.1, False, {0.01: 40.0, 0.1: 30.0})
    points = arm.counted(choice)
    assert [point.config.seed for point in points] == [1, 2]
    assert {point.config.optim.learning_rate for point in points} == {0.1}
    assert {point.config.eval.test for point in points} == {"end"}


def test_nothing_counts_before_all_candidates_are_done(plan, tmp_path):
    arm, choice = choose(plan, tmp_path, rate0_01={"error": 40.0})
    assert (choice.rate, choice.is_open, arm.counted(choice)) == (None, True, [])
    arm, choice = choose(plan, tmp_path, rate0_1={"error": 30.0, "steps": 5, "end": "stopped"})
    assert (choice.rate, choice.is_open) == (None, True)


def test_a_candidate_that_diverged_is_out(plan, tmp_path):
    _, choice = choose(plan, tmp_path, rate0_01={"error": 40.0}, rate0_1={"error": None, "end": "diverged"})
    assert (choice.rate, choice.errors) == (0.01, {0.01: 40.0, 0.1: None})
    arm, choice = choose(plan, tmp_path, rate0_01={"error": None, "end": "stuck"})
    assert (choice.rate, choice.is_open, arm.counted(choice)) == (None, False, [])


def test_studies_share_the_runs_of_arms_with_the_same_config(tmp_path):
    first = write_study(tmp_path / "widths.py", TWO_ARMS)
    second = write_study(tmp_path / "again.py", TWO_ARMS.replace('"wide"', '"broad"'))
    planned = plan_studies([str(first), str(second)], "cpu")
    assert len(planned.tuning()) == 4


def test_the_names_of_run_folders_say_what_they_are(plan):
    names = [point.name for point in plan.tuning()]
    assert len(set(names)) == 4
    assert all(name.startswith(("cifar_resnet8-rate=0.01-seed=0-", "cifar_resnet8-rate=0.1-seed=0-")) for name in names)


def test_what_the_metrics_and_ensembles_need_is_measured(plan):
    assert plan.measurements() == ["training", "cost", "test"]


def test_an_override_holds_for_all_runs_but_cannot_set_what_arms_set(tmp_path):
    file = str(write_study(tmp_path / "widths.py", TWO_ARMS))
    for point in plan_studies([file], "cpu", ["--config.num_steps=5"]).tuning():
        assert point.config.num_steps == 5
    for field in ("model.width", "seed", "optim.learning_rate", "eval.test"):
        with pytest.raises(InputError, match=f"the arms of the study widths set {field} themselves"):
            plan_studies([file], "cpu", [f"--config.{field}=4"])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('arms = [arm("a", model__widht=3), arm("b")]', "arm 'a': .*widht"),
        ('arms = [arm("a"), Arm("b", "no_recipe", {}, (0.1,))]', "arm 'b': --config=no_recipe: no such recipe"),
    ],
)
def test_mistakes_in_an_arm_show_before_any_run(tmp_path, body, message):
    file = write_study(
        tmp_path / "mine.py", f'    {body}\n    return Study("T", "Q?", arms, [compare("test_error", "a", "b")], 1)\n'
    )
    with pytest.raises(InputError, match=message):
        plan_studies([str(file)], "cpu")


def test_an_unknown_metric_is_named(tmp_path):
    file = write_study(
        tmp_path / "mine.py",
        '    return Study("T", "Q?", [arm("a"), arm("b")], [compare("accuracy", "a", "b")], 1)\n',
    )
    with pytest.raises(InputError, match=r"no metric is called 'accuracy' \(allowed: test_error, "):
        plan_studies([str(file)], "cpu")


def test_without_candidates_the_recipes_learning_rate_counts(tmp_path):
    file = write_study(
        tmp_path / "mine.py",
        """
    arms = [arm("a", ()), arm("b", (), model__width=4)]
    return Study("T", "Q?", arms, [compare("test_error", "a", "b")], 1)
""",
    )
    (plan,) = plan_studies([str(file)], "cpu").plans
    assert list(plan.tuning()) == []
    points = list(plan.counted(lambda _: RunState()))
    assert [point.config.optim.learning_rate for point in points] == [0.1, 0.1]
    assert create_plan(plan.study).study is plan.study


def test_a_study_is_planned_once_whatever_it_is_called_and_in_the_order_of_the_list(tmp_path):
    planned = plan_studies(["shortcuts", "configs/studies/degradation.py", "all"], "cpu")
    assert [plan.study.name for plan in planned.plans] == study_names()
    other = write_study(tmp_path / "shortcuts.py", TWO_ARMS)
    with pytest.raises(InputError, match="another study shortcuts was there before it"):
        plan_studies(["shortcuts", str(other)], "cpu")
