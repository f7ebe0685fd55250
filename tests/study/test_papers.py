"""The published numbers fit one another, our networks and recipes, and torchvision's own record of its weights."""

import functools
import inspect
import itertools
import re
from pathlib import Path

import pytest

from resnet_alexnet import models
from resnet_alexnet import papers as command
from resnet_alexnet.errors import InputError
from resnet_alexnet.evaluate import __main__ as evaluate
from resnet_alexnet.models import catalog
from resnet_alexnet.models.summary import summarize, total_multiply_adds, total_parameters
from resnet_alexnet.study import documents, ledger, papers, published_he, published_krizhevsky
from resnet_alexnet.study.published import KINDS, SOURCES, Published
from resnet_alexnet.study.published_settings import SETTINGS
from resnet_alexnet.train.crops import fill_sizes
from resnet_alexnet.workdir.config import flatten, load_config, override
from tests.support.documents import read

ROOT = Path(__file__).parents[2]
OURS = re.compile(r"[a-z0-9_]+")
UNITS = {"": 1, "million": 1e6, "x 10^9": 1e9, "x 10^6": 1e6}
BOUNDS = ("", "<", ">", "about", "at most")


def is_ours(number: Published) -> bool:
    return OURS.fullmatch(number.model) is not None


def options_of(number: Published) -> dict:
    pairs = (option.split("=") for option in number.options.split(", ") if option)
    values = {"True": True, "False": False, "1": 1}
    return {name: values.get(value, value) for name, value in pairs}


@functools.cache
def summary(model: str, **options: object):
    sizes = {"num_classes": 10, "image_size": 32} if "cifar" in model else {}
    return summarize(model, **sizes, **options)


def last_digit(printed: str) -> float:
    """The unit of the last digit that is printed: 0.01 of 7.40, 1e16 of 8.4e17."""
    digits, _, exponent = printed.replace(",", "").partition("e")
    return 10.0 ** (int(exponent or 0) - len(digits.partition(".")[2]))


def test_each_number_is_well_formed_and_stands_there_once():
    for number in papers.NUMBERS:
        assert number.source in SOURCES
        assert number.kind in KINDS
        assert number.bound in BOUNDS
        assert number.value > 0
        assert re.fullmatch(r"\d[\d,]*(\.\d+)?(e\d+)?", number.printed)
        assert number.split in ("", "training", "validation", "test")
        assert (number.std != "") <= (number.kind == "mean")
        assert (number.n is None) or number.kind in ("mean", "best", "ensemble")
        if number.unit == "%":
            assert number.value < 100
            assert "error" not in number.quantity or (number.data and number.split)
    assert len(set(papers.NUMBERS)) == len(papers.NUMBERS)


def test_a_number_is_shown_with_what_it_is_of():
    shown = [number.show() for number in papers.find(model="cifar_resnet110", quantity="test error")]
    assert shown == ["6.43 % (best of 5)", "6.61 ± 0.16 % (mean of 5)"]
    assert papers.one(model="cifar_plain110", quantity="test error").show() == "> 60 %"
    assert (
        papers.one(model="resnet34", options="shortcut=C", where="table 3", quantity="top-5 error").show() == "7.40 %"
    )
    with pytest.raises(LookupError, match="2 published numbers have"):
        papers.one(model="cifar_resnet110", quantity="test error")


@pytest.mark.parametrize("name", sorted({number.model for number in papers.NUMBERS if is_ours(number)}))
def test_the_names_and_options_of_our_networks_are_those_of_the_catalog(name):
    assert name in models.MODELS
    for number in papers.find(model=name):
        for option, value in options_of(number).items():
            catalog.check_option(name, option, value)


COUNTS = [n for n in papers.NUMBERS if is_ours(n) and n.quantity in ("parameters", "multiply-adds", "neurons")]


@pytest.mark.parametrize("number", COUNTS, ids=lambda n: f"{n.source} {n.model} {n.options} {n.quantity}")
def test_counts_are_those_of_our_networks(number):
    """To less than one unit of the last digit: [H15] table 1 prints 3.8 for 3.86, which is not rounded."""
    rows = summary(number.model, **options_of(number))
    if number.quantity == "neurons":
        count = sum(row.shape[0] ** 2 * row.shape[-1] if len(row.shape) == 3 else row.shape[-1] for row in layers(rows))
        assert count == pytest.approx(number.value, rel=0.02)
        return
    count = total_parameters(rows) if number.quantity == "parameters" else total_multiply_adds(rows)
    if number.kind == "in words":  # "60 million parameters"
        assert count == pytest.approx(number.value * UNITS[number.unit], rel=0.02)
    else:
        assert abs(count / UNITS[number.unit] - number.value) < last_digit(number.printed)


