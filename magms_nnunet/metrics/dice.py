"""Dice similarity coefficient of label maps, per label or region."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from magms_nnunet.errors import InputError

Regions = dict[str, tuple[int, ...]]
"""Name of a label or region -> its label values."""


def regions_from_dataset_json(dataset_json: dict) -> Regions:
    """Return the foreground labels or regions of a dataset.json, without the background and the ignore label."""
    regions = {
        name: tuple(values) if isinstance(values, Sequence) else (values,)
        for name, values in dataset_json["labels"].items()
        if name != "ignore"
    }
    return {name: values for name, values in regions.items() if any(values)}


def dice(reference: np.ndarray, prediction: np.ndarray) -> float:
    """Return the Dice of two boolean masks of the same shape; 1 where both are empty, 0 where one is.

    Raises:
        ValueError: the shapes differ.
    """
    if reference.shape != prediction.shape:
        raise ValueError(f"reference {reference.shape} and prediction {prediction.shape} differ in shape")
    voxels = int(reference.sum()) + int(prediction.sum())
    return 2 * int((reference & prediction).sum()) / voxels if voxels else 1.0


def dice_per_region(reference: np.ndarray, prediction: np.ndarray, regions: Regions) -> dict[str, float]:
    """Return the Dice of every region of two label maps.

    Args:
        reference: label map of any shape.
        prediction: label map of the same shape.
        regions: name -> label values.

    Raises:
        ValueError: the shapes differ.
    """
    return {name: dice(np.isin(reference, values), np.isin(prediction, values)) for name, values in regions.items()}


def dice_of_folder(
    reference_folder: Path, prediction_folder: Path, cases: Sequence[str], regions: Regions, file_ending: str
) -> dict[str, dict[str, float]]:
    """Return the Dice per case and region, of the files ``CASE + file_ending`` of two folders.

    Args:
        reference_folder: of the references.
        prediction_folder: of the predictions.
        cases: names.
        regions: name -> label values.
        file_ending: of both.

    Raises:
        InputError: a case is missing in one of the folders; the message names file and folder.
    """
    scores = {}
    for case in cases:
        paths = [folder / f"{case}{file_ending}" for folder in (reference_folder, prediction_folder)]
        for path in paths:
            if not path.is_file():
                raise InputError(f"{case}: no {path.name} in {path.parent}")
        reference, prediction = (sitk.GetArrayFromImage(sitk.ReadImage(str(path))) for path in paths)
        scores[case] = dice_per_region(reference, prediction, regions)
    return scores
