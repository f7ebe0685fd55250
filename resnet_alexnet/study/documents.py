"""The tables of docs/differences.md, papers.md and recipes.md, made of what was published and of the ledger."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from resnet_alexnet.study import ledger, papers, published_he, published_krizhevsky
from resnet_alexnet.study.published import SOURCES, Published
from resnet_alexnet.study.published_code import COUNTED, RELEASED
from resnet_alexnet.study.published_settings import SETTINGS
from resnet_alexnet.study.tables import Rows, read_document, replace_region, to_markdown

_NONE = "-"
_CIFAR_DEPTHS = (20, 32, 44, 56, 110, 1202)


def render(folder: Path) -> dict[Path, str]:
    """The documents of a folder, such as docs, with the tables as they should be.

    Raises:
        InputError: a document or its marks are missing.
    """
    found = {}
    for name, tables in _tables().items():
        path = folder / name
        text = read_document(path)
        for mark, rows in tables.items():
            text = replace_region(text, mark, f"\n{to_markdown(rows)}\n", path=path)
        found[path] = text
    return found


def _tables() -> dict[str, dict[str, Rows]]:
    """The tables by document and mark."""
    return {
        "differences.md": {"deviations": _deviations(), "statements": _statements()},
        "recipes.md": {"recipes": _recipes()},
        "papers.md": {
            "krizhevsky": number_rows(published_krizhevsky.NUMBERS),
            "krizhevsky layers": _layers(),
            "he": number_rows(published_he.NUMBERS),
            "he stages": _stages(),
            "released": number_rows(RELEASED),
            "counted": number_rows(COUNTED),
            "settings": _settings(),
            "findings": [("source", "finding"), *((finding.where, finding.text) for finding in papers.FINDINGS)],
            "sources": [("source", "what it is"), *SOURCES.items()],
        },
    }


def number_rows(numbers: Sequence[Published]) -> Rows:
    """A table of published numbers; those of one row of a table in the source have one row here too."""
    rows = [("source", "network", "number", "of", "note")]
    for _, group in itertools.groupby(numbers, key=lambda number: replace(number, quantity="", printed="", unit="")):
        found = list(group)
        first = found[0]
        pair = ", ".join(f"{number.quantity} {replace(number, kind='one run', n=None).show()}" for number in found)
        of = (first.data, first.split, first.views, first.show_kind())
        rows.append(
            (
                f"{first.source}{' ' if first.source.startswith('[') else ', '}{first.where}",
                ", ".join(part for part in (first.model, first.options) if part),
                pair,
                ", ".join(part for part in of if part),
                first.note,
            )
        )
    return rows


def _deviations() -> Rows:
    header = ("subject", "paper", "authors' code, libraries", "study text", "here", "variants")
    return [
        header,
        *(
            (
                each.subject,
                each.paper,
                each.code or _NONE,
                each.study_text or _NONE,
                each.ours,
                "; ".join(map(_flags, each.options)) or _NONE,
            )
            for each in ledger.DEVIATIONS
        ),
    ]


def _flags(option: str) -> str:
    """The flags that set the fields of an option."""
    return ", ".join(f"`--config.{field}`" for field in option.split(" + "))


def _statements() -> Rows:
    rows = ((statement.study_text, statement.papers) for statement in ledger.STATEMENTS)
    return [("study text", "papers"), *rows]


def _recipes() -> Rows:
    rows = [("recipe", "network and data", "published error", "source")]
    for recipe, about, error, source in _recipe_cells():
        rows.append((f"[{recipe}](../configs/{recipe}.py)", about, f"{error} %" if error else _NONE, source))
    return rows


def _recipe_cells() -> Iterator[tuple[str, str, str, str]]:
    """The cells of the table of recipes: name, network and data, published errors in percent, source."""
    yield "quickstart", "ResNet-8, Fashion-MNIST", "", ""
    yield "quickstart_alexnet", "Krizhevsky's CIFAR network, Fashion-MNIST", "", ""
    yield "binary", "ResNet-8 with one logit, two classes of Fashion-MNIST", "", ""
    without, normalized = papers.find(model="alexnet_cifar", quantity="test error")
    both = f"{without.printed} %; with response normalization {normalized.printed}"
    yield "cifar_alexnet", "Krizhevsky's CIFAR network, CIFAR-10", both, "[K12] section 3.3"
    depths = [f"`:{depth}`" for depth in _CIFAR_DEPTHS]
    networks = f"CIFAR ResNet, CIFAR-10; depths {', '.join(depths)}"
    shown = (papers.show_errors(model=f"cifar_resnet{depth}", quantity="test error") for depth in _CIFAR_DEPTHS)
    yield "cifar_resnet", networks, "; ".join(shown), "[H15] table 6"
    plain = papers.one(model="cifar_plain110", quantity="test error")
    yield "cifar_plain", "the same without shortcuts", f"110 layers: {plain.bound} {plain.printed}", "[H15] figure 6"
    alexnet = papers.show_errors(model="alexnet", where="table 2", kind="one run", split="validation")
    yield "alexnet", "AlexNet, ImageNet 2012", alexnet, "[K12] table 2"
    for recipe, name, options, table in (
        ("plain18", "plain-18", ("",), 2),
        ("plain34", "plain-34", ("",), 3),
        ("resnet18", "ResNet-18", ("shortcut=A",), 2),
        ("resnet34", "ResNet-34", ("shortcut=A", "shortcut=B", "shortcut=C"), 3),
        ("resnet50", "ResNet-50", ("shortcut=B",), 3),
        ("resnet101", "ResNet-101", ("shortcut=B",), 3),
        ("resnet152", "ResNet-152", ("shortcut=B",), 3),
    ):
        shown = (
            papers.show_errors(source="[H15]", model=recipe, where=f"table {table}", options=each) for each in options
        )
        variants = "; shortcuts A, B, C" if len(options) > 1 else ""
        yield recipe, f"{name}, ImageNet 2012{variants}", "; ".join(shown), f"[H15] table {table}"
    modern = "ResNet-50, ImageNet 2012: mixup, CutMix, label smoothing, averaged weights"
    yield "imagenet_modern", modern, "", "torchvision, 2021"
    finetune = "trained weights on a folder of photographs; the model follows a colon, such as `:resnet50`"
    yield "finetune", finetune, "", ""


def _layers() -> Rows:
    rows = [("layer", "kernels", "of", "maps", "neurons, as printed", "parameters, counted")]
    for layer in published_krizhevsky.LAYERS:
        kernel = " x ".join(map(str, layer.kernel)) if layer.kernel else _NONE
        maps = f"{layer.map_size} x {layer.map_size}" if layer.kernel else _NONE
        rows.append((layer.name, f"{layer.kernels:,}", kernel, maps, f"{layer.neurons:,}", f"{layer.parameters:,}"))
    return rows


def _stages() -> Rows:
    sizes = zip(published_he.MAP_SIZES, published_he.WIDTHS, strict=True)
    header = (
        "network",
        "convolutions of a block",
        *(f"blocks at {size} x {size}, {width} wide" for size, width in sizes),
    )
    rows: list[tuple[str, ...]] = [header]
    for stages in published_he.STAGES:
        kernels = ", ".join(f"{size}x{size}" for size in stages.kernel_sizes)
        rows.append((stages.model, kernels, *map(str, stages.blocks)))
    return rows


def _settings() -> Rows:
    """The settings, those of several recipes in one row."""
    recipes: dict[tuple[str, str, str], list[str]] = {}
    for setting in SETTINGS:
        value = f"{setting.value:.4g}" if isinstance(setting.value, float) else str(setting.value)
        recipes.setdefault((setting.where, f"`{setting.field}`", f"`{value}`"), []).append(setting.recipe)
    rows = (
        (field, value, ", ".join(f"`{name}`" for name in names), where)
        for (where, field, value), names in recipes.items()
    )
    return [("field", "value", "recipes", "source"), *rows]
