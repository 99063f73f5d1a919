"""``magms_convert``: converts a published dataset to a raw dataset of nnU-Net, with a split."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from magms_nnunet.datasets import brats, iseg2017, msd_task01
from magms_nnunet.datasets.new_dataset import SPLITS_FILE, new_dataset
from magms_nnunet.datasets.nifti import check_volumes, read_volume, volume_like
from magms_nnunet.datasets.source import Source, SourceCase
from magms_nnunet.datasets.splits import Split, random_split
from magms_nnunet.errors import CaseError, InputError, format_size
from magms_nnunet.images.grid import GEOMETRY_TOLERANCE
from magms_nnunet.images.labels import format_values, fractional_note, whole_labels
from magms_nnunet.nnunet.folders import new_dataset_name, nnunet_folder
from magms_nnunet.storage.json_files import write_json

if TYPE_CHECKING:
    import nibabel

CONVERTERS: dict[str, Callable[[Path], Source]] = {
    "iseg2017": iseg2017.find,
    "msd": msd_task01.find,
    "brats": brats.find,
}
FILE_ENDING = ".nii.gz"


@dataclass(frozen=True)
class Conversion:
    """A converted dataset.

    Attributes:
        name: of the new dataset.
        folder: of the new dataset.
        split: of its cases.
        seed: of the split.
        notes: for the user.
    """

    name: str
    folder: Path
    split: Split
    seed: int
    notes: list[str]


def convert(
    kind: str,
    folder: Path,
    dataset: str,
    seed: int = 0,
    overwrite: bool = False,
    skip_incomplete: bool = False,
    geometry_tolerance: float = GEOMETRY_TOLERANCE,
) -> Conversion:
    """Write a published dataset into nnUNet_raw, all of it or nothing.

    Test cases go to imagesTs and labelsTs, all others to imagesTr and labelsTr. test_cases.json lists the former,
    splits_final.json, also in nnUNet_preprocessed, has one fold of the latter.

    Args:
        kind: one of ``CONVERTERS``.
        folder: the published dataset.
        dataset: id of the new dataset, or its name.
        seed: of the split.
        overwrite: whether to replace a dataset of that name.
        skip_incomplete: whether to leave out cases that lack a file; otherwise cases with a label and an image are
            converted with the images that they have, and the others are refused.
        geometry_tolerance: largest distance between the positions of one voxel in two files of a case, in voxels.

    Raises:
        InputError: the folder or the target cannot be used, or cases cannot be converted; the message names them.
    """
    source = CONVERTERS[kind](folder)
    source, incomplete = _without_unusable(source, skip_incomplete)
    notes = [*source.notes, *incomplete]
    name = new_dataset_name(dataset, source.name)
    target = nnunet_folder("nnUNet_raw") / name
    if target.resolve() in (folder.resolve(), *folder.resolve().parents):
        raise InputError(f"{folder} lies in {target}, which would be replaced: choose another -d, or move it elsewhere")
    split = random_split({case.name: case.patient for case in source.cases}, source.proportions, seed)
    with new_dataset(name, overwrite) as building:
        values = _write_cases(source, set(split.test), building, geometry_tolerance)
        sizes = {"train": len(split.train), "val": len(split.val), "test": len(split.test)}
        description = _dataset_json(source, values, sizes["train"] + sizes["val"])
        description["split"] = {"seed": seed, **sizes}  # nnU-Net ignores unknown keys
        write_json(building / "dataset.json", description)
        write_json(building / SPLITS_FILE, [{"train": split.train, "val": split.val}])
        write_json(building / "test_cases.json", split.test)
    return Conversion(name, target, split, seed, notes)


def _without_unusable(source: Source, skip_incomplete: bool) -> tuple[Source, list[str]]:
    """Return the source with the cases to convert, and notes on incomplete ones.

    Raises:
        InputError: a case has no label or no image and may not be skipped, or no case is left.
    """
    if not source.incomplete:
        return source, []
    usable = {case.name for case in source.cases}
    count = f"of {len(usable | source.incomplete.keys())} cases"
    without = {case: what for case, what in source.incomplete.items() if skip_incomplete or case not in usable}
    if without and not skip_incomplete:
        raise InputError(
            f"{len(without)} {count} have no label or no image: {_list(without)}: add the files, move the cases away, "
            "or use --skip-incomplete"
        )
    cases = [case for case in source.cases if case.name not in without]
    if not cases:
        raise InputError(f"each case is incomplete: {_list(without)}: add the files")
    if without:
        return replace(source, cases=cases), [f"{len(without)} {count} are incomplete and left out: {_list(without)}"]
    return source, [
        f"{len(source.incomplete)} {count} are incomplete and converted with the images that they have: "
        f"{_list(source.incomplete)}; --skip-incomplete leaves them out"
    ]


def _list(incomplete: Mapping[str, str]) -> str:
    return "; ".join(f"{case} {what}" for case, what in incomplete.items())


def _write_cases(source: Source, test: set[str], building: Path, tolerance: float) -> set[int]:
    """Write all images and labels; return the label values that occur."""
    from tqdm import tqdm

    values, failed = set(), []
    for case in tqdm(source.cases, desc=source.name, unit="case", disable=None):
        try:
            values |= _write_case(source, case, building, "Ts" if case.name in test else "Tr", tolerance)
        except CaseError as error:
            failed.append(str(error))
    if failed:
        raise InputError(f"nothing written, {len(failed)} of {len(source.cases)} cases failed: {'; '.join(failed)}")
    return values


def _write_case(source: Source, case: SourceCase, building: Path, part: str, tolerance: float) -> set[int]:
    images = _read_images(source, case)
    label = read_volume(case.name, case.label, "label")
    check_volumes(case.name, {**dict(images.values()), f"{case.label.name} (label)": label}, tolerance)
    labels = _map_labels(source, case, np.asanyarray(label.dataobj))
    for folder in (f"images{part}", f"labels{part}"):
        (building / folder).mkdir(exist_ok=True)
    for channel, (_, image) in images.items():
        image.to_filename(building / f"images{part}" / f"{case.name}_{channel:04d}{FILE_ENDING}")
    volume_like(label, labels).to_filename(building / f"labels{part}" / f"{case.name}{FILE_ENDING}")
    return set(np.unique(labels).tolist())


def _read_images(source: Source, case: SourceCase) -> dict[int, tuple[str, "nibabel.Nifti1Image"]]:
    """Return new channel -> ``file (channel)`` and its 3-D volume, of the channels that the case has."""
    if not source.volumes:
        return {
            channel: (f"{path.name} ({name})", read_volume(case.name, path, name))
            for channel, (name, path) in enumerate(zip(source.channels, case.images, strict=True))
            if path is not None
        }
    (path,) = (path for path in case.images if path is not None)
    image = read_volume(case.name, path, "4-D image")
    if len(image.shape) != 4 or image.shape[3] != len(source.volumes):
        shape = format_size(image.shape)
        raise CaseError(
            case.name, f"{path.name} has {shape} voxels: expected {len(source.volumes)} along a fourth axis"
        )
    voxels = np.asanyarray(image.dataobj)
    return {
        channel: (f"{path.name} ({name})", volume_like(image, voxels[..., volume]))
        for channel, (name, volume) in enumerate(zip(source.channels, source.volumes, strict=True))
    }


def _map_labels(source: Source, case: SourceCase, voxels: np.ndarray) -> np.ndarray:
    """Map labels to those of the new dataset, uint8.

    Raises:
        CaseError: a value has no meaning in this dataset.
    """
    voxels = whole_labels(voxels)
    values = np.unique(voxels).tolist()
    unknown = [value for value in values if value not in source.label_values]
    if unknown:
        found, allowed = f"{format_values(unknown)}{fractional_note(unknown)}", format_values([*source.label_values])
        raise CaseError(case.name, f"{case.label.name} has the values {found}: {source.name} labels have {allowed}")
    mapped = np.zeros(voxels.shape, np.uint8)
    for value in values:
        mapped[voxels == value] = source.label_values[value]
    return mapped


def _dataset_json(source: Source, values: set[int], training_cases: int) -> dict:
    """Return the content of dataset.json, given the label ``values`` that occur."""
    optional = {name: value for name, value in source.optional_labels.items() if value in values}
    labels = {**source.labels, **optional}
    regions = any(isinstance(label, list) for label in labels.values())
    return {
        "channel_names": {str(channel): name for channel, name in enumerate(source.channels)},
        "labels": labels,
        **({"regions_class_order": list(range(1, len(labels)))} if regions else {}),
        "numTraining": training_cases,
        "file_ending": FILE_ENDING,
    }