def layers(rows: list) -> list:
    """The convolutions and fully connected layers of a summary."""
    return [row for row in rows if row.parameters]


def test_a_plain_network_costs_what_its_residual_twin_costs():
    for number in papers.find(source="counted", quantity="parameters"):
        twin = number.model.replace("plain", "resnet")
        if twin != number.model:
            assert any(each.value == number.value for each in papers.find(model=twin, quantity="parameters"))
    plain, vgg = papers.one(model="plain34", unit="x 10^9"), papers.one(model="VGG-19", unit="x 10^9")
    share = papers.one(model="plain34", quantity="multiply-adds, share of those of VGG-19")
    assert round(100 * plain.value / vgg.value) == share.value


def test_the_budgets_of_a_training_follow_from_its_steps():
    of_the_grid = 0.0
    for number in papers.find(quantity="multiply-adds of the training"):
        if not is_ours(number):
            continue
        images = 90 * 1_281_167 if number.note == "90 epochs" else None
        if images is None:
            steps, batch = re.fullmatch(r"([\d,]+) steps of (\d+) images", number.note).groups()
            images = int(steps.replace(",", "")) * int(batch)
        spent = 3 * images * total_multiply_adds(summary(number.model))
        assert abs(spent - number.value) < last_digit(number.printed)
    for depth in (20, 32, 44, 56, 110):
        of_the_grid += 2 * 5 * 3 * 64_000 * 128 * total_multiply_adds(summary(f"cifar_resnet{depth}"))
    (grid,) = (n for n in papers.find(quantity="multiply-adds of the training") if not is_ours(n))
    assert abs(of_the_grid - grid.value) < last_digit(grid.printed)


def test_the_layers_of_krizhevsky_are_ours():
    ours = {row.layer: row for row in layers(summary("alexnet"))}
    assert list(ours) == [layer.name for layer in published_krizhevsky.LAYERS]
    model = {}
    for layer in published_krizhevsky.LAYERS:
        row = ours[layer.name]
        size = layer.map_size
        assert row.shape[-1] == layer.kernels
        assert row.parameters == layer.parameters
        if layer.kernel:
            assert row.shape == (size, size, layer.kernels)
            height, width, channels = layer.kernel
            assert layer.parameters == layer.kernels * (height * width * channels + 1)
        model[layer.name] = size * size * layer.kernels
    printed = {layer.name: layer.neurons for layer in published_krizhevsky.LAYERS}
    assert {name for name in model if model[name] != printed[name]} == {"conv1"}  # the slip of the caption of figure 2
    assert printed["conv1"] == 55 * 48 * 96
    text = read("docs/papers.md")
    for number in (sum(printed.values()), model["conv1"], sum(model.values())):
        assert f"{number:,}" in text


@pytest.mark.parametrize("stages", published_he.STAGES, ids=lambda stages: stages.model)
def test_the_stages_of_he_are_ours(stages):
    rows = {row.layer: row for row in summary(stages.model)}
    assert [rows[f"stem.{name}"].shape[0] for name in ("conv1.conv", "pool1")] == list(published_he.STEM_MAP_SIZES)
    sizes = zip(stages.blocks, published_he.MAP_SIZES, published_he.WIDTHS, strict=True)
    for stage, (blocks, size, width) in enumerate(sizes):
        for i in range(blocks):
            convolutions = [rows[f"stages.{stage}.{i}.conv{k + 1}.conv"] for k in range(len(stages.kernel_sizes))]
            last = (size, size, 4 * width if len(stages.kernel_sizes) == 3 else width)
            assert [row.shape for row in convolutions] == [(size, size, width)] * (len(convolutions) - 1) + [last]
            if i > 0:
                channels = [last[-1], *(row.shape[-1] for row in convolutions)]
                for (before, after), kernel, row in zip(
                    itertools.pairwise(channels), stages.kernel_sizes, convolutions, strict=True
                ):
                    assert row.parameters == kernel**2 * before * after
        assert f"stages.{stage}.{blocks}.conv1.conv" not in rows
    convolutions = sum(name.endswith(".conv") and "shortcut" not in name for name in rows)
    assert f"resnet{convolutions + 1}" == stages.model


