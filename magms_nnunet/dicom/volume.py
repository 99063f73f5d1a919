"""The voxels of a series, by SimpleITK; where they lie, from the headers."""

from typing import TYPE_CHECKING

import numpy as np

from magms_nnunet.errors import InputError

if TYPE_CHECKING:
    import SimpleITK as sitk

    from magms_nnunet.dicom.study import Series


def read_volume(series: "Series", label: str) -> "sitk.Image":
    """Voxels in the units of the scanner (RescaleSlope and RescaleIntercept applied), slices along their normal.

    Args:
        series: a volume.
        label: for messages.

    Raises:
        InputError: the pixels cannot be decoded.
    """
    import SimpleITK as sitk

    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(path) for path in series.files])
    reader.SetOutputPixelType(sitk.sitkFloat32)  # a scaling of the first slice must not round those of the others
    warned = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        image = reader.Execute()
    except RuntimeError as error:
        syntax = series.headers[0].file_meta.get("TransferSyntaxUID")
        name = getattr(syntax, "name", syntax)
        raise InputError(f"{label} cannot be decoded ({name}): export it without compression") from error
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(warned)
    first, last = series.headers[0], series.headers[-1]
    right, down = (np.array(first.ImageOrientationPatient[start : start + 3], float) for start in (0, 3))
    normal = np.cross(right, down)
    origin, end = (np.array(header.ImagePositionPatient, float) for header in (first, last))
    rows_mm, columns_mm = (float(mm) for mm in first.PixelSpacing)
    distance_mm = float((end - origin) @ normal) / (len(series.files) - 1)
    image.SetSpacing((columns_mm, rows_mm, distance_mm))
    image.SetOrigin(origin.tolist())
    image.SetDirection(np.stack([right, down, normal], axis=1).ravel().tolist())
    return image
