"""Every recipe loads, builds and says what the papers say; published values are typed here from the papers' tables."""

import ast
import functools
import json
import re
import shlex
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from ml_collections import ConfigDict

from configs import default
from resnet_alexnet import losses, main, models
from resnet_alexnet.errors import InputError
from resnet_alexnet.pretrained.network import ModelSpec
from resnet_alexnet.pretrained.preprocessing import Preprocessing
from resnet_alexnet.train.crops import describe_crops, fill_sizes
from resnet_alexnet.train.experiment import count_logits, create_experiment
from resnet_alexnet.train.model import check_bn_group, set_options
from resnet_alexnet.train.optimizer import Optimizer, create_optimizer
from resnet_alexnet.train.ranges import check_numbers
from resnet_alexnet.workdir.config import flatten, load_config, override, to_json

ROOT = Path(__file__).parents[1]
SHARED = {"default", "imagenet"}  # imported by recipes, no recipes themselves
FILES = sorted(path.stem for path in (ROOT / "configs").glob("*.py") if path.stem not in SHARED)
ARGUMENTS = {
    "alexnet": ("paper", "author_code", "torchvision", "study_text"),
    **dict.fromkeys(
        ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"), ("paper", "torchvision", "study_text")
    ),
    **dict.fromkeys(("plain18", "plain34"), ("paper", "study_text")),
    "cifar_resnet": ("20", "32", "44", "56", "110", "1202"),
    "cifar_plain": ("20", "32", "44", "56", "110"),
    "finetune": ("resnet18", "resnet50", "alexnet", "alexnet_owt", "plain18"),
}
RECIPES = [name for file in FILES for name in (file, *(f"{file}:{x}" for x in ARGUMENTS.get(file, ())))]
DATA = {"imagenet2012": (224, 3, 1000), "cifar10": (32, 3, 10), "fashion_mnist": (28, 1, 10)}  # size, channels, classes
DATA["image_folder"] = (224, 3, 5)

