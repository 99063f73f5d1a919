"""95th percentile of the Hausdorff distance between two masks, in mm."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from scipy import ndimage
from scipy.spatial import KDTree

BRATS_WORST_MM = 374.0
"""The value of the BraTS challenges where one of two masks is empty: about the diagonal of 240 x 240 x 155 mm."""


class Surface:
    """The surface of a mask: its voxels with a neighbour outside, across faces (6 in 3-D, 4 in 2-D).

    Positions beyond the image are outside, so that a mask ends at the border of the image.

    Args:
        mask: boolean ``(*spatial)``.
        spacing_mm: distance between voxels, one number per axis of the array.
        offset: index of the mask's first voxel in the whole image, one number per axis.
    """

    def __init__(self, mask: np.ndarray, spacing_mm: Sequence[float], offset: Sequence[int] | None = None):
        edges = mask & ~ndimage.binary_erosion(mask)
        self.points_mm = (np.argwhere(edges) + np.asarray(offset or [0] * mask.ndim)) * np.asarray(spacing_mm, float)

    def __len__(self) -> int:
        return len(self.points_mm)

    @cached_property
    def _tree(self) -> KDTree:
        # Faster than a distance transform: the time depends on the surfaces, not on the box around both.
        return KDTree(self.points_mm, balanced_tree=False, compact_nodes=False)

    def distances_mm(self, other: "Surface") -> np.ndarray:
        """Return the distance of each point from the nearest point of the other surface, ``(len(self),)``."""
        return other._tree.query(self.points_mm)[0]


def hd95_of_surfaces(reference: Surface, prediction: Surface, worst_mm: float) -> float:
    """Return the HD95 in mm of two surfaces in one image; 0 where both are empty, ``worst_mm`` where one is.

    Each direction has its own percentile, and the larger one counts, as in MONAI's
    ``compute_hausdorff_distance(percentile=95, directed=False)``; pooling both directions would give another number.
    Percentiles interpolate linearly.

    Args:
        reference: surface of the reference.
        prediction: surface of the prediction.
        worst_mm: the value where exactly one surface is empty.
    """
    if not len(reference) and not len(prediction):
        return 0.0
    if not len(reference) or not len(prediction):
        return float(worst_mm)
    directed = (reference.distances_mm(prediction), prediction.distances_mm(reference))
    return float(max(np.percentile(distances, 95) for distances in directed))


def diagonal_mm(shape: Sequence[int], spacing_mm: Sequence[float]) -> float:
    """Return the length of an image's diagonal, from corner to corner of its voxels."""
    return float(np.linalg.norm(np.multiply(shape, spacing_mm)))


def hd95(reference: np.ndarray, prediction: np.ndarray, spacing_mm: Sequence[float]) -> float:
    """Return the HD95 in mm of two boolean masks; 0 where both are empty, the image's diagonal where one is.

    Args:
        reference: boolean ``(*spatial)``.
        prediction: boolean ``(*spatial)``.
        spacing_mm: distance between voxels, in the order of the array's axes.

    Raises:
        ValueError: the shapes differ, or ``spacing_mm`` does not have one positive number per axis.
    """
    if reference.shape != prediction.shape:
        raise ValueError(f"reference {reference.shape} and prediction {prediction.shape} differ in shape")
    check_spacing(reference.shape, spacing_mm)
    surfaces = (Surface(np.asarray(mask, bool), spacing_mm) for mask in (reference, prediction))
    return hd95_of_surfaces(*surfaces, worst_mm=diagonal_mm(reference.shape, spacing_mm))


def check_spacing(shape: Sequence[int], spacing_mm: Sequence[float]) -> None:
    """Raise ValueError unless ``spacing_mm`` has one positive number per axis of ``shape``."""
    if len(spacing_mm) != len(shape) or not np.all(np.asarray(spacing_mm) > 0):
        raise ValueError(f"spacing_mm must have {len(shape)} numbers above 0, got {tuple(spacing_mm)}")
