"""What dataset.json of a raw dataset says of its files."""

import os
from pathlib import Path

from magms_nnunet.errors import InputError, shown


def file_ending(raw: Path, dataset_json: dict) -> str:
    """Of all images and labels.

    Args:
        raw: folder of the dataset.
        dataset_json: content of the dataset.json in it.

    Raises:
        InputError: it is not given.
    """
    ending = dataset_json.get("file_ending")
    if not isinstance(ending, str) or not ending.startswith("."):
        raise InputError(f"{raw / 'dataset.json'}: file_ending must be something like .nii.gz, got {shown(ending)}")
    return ending


def listed_files(raw: Path, dataset_json: dict) -> dict[str, tuple[list[Path], Path]]:
    """nnU-Net's explicit lists of files: case -> its images in channel order, and its label.

    Arguments as of :func:`file_ending`; ``dataset_json`` has the key ``dataset``.

    Raises:
        InputError: they are no such lists.
    """
    listed = dataset_json["dataset"]
    if not isinstance(listed, dict):
        raise InputError(f"{raw / 'dataset.json'}: dataset must hold an object per case, got {shown(listed)}")
    found = {}
    for name, files in listed.items():
        images, label = (files.get("images"), files.get("label")) if isinstance(files, dict) else (None, None)
        if not (isinstance(images, list) and all(isinstance(file, str) for file in [*images, label])):
            raise InputError(
                f"{raw / 'dataset.json'}: case {shown(name)} must have images, a list of files, and label, a file; got "
                f"{shown(files)}"
            )
        *images, label = (raw / os.path.expandvars(file) for file in [*images, label])  # as nnU-Net does
        found[name] = (images, label)
    return found