def test_errors_are_ordered_as_the_papers_say():
    def error(model, **fields):
        return papers.one(model=model, **fields).value

    table2 = {"source": "[H15]", "where": "table 2", "quantity": "top-1 error"}
    plain18, plain34, resnet18, resnet34 = (error(m, **table2) for m in ("plain18", "plain34", "resnet18", "resnet34"))
    assert plain18 < plain34
    assert resnet34 < resnet18 < plain18
    gains = {number.note: number.value for number in papers.find(model="resnet34", unit="points")}
    assert gains == {"to resnet18": pytest.approx(resnet18 - resnet34, abs=0.06), "to plain34": pytest.approx(3.5)}
    assert plain34 - resnet34 == pytest.approx(3.5, abs=0.06)
    for quantity in ("top-1 error", "top-5 error"):
        table3 = {"source": "[H15]", "where": "table 3", "quantity": quantity}
        depths = [error("plain34", **table3), *(error("resnet34", options=f"shortcut={o}", **table3) for o in "ABC")]
        depths += [error(f"resnet{depth}", **table3) for depth in (50, 101, 152)]
        assert depths == sorted(depths, reverse=True)
        for number in papers.find(source="[H15]", where="table 4", quantity=quantity):
            ten_crops = papers.find(model=number.model, options=number.options, **table3)
            assert not is_ours(number) or ten_crops[0].value > number.value
    cifar = [
        papers.find(model=f"cifar_resnet{depth}", quantity="test error")[0].value for depth in (20, 32, 44, 56, 110)
    ]
    assert cifar == sorted(cifar, reverse=True)
    best, mean = papers.find(model="cifar_resnet110", quantity="test error")
    assert best.value < mean.value < papers.one(model="cifar_resnet1202", quantity="test error").value


def test_more_networks_and_more_crops_have_fewer_errors_and_top_5_is_below_top_1():
    for number in papers.NUMBERS:
        same = {name: getattr(number, name) for name in ("source", "model", "data", "split", "quantity", "options")}
        if "error" not in number.quantity or number.unit != "%":
            continue
        if number.kind == "ensemble" and number.n:
            assert all(number.value < single.value for single in papers.find(kind="one run", **same))
        if number.views == "10 crops":
            for single in papers.find(views="1 crop", **same):
                assert number.value < single.value
        if number.quantity == "top-5 error":
            row = {name: getattr(number, name) for name in ("where", "views", "kind", "n", "note")}
            for top1 in papers.find(**{**same, **row, "quantity": "top-1 error"}):
                assert number.value < top1.value
    one = papers.one(model="resnet152", where="table 4", quantity="top-5 error").value
    assert papers.one(model="ResNet (ILSVRC'15)").value < one


def test_he_releases_the_10_crop_errors_of_table_3_rounded():
    for number in papers.find(source="He's release", views="10 crops"):
        table = papers.one(source="[H15]", where="table 3", model=number.model, quantity=number.quantity)
        assert abs(table.value - number.value) < 0.0500001  # 22.85 as 22.9, 6.05 as 6.1


@pytest.mark.parametrize("version", ["IMAGENET1K_V1", "IMAGENET1K_V2"])
def test_torchvisions_numbers_are_those_of_its_own_record(version):
    from tests.support.torch_peers import torchvision

    numbers = papers.find(source="torchvision", where=version)
    assert {n.model for n in numbers} == {
        "IMAGENET1K_V1": {"alexnet_owt", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152"},
        "IMAGENET1K_V2": {"resnet50", "resnet101", "resnet152"},
    }[version]
    for number in numbers:
        weights = torchvision.models.get_model_weights(number.model.removesuffix("_owt"))[version]
        accuracies = weights.meta["_metrics"]["ImageNet-1K"]
        record = {
            "top-1 accuracy": accuracies["acc@1"],
            "top-5 accuracy": accuracies["acc@5"],
            "parameters": weights.meta["num_params"],
            "multiply-adds": weights.meta["_ops"],
        }
        assert record[number.quantity] == pytest.approx(number.value, abs=last_digit(number.printed) / 2)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda s: f"{s.recipe} {s.field}")
