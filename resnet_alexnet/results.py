"""Writes the table of results in README.md from the records of finished runs, so that no number in it is typed.

python -m resnet_alexnet.results --runs='docs/results/*' --readme=README.md

A record is a folder with a run folder's config.json, environment.json and metrics.jsonl.
"""

import glob
import sys
from collections.abc import Sequence
from pathlib import Path

from resnet_alexnet.cli import command
from resnet_alexnet.errors import InputError
from resnet_alexnet.files import atomic_write
from resnet_alexnet.workdir.results import update


def main(arguments: Sequence[str]) -> None:
    """The command: writes the table of the records that --runs matches into the file --readme."""
    given = command.parse_flags(["results", *arguments], {"runs": "pattern of record folders", "readme": "file"})
    folders = [Path(folder) for folder in sorted(glob.glob(given["runs"])) if Path(folder).is_dir()]
    if not folders:
        raise InputError(f"--runs={given['runs']} matches no folder, such as --runs='docs/results/*'")
    readme = Path(given["readme"])
    if not readme.is_file():
        raise InputError(f"--readme={given['readme']} is no file")
    with atomic_write(readme) as temporary:
        temporary.write_text(update(readme, folders), encoding="utf-8")


if __name__ == "__main__":
    command.exit_with(lambda: main(sys.argv[1:]))
