"""The slices of a result for the page: images in eight bits, with the segmentation."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from magms_nnunet.serve.job import Preview

_VOXELS = 1 << 25


def preview(images: Mapping[str, Path], result: Path) -> Preview | None:
    """Return the slices of a volume, with every n-th voxel of a large one; None for 2-D images.

    Args:
        images: modality -> file.
        result: the segmentation.
    """
    segmentation = sitk.ReadImage(str(result))
    if segmentation.GetDimension() != 3:
        return None
    factor = max(1, math.ceil((segmentation.GetNumberOfPixels() / _VOXELS) ** (1 / 3)))

    def turned(image: sitk.Image) -> sitk.Image:
        return sitk.DICOMOrient(image[::factor, ::factor, ::factor], "LPS")

    labels = turned(segmentation)
    return Preview(
        {name: _grey(sitk.GetArrayFromImage(turned(sitk.ReadImage(str(path))))) for name, path in images.items()},
        sitk.GetArrayFromImage(labels).astype(np.uint16),
        labels.GetSpacing()[::-1],
    )


def _grey(image: np.ndarray) -> np.ndarray:
    """Return grey values between the half percentiles of the foreground."""
    image = np.nan_to_num(image.astype(np.float32), posinf=0, neginf=0)
    inside = image[image != 0]
    low, high = np.percentile(inside, (0.5, 99.5)) if inside.size else (0, 1)
    return (np.clip((image - low) / max(high - low, 1e-12), 0, 1) * 255 * (image != 0)).astype(np.uint8)
