"""Tests trained networks: python -m resnet_alexnet.evaluate --workdir=runs/quickstart."""

import os
from argparse import ArgumentTypeError, Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_alexnet.cli import flags
from resnet_alexnet.cli.command import Parser, run
from resnet_alexnet.cli.output import announce
from resnet_alexnet.errors import InputError

if TYPE_CHECKING:
    from resnet_alexnet.evaluate.scores import Scores
    from resnet_alexnet.pretrained.network import TrainedModel

_DESCRIPTION = """Tests trained networks on a split of the data, as the papers do.

Gives top-1 and top-5 error with 95 % intervals. Several networks, of any depth
and size and with the same classes, are tested one by one and as an ensemble:
the mean of their probabilities. With --from, scores that were written before
are reported instead."""
_WITH_FILES = {"output", "files", "against", "compile_cache"}
_SCORES_FILE, _REPORT_FILE, _FIGURE_FILE = "scores.npz", "report.json", "confusion.png"


def create_parser() -> Parser:
    """The flags of the command. Those that are not given are None, so that --from can refuse the others."""
    parser = Parser(
        "python -m resnet_alexnet.evaluate",
        _DESCRIPTION,
        usage="(--workdir=DIR,... --weights=FILE,... | --from=FILE.npz,...) [OPTIONS]",
    )
    group = parser.add_argument_group("the networks")
    group.add_argument("--workdir", metavar="DIR,...", type=flags.paths_of(flags.run_folder), help="run folders")
    group.add_argument("--weights", metavar="FILE,...", type=flags.paths_of(flags.weight_file), help=flags.WEIGHTS)
    flags.add_model(group)
    flags.add_step(group, default=None)
    flags.add_reading(parser)
    flags.add_config(parser, "the recipe that names the data; by default that of the first run folder")
    group = parser.add_argument_group("the test")
    group.add_argument(
        "--split", metavar="NAME", help="test, validation or train; by default test, or validation if there is no test"
    )
    flags.add_views(group, default=None)
    flags.add_choice(
        group, "--average", ("probabilities", "logits"), text="what is averaged over views and scales: probabilities"
    )
    flags.add_choice(group, "--scores", ("softmax", "sigmoid"), text="by default each network's own")
    flags.add_switch(
        group, "--flip", default=None, text="test the mirror image of each view too; by default as the views say"
    )
    flags.add_choice(
        group,
        "--corners",
        ("square", "photograph"),
        text="of ten crops: those of the central square, or of the photograph, as torchvision's",
    )
    group.add_argument(
        "--batch_size",
        metavar="N",
        type=flags.whole_number(),
        help="images per step, over all devices; by default eval.batch_size of the config",
    )
    flags.add_choice(group, "--precision", ("float32", "bfloat16"), text="by default that of the config")
    flags.add_compile_cache(group)
    group = parser.add_argument_group("files")
    group.add_argument(
        "--output",
        metavar="DIR",
        type=_output_folder,
        help="write scores.npz (of every image), report.json (by class too), confusion.png, and of several networks "
        "each one's NAME.npz to this folder",
    )
    group.add_argument(
        "--from",
        metavar="FILE.npz,...",
        dest="files",
        type=flags.paths_of(flags.path),
        help="such files of scores instead of networks and data; their mean is reported",
    )
    group.add_argument(
        "--against",
        metavar="FILE.npz",
        type=flags.path,
        help="a file of scores of the same split to compare with, by McNemar's test",
    )
    return parser


def main(arguments: Sequence[str]) -> None:
    """The command.

    Raises:
        InputError: something is wrong with the flags, the config, the data, a network or a file of scores.
    """
    options = create_parser().parse(arguments)
    announce()
    from resnet_alexnet.cli.progress import print_summary
    from resnet_alexnet.evaluate.report import compare, report
    from resnet_alexnet.evaluate.scores import load_scores, mean_scores
    from resnet_alexnet.evaluate.summary import summary_rows

    against = load_scores(options.against) if options.against else None
    if options.files:
        given = {name for name, value in vars(options).items() if value not in (None, (), [])} - _WITH_FILES
        others = sorted({"--config" if name == "overrides" else f"--{name}" for name in given})
        if others:
            raise InputError(f"{', '.join(others)} with --from: the scores in the files are as they are")
        parts = {name: load_scores(path) for name, path in _name_paths(options.files).items()}
    else:
        parts = _score(options, against)
    scores = mean_scores(list(parts.values()))
    result = report(scores)
    if len(parts) > 1:
        result["parts"] = {name: report(part) for name, part in parts.items()}
    if against is not None:
        result["against"] = compare(scores, against)
    title = next(iter(parts)) if len(parts) == 1 else f"mean of {len(scores.made_by)} networks"
    rows = summary_rows(result)
    if options.output is not None:
        written = _write(options.output, scores, parts, result, title=f"{title}: {result['top1_error']:.2f} % wrong")
        rows.append(("written", f"{options.output} ({', '.join(written)})"))
    print_summary(title, rows)


