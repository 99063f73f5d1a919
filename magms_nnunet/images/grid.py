"""The position of an image's voxels in space, and the check that two images share one grid."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import product

import numpy as np

from magms_nnunet.errors import CaseError, format_size

GEOMETRY_TOLERANCE = 1e-3  # voxels; above the rounding of headers, below what matters
RESAMPLE = "resample them to one grid"
"""The remedy for images of a case on several grids."""
MAKE_FORMS_AGREE = "make sform and qform agree (fslorient -copysform2qform FILE, where the sform is right)"
"""The remedy for an image whose header describes two positions."""

_LETTERS = ("LR", "PA", "SI")  # the direction in which ITK's x, y and z grow, and its opposite
_ITK_OF_NIFTI = np.diag([-1.0, -1.0, 1.0, 1.0])
_ASPECTS = ("direction", "spacing_mm", "origin_mm")


@dataclass(frozen=True)
class Grid:
    """A grid in ITK's convention, all in its order of axes (x, y, z).

    Attributes:
        size: in voxels.
        spacing_mm: between voxels.
        origin_mm: centre of the first voxel.
        direction: direction cosines, a square matrix row by row; its columns are the image's axes.
        forms: ``sform`` or ``qform`` -> the grid that this part of the file's NIfTI header describes, of those that
            differ from this grid by more than rounding.
        is_placed: whether the file gives a position.
    """

    size: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    origin_mm: tuple[float, ...]
    direction: tuple[float, ...]
    forms: Mapping[str, "Grid"] = field(default_factory=dict, compare=False)
    is_placed: bool = field(default=True, compare=False)

    @classmethod
    def from_nifti(cls, size: tuple[int, ...], affine: np.ndarray) -> "Grid":
        """Make a grid of three axes from NIfTI's affine, whose x and y run to the right and to the front."""
        in_itk = _ITK_OF_NIFTI @ affine
        spacing_mm = np.maximum(np.linalg.norm(in_itk[:3, :3], axis=0), 1e-12)
        direction = (in_itk[:3, :3] / spacing_mm).ravel()
        return cls(tuple(size), tuple(spacing_mm.tolist()), tuple(in_itk[:3, 3].tolist()), tuple(direction.tolist()))

    @property
    def axes(self) -> np.ndarray:
        """Direction cosines as a matrix, one image axis per column."""
        return np.reshape(self.direction, (len(self.size), -1))

    @property
    def nifti_affine(self) -> np.ndarray:
        """The affine of NIfTI, as :meth:`from_nifti` takes it."""
        in_itk = np.eye(4)
        in_itk[:3, :3] = self.axes * self.spacing_mm
        in_itk[:3, 3] = self.origin_mm
        return _ITK_OF_NIFTI @ in_itk

    @property
    def is_orthonormal(self) -> bool:
        """Whether the axes are at right angles and of length 1, to the rounding that ITK accepts."""
        return is_orthonormal(self.axes)

    @property
    def orientation(self) -> str:
        """The side of the patient that each axis runs to, such as ``LPS``; empty for a 2-D image."""
        if len(self.size) != 3:
            return ""
        nearest = np.abs(self.axes).argmax(0)
        return "".join(_LETTERS[row][int(self.axes[row, axis] < 0)] for axis, row in enumerate(nearest))

    def shift(self, other: "Grid") -> float:
        """Return the largest distance between the positions of one voxel in two grids of one size, in voxels."""
        corners = np.array(list(product(*((0, n) for n in self.size))))  # both are affine, so a corner moves most
        here, there = (corners * grid.spacing_mm @ grid.axes.T + grid.origin_mm for grid in (self, other))
        return float(np.abs((there - here) @ self.axes / self.spacing_mm).max())


def is_orthonormal(axes: np.ndarray) -> bool:
    """Return whether the columns are at right angles and of length 1, to the rounding that ITK accepts."""
    return bool(np.abs(axes.T @ axes - np.eye(axes.shape[1])).max() <= 1e-3)


