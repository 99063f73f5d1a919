"""Writes an image that a program passes to a file, because all input goes through the model's reader."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from magms_nnunet.errors import InputError, shorten
from magms_nnunet.images.grid import Grid

Image = str | Path | sitk.Image | tuple[np.ndarray, Sequence[float]] | tuple[np.ndarray, np.ndarray]
"""A file, an image, an array ``(z, y, x)`` with its spacing in mm in the same order, or an array ``(x, y, z)`` with its
affine of 4 x 4, both as nibabel gives them."""

_WIDER = {"float16": np.float32, "bool": np.uint8}  # image files have no such types


def as_file(image: Image, label: str, path: Path) -> Path:
    """Return the file of an image; an image in memory is written to ``path``.

    Args:
        image: of one modality, or a previous stage's segmentation.
        label: of the image, for messages.
        path: a file that may be written.

    Raises:
        InputError: the image has another type, or cannot be written in the format that the model reads.
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
    if np.shape(pair[1]) == (4, 4):
        return _image_with_affine(pair[0], np.asarray(pair[1], float), label)
    try:
        array, spacing_mm = np.asarray(pair[0]), [float(mm) for mm in pair[1]]
    except (TypeError, ValueError) as error:
        raise InputError(f"{label} is no array with a spacing in mm ({error}): give (array, spacing_mm)") from error
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise InputError(f"{label} has the shape {array.shape}: give an array of 2 or 3 axes, of one modality")
    if len(spacing_mm) != array.ndim or not all(0 < mm < float("inf") for mm in spacing_mm):
        right = f"{array.ndim} sizes above 0 in mm, in the order of the array's axes"
        raise InputError(f"{label} has the spacing {shorten(pair[1])}: give {right}")
    image = _image_of_voxels(array, label)
    image.SetSpacing(spacing_mm[::-1])
    return image


def _image_with_affine(voxels, affine: np.ndarray, label: str) -> sitk.Image:
    array = np.asarray(voxels)
    if array.ndim != 3 or 0 in array.shape:
        raise InputError(f"{label} has the shape {array.shape}: with an affine, give an array of 3 axes, x, y, z")
    if not np.isfinite(affine).all() or not (grid := Grid.from_nifti(array.shape, affine)).is_orthonormal:
        raise InputError(f"{label} has an affine whose axes are not at right angles: resample it")
    image = _image_of_voxels(array.transpose(), label)
    image.SetSpacing(grid.spacing_mm)
    image.SetOrigin(grid.origin_mm)
    image.SetDirection(grid.direction)
    return image


def _image_of_voxels(array: np.ndarray, label: str) -> sitk.Image:
    """Make an image of an array ``(z, y, x)``, without a position."""
    wanted = _WIDER.get(array.dtype.name, array.dtype.newbyteorder("="))
    try:
        return sitk.GetImageFromArray(np.ascontiguousarray(array, wanted))
    except (TypeError, KeyError) as error:
        raise InputError(f"{label} is an array of {array.dtype}: give whole or real numbers") from error
