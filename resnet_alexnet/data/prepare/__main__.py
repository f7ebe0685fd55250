"""Prepares a data set once: python -m resnet_alexnet.data.prepare --images=photographs --output=data."""

from collections.abc import Sequence

from resnet_alexnet.cli import flags
from resnet_alexnet.cli.command import Parser, run

_DESCRIPTION = """Prepares a data set once, so that training reads it fast.

Checks every photograph and packs them into array_record files that TFDS and
Grain read, DIR/NAME/VERSION, with their statistics and a manifest. A
preparation that was stopped continues when it is started again. Photographs are
read in random order: put the archives on a solid-state disk."""


def create_parser() -> Parser:
    """The flags of the command. Those that are not given are None if that is not the same as their default."""
    parser = Parser(
        "python -m resnet_alexnet.data.prepare",
        _DESCRIPTION,
        usage="(--train=FILE ... | --images=FOLDER) --output=DIR [OPTIONS]",
    )
    _add_input(parser)
    _add_output(parser)
    return parser


def _add_input(parser: Parser) -> None:
    group = parser.add_argument_group("input: ImageNet's official archives", "They are not unpacked.")
    for flag, text in (
        ("--train", "ILSVRC2012_img_train.tar"),
        ("--val", "ILSVRC2012_img_val.tar, with the devkit"),
        ("--devkit", "ILSVRC2012_devkit_t12.tar.gz"),
    ):
        group.add_argument(flag, metavar="FILE", type=flags.path_text, default="", help=text)
    flags.add_switch(
        group, "--allow_incomplete", text="a part of ImageNet: do not check the numbers of classes and photographs"
    )
    group = parser.add_argument_group("input: any photographs")
    group.add_argument(
        "--images",
        metavar="FOLDER",
        type=flags.path_text,
        default="",
        help="holds train/CLASS/PHOTO, val/CLASS/PHOTO, test/CLASS/PHOTO, or some of them; or see docs/data.md",
    )


def _add_output(parser: Parser) -> None:
    group = parser.add_argument_group("output")
    group.add_argument(
        "--output",
        metavar="DIR",
        type=flags.path,
        required=True,
        help="the folder to put the set in, such as --output=data; it may hold several sets",
    )
    group.add_argument(
        "--name",
        metavar="NAME",
        default="",
        help="of the set; by default imagenet2012 (version 5.1.0, as in TFDS), or the name of the folder",
    )
    group.add_argument(
        "--resize",
        metavar="PIXELS",
        type=flags.whole_number(0),
        help="reduce a longer shorter side to this, such as 256 for AlexNet, 480 for ResNet; by default 0: do not",
    )
    group.add_argument(
        "--quality",
        metavar="1...100",
        type=flags.whole_number(1, 100),
        help="of the JPEGs that are written, 4:2:0; by default 95. An RGB JPEG that needs no resizing stays as it is, "
        "everything else becomes a JPEG",
    )
    flags.add_choice(
        group,
        "--encoding",
        ("jpeg", "raw"),
        default="jpeg",
        text="raw: the central 256 x 256 of shorter side 256, not compressed: fastest, 197 kB a photograph",
    )
    flags.add_switch(
        group,
        "--skip_unreadable",
        text="leave out what cannot be read and list it in the manifest, instead of stopping",
    )
    flags.add_max_pixels(group)
    group.add_argument(
        "--workers", metavar="N", type=flags.whole_number(), help="processes; by default one for each core"
    )
    group.add_argument(
        "--photos_per_shard",
        metavar="N",
        type=flags.whole_number(1, 1_000_000),
        default=1252,
        help="1252 makes 1,024 files of ImageNet's training set, as in TFDS",
    )


def main(arguments: Sequence[str]) -> None:
    """The command.

    Raises:
        InputError: something is wrong with the flags or the photographs, or there is no room.
        InterruptedRunError: Ctrl-C or SIGTERM.
    """
    given = create_parser().parse(arguments)
    from resnet_alexnet.cli.interrupt import stoppable
    from resnet_alexnet.data.prepare.build import prepare
    from resnet_alexnet.data.prepare.options import check_options

    with stoppable(lambda: "stopped"):
        prepare(check_options(given))


if __name__ == "__main__":
    run(main)