EPOCH_128, EPOCH_256 = 1_281_167 // 128, 1_281_167 // 256
ALEXNET = {
    "batch_size": 128,
    "optim.learning_rate": 0.01,
    "optim.momentum": 0.9,
    "optim.weight_decay": 5e-4,
    "optim.update_rule": "paper",
    "num_steps": 90 * EPOCH_128,
    "schedule.name": "plateau",
    "schedule.factor": 0.1,
    "schedule.min_scale": 1e-3,
    "model.name": "alexnet",
    "model.dropout": 0.5,
    "loss.name": "softmax_cross_entropy",
    "augment.color": "pca",
    "augment.color_std": 0.1,
}
TORCHVISION = {
    "batch_size": 256,
    "optim.momentum": 0.9,
    "optim.weight_decay": 1e-4,
    "optim.update_rule": "optax",
    "num_steps": 90 * EPOCH_256,
    "schedule.name": "steps",
    "schedule.factor": 0.1,
    "schedule.boundaries": (30 * EPOCH_256, 60 * EPOCH_256),
    "preprocess.mean": "channel",
    "preprocess.std": True,
    "augment.color": "none",
}
IMAGENET = {
    "batch_size": 256,
    "optim.learning_rate": 0.1,
    "optim.momentum": 0.9,
    "optim.weight_decay": 1e-4,
    "optim.update_rule": "paper",
    "num_steps": 600_000,
    "schedule.name": "plateau",
    "schedule.factor": 0.1,
    "schedule.boundaries": (30 * EPOCH_256, 60 * EPOCH_256),
    "model.bn_group": 32,
    "preprocess.mean": "pixel",
    "augment.flip": True,
    "augment.pad": 0,
    "augment.color": "pca",
    "augment.color_std": 0.1,
}
CIFAR = {
    "batch_size": 128,
    "optim.learning_rate": 0.1,
    "optim.momentum": 0.9,
    "optim.weight_decay": 1e-4,
    "optim.update_rule": "paper",
    "num_steps": 64_000,
    "schedule.name": "steps",
    "schedule.boundaries": (32_000, 48_000),
    "schedule.factor": 0.1,
    "schedule.warmup_until_error": 0.0,
    "model.bn_group": 64,
    "preprocess.mean": "pixel",
    "augment.pad": 4,
    "augment.flip": True,
    "dataset.validation_fraction": 0.1,
}
WARM_UP = {"schedule.warmup_until_error": 80.0, "schedule.warmup_until_error_scale": 0.1}
TORCHVISION_RESNET = {
    **TORCHVISION,
    "optim.learning_rate": 0.1,
    "model.shortcut": "B",
    "model.pool_padding": "torch",
    "model.bn_unbiased_variance": True,
}
RESNETS, PLAINS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"), ("plain18", "plain34")
PUBLISHED = {
    "alexnet": ALEXNET,
    "alexnet:paper": ALEXNET | {"model.dropout_scaling": "test"},
    "alexnet:study_text": ALEXNET | {"model.lrn_order": "before_activation"},
    "alexnet:author_code": ALEXNET
    | {
        "schedule.name": "steps",
        "schedule.factor": 250 ** (-1 / 3),
        "schedule.min_scale": 1e-3,
        "schedule.boundaries": tuple(90 * EPOCH_128 * i // 4 for i in (1, 2, 3)),
        "optim.bias_learning_rate": 2.0,
        "optim.decay_mask": "kernels",
        "model.init": "author_code",
        "model.lrn_alpha_over_size": True,
        "loss.name": "binary_cross_entropy_with_logits",
        "loss.reduction": "sum_classes",
        "augment.color": "pca_std",
    },
    "alexnet:torchvision": TORCHVISION | {"model.name": "alexnet_owt", "optim.learning_rate": 0.01},
    **{name: IMAGENET | {"model.name": name} for name in (*RESNETS, *PLAINS)},
    **{f"{name}:study_text": IMAGENET | {"optim.weight_decay": 1e-3} for name in (*RESNETS, *PLAINS)},
    **{f"{name}:torchvision": TORCHVISION_RESNET for name in RESNETS[:2]},
    **{f"{name}:torchvision": TORCHVISION_RESNET | {"model.stride_in": "3x3"} for name in RESNETS[2:]},
    **{f"cifar_resnet:{n}": CIFAR | {"model.name": f"cifar_resnet{n}"} for n in (20, 32, 44, 56)},
    **{f"cifar_plain:{n}": CIFAR | {"model.name": f"cifar_plain{n}"} for n in (20, 32, 44, 56)},
    "cifar_resnet:110": CIFAR | WARM_UP | {"model.name": "cifar_resnet110"},
    "cifar_resnet": CIFAR | {"model.name": "cifar_resnet20"},
    "imagenet_modern": {
        "model.name": "resnet50",
        "model.stride_in": "3x3",
        "model.bn_group": 128,
        "batch_size": 1024,
        "num_steps": 600 * 1251,
        "augment.crop": "random_resized_crop",
        "augment.flip": True,
        "augment.pad": 0,
        "augment.color": "none",
        "augment.mixup": 0.2,
        "augment.cutmix": 1.0,
        "loss.label_smoothing": 0.1,
        "optim.learning_rate": 0.5,
        "optim.momentum": 0.9,
        "optim.weight_decay": 2e-5,
        "optim.decay_mask": "kernels",
        "optim.update_rule": "optax",
        "optim.clip_norm": 1.0,
        "schedule.name": "cosine",
        "schedule.warmup_steps": 5 * 1251,
        "preprocess.shorter_side": 232,
        "precision": "bfloat16",
    },
}


def load(recipe: str) -> ConfigDict:
    """The config of "file" or "file:argument"."""
    file, _, argument = recipe.partition(":")
    return load_config(f"{ROOT}/configs/{file}.py" + (f":{argument}" if argument else ""))


def fields(config: ConfigDict) -> dict:
    return flatten(config.to_dict())


def optimizer_of(config: ConfigDict) -> Optimizer:
    return create_optimizer(
        config.optim,
        config.schedule,
        batch_size=config.batch_size,
        num_steps=config.num_steps,
        lr_multipliers=config.finetune.lr_multipliers,
    )


@functools.cache
def parameters_of(json_model: str, size: int, channels: int, num_classes: int, batch_size: int):
    """The shapes of a model's parameters, of the model group as JSON: recipes that share a model build it once."""
    preprocessing = Preprocessing(size, channels, np.zeros(channels), np.ones(channels), ("",) * num_classes)
    model = json.loads(json_model)
    spec = ModelSpec(model["name"], set_options(model), num_classes, "softmax", preprocessing)
    check_bn_group(spec, batch_size)
    return nnx.to_pure_dict(nnx.state(spec.abstract(), nnx.Param))


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipe_loads_locked_with_the_default_fields_and_survives_json(recipe, tmp_path):
    config = load(recipe)
    assert config.is_locked
    with pytest.raises(AttributeError):
        config.optim.lerning_rate = 0.1
    assert fields(config).keys() == fields(default.get_config()).keys()
    path = tmp_path / "config.json"
    path.write_text(json.dumps(to_json(config)))
    again = load_config(str(path))
    assert again.is_locked
    assert to_json(again) == to_json(config)


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipe_builds_its_model_optimizer_and_loss(recipe):
    config = load(recipe)
    check_numbers(config)
    size, channels, num_classes = DATA[config.dataset.name]
    num_classes = count_logits(config, config.dataset.classes or ("",) * num_classes)
    model = json.dumps({name: value for name, value in config.model.items() if value is not None})
    params = parameters_of(model, size, channels, num_classes, config.batch_size)
    optimizer = optimizer_of(config)
    assert jax.tree.leaves(jax.eval_shape(optimizer.tx.init, params))  # the masks find their parameters
    loss = losses.create_loss(config.loss.name, reduction=config.loss.reduction)
    batch = (config.batch_size,)
    value = jax.eval_shape(loss, jnp.zeros((*batch, num_classes)), jnp.zeros(batch, jnp.int32))
    assert value.shape == batch


@pytest.mark.parametrize("recipe", PUBLISHED)
def test_recipe_has_the_published_values(recipe):
    ours = fields(load(recipe))
    assert {name: ours[name] for name in PUBLISHED[recipe]} == PUBLISHED[recipe]


@pytest.mark.parametrize("recipe", [name for name in RECIPES if load(name).augment.crop != "none"])
def test_recipes_test_as_they_train_at_224_pixels_and_keep_the_papers_sizes(recipe):
    config = load(recipe)
    preprocess, augment = fill_sizes({**config.preprocess, "image_size": 224}, config.augment, None)
    shorter_side = 232 if recipe == "imagenet_modern" else 256
    assert describe_crops(preprocess, augment) == [f"test view: shorter side {shorter_side}, center 224"]
    alexnet = config.model.name == "alexnet" and config.dataset.name == "imagenet2012"
    assert augment["scale"] == ((256, 256) if alexnet else (256, 480))


def test_variants_change_nothing_but_what_they_state():
    paper = fields(load("alexnet:paper"))
    changed = {name for name, value in fields(load("alexnet:study_text")).items() if value != paper[name]}
    assert changed == {"model.lrn_order"}
    paper = fields(load("resnet50:paper"))
    changed = {name for name, value in fields(load("resnet50:study_text")).items() if value != paper[name]}
    assert changed == {"optim.weight_decay"}


def test_the_modern_average_forgets_as_torchvisions_does():
    # Its --model-ema-decay 0.99998 is for every 32 steps, times batch and steps over epochs.
    every_32_steps = 1 - (1 - 0.99998) * 1024 * 32 / 600
    assert load("imagenet_modern").optim.ema_decay ** 32 == pytest.approx(every_32_steps, abs=1e-6)


def test_author_code_divides_the_rate_by_250_over_the_run():
    config = load("alexnet:author_code")
    schedule = optimizer_of(config).schedule
    rates = [float(schedule(config.num_steps * eighth // 8)) for eighth in (1, 3, 5, 7)]
    np.testing.assert_allclose(rates, 0.01 / 250 ** (np.arange(4) / 3), rtol=1e-5)


@pytest.mark.parametrize("name", sorted(FILES))
def test_docstring_opens_with_a_command_that_runs_the_file(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    summary, line, *_ = filter(None, (ast.get_docstring(parse(name)) or "").splitlines())
    assert summary.endswith(".")
    words = shlex.split(line)
    assert words[:3] == ["python", "-m", "resnet_alexnet.main"]
    assert re.match(rf"--config=configs/{name}\.py(:|$)", words[3])
    config, workdir = main.read_run(main.create_parser().parse(words[3:]))
    assert config.num_steps > 0
    assert workdir.parent == Path("runs")


@pytest.mark.parametrize("name", sorted(FILES))
def test_docstring_states_hardware_time_and_result(name):
    text = ast.get_docstring(parse(name)) or ""
    ours = name in ("quickstart", "quickstart_alexnet", "binary")
    for word in ("Hardware", "Time", "Measured" if ours else "Published"):
        assert re.search(rf"^{word}  +\S", text, re.MULTILINE), word


def parse(name: str) -> ast.Module:
    return ast.parse((ROOT / "configs" / f"{name}.py").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", sorted({*FILES, *SHARED}))
def test_recipe_imports_no_jax(name):
    nodes = list(ast.walk(parse(name)))
    modules = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    modules |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    assert {module.split(".")[0] for module in modules} <= {"configs", "ml_collections", "resnet_alexnet"}
    assert {module for module in modules if module.startswith("resnet_alexnet")} <= {"resnet_alexnet.errors"}


@pytest.mark.parametrize(
    ("recipe", "allowed"),
    [
        ("alexnet:torch", "allowed: paper, author_code, torchvision, study_text"),
        ("resnet50:torch", "allowed: paper, torchvision, study_text"),
        ("plain34:torchvision", r"allowed: paper, study_text\)"),
        ("cifar_resnet:21", r"allowed: 6n \+ 2"),
        ("cifar_resnet:1208", "to 1202"),
        ("cifar_plain:deep", "'deep'"),
        ("quickstart:fast", "takes no argument"),
        ("imagenet", "defines no get_config"),
    ],
)
def test_unknown_argument_is_an_input_error_that_says_what_is_allowed(recipe, allowed):
    with pytest.raises(InputError, match=allowed):
        load(recipe)


def test_default_lists_every_model_option_once_with_its_type():
    known = {option: kinds for name in models.MODELS for option, kinds in models.option_types(name).items()}
    model = default.get_config().model
    assert set(model) - {"name", "num_logits"} == set(known)
    for option, kinds in known.items():
        kind = model.get_type(option)
        assert kind in kinds or (kind is object and len(kinds) > 2), option


@pytest.mark.parametrize("recipe", ["alexnet", "resnet18", "plain18", "imagenet_modern"])
def test_synthetic_data_alone_makes_an_imagenet_recipe_a_dry_run(recipe):
    config = load(recipe)
    words = ["--config.dataset.name=synthetic", "--config.dataset.num_examples=300"]
    if recipe == "imagenet_modern":
        words.append("--config.batch_size=128")
    override(config, words)
    experiment = create_experiment(config, jax.devices()[:1])
    assert experiment.inputs.splits.train.image_shape == (224, 224, 3)
    assert len(experiment.inputs.splits.train.classes) == 1000
    assert experiment.inputs.splits.validation is not None  # the plateau reads it
