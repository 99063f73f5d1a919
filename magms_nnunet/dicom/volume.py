"""Reads the voxels of a series with SimpleITK or, for a multi-frame image, with pydicom; headers give positions."""

from typing import TYPE_CHECKING

import numpy as np

from magms_nnunet.dicom.study import Series, require_pydicom
from magms_nnunet.errors import InputError

if TYPE_CHECKING:
    import SimpleITK as sitk

_SCALING = (("Slope", 1), ("Intercept", 0))


def read_volume(series: Series, label: str) -> "sitk.Image":
    """Read voxels with RescaleSlope and RescaleIntercept applied, and slices along their normal.

    Args:
        series: a volume.
        label: for messages.

    Raises:
        InputError: the pixels cannot be decoded.
    """
    image = _read_files(series, label) if series.frames is None else _read_frames(series, label)
    first, last = series.headers[0], series.headers[-1]
    right, down = (np.array(first.ImageOrientationPatient[start : start + 3], float) for start in (0, 3))
    normal = np.cross(right, down)
    origin, end = (np.array(header.ImagePositionPatient, float) for header in (first, last))
    rows_mm, columns_mm = (float(mm) for mm in first.PixelSpacing)
    distance_mm = float((end - origin) @ normal) / (len(series.headers) - 1)
    image.SetSpacing((columns_mm, rows_mm, distance_mm))
    image.SetOrigin(origin.tolist())
    image.SetDirection(np.stack([right, down, normal], axis=1).ravel().tolist())
    return image


def _read_frames(series: Series, label: str) -> "sitk.Image":
    """Return the frames of a multi-frame image in the order of the slices; each may have a scaling of its own."""
    import SimpleITK as sitk

    try:
        pixels = require_pydicom().dcmread(series.files[0]).pixel_array[list(series.frames or ())]
    except Exception as error:  # the decoders of pydicom have many of their own
        raise _undecodable(series, label) from error
    scaling = [[float(header.get(f"Rescale{what}", usual)) for header in series.headers] for what, usual in _SCALING]
    slope, intercept = (np.array(values, np.float32)[:, None, None] for values in scaling)
    return sitk.GetImageFromArray(pixels.astype(np.float32) * slope + intercept)


def _read_files(series: Series, label: str) -> "sitk.Image":
    import SimpleITK as sitk

    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(path) for path in series.files])
    reader.SetOutputPixelType(sitk.sitkFloat32)  # a scaling of the first slice must not round those of the others
    warned = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        return reader.Execute()
    except RuntimeError as error:
        raise _undecodable(series, label) from error
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(warned)


def _undecodable(series: Series, label: str) -> InputError:
    syntax = series.headers[0].file_meta.get("TransferSyntaxUID")
    name = getattr(syntax, "name", syntax)
    return InputError(f"{label} cannot be decoded ({name}): export it without compression")
