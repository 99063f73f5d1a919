"""Position and scaling of the voxels in a NIfTI header, and the contradictions within it."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from magms_nnunet.images.grid import Grid

if TYPE_CHECKING:
    import nibabel

HEADER_BYTES = 348  # of NIfTI-1, whose first number this is
_SIZES = {HEADER_BYTES, 540}  # the latter of NIfTI-2
_GZIP = b"\x1f\x8b"
_QUATERNION = ("quatern_b", "quatern_c", "quatern_d")
_OFFSET = ("qoffset_x", "qoffset_y", "qoffset_z")
_ROUNDING_VOXELS = 1e-4
_ROUNDING = 2e-6  # of values in single precision, relative to 1 or to the value


def misnamed(path: Path) -> str | None:
    """Return the contradiction between a NIfTI file's compression and its name, as the end of a sentence."""
    if not path.is_file():  # a pipe would never end
        return None
    with open(path, "rb") as file:
        start = file.read(4)
    plain = path.with_suffix("").name if path.name.endswith(".gz") else path.name
    if path.name.endswith(".nii.gz") and {int.from_bytes(start, order) for order in ("little", "big")} & _SIZES:
        return f"is not compressed, although its name ends in .gz: rename it to {plain} and gzip that"
    if path.name.endswith(".nii") and start[:2] == _GZIP:
        return f"is compressed, although its name does not end in .gz: rename it to {plain}.gz and gunzip that"
    return None


def is_finite(header: "nibabel.Nifti1Header") -> bool:
    """Return whether the forms of a header, as it is stored, hold finite numbers only.

    nibabel ignores a form of an unknown kind, SimpleITK does not.
    """
    sform = [header[f"srow_{axis}"] for axis in "xyz"] if header["sform_code"] else []
    qform = [header[part] for part in (*_QUATERNION, *_OFFSET)] if header["qform_code"] else []
    return all(np.isfinite(values).all() for values in (*sform, *qform))


def has_form(header: "nibabel.Nifti1Header") -> bool:
    """Return whether a header gives a position."""
    return bool(header["sform_code"] or header["qform_code"])


def contradicting_forms(header: "nibabel.Nifti1Header", grid: Grid) -> Mapping[str, Grid]:
    """Return the forms of a header that describe another position than ``grid``, by more than rounding.

    SimpleITK chooses one form by the codes, and takes the spacing from neither; nibabel, SPM and FSL take the sform.

    Args:
        header: as it is stored.
        grid: as SimpleITK reads the same file, of three axes.
    """
    from nibabel.spatialimages import HeaderDataError

    forms = {}
    with suppress(HeaderDataError, ValueError):  # it is no rotation
        if header["qform_code"]:
            qform = Grid.from_nifti(grid.size, header.get_qform())
            if grid.shift(qform) > _ROUNDING_VOXELS and not _keeps(header, grid.nifti_affine):
                forms["qform"] = qform
    if header["sform_code"]:
        sform = Grid.from_nifti(grid.size, header.get_sform())
        if grid.shift(sform) > _ROUNDING_VOXELS:
            rounded = header["qform_code"] and not forms and _keeps(header, header.get_sform())
            forms |= {} if rounded else {"sform": sform}
    return forms


def simpleitk_scaling(header: "nibabel.Nifti1Header") -> tuple[float, float]:
    """Return slope and intercept of the values that SimpleITK, and so the network, reads."""
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    if not np.isfinite(slope) or abs(slope) < np.finfo(np.float32).tiny:
        slope = 1.0
    return slope, inter if np.isfinite(inter) else 0.0


def contradicting_scaling(header: "nibabel.Nifti1Header") -> str | None:
    """Return the difference between SimpleITK's scaling of the values and NIfTI's, as the end of a sentence."""
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    unscaled = slope == 0 or not np.isfinite(slope)
    standard = (1.0, 0.0) if unscaled else (slope, inter if np.isfinite(inter) else 0.0)
    found = simpleitk_scaling(header)
    if found == standard:
        return None
    return (
        f"has scl_slope {slope:g} and scl_inter {inter:g}: SimpleITK multiplies by {found[0]:g} and adds {found[1]:g}, "
        f"other readers multiply by {standard[0]:g} and add {standard[1]:g}: set scl_slope to 1, or scl_inter to 0"
    )


def _keeps(header: "nibabel.Nifti1Header", affine: np.ndarray) -> bool:
    """Return whether the qform equals an affine up to the rounding of its storage.

    The angle of a rotation by nearly half a turn, which most images of patients have, is stored to about 1e-3 only.
    """
    from nibabel.spatialimages import HeaderDataError

    expected = header.copy()
    try:
        expected.set_qform(affine, 1)  # the code, which may be illegal, is not compared
    except (HeaderDataError, ValueError, np.linalg.LinAlgError):  # no rotation
        return False
    stored, wanted = (np.array([float(of[part]) for part in _QUATERNION]) for of in (header, expected))
    if wanted @ stored < 0 and 1 - wanted @ wanted < 1e-5:  # half a turn to either side
        wanted = -wanted
    numbers = [np.array([*of["pixdim"][1:4], *(of[part] for part in _OFFSET)], float) for of in (header, expected)]
    return (
        np.allclose(stored, wanted, rtol=0, atol=_ROUNDING)
        and np.allclose(*numbers, rtol=_ROUNDING, atol=_ROUNDING)
        and (header["pixdim"][0] < 0) == (expected["pixdim"][0] < 0)
    )
