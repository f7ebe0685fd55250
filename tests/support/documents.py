"""The commands that the documents show."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def read(document: str) -> str:
    """The text of a document, by its path in the project."""
    return (ROOT / document).read_text(encoding="utf-8")


def blocks(text: str) -> list[str]:
    """The sh blocks."""
    return re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[str]:
    """The commands in the sh blocks, each on one line, without its comment."""
    lines = "".join(blocks(text)).replace("\\\n", "").splitlines()
    return [line.partition("#")[0].strip() for line in lines]