def _score(options: Namespace, against: "Scores | None") -> "dict[str, Scores]":
    """The scores of every network on the split that the flags ask for.

    Raises:
        InputError: a flag, a network or the data is not as it should be.
    """
    from resnet_alexnet import parallel
    from resnet_alexnet.cli import compiled, memory
    from resnet_alexnet.cli.progress import progress_bar
    from resnet_alexnet.evaluate.protocol import TestProtocol
    from resnet_alexnet.evaluate.scores import check_classes
    from resnet_alexnet.evaluate.split import score_split
    from resnet_alexnet.train import inputs
    from resnet_alexnet.workdir.config import CONFIG_FILE, load_overridden

    names = ("views", "scales", "average", "scores", "flip", "corners")
    protocol = TestProtocol(**{name: value for name in names if (value := getattr(options, name)) is not None})
    if not options.workdir and not options.weights:
        raise InputError("no network: give --workdir=DIR, --weights=FILE, or --from=FILE.npz for scores that are there")
    if not options.config and not options.workdir:
        raise InputError("--config is missing: the recipe that names the data, such as --config=resnet50")
    compiled.keep(options.compile_cache)
    memory.keep_freed()
    networks = _load_networks(options)
    config = load_overridden(options.config or str(options.workdir[0] / CONFIG_FILE), options.overrides)
    precision = options.precision or config.precision
    split, source = inputs.read_split(
        config.dataset, options.split or "", image_size=config.preprocess.image_size, progress=progress_bar
    )
    if against is not None:  # whether it is the same split to the last image will be seen when all are read
        name, network = next(iter(networks.items()))
        check_classes(against.classes, network.spec.preprocessing.classes, what=against.name, than=name)
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
        batch_size=options.batch_size or config.eval.batch_size,
        precision=precision,
        progress=progress_bar,
    )


def _load_networks(options: Namespace) -> "dict[str, TrainedModel]":
    """The networks by name: run folders, then weight files."""
    from resnet_alexnet import pretrained
    from resnet_alexnet.cli.progress import progress_bar

    if options.step is not None and not options.workdir:
        raise InputError(f"--step={options.step} is for run folders: a weight file has no checkpoints")
    step = options.step or "last"
    reading = flags.reading(options)
    named = _name_paths([*(options.workdir or ()), *(options.weights or ())])
    return {
        name: pretrained.load_network(path, step=step, progress=progress_bar)
        if path.is_dir()
        else pretrained.load_network(path, model=options.model, progress=progress_bar, **reading)
        for name, path in named.items()
    }


def _name_paths(paths: Sequence[Path]) -> dict[str, Path]:
    """The paths by name, scores that this command wrote by their folder's; numbered where two are alike."""
    named: dict[str, Path] = {}
    for path in paths:
        is_folders_own = os.path.isdir(path) or path.name == _SCORES_FILE
        stem = (path.resolve() if os.path.isdir(path) else path.resolve().parent).name if is_folders_own else path.stem
        taken = {*named, Path(_SCORES_FILE).stem}
        numbered = (f"{stem}_{number}" for number in range(2, len(paths) + 3))
        named[stem if stem not in taken else next(name for name in numbered if name not in taken)] = path
    return named


def _output_folder(text: str) -> Path:
    """A folder to write to, which need not exist."""
    output = flags.path(text)
    there = next(path for path in (output, *output.absolute().parents) if os.path.exists(path))
    if not os.path.isdir(there) or not os.access(there, os.W_OK):
        raise ArgumentTypeError(f"{output}: {there} is not a folder that can be written to")
    return output


def _write(
    output: Path, scores: "Scores", parts: "Mapping[str, Scores]", result: dict[str, Any], *, title: str
) -> list[str]:
    """Writes the files, each whole or not at all; returns their names."""
    from resnet_alexnet.data.readers.imagenet_classes import display_name
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
    run(main)
