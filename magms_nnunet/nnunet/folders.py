"""The folders of nnU-Net's datasets, and the look-up of a dataset by its name or id."""

import os
import re
from pathlib import Path

from magms_nnunet.errors import InputError

FOLDERS = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
_NAME = re.compile(r"Dataset(?P<id>[0-9]{3})_[A-Za-z0-9][A-Za-z0-9_.+-]*")


def nnunet_folder(variable: str, otherwise: str = "") -> Path:
    """Return the folder that ``nnUNet_raw``, ``nnUNet_preprocessed`` or ``nnUNet_results`` names.

    Args:
        variable: its name.
        otherwise: another remedy, for the message.

    Raises:
        InputError: the variable is not set.
    """
    folder = os.environ.get(variable)
    if not folder:
        raise InputError(f"{variable} is not set: export {variable}=FOLDER, as for nnU-Net's own commands{otherwise}")
    return Path(folder)


def find_raw_dataset(dataset: str) -> Path:
    """Return the folder in nnUNet_raw of a dataset that is given by its name or id.

    Raises:
        InputError: no dataset has that name or id, or several have the id.
    """
    raw = nnunet_folder("nnUNet_raw")
    if dataset.isdecimal():
        candidates = sorted(path for path in raw.glob(f"Dataset{int(dataset):03d}_*") if path.is_dir())
    else:
        is_name = dataset.startswith("Dataset") and Path(dataset).name == dataset
        candidates = [raw / dataset] if is_name and (raw / dataset).is_dir() else []
    if len(candidates) > 1:
        raise InputError(f"id {dataset} belongs to {_names(candidates)}: give one of the names, or rename the others")
    if not candidates:
        there = _names(sorted(raw.glob("Dataset*"))) or "nothing"
        raise InputError(f"no dataset {dataset!r} in nnUNet_raw ({raw}); there is {there}")
    return candidates[0]


def new_dataset_name(dataset: str, name: str) -> str:
    """Return the full name of a new dataset.

    Args:
        dataset: its id, or its full name ``DatasetXXX_NAME``.
        name: that an id is completed with.

    Raises:
        InputError: ``dataset`` is neither, or its id belongs to another dataset: nnU-Net could not tell them apart.
    """
    if dataset.isdecimal() and 1 <= int(dataset) <= 999:
        dataset = f"Dataset{int(dataset):03d}_{name}"
    match = _NAME.fullmatch(dataset)
    if match is None or match["id"] == "000":
        raise InputError(
            f"{dataset!r} is no id from 1 to 999 and no name like Dataset501_Name (letters, digits, _ . + -)"
        )
    for other, variable in datasets_with_id(int(match["id"])).items():
        if other != dataset:
            raise InputError(f"id {int(match['id'])} belongs to {other} in {variable}: choose another id")
    return dataset


def datasets_with_id(number: int) -> dict[str, str]:
    """Return the names of the datasets with this id -> the first of nnU-Net's variables whose folder holds it."""
    found: dict[str, str] = {}
    for variable in FOLDERS:
        if folder := os.environ.get(variable):
            for path in sorted(Path(folder).glob(f"Dataset{number:03d}*")):  # as nnU-Net's own look-up
                if path.is_dir():
                    found.setdefault(path.name, variable)
    return found


def _names(folders: list[Path]) -> str:
    return ", ".join(folder.name for folder in folders)
