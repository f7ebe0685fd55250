"""One dialect of docstrings (Google's) and one form of citation, in the package, the recipes and the documents."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(path for folder in ("resnet_alexnet", "configs", "benchmarks") for path in (ROOT / folder).rglob("*.py"))
SECTIONS = ("Args", "Attributes", "Returns", "Yields", "Raises", "Source", "Departure")
LISTS = ("Args", "Attributes", "Raises")  # a section that lists names, each in a paragraph of its own
# The two papers are cited as [K12] and [H15], then the place: [H15] section 3.4, [K12] table 2.
OTHER_FORMS = re.compile(
    r"\[(?:K12|H15) |\[(?:K12|H15)\][,:]? (?:§|sec\.|Section|Table|Figure)"
    r"|(?:Krizhevsky|He)(?: et al\.)?,? (?:2012|2015)\b"
)
NAMES_OF_THE_PAPERS = re.compile(
    r"\[(?:K12|H15)\] is |^- \[(?:K12|H15)\] |Krizhevsky, Sutskever|He, Zhang, Ren"
    r"|AlexNet \(Krizhevsky 2012\) and ResNet"
)


def nodes(file: Path):
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield node, text


def described(node: ast.AST) -> set[str]:
    """The names that a docstring may list: parameters of a function, fields of a class."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        arguments = node.args
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        return {argument.arg for argument in every} - {"self", "cls"}
    if isinstance(node, ast.ClassDef):
        return {
            part.target.id
            for part in node.body
            if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name)
        }
    return set()


def problems(node: ast.AST, text: str) -> list[str]:
    found, section, names = [], "", described(node)
    for line in text.splitlines():
        head = re.fullmatch(r"(\w+):", line)
        if head and head[1] in SECTIONS:
            section = head[1]
            continue
        if line and not line.startswith(" "):
            if re.match(r"(Arguments|Parameters|Return|Yield|Raise|Note|Example)s?:", line):
                found.append(f"unknown section {line!r}")
            if re.match(r"(Source|Departure):", line):
                section = line.partition(":")[0]
                continue
            section = ""
            entry = re.match(r"(\w+)(?:, \w+)*: ", line)
            if entry and entry[1] in names:
                found.append(f"{line!r} stands outside of Args or Attributes")
        elif line and section in LISTS and not re.match(r"(    |        +)\S", line):
            found.append(f"{line!r}: entries are indented by 4 spaces, what continues them by 8")
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_docstrings_are_in_googles_style(file):
    found = [
        f"{getattr(node, 'name', 'module')}: {each}" for node, text in nodes(file) for each in problems(node, text)
    ]
    assert not found


@pytest.mark.parametrize(
    "file",
    [*FILES, *ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")],
    ids=lambda file: str(file.relative_to(ROOT)),
)
def test_the_papers_are_cited_in_one_form(file):
    lines = file.read_text(encoding="utf-8").splitlines()
    found = [line for line in lines if OTHER_FORMS.search(line) and not NAMES_OF_THE_PAPERS.search(line)]
    assert not found
