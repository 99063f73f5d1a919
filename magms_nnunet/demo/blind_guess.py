"""A baseline without images, which any system must exceed for its Dice to mean anything."""

from collections.abc import Sequence

import numpy as np

from magms_nnunet.metrics.dice import Regions, dice


def blind_guess(training_labels: Sequence[np.ndarray], regions: Regions) -> dict[str, np.ndarray]:
    """Return one mask per region for all cases: the voxels where the region is frequent in the training labels.

    The threshold of the voxel-wise frequency is the one with the best mean Dice over the training cases.

    Args:
        training_labels: label maps ``(*spatial)`` of one shape.
        regions: label values of each region.

    Returns:
        Region -> boolean mask ``(*spatial)``.

    Raises:
        ValueError: there are no label maps, or their shapes differ.
    """
    shapes = {labels.shape for labels in training_labels}
    if len(shapes) != 1:
        raise ValueError(f"a blind guess needs label maps of one shape, got {sorted(shapes) or 'none'}")
    return {
        name: _best_mask([np.isin(labels, values) for labels in training_labels]) for name, values in regions.items()
    }


def _best_mask(masks: list[np.ndarray]) -> np.ndarray:
    votes = np.sum(masks, axis=0)
    candidates = [votes >= threshold for threshold in range(1, len(masks) + 1)]
    return max(candidates, key=lambda candidate: np.mean([dice(mask, candidate) for mask in masks]))