def test_a_recipe_has_the_settings_of_its_paper(setting):
    if setting.field.startswith("evaluate "):
        flag = setting.field.removeprefix("evaluate --")
        shown = ",".join(map(str, setting.value)) if isinstance(setting.value, tuple) else setting.value
        given = evaluate.create_parser().parse(["--workdir=.", f"--{flag}={shown}"])
        assert getattr(given, flag) == setting.value
        return
    file, _, argument = setting.recipe.partition(":")
    config = load_config(f"{ROOT}/configs/{file}.py" + (f":{argument}" if argument else ""))
    preprocess, augment = fill_sizes(config.preprocess, config.augment, None)
    fields = flatten({**config.to_dict(), "preprocess": dict(preprocess), "augment": dict(augment)})
    if setting.field == "epochs":
        assert fields["num_steps"] == setting.value * (1_281_167 // config.batch_size)
        return
    value = fields[setting.field]
    group, _, option = setting.field.partition(".")
    if group == "model" and value is None:  # the network's own default
        value = default_option(config.model.name, option)
    assert value == setting.value


def default_option(name: str, option: str) -> object:
    """The value of an option that a recipe leaves unset."""
    cls, args, keywords = catalog._class_of(name)
    if option in keywords:
        return keywords[option]
    block = {"shortcut": "default_shortcut", "stride_in": "default_stride_in"}
    if option in block:
        return getattr(args[1], block[option])
    if option == "pool_padding":
        return "caffe"
    return inspect.signature(cls.__init__).parameters[option].default


def decimals(text: str) -> set[str]:
    return set(re.findall(r"(?<![\d.e])\d+\.\d+(?![\d.]|e\d)", text))


def printed(*, units: tuple[str, ...] = ("%",)) -> set[str]:
    """Every number as printed, and every deviation."""
    return {text for n in papers.NUMBERS if n.unit in units for text in (n.printed, n.std) if text}


@pytest.mark.parametrize("file", sorted((ROOT / "configs").glob("*.py")), ids=lambda file: file.stem)
def test_the_published_numbers_in_the_docstrings_of_recipes_are_in_the_data(file):
    text = file.read_text(encoding="utf-8").partition("\n\n\n")[0]
    block = re.search(r"^Published (.*?)(?=^\w|\Z|^\"\"\")", text, re.MULTILINE | re.DOTALL)
    if block:
        text = re.sub(r"section \d\.\d", "", block[1])
        assert decimals(text) <= printed()


def test_the_numbers_of_the_ledger_are_in_the_data():
    texts = [text for each in ledger.STATEMENTS for text in (each.study_text, each.papers)]
    found = {number for text in texts for number in re.findall(r"(\d+(?:\.\d+)?) (?:%|points)", text)}
    assert found
    assert found <= printed(units=("%", "points"))


OPTIONS = [option for deviation in ledger.DEVIATIONS for option in deviation.options]
ALEXNETS, BOTTLENECKS = ("lrn", "pooling", "init", "dropout"), ("stride_in", "pool_padding")


@pytest.mark.parametrize("option", OPTIONS)
def test_each_variant_of_the_ledger_can_be_set_and_is_not_the_default(option):
    words = option.split(" + ")
    names = [word.partition("=")[0] for word in words]
    recipe = "alexnet" if names == ["schedule.name"] else "default"
    config = load_config(str(ROOT / "configs" / f"{recipe}.py"))
    before = flatten(config.to_dict())
    override(config, [f"--config.{word}" for word in words])
    after = flatten(config.to_dict())
    assert all(after[name] != before[name] for name in names)
    for group, _, key in (name.partition(".") for name in names):
        if group == "model":
            model = "alexnet" if key.startswith(ALEXNETS) else "resnet50" if key in BOTTLENECKS else "cifar_resnet20"
            catalog.check_option(model, key, after[f"model.{key}"])
            if key not in ("bn_group", "dropout_scaling"):  # set by recipes; the paper's is not the network's default
                assert after[f"model.{key}"] != default_option(model, key)


def test_the_tables_of_the_documents_are_made_of_the_data():
    for path, text in documents.render(ROOT / "docs").items():
        assert path.read_text(encoding="utf-8") == text, "run resnet-alexnet papers --docs=docs"


def test_the_command_writes_the_documents_of_a_folder(tmp_path):
    for name in ("differences.md", "papers.md", "recipes.md"):
        stripped = re.sub(r"(<!-- ([a-z ]+) -->\n).*?(<!-- /\2 -->)", r"\1\3", read(f"docs/{name}"), flags=re.DOTALL)
        assert stripped != read(f"docs/{name}")
        (tmp_path / name).write_text(stripped, encoding="utf-8")
    command.main([f"--docs={tmp_path}"])
    for name in ("differences.md", "papers.md", "recipes.md"):
        assert (tmp_path / name).read_text(encoding="utf-8") == read(f"docs/{name}")
    (tmp_path / "recipes.md").write_text("no marks")
    with pytest.raises(InputError, match=r"recipes\.md lacks the lines <!-- recipes -->"):
        command.main([f"--docs={tmp_path}"])
    (tmp_path / "papers.md").unlink()
    with pytest.raises(InputError, match=r"recipes\.md lacks|papers\.md cannot be read"):
        command.main([f"--docs={tmp_path}"])


def test_the_command_shows_the_numbers_of_a_network(capsys):
    command.main(["cifar_resnet110"])
    out = capsys.readouterr().out
    assert out.startswith("source")
    assert re.search(r"\[H15\] table 6 +cifar_resnet110 +test error 6\.43 % +cifar10, test, best of 5", out)
    assert "resnet34" not in out
    command.main([])
    assert len(capsys.readouterr().out.splitlines()) > 150
    with pytest.raises(InputError, match="MODEL is 'resnet35', did you mean 'resnet34'"):
        command.main(["resnet35"])
