"""Starting from trained weights: what is taken, what is new, what stays as it is."""

import dataclasses
import shutil

import jax
import numpy as np
import pytest

from resnet_alexnet import main, parallel, pretrained
from resnet_alexnet.data.loading.loader import batch_indices
from resnet_alexnet.errors import InputError
from resnet_alexnet.models.trace import freeze
from resnet_alexnet.paths import leaf_name
from resnet_alexnet.train import finetune, loop
from resnet_alexnet.train.experiment import create_experiment
from tests.support import processes, tiny
from tests.support.runs import write_run
from tests.support.toy_nets import DropoutNet
from tests.support.trees import assert_trees_close

WHERE = "weights.safetensors"


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    """A run of ten classes."""
    config = tiny.config(model__bn_group=2, model__zero_init_last_gamma=True, preprocess__std=True)
    return write_run(tmp_path_factory.mktemp("parent") / "run", config, steps=3)


@pytest.fixture(scope="module")
def start(parent):
    return pretrained.load_network(parent)


def child(parent, **fields):
    """The config of a run on four other classes that goes on from `parent`."""
    settings = {
        "finetune__weights": str(parent),
        "dataset__classes": ("class_3", "class_1", "class_4", "class_2"),
        "dataset__num_examples": 400,
        "model__bn_group": 2,
        "optim__learning_rate": 0.01,
        "num_steps": 4,
        "eval__every_steps": 2,
        "checkpoint__every_steps": 2,
        "log__every_steps": 2,
        "schedule__name": "constant",
    }
    return tiny.config(**{**settings, **fields})


def begin(config, devices=1):
    experiment = create_experiment(config, jax.devices()[:devices])
    return experiment, parallel.replicated(experiment.steps.create_state, experiment.mesh, experiment.model.start)


