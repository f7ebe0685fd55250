"""Tests trained networks: python -m resnet_alexnet.evaluate --workdir=runs/quickstart."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from resnet_alexnet.evaluate.protocol import TestProtocol
    from resnet_alexnet.evaluate.scores import Scores
    from resnet_alexnet.pretrained.network import TrainedModel

USAGE = """usage: python -m resnet_alexnet.evaluate --workdir=DIR | --weights=FILE [OPTIONS]
       python -m resnet_alexnet.evaluate --from=FILE.npz [--against=FILE.npz] [--output=DIR]

Tests trained networks on every image of a split, as the papers test: top-1 and top-5 error with 95 % intervals. Several
networks are tested one by one and as an ensemble, the mean of their probabilities.

networks, of any depth and size, with the same classes:
  --workdir    run folders, separated by commas
  --weights    weight files, separated by commas; both may be given
  --step       which checkpoint of a run: last (default), best (by validation error) or its number

data:
  --config     the recipe that names it, such as configs/resnet50.py; default: that of the first run folder
  --config.x   sets a field of it, such as --config.dataset.data_dir=DIR
  --split      test, validation or train; default: test where there is one, else validation

test:
  --views      center (default); ten_crop: corners and center, mirrored, as AlexNet's; fully_convolutional: the whole
               photograph, mirrored, as ResNet's best
  --scales     pixels of the shorter side, such as 224,256,384,480,640; default: each network's own
  --average    over views and scales: probabilities (default) or logits
  --scores     softmax or sigmoid; default: each network's own
  --flip       add mirror images (--flip=false: leave them out; not of ten_crop); default: by the views
  --corners    of ten_crop: of the central square (default), or of the photograph, as torchvision's
  --batch_size images a step over all devices; default: eval.batch_size of the recipe
  --precision  float32 or bfloat16; default: the recipe's

files:
  --output     folder for scores.npz (of every image), report.json (by class too), confusion.png, and of several
               networks each one's NAME.npz; default: nothing is written
  --from       in place of networks and data: such .npz files, separated by commas; their mean is reported
  --against    an .npz file of the same split: McNemar's test of the two

exit codes: 0 done · 2 bad input · 130 Ctrl-C; nothing is written then
"""
_FLAGS = {
    "workdir": "run folders",
    "weights": "weight files",
    "step": "checkpoint",
    "split": "part of the data",
    "views": "views of an image",
    "scales": "pixels",
    "average": "what is averaged",
    "scores": "what logits become",
    "flip": "mirror images",
    "corners": "of ten crops",
    "batch_size": "images",
    "precision": "of the arithmetic",
    "output": "folder",
    "from": "files of scores",
    "against": "file of scores",
}
_WITH_FILES = ("output", "from", "against")
_SCORES_FILE, _REPORT_FILE, _FIGURE_FILE = "scores.npz", "report.json", "confusion.png"


def main(arguments: Sequence[str]) -> None:
    """The command.

    Raises:
        InputError: anything that is not as USAGE says.
    """
    if {"-h", "--help"} & set(arguments):
        print(USAGE, end="")
        return
    from resnet_alexnet.cli import command
    from resnet_alexnet.cli.progress import print_summary
    from resnet_alexnet.errors import InputError
    from resnet_alexnet.evaluate.report import compare, report
    from resnet_alexnet.evaluate.scores import load_scores, mean_scores
    from resnet_alexnet.evaluate.summary import summary_rows

    config, words = command.take_config(["--flip=true" if word == "--flip" else word for word in arguments])
    given = command.parse_others(words, _FLAGS)
    output = _check_output(given["output"])
    against = load_scores(Path(given["against"])) if given["against"] else None
    if given["from"]:
        others = [f"--{name}" for name, value in given.items() if value and name not in _WITH_FILES]
        others += ["--config"] * bool(config or any(word.startswith("--config.") for word in words))
        if others:
            raise InputError(f"{', '.join(others)} with --from: the scores in the files are as they are")
        parts = {name: load_scores(path) for name, path in _name_paths(given["from"].split(",")).items()}
    else:
        parts = _score(given, config, words, against)
    scores = mean_scores(list(parts.values()))
    result = report(scores)
    if len(parts) > 1:
        result["parts"] = {name: report(part) for name, part in parts.items()}
    if against is not None:
        result["against"] = compare(scores, against)
    title = next(iter(parts)) if len(parts) == 1 else f"mean of {len(scores.made_by)} networks"
    rows = summary_rows(result)
    if output is not None:
        written = _write(output, scores, parts, result, title=f"{title}: {result['top1_error']:.2f} % wrong")
        rows.append(("written", f"{output} ({', '.join(written)})"))
    print_summary(title, rows)


def _score(given: Mapping[str, str], path: str, words: Sequence[str], against: "Scores | None") -> "dict[str, Scores]":
    """The scores of every network on the split that the flags ask for.

    Raises:
        InputError: a flag, a network or the data is not as it should be.
    """
    from resnet_alexnet import parallel
    from resnet_alexnet.cli import command
    from resnet_alexnet.cli.progress import progress_bar
    from resnet_alexnet.errors import InputError, check_name
    from resnet_alexnet.evaluate.scores import check_classes
    from resnet_alexnet.evaluate.scoring import PRECISIONS
    from resnet_alexnet.evaluate.split import score_split
    from resnet_alexnet.train import inputs
    from resnet_alexnet.workdir.config import CONFIG_FILE, load_overridden

    protocol = _parse_protocol(given)
    if not given["workdir"] and not given["weights"]:
        raise InputError("no network: give --workdir=DIR, --weights=FILE, or --from=FILE.npz for scores that are there")
    if not path and not given["workdir"]:
        raise InputError("--config is missing: the recipe that names the data, such as --config=configs/resnet50.py")
    networks = _load_networks(given)
    config = load_overridden(path or str(Path(given["workdir"].split(",")[0]) / CONFIG_FILE), words)
    batch_size = command.parse_number("batch_size", given["batch_size"] or str(config.eval.batch_size))
    precision = given["precision"] or config.precision
    check_name("precision", precision, PRECISIONS)
    split, source = inputs.read_split(
        config.dataset, given["split"], image_size=config.preprocess.image_size, progress=progress_bar
    )
    if against is not None:  # whether it is the same split to the last image will be seen when all are read
        check_classes(against.classes, source.classes, what=against.name, than="the data")
        if len(against.labels) != len(source):
            raise InputError(
                f"--against={against.name} has {len(against.labels):,} images, the {split} split {len(source):,}"
            )
    return score_split(
        networks,
        split,
        source,
        settings={"dataset": config.dataset.name, "split": split, "precision": precision, **protocol.to_json()},
        protocol=protocol,
        mesh=parallel.create_mesh(),
        batch_size=batch_size,
        precision=precision,
        progress=progress_bar,
    )


def _load_networks(given: Mapping[str, str]) -> "dict[str, TrainedModel]":
    """The networks by name: run folders, then weight files."""
    from resnet_alexnet import pretrained
    from resnet_alexnet.cli import command
    from resnet_alexnet.errors import InputError

    workdirs, weights = (given[flag].split(",") if given[flag] else [] for flag in ("workdir", "weights"))
    for flag, paths, is_right, other in (
        ("workdir", workdirs, os.path.isdir, "no folder of a run: --weights is for weight files"),
        ("weights", weights, os.path.isfile, "no file: --workdir is for run folders"),
    ):
        for path in paths:
            if not is_right(path):
                raise InputError(f"--{flag}={path} is {other}")
    step = command.parse_step(given["step"])
    if given["step"] and not workdirs:
        raise InputError(f"--step={step} is for run folders: a weight file has no checkpoints")
    named = _name_paths([*workdirs, *weights])
    return {name: pretrained.load_network(path, step=step if path.is_dir() else "last") for name, path in named.items()}


def _name_paths(paths: Sequence[str]) -> dict[str, Path]:
    """The paths by name, scores that this command wrote by their folder's; numbered where two are alike."""
    named: dict[str, Path] = {}
    for path in map(Path, paths):
        is_folders_own = os.path.isdir(path) or path.name == _SCORES_FILE
        stem = (path.resolve() if os.path.isdir(path) else path.resolve().parent).name if is_folders_own else path.stem
        taken = {*named, Path(_SCORES_FILE).stem}
        numbered = (f"{stem}_{number}" for number in range(2, len(paths) + 3))
        named[stem if stem not in taken else next(name for name in numbered if name not in taken)] = path
    return named


