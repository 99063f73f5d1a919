"""An image that a program hands over, as a file: the model's reader reads files, and all input goes through it."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from magms_nnunet.errors import InputError, shorten

Image = str | Path | sitk.Image | tuple[np.ndarray, Sequence[float]]
"""A file, an image, or an array ``(z, y, x)`` with its spacing in mm in the same order."""

_WIDER = {"float16": np.float32, "bool": np.uint8}  # what image files know in place of these


def as_file(image: Image, label: str, path: Path) -> Path:
    """Where an image lies; what is in memory is written to ``path``.

    Args:
        image: of one modality, or a previous stage's segmentation.
        label: of it, for messages.
        path: a file that may be written.

    Raises:
        InputError: it is nothing of the kind, or cannot be written in the format that the model reads.
    """
    if isinstance(image, str | os.PathLike):
        return Path(image)
    if isinstance(image, np.ndarray):
        raise InputError(f"{label} is an array without spacing: give (array, spacing_mm), both in the order z, y, x")
    if isinstance(image, tuple | list):
        image = _image_of_array(image, label)
    if not isinstance(image, sitk.Image):
        raise InputError(f"{label} is a {type(image).__name__}: give a file, a SimpleITK image or (array, spacing_mm)")
    try:
        sitk.WriteImage(image, str(path), useCompression=False)
    except RuntimeError as error:
        kind = image.GetPixelIDTypeAsString()
        raise InputError(f"{label} ({kind}) cannot be written as {path.suffix}: give it as a file") from error
    return path


def _image_of_array(pair: Sequence, label: str) -> sitk.Image:
    if len(pair) != 2:
        raise InputError(f"{label} is a {type(pair).__name__} of {len(pair)}: give (array, spacing_mm)")
    try:
        array, spacing_mm = np.asarray(pair[0]), [float(mm) for mm in pair[1]]
    except (TypeError, ValueError) as error:
        raise InputError(f"{label} is no array with a spacing in mm ({error}): give (array, spacing_mm)") from error
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise InputError(f"{label} has the shape {array.shape}: give an array of 2 or 3 axes, of one modality")
    if len(spacing_mm) != array.ndim or not all(0 < mm < float("inf") for mm in spacing_mm):
        right = f"{array.ndim} sizes above 0 in mm, in the order of the array's axes"
        raise InputError(f"{label} has the spacing {shorten(pair[1])}: give {right}")
    wanted = _WIDER.get(array.dtype.name, array.dtype.newbyteorder("="))
    try:
        image = sitk.GetImageFromArray(np.ascontiguousarray(array, wanted))
    except (TypeError, KeyError) as error:
        raise InputError(f"{label} is an array of {array.dtype}: give whole or real numbers") from error
    image.SetSpacing(spacing_mm[::-1])
    return image
