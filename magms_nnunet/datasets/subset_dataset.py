"""``magms_subset_dataset``: makes a raw dataset with some channels of another, for models of these alone."""

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
from magms_nnunet.nnunet.raw_dataset import by_channel, check_listed_exist, file_ending, listed_files
from magms_nnunet.storage.files import is_hidden
from magms_nnunet.storage.json_files import read_json, read_json_object, write_json


@dataclass(frozen=True)
class SubsetDataset:
    """A new dataset.

    Attributes:
        name: of the dataset.
        folder: of the dataset.
        modalities: names of its channels.
        training_cases: number of training cases.
        test_cases: number of test cases.
        splits_from: file that the splits were copied from, or None.
        incomplete: number of cases, of training and test, that lack one of the modalities.
        left_out: cases that have no modality.
    """

    name: str
    folder: Path
    modalities: tuple[str, ...]
    training_cases: int
    test_cases: int
    splits_from: Path | None
    incomplete: int
    left_out: list[str]


def make_subset_dataset(source: str, modalities: Sequence[str], target: str, overwrite: bool = False) -> SubsetDataset:
    """Link the images of these modalities and their labels to a new dataset in nnUNet_raw, with the same splits.

    Files are hard links where the file system allows it, otherwise copies. A case that lacks some of the modalities has
    fewer images; one that has none is left out, also of the splits.

    Args:
        source: name or id of a raw dataset.
        modalities: names, aliases or channel numbers, also joined by commas.
        target: id of the new dataset, which is named after the source and the modalities, or its full name.
        overwrite: whether to replace a dataset of that name.

    Raises:
        InputError: a dataset or modality is unknown, training cases lack labels (all are named), no training case has
            a modality, or the target exists.
    """
    folder = find_raw_dataset(source)
    file = folder / "dataset.json"
    description = read_json_object(file, f"{file} does not exist: is it a raw dataset of nnU-Net?", "correct it")
    all_modalities = Modalities.from_dataset_json(description)
    subset = all_modalities.parse(all_modalities.split(modalities))
    channels = description.get("channel_names") or description["modality"]
    names = tuple(str(channels[str(channel)]) for channel in subset)  # unchanged, because they choose the normalisation
    name = new_dataset_name(target, "_".join([folder.name[len("DatasetXXX_") :], *map(_as_file_name, names)]))
    if name == folder.name:
        raise InputError(f"-d and -o are the same dataset, {name}: choose another -o")
    ending = file_ending(folder, description)
    training, without = _having(subset, _training_cases(folder, description, ending, len(all_modalities)))
    _check_training(training, subset, all_modalities)
    test, test_without = _having(subset, _test_cases(folder, ending))
    splits_from = _find_splits(folder)
    with new_dataset(name, overwrite) as building:
        for part, cases in (("Tr", training), ("Ts", test)):
            for case, label in cases:
                for channel, old_channel in enumerate(subset):
                    if old_channel in case.files:
                        new = f"{case.name}_{channel:04d}{ending}"
                        _link(case.files[old_channel], building / f"images{part}" / new)
                if label.is_file():
                    _link(label, building / f"labels{part}" / f"{case.name}{ending}")
        kept = {key: value for key, value in description.items() if key not in ("modality", "dataset")}
        kept["channel_names"] = {str(channel): name for channel, name in enumerate(names)}
        kept["numTraining"] = len(training)
        write_json(building / "dataset.json", kept)
        if splits_from:
            _copy_splits(splits_from, building / SPLITS_FILE, without)
    made = nnunet_folder("nnUNet_raw") / name
    incomplete = sum(not set(subset) <= case.files.keys() for case, _ in (*training, *test))
    left_out = [*without, *test_without]
    return SubsetDataset(name, made, names, len(training), len(test), splits_from, incomplete, left_out)


def _training_cases(folder: Path, description: dict, ending: str, count: int) -> list[tuple[Case, Path]]:
    """Return the cases and their labels, from imagesTr and labelsTr or from the lists of dataset.json."""
    if "dataset" not in description:
        cases, misnamed = find_cases(folder / "imagesTr", ending)
        if misnamed:
            raise InputError(f"{misnamed[0]} belongs to no case: name it CASE_XXXX{ending}, XXXX being the channel")
        return [(case, folder / "labelsTr" / f"{case.name}{ending}") for case in cases]
    training = []
    for name, (images, label) in listed_files(folder, description).items():
        check_listed_exist(name, images)
        of_channels = by_channel(name, images, count, listed=True)
        foreign = [path.name for path in (*of_channels.values(), label) if not path.name.endswith(ending)]
        if foreign:
            raise InputError(f"case {name!r}: {foreign[0]} does not end in {ending}, the file_ending of dataset.json")
        training.append((Case(check_case_name(name), of_channels), label))
    return training


def _having(subset: Subset, cases: list[tuple[Case, Path]]) -> tuple[list[tuple[Case, Path]], list[str]]:
    """Return the cases that have one of the modalities, and the names of the others."""
    having = [(case, label) for case, label in cases if case.files.keys() & set(subset)]
    return having, [case.name for case, _ in cases if not case.files.keys() & set(subset)]


def _check_training(training: list[tuple[Case, Path]], subset: Subset, all_modalities: Modalities) -> None:
    if without := [f"{case.name} lacks its label {label.name}" for case, label in training if not label.is_file()]:
        raise InputError(
            f"{len(without)} of {len(training)} training cases have no label: {'; '.join(without)}: add the files"
        )
    if nowhere := [all_modalities.names[m] for m in subset if not any(m in case.files for case, _ in training)]:
        raise InputError(f"no training case has {' or '.join(nowhere)}: choose other --modalities")


def _test_cases(folder: Path, ending: str) -> list[tuple[Case, Path]]:
    """Return the test cases and the paths of their labels."""
    test = folder / "imagesTs"
    if not test.is_dir() or all(is_hidden(path) for path in test.glob(f"*{ending}")):
        return []
    cases, _ = find_cases(test, ending)
    return [(case, folder / "labelsTs" / f"{case.name}{ending}") for case in cases]


def _copy_splits(source: Path, target: Path, without: list[str]) -> None:
    """Copy splits_final.json, except the cases ``without`` images in the new dataset."""
    if not without:
        shutil.copyfile(source, target)
        return
    try:
        folds = [
            {part: [name for name in names if name not in without] for part, names in fold.items()}
            for fold in read_json(source)
        ]
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise InputError(f"{source} is no list of folds ({error}): correct or remove it") from error
    write_json(target, folds)


def _find_splits(folder: Path) -> Path | None:
    """Return splits_final.json of nnU-Net's preprocessed source; without it the one beside its images."""
    for path in (nnunet_folder("nnUNet_preprocessed") / folder.name / SPLITS_FILE, folder / SPLITS_FILE):
        if path.is_file():
            return path
    return None


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    source = source.resolve()  # a hard link to a symbolic link would be another symbolic link
    try:
        os.link(source, target)
    except OSError:  # another device, a file system without links, or files of another user
        shutil.copyfile(source, target)


def _as_file_name(modality: str) -> str:
    return "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in modality)
