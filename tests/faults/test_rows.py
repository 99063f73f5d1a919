"""The document, the tests and the table are about the same faults."""

import ast
import re
from pathlib import Path

import pytest

from tests.faults.reliability import DOCUMENT, FAULTS

TESTS = Path(__file__).parents[1]
NAME = re.compile(r"`(test_\w+)`")


def rows_of_tests(folder: Path) -> dict[str, set[int]]:
    """Name of every test function below a folder -> the rows in its marks ``@pytest.mark.fault(4, 7)``."""
    rows: dict[str, set[int]] = {}
    for path in folder.rglob("test_*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                marks = (mark for mark in node.decorator_list if ast.unparse(mark).startswith("pytest.mark.fault("))
                rows.setdefault(node.name, set()).update(row.value for mark in marks for row in mark.args)
    return rows


def test_every_fault_has_a_row():
    assert list(FAULTS) == list(range(1, 29))


@pytest.mark.parametrize("row", range(1, 29))
def test_every_row_names_tests_of_its_own(row):
    (line,) = re.findall(rf"^\| {row} \|.*$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    named = NAME.findall(line)
    assert named
    rows = rows_of_tests(TESTS / "faults")
    assert [name for name in named if row not in rows.get(name, ())] == []


def test_every_test_that_is_named_exists():
    assert set(NAME.findall(DOCUMENT.read_text(encoding="utf-8"))) <= rows_of_tests(TESTS).keys()
