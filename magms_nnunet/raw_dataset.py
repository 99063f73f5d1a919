"""What dataset.json of a raw dataset says of its files, and whether they are there."""

import os
import re
from pathlib import Path

from magms_nnunet.errors import InputError, one_line, shown
from magms_nnunet.modalities import Modalities

_LISTED = 8


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


def check_complete(cases: dict[str, dict], dataset_json: dict) -> None:
    """See that each training case has a file of every modality; see :func:`incompleteness`.

    Raises:
        InputError: some lack files.
    """
    if problem := incompleteness(cases, dataset_json):
        raise InputError(one_line(problem))


def incompleteness(
    cases: dict[str, dict], dataset_json: dict, *, several_channels_per_file: bool = False
) -> str | None:
    """Which training cases lack files, and what can be done, in one line; None: all are complete.

    nnU-Net takes the file that follows a gap for the one that is missing, and the last one for none.

    Args:
        cases: name -> ``images``, its files in the order of the channels, as nnU-Net finds them.
        dataset_json: content of dataset.json.
        several_channels_per_file: a single file for each case may hold all channels, as nnU-Net's readers allow.
    """
    modalities = Modalities.from_dataset_json(dataset_json)
    present = {name: _channels(case["images"], "dataset" in dataset_json) for name, case in cases.items()}
    if several_channels_per_file and all(len(channels) == 1 for channels in present.values()):
        return None
    lacking = {
        name: " and ".join(modalities.names[m] for m in modalities.complete if m not in channels)
        for name, channels in present.items()
        if not channels.issuperset(modalities.complete)
    }
    if not lacking:
        return None
    listed = "; ".join(f"{name} lacks {what}" for name, what in [*lacking.items()][:_LISTED])
    more = f"; and {len(lacking) - _LISTED} more" if len(lacking) > _LISTED else ""
    in_all = " ".join(modalities.names[m] for m in modalities.complete if all(m in have for have in present.values()))
    fewer = f", or train on what all have: magms_subset_dataset --modalities {in_all}" if in_all else ""
    return (
        f"{len(lacking)} of {len(cases)} training cases are incomplete, and training needs every modality of each: "
        f"{listed}{more}: add the files, move these cases out of imagesTr and labelsTr{fewer}"
    )


def _channels(files: list[str], by_position: bool) -> set[int]:
    """Which channels a case has: by position in a list of dataset.json, else as the files' names say."""
    if by_position:
        return {channel for channel, path in enumerate(files) if Path(path).is_file()}
    return {int(match[1]) for path in files if (match := re.search(r"_([0-9]{4})\.[^_]+$", Path(path).name))}
