"""The document, the tests and the table are about the same faults."""

import re
from pathlib import Path

import pytest

from tests.faults.conftest import rows_of
from tests.faults.reliability import DOCUMENT, FAULTS

TESTS = Path(__file__).parents[1]
NAME = re.compile(r"`(test_\w+)`")


def names_in(folder: Path) -> set[str]:
    """Of all test functions below a folder."""
    texts = (path.read_text(encoding="utf-8") for path in folder.rglob("test_*.py"))
    return {name for text in texts for name in re.findall(r"^def (test_\w+)", text, re.MULTILINE)}


def test_every_fault_has_a_row():
    assert list(FAULTS) == list(range(1, 29))


@pytest.mark.parametrize("row", range(1, 29))
def test_every_row_names_tests_of_its_own(row):
    (line,) = re.findall(rf"^\| {row} \|.*$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    named = NAME.findall(line)
    assert named
    assert all(row in rows_of(f"tests/faults/test_x.py::{name}") for name in named)
    assert set(named) <= names_in(TESTS / "faults")


def test_every_test_that_is_named_exists():
    assert set(NAME.findall(DOCUMENT.read_text(encoding="utf-8"))) <= names_in(TESTS)
