"""CSV files without formulas: a spreadsheet finds text and numbers, whatever the names of cases and labels."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from magms_nnunet.storage.files import write_then_rename

_MARK = "'"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write_csv(path: str | Path, columns: Sequence[str], rows: Iterable[Iterable]) -> None:
    """Write a table; a text that a spreadsheet would take for a formula gets an apostrophe in front.

    Args:
        path: of the file.
        columns: names.
        rows: of cells, in the order of the columns.
    """

    def write(temporary: str) -> None:
        with open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows([as_text(value) for value in row] for row in rows)

    write_then_rename(path, write)


def as_text(value):
    """Return the cell for a value; numbers are unchanged."""
    marked = isinstance(value, str) and value.startswith((_MARK, *_FORMULA))
    return f"{_MARK}{value}" if marked else value


def from_text(cell: str) -> str:
    """Return the value of a cell that :func:`as_text` has made."""
    return cell.removeprefix(_MARK)