def _parse_protocol(given: Mapping[str, str]) -> "TestProtocol":
    from resnet_alexnet.cli import command
    from resnet_alexnet.errors import check_name
    from resnet_alexnet.evaluate.protocol import TestProtocol

    if given["flip"]:
        check_name("--flip", given["flip"], ("true", "false"))
    chosen: dict[str, Any] = {name: given[name] for name in ("views", "average", "scores", "corners") if given[name]}
    scales = given["scales"].split(",") if given["scales"] else []
    return TestProtocol(
        scales=tuple(command.parse_number("scales", scale) for scale in scales),
        flip=given["flip"] == "true" if given["flip"] else None,
        **chosen,
    )


def _check_output(text: str) -> Path | None:
    """The folder to write to, which may be one to be made; None for none."""
    from resnet_alexnet.errors import InputError

    if not text:
        return None
    output = Path(text)
    there = next(path for path in (output, *output.absolute().parents) if os.path.exists(path))
    if not os.path.isdir(there) or not os.access(there, os.W_OK):
        raise InputError(f"--output={output}: {there} is no folder that can be written")
    return output


def _write(
    output: Path, scores: "Scores", parts: "Mapping[str, Scores]", result: dict[str, Any], *, title: str
) -> list[str]:
    """Writes the files, each whole or not at all; returns their names."""
    from resnet_alexnet.data.readers.imagenet_classes import display_name
    from resnet_alexnet.errors import InputError
    from resnet_alexnet.evaluate.report import confusion_matrix, confusions
    from resnet_alexnet.files import write_json
    from resnet_alexnet.plots.confusion import draw_confusion

    files = {_SCORES_FILE: scores}
    if len(parts) > 1:
        files |= {f"{name}.npz": part for name, part in parts.items()}
    try:
        output.mkdir(parents=True, exist_ok=True)
        for name, part in files.items():
            part.save(output / name)
        matrix, words = confusion_matrix(scores), [display_name(name) for name in scores.classes]
        draw_confusion(matrix, confusions(matrix), words, output / _FIGURE_FILE, title=title)
        write_json(output / _REPORT_FILE, result)
    except OSError as error:
        raise InputError(f"--output={output} cannot be made: {error.strerror}") from None
    return [*files, _REPORT_FILE, _FIGURE_FILE]


if __name__ == "__main__":
    from resnet_alexnet.cli.command import exit_with

    exit_with(lambda: main(sys.argv[1:]))
