"""The house's rules about imports, sizes and names. The tables of permitted imports are read from CONTRIBUTING.md."""

import ast
import graphlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "resnet_alexnet"
FILES = sorted([*(ROOT / PACKAGE).rglob("*.py"), *(ROOT / "configs").rglob("*.py")])
TEST_FILES = sorted((ROOT / "tests").rglob("*.py"))
ANYTHING = "anything"
HOME_PATH = re.compile(r"/(?:home|root|Users|work)/\w|[A-Z]:\\Users")


def read_table(header: str) -> dict[str, str]:
    """The table of CONTRIBUTING.md whose header starts with `header`: an entry for each name of its left column."""
    lines = iter((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").splitlines())
    next(line for line in lines if line.startswith(f"| {header} |"))
    next(lines)
    table = {}
    for line in lines:
        if not line.startswith("|"):
            return table
        _, left, right, _ = line.split("|")
        table |= dict.fromkeys(names(left), right.strip())
    return table


def names(cell: str) -> list[str]:
    return re.findall(r"`([\w.]+)`", cell)


ROOMS = read_table("room")
LIBRARIES = read_table("library")


def module_name(file: Path) -> str:
    """models/resnet.py as "models.resnet", configs/default.py as "configs.default"."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part not in (PACKAGE, "__init__")) or PACKAGE


def imports(tree: ast.AST) -> set[str]:
    """Everything imported, at any depth, by its full name; and each use of a jax submodule as an attribute."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: write imports in full"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Attribute) and ast.unparse(node).startswith("jax."):
            found.add(ast.unparse(node))
    return found


def is_in(name: str, room: str) -> bool:
    return name == room or name.startswith(f"{room}.")


def room_of(name: str) -> str:
    """The room that a module, or something in it, belongs to: the longest name of the table that fits."""
    return max((room for room in ROOMS if is_in(name, room)), key=len, default="")


def parse(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def tracked_files() -> list[Path]:
    git = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(git, capture_output=True, text=True, check=True).stdout.splitlines()
    return [ROOT / name for name in listed if (ROOT / name).is_file()]


def test_every_module_has_a_room_and_every_room_a_module():
    modules = {module_name(file) for file in FILES}
    assert {name for name in modules if not room_of(name)} == set()
    assert {room for room in ROOMS if not any(is_in(name, room) for name in modules)} == set()


def test_the_table_permits_no_cycle():
    allowed = {room: names(cell) for room, cell in ROOMS.items() if not cell.startswith(ANYTHING)}
    assert {name for row in allowed.values() for name in row} <= ROOMS.keys()
    graphlib.TopologicalSorter(allowed).prepare()


@pytest.mark.parametrize("file", FILES, ids=module_name)
def test_imports_inside_the_package_are_those_of_the_table(file):
    room = room_of(module_name(file))
    commands = {name for name, cell in ROOMS.items() if cell.startswith(ANYTHING)}
    inside = (name.removeprefix(f"{PACKAGE}.") for name in imports(parse(file)) if is_in(name, PACKAGE))
    others = {room_of(name) for name in inside} - {room, "errors", "files", "paths"}
    assert others & commands == set(), "nobody imports a command"
    if room not in commands:
        assert others <= set(names(ROOMS.get(room, "")))


@pytest.mark.parametrize("file", FILES, ids=module_name)
def test_libraries_are_imported_only_in_their_rooms(file):
    used = imports(parse(file))
    for library, cell in LIBRARIES.items():
        if any(is_in(name, library) for name in used):
            assert any(is_in(module_name(file), room) for room in names(cell)), f"{library} is only for {cell}"


@pytest.mark.parametrize("file", FILES, ids=module_name)
def test_files_and_functions_are_short(file):
    lines = len(file.read_text(encoding="utf-8").splitlines())
    assert lines <= 350
    for node in ast.walk(parse(file)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < 70, node.name


def test_no_module_is_a_place_for_odds_and_ends():
    parts = {part for file in [*FILES, *TEST_FILES] for part in file.relative_to(ROOT).with_suffix("").parts}
    assert parts & {"util", "utils", "helper", "helpers", "common", "misc"} == set()


@pytest.mark.parametrize("file", TEST_FILES, ids=lambda file: str(file.relative_to(ROOT / "tests")))
def test_what_tests_share_lives_in_support(file):
    shared = {name for name in imports(parse(file)) if is_in(name, "tests") and not is_in(name, "tests.support")}
    assert not shared, "import it from tests/support"


def test_no_file_names_a_place_on_somebodys_machine():
    for file in tracked_files():
        if file.suffix not in (".npz", ".png"):
            assert not HOME_PATH.search(file.read_text(encoding="utf-8")), file


def run_python(code: str, cwd: Path = ROOT) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run([sys.executable, "-c", code], cwd=cwd, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_importing_everything_starts_no_backend_leaves_the_environment_alone_and_writes_nothing(tmp_path):
    run_python(
        f"""
import importlib, os, pkgutil, sys, jax, {PACKAGE}  # jax itself sets two variables
before = dict(os.environ)
for module in pkgutil.walk_packages({PACKAGE}.__path__, "{PACKAGE}."):
    importlib.import_module(module.name)
from jax._src import xla_bridge
assert not xla_bridge.backends_are_initialized()
assert dict(os.environ) == before, set(os.environ.items()) ^ set(before.items())
assert "tensorflow" not in sys.modules
assert os.listdir() == []
""",
        cwd=tmp_path,
    )


def test_importing_the_data_and_the_recipes_does_not_import_jax():
    run_python(f"""
import importlib, pkgutil, sys, configs, {PACKAGE}.data
for package in ({PACKAGE}.data, configs):
    for module in pkgutil.walk_packages(package.__path__, f"{{package.__name__}}."):
        importlib.import_module(module.name)
assert "jax" not in sys.modules
""")
