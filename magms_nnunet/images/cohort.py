"""The cases of a table of patients: files of any name."""

import csv
import os
from pathlib import Path

from magms_nnunet.errors import InputError, shorten
from magms_nnunet.images.cases import Case
from magms_nnunet.images.named_files import is_read_as_it_is
from magms_nnunet.modalities import Modalities
from magms_nnunet.storage.files import reserved_name


def read_cohort(table: Path, modalities: Modalities, file_ending: str) -> list[Case]:
    """Return the cases of a CSV table: the column ``case``, and a column per modality.

    An empty cell is a scan that was not acquired.

    Args:
        table: the CSV file; its cells name files relative to it.
        modalities: of the model.
        file_ending: of the files that the model reads.

    Raises:
        InputError: the table cannot be read, has unknown columns, has a case twice or without any file, or has a path
            that leads out of its folder.
    """
    rows = _rows(table)
    header = [cell.strip() for cell in rows[0][1]]
    if "case" not in header:
        raise InputError(f"{table}: there is no column case in {shorten(','.join(header))}: separate columns by commas")
    columns = [name for name in header if name != "case"]
    if header.count("case") > 1 or not columns:
        raise InputError(f"{table}: give one column case, and one per modality ({modalities.listing()})")
    try:
        modalities.parse(columns)  # says which is unknown or given twice
    except InputError as error:
        raise InputError(f"{table}: {error}") from error
    channels = {name: modalities.parse([name])[0] for name in columns}
    found: dict[str, Case] = {}
    for line, row in rows[1:]:
        if len(row) != len(header):
            raise InputError(f"{table}, line {line}: {len(row)} cells under {len(header)} columns")
        cells = dict(zip(header, (cell.strip() for cell in row), strict=True))
        name = cells.pop("case")
        if not name or name in (".", "..") or name != Path(name.replace("\\", "/")).name or reserved_name(name):
            raise InputError(f"{table}, line {line}: {shorten(name)} cannot be the name of a case: rename it")
        if name in found:
            raise InputError(f"{table}, line {line}: {name} is there twice: give each case one line")
        files = {channels[column]: _inside(table, line, cell) for column, cell in cells.items() if cell}
        if not files:
            raise InputError(f"{table}, line {line}: {name} has no image: remove the line, or name a file")
        found[name] = case_of_files(name, files, file_ending)
    if not found:
        raise InputError(f"{table} has no case: give a line per patient")
    return [*found.values()]


def _rows(table: Path) -> list[tuple[int, list[str]]]:
    """Return the number and the cells of each line that is not empty."""
    try:
        with open(table, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except OSError as error:
        raise InputError(f"--cohort {table} cannot be read ({error.strerror}): give a CSV file") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"--cohort {table} is no CSV in UTF-8 ({error}): save it again") from error
    if not rows:
        raise InputError(f"--cohort {table} is empty: give a line per patient")
    return rows


def _inside(table: Path, line: int, cell: str) -> Path:
    """Return the file that a cell names, which lies in the table's folder or below it."""
    if Path(cell).is_absolute():
        raise InputError(
            f"{table}, line {line}: {shorten(cell)} is an absolute path: name the file relative to the table"
        )
    path = Path(os.path.normpath(table.parent / cell))
    if not path.is_relative_to(os.path.normpath(table.parent)):
        raise InputError(
            f"{table}, line {line}: {shorten(cell)} leads out of the table's folder: move the file into it"
        )
    return path


def case_of_files(name: str, files: dict[int, Path], file_ending: str) -> Case:
    """Make a case; files that the model does not read are kept apart, to be reported.

    Args:
        name: of the case.
        files: channel -> path.
        file_ending: of the files that the model reads.
    """
    read = {channel: path for channel, path in files.items() if is_read_as_it_is(path, file_ending)}
    unread = {channel: path for channel, path in files.items() if channel not in read}
    return Case(name, dict(sorted(read.items())), unread)
