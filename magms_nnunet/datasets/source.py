"""The content of a published dataset, as its converter finds it, and functions that converters share."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from magms_nnunet.errors import InputError, listing
from magms_nnunet.storage.files import folder_error, is_hidden

BRAIN_TUMOUR_CHANNELS = ("FLAIR", "T1", "T1c", "T2")
BRAIN_TUMOUR_REGIONS = {"background": 0, "whole_tumor": [1, 2, 3], "tumor_core": [2, 3], "enhancing_tumor": 3}
"""Regions of the labels 1 edema, 2 necrotic or non-enhancing core, 3 enhancing tumour."""

_CASE_NAME = re.compile(r"\w[\w .+-]*")


def check_case_name(name: str) -> str:
    """Return the name, if it can be part of a file name on all systems and cannot lead out of a folder.

    Raises:
        InputError: the name has other characters.
    """
    if not _CASE_NAME.fullmatch(name):
        raise InputError(f"case {name!r}: rename its files to letters, digits, spaces and _ . + - alone")
    return name


@dataclass(frozen=True)
class SourceCase:
    """The files of a case.

    Attributes:
        name: in the new dataset.
        patient: the split keeps the cases of a patient together.
        images: one 3-D file per channel of the new dataset, None where it is missing; or a single 4-D file.
        label: the reference segmentation.

    Raises:
        InputError: the name is no file name.
    """

    name: str
    patient: str
    images: tuple[Path | None, ...]
    label: Path

    def __post_init__(self):
        check_case_name(self.name)


@dataclass(frozen=True)
class Source:
    """A published dataset.

    Attributes:
        name: the NAME of DatasetXXX_NAME.
        channels: names of the channels of the new dataset.
        labels: as in dataset.json.
        label_values: value in the source -> value in the new dataset.
        cases: with a label and an image; they may lack other images.
        incomplete: case -> text on its missing files.
        proportions: of training, validation and test cases.
        volumes: for 4-D images, the place of each channel along their last axis.
        optional_labels: further labels, each left out if no case has it.
        notes: for the user, on omissions and assumptions.
    """

    name: str
    channels: tuple[str, ...]
    labels: Mapping[str, int | list[int]]
    label_values: Mapping[int, int]
    cases: list[SourceCase]
    incomplete: Mapping[str, str]
    proportions: tuple[int, int, int]
    volumes: tuple[int, ...] = ()
    optional_labels: Mapping[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def files_below(folder: Path, depth: int = 4) -> Iterator[Path]:
    """Yield the files of a folder and of those inside, ``depth`` levels down, through links, except hidden ones.

    Raises:
        InputError: the folder does not exist.
    """
    if not folder.is_dir():
        raise folder_error("source", folder)
    for path in sorted(folder.iterdir()):
        if is_hidden(path):
            continue
        if path.is_file():
            yield path
        elif path.is_dir() and depth > 1:
            yield from files_below(path, depth - 1)


def register(found: dict[str, Path], part: str, path: Path) -> None:
    """Record the file of a part of a case.

    Args:
        found: part -> file; the new file is added.
        part: name of the modality, or of the label.
        path: the file.

    Raises:
        InputError: the part has another file.
    """
    if part in found:
        raise InputError(f"{found[part]} and {path} are the same image of the same case: move one of them away")
    found[part] = path


def lacking(found: Mapping[str, Path], parts: Mapping[str, str]) -> str:
    """Return ``lacks T1c and the label`` for the ``parts`` (part -> its name) that were not found; empty if none."""
    missing = [name for part, name in parts.items() if part not in found]
    return f"lacks {' and '.join(missing)}" if missing else ""


def unexpected(folder: Path, looked_for: str) -> InputError:
    """Return the error for a source folder that holds something else."""
    if not folder.is_dir():
        return folder_error("source", folder)
    names = sorted(path.name for path in folder.iterdir() if not is_hidden(path))
    there = listing(names, 4) or "nothing"
    return InputError(f"{folder}: looked for {looked_for}; found {there}: give the folder that holds them")
