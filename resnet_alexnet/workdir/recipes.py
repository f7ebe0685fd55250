"""Our own recipes: where they lie, what they are called, and how recipes anywhere import them as `configs`."""

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from resnet_alexnet.errors import InputError, nearest

_INSTALLED = Path(__file__).parents[1] / "configs"
FOLDER = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[2] / "configs"  # in a checkout it lies on top
_PARTS = ("imagenet",)  # shared by recipes, without a config of their own
_SHARED = ("default", *_PARTS)


def recipe_names() -> list[str]:
    """The names of our recipes."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in (*_SHARED, "__init__"))


def find_recipe(name: str) -> Path:
    """The file that --config names, less its argument.

    Args:
        name: one of ours, such as "quickstart"; or a path, which may lack its ".py". "configs/quickstart.py" is ours
            too if there is no such file.

    Raises:
        InputError: there is none; the message names the nearest.
    """
    if re.fullmatch(r"\w+", name):
        file = FOLDER / f"{name}.py"
        if not os.path.isfile(file) or name in _PARTS:
            known = recipe_names()
            raise InputError(
                f"--config={name}: no such recipe{nearest(name, known)} (allowed: {', '.join(known)}, or a path)"
            )
        return file
    file = Path(os.path.expanduser(name))
    names = [file.name, f"{file.name}.py"] if file.suffix == "" else [file.name]
    folders = [file.parent, FOLDER] if str(file.parent) == "configs" else [file.parent]
    for found in (folder / name for folder in folders for name in names):
        if os.path.isfile(found):
            return found
    known = sorted(str(other) for other in file.parent.glob("*.py")) if os.path.isdir(file.parent) else []
    raise InputError(
        f"--config={name}: no such file{nearest(str(file), known)}{' (there are: ' * bool(known)}"
        f"{', '.join(known)}{')' * bool(known)}"
    )


@contextlib.contextmanager
def importable_as_configs(folder: Path) -> Iterator[None]:
    """While it lasts, `from configs import default` finds our recipes, and before them `folder`'s if it is a `configs`.

    Nothing is left on sys.path or in sys.modules, so the next recipe finds its own neighbors.
    """
    before = _take_configs()
    module = ModuleType("configs")
    module.__path__ = [*([str(folder)] if folder.name == "configs" else []), str(FOLDER)]
    sys.modules["configs"] = module
    try:
        yield
    finally:
        _take_configs()
        sys.modules.update(before)


def _take_configs() -> dict[str, ModuleType]:
    """Takes the module `configs` and those below it out of sys.modules."""
    return {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "configs"}
