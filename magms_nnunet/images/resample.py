"""Resamples the images of a patient to one grid, by their headers and by a registration if there is one."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from magms_nnunet.errors import InputError
from magms_nnunet.images.grid import GEOMETRY_TOLERANCE, Grid, difference
from magms_nnunet.modalities import Modalities

if TYPE_CHECKING:
    import SimpleITK as sitk

FINEST, ISOTROPIC = "finest", "isotropic"


def choose_grid(
    images: Mapping[int, "sitk.Image"], wanted: str, modalities: Modalities
) -> tuple[int, "sitk.Image", bool]:
    """Choose the grid that all images are resampled to.

    Args:
        images: channel -> image.
        wanted: ``finest`` (of the smallest voxels), ``isotropic`` (the finest's extent, with its smallest spacing along
            all axes), or a modality.
        modalities: the model's.

    Returns:
        The channel that the grid is taken from, an image on the grid, and whether the grid is that image's own.

    Raises:
        InputError: the modality is unknown or absent, or the grid would have too many voxels.
    """
    if wanted not in (FINEST, ISOTROPIC):
        channel = modalities.parse([wanted])[0]
        if channel not in images:
            there = modalities.format(images)
            raise InputError(f"--grid {wanted}: there is no {modalities.names[channel]}, there is {there}")
        return channel, images[channel], True
    volumes = {channel: _voxel_mm3(image) for channel, image in images.items()}
    channel = min(volumes, key=lambda channel: volumes[channel])
    if wanted == FINEST:
        return channel, images[channel], True
    return channel, _isotropic(images[channel]), False


def resample(image: "sitk.Image", reference: "sitk.Image", transform: "sitk.Transform | None" = None) -> "sitk.Image":
    """Resample an image linearly to the grid of another one; 0 outside of the image.

    Args:
        image: to resample.
        reference: image whose grid is used.
        transform: from positions of the reference to those of the image; None: the positions in the headers are used.
    """
    import SimpleITK as sitk

    transform = sitk.Transform(image.GetDimension(), sitk.sitkIdentity) if transform is None else transform
    return sitk.Resample(sitk.Cast(image, sitk.sitkFloat32), reference, transform, sitk.sitkLinear, 0.0)


def is_on_grid(image: "sitk.Image", reference: "sitk.Image") -> bool:
    """Return whether two images share a grid, within the tolerance of all commands."""
    return difference(_grid(image), _grid(reference), "", GEOMETRY_TOLERANCE) is None


def _grid(image: "sitk.Image") -> Grid:
    return Grid(image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection())


def _voxel_mm3(image: "sitk.Image") -> float:
    x, y, z = image.GetSpacing()
    return x * y * z


_MOST_VOXELS = 1 << 29


def _isotropic(image: "sitk.Image") -> "sitk.Image":
    """Return an empty image over the same extent, with the smallest spacing along all axes."""
    import SimpleITK as sitk

    old, mm = image.GetSpacing(), min(image.GetSpacing())
    size = [max(1, round(count * spacing / mm)) for count, spacing in zip(image.GetSize(), old, strict=True)]
    if size[0] * size[1] * size[2] > _MOST_VOXELS:
        raise InputError(f"--grid {ISOTROPIC}: {size[0]}x{size[1]}x{size[2]} voxels are too many: name a modality")
    grid = sitk.Image(size, sitk.sitkUInt8)
    grid.SetSpacing([mm] * 3)
    grid.SetDirection(image.GetDirection())
    # The corner of the first voxel keeps its position, not its centre.
    grid.SetOrigin(image.TransformContinuousIndexToPhysicalPoint([(mm / spacing - 1) / 2 for spacing in old]))
    return grid