def leaves(tree):
    """Host copies by name."""
    return {leaf_name(path): np.array(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def weights(state):
    return leaves({"params": state.params, "batch_stats": state.batch_stats})


def test_all_but_the_head_are_the_weights_and_the_description_is_theirs_with_the_new_classes(parent, start):
    experiment, state = begin(child(parent, optim__ema_decay=0.9))
    given, taken, average = start.leaves(), weights(state), leaves(state.ema)
    changed = {name for name in taken if taken[name].tobytes() != given[name].tobytes()}
    assert changed == {"params/head/kernel", "params/head/bias"}
    assert taken["params/head/kernel"].shape == (64, 4)
    assert all(average[name].tobytes() == leaf.tobytes() for name, leaf in taken.items())
    spec, own = experiment.model.spec, start.spec
    assert spec.options == {"bn_group": 2, "zero_init_last_gamma": True}
    assert spec.preprocessing.classes == ("class_3", "class_1", "class_4", "class_2")
    for name in ("mean", "std"):
        np.testing.assert_array_equal(getattr(spec.preprocessing, name), getattr(own.preprocessing, name))
    scratch = create_experiment(child(parent, finetune__weights=""), jax.devices()[:1])
    assert not np.array_equal(scratch.model.spec.preprocessing.mean, own.preprocessing.mean)
    assert not np.array_equal(scratch.model.spec.preprocessing.std, own.preprocessing.std)


@pytest.mark.parametrize(
    ("fields", "new"),
    [
        ({"dataset__classes": (), "finetune__new_head": ("auto",)}, set()),
        ({"dataset__classes": (), "finetune__new_head": ("head",)}, {"head"}),
        ({"dataset__classes": (), "finetune__new_head": ("head", "stages.2")}, {"head", "stages"}),
        ({"finetune__new_head": ("auto",)}, {"head"}),
    ],
)
def test_what_is_new(parent, start, fields, new):
    config = child(parent, **fields)
    experiment = create_experiment(config, jax.devices()[:1])
    missing = start.leaves().keys() - experiment.model.start.keys()
    assert {name.split("/")[1] for name in missing} == new
    if "stages" in new:
        assert {name.split("/")[2] for name in missing if "stages" in name} == {"2"}
        assert any(name.startswith("batch_stats/stages/2/") for name in missing)


def test_the_head_stays_for_the_same_classes_only_in_the_same_order(start):
    spec = start.spec
    renamed = dataclasses.replace(spec.preprocessing, classes=tuple(f"class {i}" for i in range(10)))
    assert finetune.new_prefixes(start, spec, ("auto",)) == ()
    other = dataclasses.replace(spec, preprocessing=renamed)
    assert finetune.new_prefixes(start, other, ("auto",)) == ("head",)
    assert finetune.new_prefixes(start, other, ()) == ()


@pytest.mark.slow
def test_frozen_layers_and_their_statistics_keep_every_bit_while_others_move_on_any_number_of_devices(parent):
    config = child(
        parent,
        finetune__frozen=("stem", "stages.0", "stages/1/0"),
        finetune__lr_multipliers=("head=3",),
        optim__ema_decay=0.9,
        batch_size=24,
    )
    ends = []
    for devices in (1, 3):  # a mean over three is not exact
        experiment, state = begin(config, devices)
        before = weights(state)
        assert len(jax.tree.leaves(state.opt_state)) < len(jax.tree.leaves(state.params))  # no momentum of theirs
        ends.append(tiny.train(experiment, config, steps=3, state=state))
        check_frozen_bits(before, ends[-1])
    assert_trees_close(weights(ends[0]), weights(ends[1]), rtol=1e-5)


def check_frozen_bits(before, state):
    after, average = weights(state), leaves(state.ema)
    frozen = {name for name in before if name.split("/", 1)[1].startswith(("stem/", "stages/0/", "stages/1/0/"))}
    for name, leaf in before.items():
        for now in (after[name], average[name]):
            assert (now.tobytes() == leaf.tobytes()) == (name in frozen), name


def test_with_all_but_the_head_frozen_the_loss_of_training_is_that_of_testing(parent):
    config = child(parent, finetune__frozen=("stem", "stages"), augment__flip=False, augment__pad=0)
    experiment, state = begin(config)
    source = experiment.inputs.splits.train
    batch = source.gather(batch_indices(0, len(source), batch_size=16, seed=config.seed))
    batch = parallel.split_batch({**batch, "mask": np.ones(16, bool)}, experiment.mesh)
    sums = experiment.steps.eval_step(state.params, state.batch_stats, batch)
    after = tiny.train(experiment, config, steps=1, state=state)
    assert float(after.sums["loss"]) == pytest.approx(float(sums["loss"]), rel=1e-6)


def test_dropout_is_off_in_frozen_layers():
    model, image = DropoutNet(jax.random.key(0)), np.ones((2, 8, 8, 1), np.float32)
    keys = jax.random.split(jax.random.key(0), 2)
    for frozen, off in (("dropout1", False), ("dropout2", True)):
        freeze(model, [frozen])
        assert np.array_equal(model(image, train=True, rngs=keys), model(image)) == off


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model__name": "cifar_resnet14"}, "run holds the weights of cifar_resnet8, not of cifar_resnet14"),
        ({"model__shortcut": "B"}, "shortcut='B' does not match the weights in .*, which need shortcut='the default'"),
        ({"model__activation": "tanh"}, "activation='tanh' does not match the weights"),
        ({"finetune__new_head": ("haed",)}, "finetune.new_head has 'haed', did you mean 'head'"),
        ({"finetune__new_head": (), "finetune__weights": ""}, "finetune.new_head is set without finetune.weights"),
        ({"finetune__new_head": ()}, r"params/head/kernel is \(64, 10\), not \(64, 4\)"),
        (
            {"finetune__frozen": ("stage",)},
            r"finetune.frozen has 'stage', did you mean 'stages'.* .allowed: head, stag",
        ),
        ({"finetune__frozen": ("stages.3",)}, "finetune.frozen has 'stages.3', did you mean 'stages/2'"),
        ({"finetune__lr_multipliers": ("stem=0.1", "hed=1")}, "finetune.lr_multipliers has 'hed', did you mean 'head'"),
        ({"finetune__lr_multipliers": ("stem",)}, "finetune.lr_multipliers has 'stem' .allowed: PATH=FACTOR"),
        ({"finetune__lr_multipliers": ("stem=-1",)}, "'stem=-1'"),
        ({"finetune__lr_multipliers": ("stem=1", "stem=2")}, "'stem' twice"),
        ({"finetune__lr_multipliers": ("stem=1",), "finetune__frozen": ("stem",)}, "lr_multipliers has 'stem'"),
        (
            {"preprocess__image_size": None},
            "takes images of 8 x 8 pixels and 1 channel.s., dataset 'synthetic' has 32 x 32 and 1 .to fine-tune",
        ),
        ({"dataset__channels": 3}, "has 8 x 8 and 3"),
    ],
)
def test_what_does_not_fit_is_named_before_anything_is_written(parent, fields, message, tmp_path):
    with pytest.raises(InputError, match=message) as error:
        loop.train_and_evaluate(child(parent, **fields), tmp_path / "run")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_an_option_set_to_the_default_that_the_weights_have_is_no_conflict(parent):
    group = tiny.config(finetune__weights=WHERE).finetune
    for given in ({"shortcut": "A"}, {"bn_group": "sync", "zero_init_last_gamma": False}):
        finetune.load_start(group, "cifar_resnet8", given, weights=parent)
    with pytest.raises(InputError, match="shortcut='B' does not match the weights"):
        finetune.load_start(group, "cifar_resnet8", {"shortcut": "B"}, weights=parent)


