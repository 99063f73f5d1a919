"""A picture of a result: three planes through the largest component, over the clearest modality."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from magms_nnunet.metrics.dice import Regions
from magms_nnunet.report.figures import region_colour

_PLANES = ("sagittal", "coronal", "axial")  # perpendicular to x, y and z of an image in LPS
_ALPHA = 0.45


def save_preview(path: Path, images: Mapping[str, sitk.Image], labels: sitk.Image, regions: Regions) -> None:
    """Write a PNG, with the left of the patient on the right.

    Args:
        path: file to write.
        images: caption -> image of the case.
        labels: segmentation of the case, on the same grid.
        regions: label values of each region.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.patches import Patch

    upright = sitk.DICOMOrient(labels, "LPS")
    found = sitk.GetArrayFromImage(upright)
    arrays = {name: sitk.GetArrayFromImage(sitk.DICOMOrient(image, "LPS")) for name, image in images.items()}
    background = clearest(arrays, found != 0)
    low, high = np.percentile(arrays[background], (1, 99.8))
    point, spacing_mm = centre_of_largest(found != 0), upright.GetSpacing()[::-1]
    colours = [region_colour(index) for index in range(len(regions))]
    figure, axes = plt.subplots(1, 3, figsize=(12, 4.6), layout="constrained")
    for plane, axis in enumerate(axes):
        across = 2 - plane  # axis of the array (z, y, x)
        rows, columns = (spacing_mm[other] for other in range(3) if other != across)
        options = {"aspect": rows / columns, "origin": "upper" if plane == 2 else "lower"}
        axis.imshow(arrays[background].take(point[across], across), cmap="gray", vmin=low, vmax=high, **options)
        for colour, values in zip(colours, regions.values(), strict=True):
            mask = np.isin(found, values).take(point[across], across)
            overlay = np.ma.masked_array(mask, ~mask)
            axis.imshow(overlay, cmap=mpl.colors.ListedColormap([colour]), alpha=_ALPHA, **options)
        axis.set_title(_PLANES[plane])
        axis.axis("off")
    handles = [Patch(color=colour, alpha=0.7, label=name) for colour, name in zip(colours, regions, strict=True)]
    figure.legend(handles=handles, loc="outside lower center", ncols=max(1, len(handles)))
    figure.suptitle(f"on {background}" if found.any() else f"nothing is segmented; on {background}")
    figure.savefig(path, dpi=100)
    plt.close(figure)


def centre_of_largest(mask: np.ndarray) -> tuple[int, ...]:
    """Return the voxel of the largest component that is nearest to its centre; without one, the centre of the image."""
    components, count = ndimage.label(mask)
    if not count:
        return tuple(length // 2 for length in mask.shape)
    largest = np.bincount(components.ravel())[1:].argmax() + 1
    voxels = np.argwhere(components == largest)
    nearest = ((voxels - voxels.mean(0)) ** 2).sum(1).argmin()
    return tuple(int(index) for index in voxels[nearest])


def clearest(images: Mapping[str, np.ndarray], mask: np.ndarray) -> str:
    """Return the modality in which a mask differs most from its surroundings, in joint standard deviations.

    Args:
        images: name -> ``(z, y, x)``.
        mask: of the same shape; for an empty one the first image is returned.
    """
    ring = ndimage.binary_dilation(mask, iterations=3) & ~mask
    if not mask.any() or not ring.any():
        return next(iter(images))

    def contrast(image: np.ndarray) -> float:
        spread = image[mask | ring].std()
        return abs(float(image[mask].mean()) - float(image[ring].mean())) / spread if spread > 0 else 0.0

    return max(images, key=lambda name: contrast(images[name]))
