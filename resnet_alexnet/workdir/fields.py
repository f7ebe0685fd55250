"""The fields of a config as configs/default.py explains them, read from its text: nothing is imported."""

import ast
import functools
import io
import textwrap
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass

from resnet_alexnet.workdir.recipes import FOLDER


@dataclass(frozen=True)
class Field:
    """A field.

    Attributes:
        name: such as "optim.learning_rate".
        default: as it is written; "unset" with the type for one that has no default.
        meaning: the comment: what it is, its unit and source.
    """

    name: str
    default: str
    meaning: str


@dataclass(frozen=True)
class Group:
    """A group of fields, such as optim; or, with an empty name, the fields that are in none."""

    name: str
    meaning: str
    fields: tuple[Field, ...]


@functools.cache
def read_groups() -> tuple[Group, ...]:
    """The groups of configs/default.py, in its order; first the fields that are in none."""
    text = (FOLDER / "default.py").read_text(encoding="utf-8")
    functions = {node.name: node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}
    comments = dict(_comments(text))
    single, groups = [], []
    for node in functions["get_config"].body:
        if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Attribute):
            continue
        name, value = node.targets[0].attr, node.value
        function = functions.get(ast.unparse(value.func)) if isinstance(value, ast.Call) else None
        if function is None:
            single.append(_field(name, node.lineno, value, comments))
            continue
        table = next(part for part in ast.walk(function) if isinstance(part, ast.Dict))
        entries = [(key, value) for key, value in zip(table.keys, table.values, strict=True) if key is not None]
        fields = (_field(f"{name}.{ast.literal_eval(key)}", key.lineno, value, comments) for key, value in entries)
        groups.append(Group(name, ast.get_docstring(function) or "", tuple(fields)))
    return Group("", "Fields of the whole run.", tuple(single)), *groups


def field_names() -> list[str]:
    """The names of all fields."""
    return [field.name for group in read_groups() for field in group.fields]


def explain(name: str) -> Iterator[str]:
    """The fields of a group, or of "all", with default and meaning: lines of at most 80 characters."""
    for group in read_groups():
        if name in ("all", group.name):
            yield from ("", *textwrap.wrap(f"{group.name or 'run'}: {group.meaning}", 80), "")
            for field in group.fields:
                yield f"  {field.name} = {field.default}"
                yield from textwrap.wrap(field.meaning, 80, initial_indent=" " * 6, subsequent_indent=" " * 6)


def _field(name: str, line: int, value: ast.expr, comments: dict[int, tuple[str, bool]]) -> Field:
    """The field on `line`, with the comment on that line, or else the lines of comment right before it."""
    meaning, _ = comments.get(line, ("", False))
    above = line - 1
    while not comments.get(line) and comments.get(above, ("", False))[1]:
        meaning, above = f"{comments[above][0]} {meaning}".strip(), above - 1
    is_unset = isinstance(value, ast.Call)  # placeholder(int), of ml_collections
    return Field(name, f"unset ({ast.unparse(value.args[0])})" if is_unset else ast.unparse(value), meaning)


def _comments(text: str) -> Iterator[tuple[int, tuple[str, bool]]]:
    """The comment of each line that has one, and whether the line holds nothing else."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], (token.string.removeprefix("#").strip(), token.line.strip().startswith("#"))