def difference(grid: Grid, other: Grid, name: str, tolerance_voxels: float) -> str | None:
    """Return the difference between two grids, with both values, as the end of a sentence; None: they are the same.

    Where the header of one of them describes further positions, these are compared, too.

    Args:
        grid: of the image that the sentence is about.
        other: of the image that it is compared with.
        name: of that image.
        tolerance_voxels: largest distance between the positions of one voxel, in voxels.
    """
    if grid.size != other.size:
        return f"has {format_size(grid.size)} voxels, {name} has {format_size(other.size)}"
    if grid.shift(other) <= tolerance_voxels:
        forms = sorted({*grid.forms, *other.forms})
        pairs = ((form, grid.forms.get(form, grid), other.forms.get(form, other)) for form in forms)
        found = ((form, difference(*pair, name, tolerance_voxels)) for form, *pair in pairs)
        return next((f"{problem} (by the {form})" for form, problem in found if problem), None)
    shifts = {aspect: grid.shift(replace(grid, **{aspect: getattr(other, aspect)})) for aspect in _ASPECTS}
    aspect = next((a for a in _ASPECTS if shifts[a] > tolerance_voxels), max(shifts, key=lambda aspect: shifts[aspect]))
    if aspect == "spacing_mm":
        return f"has a spacing of {format_size(grid.spacing_mm)} mm, {name} of {format_size(other.spacing_mm)} mm"
    if aspect == "origin_mm":
        return f"begins at {_list(grid.origin_mm)} mm, {name} at {_list(other.origin_mm)} mm"
    if grid.orientation != other.orientation:
        return f"is oriented {grid.orientation}, {name} {other.orientation}"
    return f"is turned against {name} (direction cosines {_list(grid.direction)} and {_list(other.direction)})"


def contradiction(grid: Grid, tolerance_voxels: float) -> str | None:
    """Return the contradiction between the positions in one header, with both values, as the end of a sentence."""
    for form, described in grid.forms.items():
        if problem := difference(described, replace(grid, forms={}), "what SimpleITK reads", tolerance_voxels):
            return f"describes two positions, {grid.shift(described):.2g} voxels apart: its {form} {problem}"
    return None


def check_same_grid(
    case: str, label: str, grid: Grid, other_label: str, other: Grid, tolerance_voxels: float, remedy: str = RESAMPLE
) -> None:
    """Check that two images of a case lie on one grid: the only such check of all commands.

    Args:
        case: name of the case, for the message.
        label: file and modality of the image, for the message.
        grid: of the image.
        other_label: file and modality of the image that it is compared with.
        other: grid of that image.
        tolerance_voxels: largest distance between the positions of one voxel, in voxels.
        remedy: what the user can do, for the message.

    Raises:
        CaseError: the grids differ; the message gives the values of both.
    """
    problem = difference(grid, other, other_label, tolerance_voxels)
    if problem is None:
        return
    accept = ""
    if grid.size == other.size and grid.orientation == other.orientation:
        accept = f", or accept it with --geometry-tolerance (they lie {grid.shift(other):.2g} voxels apart)"
    raise CaseError(case, f"{label} {problem}: {remedy}{accept}")


def check_one_position(
    case: str, label: str, grid: Grid, tolerance_voxels: float, remedy: str = MAKE_FORMS_AGREE
) -> None:
    """Check that the header of an image describes one position.

    Args:
        case: name of the case, for the message.
        label: file and modality of the image, for the message.
        grid: of the image.
        tolerance_voxels: largest distance between the positions of one voxel, in voxels.
        remedy: what the user can do, for the message.

    Raises:
        CaseError: sform, qform and spacing contradict each other; the message gives the values.
    """
    if problem := contradiction(grid, tolerance_voxels):
        raise CaseError(case, f"{label} {problem}: {remedy}")


def _list(values: tuple[float, ...]) -> str:
    return " ".join(f"{value + 0.0:.6g}" for value in values)  # no -0
