"""``magms_subset_dataset``: a raw dataset with some of another's channels, for models trained on those alone."""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from magms_nnunet.datasets.new_dataset import SPLITS_FILE, new_dataset
from magms_nnunet.datasets.source import check_case_name
from magms_nnunet.errors import InputError
from magms_nnunet.images.cases import Case, find_cases
from magms_nnunet.modalities import Modalities, Subset
from magms_nnunet.nnunet.folders import find_raw_dataset, new_dataset_name, nnunet_folder
from magms_nnunet.nnunet.raw_dataset import file_ending, listed_files
from magms_nnunet.storage.files import is_hidden
from magms_nnunet.storage.foreign_json import read_foreign_json


@dataclass(frozen=True)
class SubsetDataset:
    """What was made.

    Attributes:
        name: of the new dataset; ``folder``: where it is.
        modalities: names of its channels.
        training_cases: their number; ``test_cases``: likewise.
        splits_from: the file that its splits were copied from, or None.
        left_out: test cases that lack one of the modalities.
    """

    name: str
    folder: Path
    modalities: tuple[str, ...]
    training_cases: int
    test_cases: int
    splits_from: Path | None
    left_out: list[str]


def make_subset_dataset(source: str, modalities: Sequence[str], target: str, overwrite: bool = False) -> SubsetDataset:
    """Link the images of these modalities and all labels to a new dataset in nnUNet_raw; the splits stay the same.

    Files are hard links where the file system allows it, else copies.

    Args:
        source: name or id of a raw dataset.
        modalities: names, aliases or channel numbers, also joined by commas.
        target: id of the new dataset, whose name is then made from the source's and the modalities, or its full name.
        overwrite: replace a dataset of that name.

    Raises:
        InputError: a dataset or modality is unknown, training cases lack files (all are named), or the target exists.
    """
    folder = find_raw_dataset(source)
    description = _read_json(folder / "dataset.json")
    known = Modalities.from_dataset_json(description)
    subset = known.parse(known.split(modalities))
    channels = description.get("channel_names") or description["modality"]
    names = tuple(str(channels[str(channel)]) for channel in subset)  # as they are: they choose the normalisation
    name = new_dataset_name(target, "_".join([folder.name[len("DatasetXXX_") :], *map(_as_file_name, names)]))
    if name == folder.name:
        raise InputError(f"-d and -o are the same dataset, {name}: choose another -o")
    ending = file_ending(folder, description)
    training = _training_cases(folder, description, ending)
    _check_complete(training, subset, known, ending)
    test, left_out = _test_cases(folder, subset, ending)
    splits_from = _find_splits(folder)
    with new_dataset(name, overwrite) as building:
        for part, cases in (("Tr", training), ("Ts", test)):
            for case, label in cases:
                for channel, old_channel in enumerate(subset):
                    new = f"{case.name}_{channel:04d}{ending}"
                    _link(case.files[old_channel], building / f"images{part}" / new)
                if label.is_file():
                    _link(label, building / f"labels{part}" / f"{case.name}{ending}")
        kept = {key: value for key, value in description.items() if key not in ("modality", "dataset")}
        kept["channel_names"] = {str(channel): name for channel, name in enumerate(names)}
        kept["numTraining"] = len(training)
        (building / "dataset.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
        if splits_from:
            shutil.copyfile(splits_from, building / SPLITS_FILE)
    made = nnunet_folder("nnUNet_raw") / name
    return SubsetDataset(name, made, names, len(training), len(test), splits_from, left_out)


def _training_cases(folder: Path, description: dict, ending: str) -> list[tuple[Case, Path]]:
    """Cases and their labels, from imagesTr and labelsTr or from the lists that dataset.json may hold instead."""
    if "dataset" not in description:
        cases, misnamed = find_cases(folder / "imagesTr", ending)
        if misnamed:
            raise InputError(f"{misnamed[0]} belongs to no case: name it CASE_XXXX{ending}, XXXX being the channel")
        return [(case, folder / "labelsTr" / f"{case.name}{ending}") for case in cases]
    training = []
    for name, (images, label) in listed_files(folder, description).items():
        foreign = [path.name for path in (*images, label) if not path.name.endswith(ending)]
        if foreign:
            raise InputError(f"case {name!r}: {foreign[0]} does not end in {ending}, the file_ending of dataset.json")
        files_of_channels = {channel: path for channel, path in enumerate(images) if path.is_file()}
        training.append((Case(check_case_name(name), files_of_channels), label))
    return training


def _check_complete(training: list[tuple[Case, Path]], subset: Subset, known: Modalities, ending: str) -> None:
    incomplete = []
    for case, label in training:
        missing = [known.names[channel] for channel in subset if channel not in case.files]
        missing += [] if label.is_file() else [f"its label {label.name}"]
        if missing:
            incomplete.append(f"{case.name} lacks {' and '.join(missing)}")
    if incomplete:
        raise InputError(
            f"{len(incomplete)} of {len(training)} training cases are incomplete: {'; '.join(incomplete)}: "
            "add the files or choose other --modalities"
        )


def _test_cases(folder: Path, subset: Subset, ending: str) -> tuple[list[tuple[Case, Path]], list[str]]:
    """Test cases that have the subset, with the place of their labels; and the names of those that have not."""
    test = folder / "imagesTs"
    if not test.is_dir() or all(is_hidden(path) for path in test.glob(f"*{ending}")):
        return [], []
    cases, _ = find_cases(test, ending)
    has_subset = {case.name: set(subset) <= case.files.keys() for case in cases}
    complete = [(case, folder / "labelsTs" / f"{case.name}{ending}") for case in cases if has_subset[case.name]]
    return complete, [name for name, has in has_subset.items() if not has]


def _find_splits(folder: Path) -> Path | None:
    """splits_final.json that nnU-Net trains the source with; else the one beside its images."""
    for path in (nnunet_folder("nnUNet_preprocessed") / folder.name / SPLITS_FILE, folder / SPLITS_FILE):
        if path.is_file():
            return path
    return None


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    source = source.resolve()  # a hard link to a symbolic link would be another symbolic link
    try:
        os.link(source, target)
    except OSError:  # another device, a file system without links, or somebody else's files
        shutil.copyfile(source, target)


def _as_file_name(modality: str) -> str:
    return "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in modality)


def _read_json(path: Path) -> dict:
    try:
        content = read_foreign_json(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise InputError(f"{path} is no JSON ({error})") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} must hold a JSON object, not a {type(content).__name__}")
    return content
