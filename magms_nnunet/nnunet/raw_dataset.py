"""The files of a raw dataset, as its dataset.json and its folders list them."""

import os
import re
from collections.abc import Container, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from magms_nnunet.errors import InputError, listing, one_line, shorten

AnyPath = TypeVar("AnyPath", str, Path, str | Path)
Files = dict[int, str | Path]
"""Channel -> path of an image."""


def file_ending(raw: Path, dataset_json: dict) -> str:
    """Return the file ending of all images and labels.

    Args:
        raw: folder of the dataset.
        dataset_json: content of the dataset.json in it.

    Raises:
        InputError: dataset.json gives none.
    """
    ending = dataset_json.get("file_ending")
    if not isinstance(ending, str) or not ending.startswith("."):
        raise InputError(f"{raw / 'dataset.json'}: file_ending must be something like .nii.gz, got {shorten(ending)}")
    return ending


def listed_files(raw: Path, dataset_json: dict) -> dict[str, tuple[list[Path], Path]]:
    """Read nnU-Net's explicit lists of files.

    Args:
        raw: folder of the dataset.
        dataset_json: content of the dataset.json in it, with the key ``dataset``.

    Returns:
        Case -> its images in channel order, and its label.

    Raises:
        InputError: the lists have another form.
    """
    listed = dataset_json["dataset"]
    if not isinstance(listed, dict):
        raise InputError(f"{raw / 'dataset.json'}: dataset must hold an object per case, got {shorten(listed)}")
    found = {}
    for name, files in listed.items():
        images, label = (files.get("images"), files.get("label")) if isinstance(files, dict) else (None, None)
        if not (isinstance(images, list) and all(isinstance(file, str) for file in [*images, label])):
            raise InputError(
                f"{raw / 'dataset.json'}: case {shorten(name)} must have images, a list of files, and label, a file; "
                f"got {shorten(files)}"
            )
        *paths, label_path = (raw / os.path.expandvars(str(file)) for file in [*images, label])  # as nnU-Net does
        found[name] = (paths, label_path)
    return found


def incomplete_files(
    cases: dict[str, dict], dataset_json: dict, *, several_channels_per_file: bool = True
) -> dict[str, Files] | None:
    """Return the files of a dataset in which cases lack modalities; None: all cases are complete.

    The name of a file gives its channel. In nnU-Net's explicit lists the position gives it, and ``""`` stands for a
    missing image; the files of a list that is too short are assigned by their names.

    Args:
        cases: name -> ``images``, its files, as nnU-Net lists them.
        dataset_json: content of dataset.json.
        several_channels_per_file: a single file for each case may hold all channels, as nnU-Net's readers allow.

    Returns:
        Case -> channel -> path, in the order of channels.

    Raises:
        InputError: a listed file does not exist, or its channel is not clear.
    """
    channels = dataset_json.get("channel_names") or dataset_json.get("modality")
    if not isinstance(channels, dict) or sorted(channels) != sorted(map(str, range(len(channels)))):
        return None  # nnU-Net may accept what we cannot read
    count = len(channels)
    listed = "dataset" in dataset_json
    if listed:
        for name, case in cases.items():
            check_listed_exist(name, case["images"])
    files = {name: by_channel(name, case["images"], count, listed) for name, case in cases.items()}
    if all(of_case.keys() >= set(range(count)) for of_case in files.values()):
        return None
    if several_channels_per_file and all(of_case.keys() == {0} for of_case in files.values()):
        return None
    for name, of_case in files.items():
        if foreign := [Path(path).name for channel, path in of_case.items() if channel not in range(count)]:
            raise InputError(one_line(f"{name}: {foreign[0]} is of no channel: dataset.json names 0 to {count - 1}"))
    return files


def check_labels_have_images(raw: Path, dataset_json: dict, cases: Container[str]) -> None:
    """Check that no training case has a label and no image at all.

    Args:
        raw: as for :func:`file_ending`.
        dataset_json: as for :func:`file_ending`.
        cases: names of those with images.

    Raises:
        InputError: names the cases.
    """
    if "dataset" in dataset_json:
        return
    ending = file_ending(raw, dataset_json)
    labels = sorted(path.name.removesuffix(ending) for path in (raw / "labelsTr").glob(f"[!.]*{ending}"))
    if without := [name for name in labels if name not in cases]:
        listed = listing(without)
        raise InputError(one_line(f"cases with a label and no image: {listed}: add images, or remove the labels"))


def check_listed_exist(case: str, images: Iterable[str | Path]) -> None:
    """Check that the files that dataset.json lists exist; nnU-Net turns ``""`` into a folder.

    Raises:
        InputError: a file does not exist; names the first.
    """
    if missing := [path for path in images if not os.path.exists(path)]:
        raise InputError(one_line(f'{case}: {missing[0]} does not exist: correct dataset.json ("" for no image)'))


def by_channel(case: str, images: Sequence[AnyPath], count: int, listed: bool) -> dict[int, AnyPath]:
    """Return the channel of each image of a case.

    Args:
        case: its name.
        images: paths; a folder stands for a missing image.
        count: M.
        listed: whether the paths are in channel order; where they are fewer than M, their names give the channel.

    Raises:
        InputError: a name gives no channel.
    """
    if listed and len(images) >= count:
        return {channel: path for channel, path in enumerate(images) if not os.path.isdir(path)}
    found = {}
    for path in images:
        if os.path.isdir(path):
            continue
        match = re.search(r"_([0-9]{4})\.[^_]+$", Path(path).name)
        if match is None:
            raise InputError(
                one_line(
                    f"{case}: dataset.json lists {len(images)} of {count} images, and {Path(path).name} ends in no "
                    'channel: list "" for an image not acquired'
                )
            )
        found[int(match[1])] = path
    return dict(sorted(found.items()))
