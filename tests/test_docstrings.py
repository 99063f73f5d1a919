"""Public functions state every parameter in the Google style, one per entry of ``Args``, as the generator reads it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(file for folder in ("magms_nnunet", "trainers", "planners") for file in (ROOT / folder).rglob("*.py"))


def public_functions(node: ast.AST, owner: ast.ClassDef | None = None) -> Iterator[tuple[str, list[str], str]]:
    """Yield name, parameters and docstring; of ``__init__`` that of its class."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef) and not child.name.startswith("_"):
            yield from public_functions(child, child)
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            is_constructor = owner is not None and child.name == "__init__"
            if is_constructor or not child.name.startswith("_"):
                parameters = [a.arg for a in (*child.args.posonlyargs, *child.args.args, *child.args.kwonlyargs)]
                described = owner if is_constructor else child
                yield child.name, [name for name in parameters if name not in ("self", "cls")], docstring(described)


def docstring(node) -> str:
    return ast.get_docstring(node) or ""


def entries(text: str) -> list[str]:
    """Names of the entries of ``Args``."""
    section = re.search(r"^Args:\n((?:(?: {4}.*)?\n)*)", f"{text}\n", re.MULTILINE)
    return re.findall(r"^ {4}(\S[^:\n]*):", section[1], re.MULTILINE) if section else []


def missing_parameters(source: str) -> list[str]:
    """Functions with three or more parameters, or with ``Args``, that do not state each of them."""
    found = []
    for name, parameters, text in public_functions(ast.parse(source)):
        stated = entries(text)
        if (len(parameters) >= 3 or stated) and set(parameters) - set(stated):
            found.append(f"{name}: {sorted(set(parameters) - set(stated))}")
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_parameter_has_an_entry(file):
    assert missing_parameters(file.read_text(encoding="utf-8")) == []


def test_two_parameters_in_one_entry_are_noticed():
    source = 'def f(a, b, c):\n    """Do.\n\n    Args:\n        a, b: both.\n        c: this.\n    """\n'
    assert missing_parameters(source) == ["f: ['a', 'b']"]
    assert missing_parameters("def f(a, b, c): pass") == ["f: ['a', 'b', 'c']"]
