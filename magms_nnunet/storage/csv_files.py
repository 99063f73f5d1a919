"""CSV files in which a spreadsheet finds text and numbers, and no formula, whatever cases and labels are called."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from magms_nnunet.storage.files import write_then_rename

_MARK = "'"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write_csv(path: str | Path, columns: Sequence[str], rows: Iterable[Iterable]) -> None:
    """Write a table; texts that a spreadsheet would take for a formula get an apostrophe before them."""

    def write(temporary: str) -> None:
        with open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows([as_text(value) for value in row] for row in rows)

    write_then_rename(path, write)


def as_text(value):
    """What stands in a cell for a value; numbers are themselves."""
    marked = isinstance(value, str) and value.startswith((_MARK, *_FORMULA))
    return f"{_MARK}{value}" if marked else value


def from_text(cell: str) -> str:
    """The value that :func:`as_text` has made a cell of."""
    return cell.removeprefix(_MARK)
