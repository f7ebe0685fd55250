"""How much of a study fits into a time, and how the command is told."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_alexnet.errors import InputError
from resnet_alexnet.study.budget import LEAST_EPOCHS, MOST_EPOCHS, MOST_SEEDS, SIZES, ArmCost, plan, total
from resnet_alexnet.study.design import Budget, read_studies
from resnet_alexnet.study.run import duration, main

FAST = ArmCost("fast", 0.001, 64, is_fixed=False, start_seconds=5.0, image_count=1000)
SLOW = dataclasses.replace(FAST, name="slow", seconds_per_image=0.01)
FIXED = dataclasses.replace(FAST, name="trained", image_size=224, is_fixed=True)
BATCH_SIZE = 32


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("1h30m", 5400), ("1h0m5s", 3605)]
)
def test_a_time_is_read(text, seconds):
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["30", "m", "0m", "30 m", "1d", "-5m", "1.5h", "30m1h"])
def test_another_text_is_no_time(text, capsys):
    with pytest.raises(InputError, match=r"--budget=.* \(allowed: a time, such as 30m, 2h or 1h30m\)"):
        main(["--config=your_photographs", f"--budget={text}", "--workdir=x"])


@given(
    seconds=st.integers(60, 500_000),
    rates=st.lists(st.floats(1e-5, 0.1), min_size=1, max_size=6),
    images=st.integers(40, 100_000),
)
def test_what_is_planned_fits_and_the_next_step_up_does_not(seconds, rates, images):
    arms = [dataclasses.replace(FAST, seconds_per_image=rate, image_count=images) for rate in rates]
    try:
        found = plan(seconds, arms, batch_size=BATCH_SIZE)
    except InputError:
        assert total(arms, LEAST_EPOCHS, 1, SIZES[0]) > 0.85 * seconds
        return
    epochs = found.num_steps // (images // BATCH_SIZE)
    assert LEAST_EPOCHS <= epochs <= MOST_EPOCHS
    assert total(arms, epochs, found.seeds, found.image_size) <= 0.85 * seconds
    if epochs < MOST_EPOCHS:
        assert total(arms, epochs + 1, found.seeds, found.image_size) > 0.85 * seconds


def test_more_time_buys_epochs_then_seeds_then_larger_images_then_epochs():
    arms = [FAST, SLOW]
    found = [plan(seconds, arms, batch_size=BATCH_SIZE) for seconds in (250, 380, 1500, 4000, 100_000)]
    sizes, seeds = [each.image_size for each in found], [each.seeds for each in found]
    assert (sizes, seeds) == ([64, 64, 64, 128, 224], [1, 1, 3, 3, 3])
    steps = [each.num_steps for each in found]
    assert steps[0] == 10 * 31
    assert steps[1] > steps[0]
    assert steps[-1] == MOST_EPOCHS * 31
    assert seeds[-1] == MOST_SEEDS


def test_networks_with_trained_weights_take_their_own_size():
    assert FIXED.seconds(10, 64) == FIXED.seconds(10, 224)
    assert SLOW.seconds(10, 128) > 2 * SLOW.seconds(10, 64)


def test_the_time_of_the_trial_runs_is_not_spent_twice():
    later, whole = (
        plan(1000, [FAST, SLOW], batch_size=BATCH_SIZE, spent=300),
        plan(700, [FAST, SLOW], batch_size=BATCH_SIZE),
    )
    assert later == dataclasses.replace(whole, seconds=1000)
    with pytest.raises(InputError, match="need about 10 minutes"):
        plan(400, [FAST, SLOW], batch_size=BATCH_SIZE, spent=300)


def test_a_time_that_is_too_short_names_the_one_that_is_needed():
    with pytest.raises(
        InputError, match=r"--budget=2m is too short .* 2 runs of 10 epochs of 1,000 images need about 5 minutes"
    ):
        plan(120, [FAST, SLOW], batch_size=BATCH_SIZE)


BUDGET = Budget(1800, 96, 400, 2)


def test_the_study_of_photographs_has_the_four_networks_and_one_without_augmentation():
    ((study,), absent) = read_studies("your_photographs", "photographs", BUDGET)
    names = [arm.name for arm in study.arms]
    assert names == ["AlexNet", "ResNet-18", "ResNet-34", "ResNet-50", "ResNet-18, not augmented"]
    assert {arm.fields["preprocess.image_size"] for arm in study.arms} == {96}
    assert {arm.fields["num_steps"] for arm in study.arms} == {400}
    assert (study.seeds, study.recommends, absent) == (2, True, [])


def test_weights_are_given_behind_a_colon():
    name = "your_photographs:resnet18=a/b.safetensors,alexnet=c.pt"
    ((study,), _) = read_studies(name, "photographs", BUDGET)
    arms = {arm.name: arm.fields for arm in study.arms if "finetune.weights" in arm.fields}
    assert {each: fields["finetune.weights"] for each, fields in arms.items()} == {
        "ResNet-18 from weights": "a/b.safetensors",
        "AlexNet from weights": "c.pt",
    }
    assert all("preprocess.image_size" not in fields for fields in arms.values())  # that of the weights
    assert [each.claim for each in study.comparisons][-1].startswith("Trained weights")


@pytest.mark.parametrize(
    ("name", "scale", "budget", "message"),
    [
        ("your_photographs", "cpu", None, "is of your own photographs: say how long it may take, such as --budget=30m"),
        ("degradation", "photographs", BUDGET, "has no budget: leave --budget out, or take --config=your_photographs"),
        ("degradation:3", "cpu", None, "takes no argument: leave out what follows the colon, '3'"),
        ("your_photographs:resnet19=x", "photographs", BUDGET, "'resnet19' after the colon .allowed: NETWORK=FILE"),
        ("your_photographs:resnet18", "photographs", BUDGET, "'resnet18' after the colon .allowed: NETWORK=FILE"),
    ],
)
def test_mistakes_are_one_line(name, scale, budget, message):
    with pytest.raises(InputError, match=message) as error:
        read_studies(name, scale, budget)
    assert "\n" not in str(error.value)
    assert str(error.value).count("the study") == 1


def test_a_scale_and_a_budget_exclude_each_other():
    with pytest.raises(InputError, match=r"--budget.* not allowed with .*--scale|--scale.*--budget"):
        main(["--config=your_photographs", "--budget=30m", "--scale=cpu", "--workdir=x"])
    with pytest.raises(InputError, match=r"--scale.*--budget"):
        main(["--config=your_photographs", "--workdir=x"])
