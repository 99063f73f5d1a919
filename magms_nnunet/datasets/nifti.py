"""Reads a volume of a published dataset to its last byte; NIfTI and Analyze."""

import gzip
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from magms_nnunet.errors import CaseError, format_size
from magms_nnunet.images.files import ImageFileError, read_grid
from magms_nnunet.images.grid import GEOMETRY_TOLERANCE, Grid, check_one_position, check_same_grid
from magms_nnunet.images.nifti_header import misnamed
from magms_nnunet.storage.files import open_regular

if TYPE_CHECKING:
    import nibabel


def read_volume(case: str, path: Path, modality: str) -> "nibabel.Nifti1Image":
    """Read a volume with its voxels, ``(X, Y, Z)`` or ``(X, Y, Z, volumes)``; a fourth axis of length 1 is removed.

    An Analyze file (``.hdr`` beside ``.img``) has a spacing but no reliable orientation. It gets the identity: the
    order of its voxels is kept, with x to the left, y to the back, z up.

    Args:
        case: for messages.
        path: ``.nii``, ``.nii.gz`` or ``.hdr``.
        modality: for messages.

    Raises:
        CaseError: the file cannot be read to the end, holds NaN or infinity, or describes two positions.
    """
    import nibabel
    from nibabel.spatialimages import HeaderDataError
    from nibabel.wrapstruct import WrapStructError

    try:
        if path.suffix == ".hdr":
            image = nibabel.load(path)
        else:
            with open(path, "rb", opener=open_regular) as file:
                content = file.read()
            image = nibabel.Nifti1Image.from_bytes(gzip.decompress(content) if path.suffix == ".gz" else content)
        voxels = np.asanyarray(image.dataobj)
    except (OSError, EOFError, ValueError, zlib.error, HeaderDataError, WrapStructError) as error:
        if problem := misnamed(path):
            raise CaseError(case, f"{path.name} ({modality}) {problem}") from error
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CaseError(
            case, f"{path.name} ({modality}) is damaged or no NIfTI file ({reason}): copy it again"
        ) from error
    if voxels.dtype.kind == "f":
        if not np.isfinite(voxels).all():
            raise CaseError(case, f"{path.name} ({modality}) holds NaN or infinity: repair it")
        voxels = voxels.astype(np.float32, copy=False)
    if voxels.ndim == 4 and voxels.shape[3] == 1:
        voxels = voxels[..., 0]
    if isinstance(image, nibabel.Nifti1Pair):
        try:
            grid = read_grid(path, many=True)
        except ImageFileError as error:
            raise CaseError(case, f"{path.name} ({modality}) {error}") from error
        check_one_position(case, f"{path.name} ({modality})", grid, GEOMETRY_TOLERANCE)
        return volume_like(image, voxels)
    spacing_mm = image.header.get_zooms()[:3]
    # NIfTI's x and y run to the right and to the front, those of nnU-Net's reader to the left and to the back.
    new = nibabel.Nifti1Image(voxels, np.diag([-spacing_mm[0], -spacing_mm[1], spacing_mm[2], 1]))
    new.header.set_xyzt_units("mm")
    return new


def volume_like(image: "nibabel.Nifti1Image", voxels: np.ndarray) -> "nibabel.Nifti1Image":
    """Return an image of other voxels in the geometry of an image, which may have one axis more."""
    import nibabel

    header = image.header.copy()
    header.set_data_dtype(voxels.dtype)
    return nibabel.Nifti1Image(voxels, image.affine, header)


def check_volumes(
    case: str, volumes: dict[str, "nibabel.Nifti1Image"], tolerance_voxels: float = GEOMETRY_TOLERANCE
) -> None:
    """Check that all volumes of a case have three axes and lie on one grid.

    Args:
        case: name of the case, for messages.
        volumes: file and modality, for messages -> volume.
        tolerance_voxels: largest distance between the positions of one voxel, in voxels.

    Raises:
        CaseError: a volume has another number of axes or another grid; the message names the first.
    """
    grids: dict[str, Grid] = {}
    for name, volume in volumes.items():
        if len(volume.shape) != 3:
            raise CaseError(
                case, f"{name} has {len(volume.shape)} axes ({format_size(volume.shape)}): give 3-D volumes"
            )
        grids[name] = Grid.from_nifti(volume.shape, volume.affine)
        first = next(iter(grids))
        check_same_grid(case, name, grids[name], first, grids[first], tolerance_voxels)
