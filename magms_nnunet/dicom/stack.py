"""Checks that slices make a volume: one orientation, one grid, one image per position, equal distances."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pydicom import Dataset

_SHIFT_MM = 0.01  # between slices: in-plane shift, and difference of distances, by the rounding of headers
_TURN = 1e-4  # of direction cosines
_NEEDED = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns")


def stack_problem(headers: Sequence["Dataset"]) -> tuple[list[int], str | None]:
    """Return the order of slices along their normal, and the reason why they are no volume.

    Returns:
        Indices, and the end of a sentence; None: they are a volume.
    """
    unordered = list(range(len(headers)))
    for keyword in _NEEDED:
        if any(header.get(keyword) is None for header in headers):
            return unordered, f"has no {keyword} in its headers"
    first = headers[0]
    if len({(header.Rows, header.Columns) for header in headers}) > 1:
        return unordered, "holds images of several sizes: two acquisitions in one series"
    spacings = np.array([header.PixelSpacing for header in headers], float)
    orientations = np.array([header.ImageOrientationPatient for header in headers], float)
    if np.abs(orientations - orientations[0]).max() > _TURN:
        return unordered, "holds images of several orientations: two acquisitions in one series, or a localizer"
    if np.abs(spacings - spacings[0]).max() > _SHIFT_MM / max(first.Rows, first.Columns):
        return unordered, "holds images of several pixel spacings: two acquisitions in one series"
    if len(headers) < 2:
        return unordered, "is a single slice"
    right, down = orientations[0, :3], orientations[0, 3:]
    normal = np.cross(right, down)
    positions = np.array([header.ImagePositionPatient for header in headers], float)
    order = np.argsort(positions @ normal, kind="stable").tolist()
    positions = positions[order]
    along = positions @ normal
    return order, _distance_problem(np.diff(along)) or _tilt_problem(positions, along, normal)


def _distance_problem(gaps_mm: np.ndarray) -> str | None:
    if gaps_mm.min() < _SHIFT_MM:
        double = int((gaps_mm < _SHIFT_MM).sum())
        return f"has {double} positions with more than one image: two acquisitions, echoes or times in one series"
    usual = float(np.median(gaps_mm))
    if np.abs(gaps_mm - usual).max() <= max(_SHIFT_MM, 1e-3 * usual):
        return None
    usual = float(gaps_mm.min())
    multiples = gaps_mm / usual
    if np.abs(multiples - multiples.round()).max() < 0.02:
        missing = int((multiples.round() - 1).sum())
        return f"lacks {missing} slice{'s' if missing > 1 else ''} (distances of {usual:g} to {gaps_mm.max():g} mm)"
    return f"has slices at unequal distances ({gaps_mm.min():g} to {gaps_mm.max():g} mm)"


def _tilt_problem(positions: np.ndarray, along: np.ndarray, normal: np.ndarray) -> str | None:
    """Return the problem of slices that are shifted in their plane, as by a tilted gantry; None: they are not."""
    shifts = positions - positions[0] - np.outer(along - along[0], normal)
    shift_mm = float(np.linalg.norm(shifts, axis=1).max())
    return (
        f"has slices that are shifted by up to {shift_mm:.3g} mm (gantry tilt)" if shift_mm > 10 * _SHIFT_MM else None
    )