def test_no_such_weights(tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        loop.train_and_evaluate(child(tmp_path / "nowhere.safetensors"), tmp_path / "run")


def test_the_command_takes_tuples_of_words():
    words = ["--config=configs/default.py", "--workdir=x", "--config.finetune.lr_multipliers=('stem=0.1','head=10')"]
    words += ["--config.finetune.frozen=('stem', 'stages/0')", "--config.finetune.new_head=()"]
    config, _ = main.read_run(main.create_parser().parse(words))
    assert config.finetune.lr_multipliers == ("stem=0.1", "head=10")
    assert config.finetune.frozen == ("stem", "stages/0")
    assert config.finetune.new_head == ()


@pytest.mark.slow
def test_a_fine_tuned_run_stands_alone_and_resumes_bit_for_bit_without_the_weights(parent, tmp_path, capsys):
    moved, straight, resumed = (tmp_path / name for name in ("parent", "straight", "resumed"))
    shutil.copytree(parent, moved)
    config = child(moved, finetune__frozen=("stem",), finetune__lr_multipliers=("head=10",))
    main.main([*processes.words(config), f"--workdir={straight}"])
    assert f"starts from {moved}; new layers: head\nfrozen: stem; " in capsys.readouterr().out
    hidden = moved.rename(tmp_path / "hidden")
    shutil.copytree(straight, resumed)  # as a run that was killed after step 2
    shutil.rmtree(resumed / "checkpoints" / "4")
    lines = (resumed / "metrics.jsonl").read_text().splitlines(keepends=True)
    (resumed / "metrics.jsonl").write_text("".join(lines[:-1]))
    loop.train_and_evaluate(config, resumed)
    printed = capsys.readouterr().out
    assert "resumed at step 2" in printed
    assert "starts from" not in printed
    hidden.rename(moved)
    processes.assert_same_run(resumed, straight, config)
    one, other = (pretrained.load_network(workdir) for workdir in (straight, resumed))
    assert one.spec.num_logits == 4
    assert one.leaves().keys() == other.leaves().keys()
    assert all(leaf.tobytes() == other.leaves()[name].tobytes() for name, leaf in one.leaves().items())
    # And once more from there: the classes are the same, so the head stays.
    _, state = begin(child(straight))
    np.testing.assert_array_equal(state.params["head"]["kernel"], one.params["head"]["kernel"])
