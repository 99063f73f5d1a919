"""The uncertainty of a network, and the disagreement of several folds, in every voxel."""

from collections.abc import Iterable

import numpy as np
import torch


def entropy_nats(probabilities: np.ndarray, regions: bool) -> np.ndarray:
    """Return the predictive entropy of every voxel, ``(z, y, x)``.

    Args:
        probabilities: ``(C, z, y, x)``.
        regions: whether they are sigmoids, whose entropies are averaged.
    """
    p = torch.as_tensor(probabilities).float().clamp(0, 1)
    if regions:
        return (torch.special.entr(p) + torch.special.entr(1 - p)).mean(0).numpy()
    return torch.special.entr(p).sum(0).numpy()


def mutual_information_nats(of_folds: Iterable[np.ndarray], regions: bool) -> np.ndarray:
    """Return the disagreement of several folds in every voxel, ``(z, y, x)``: H(mean p) - mean H(p).

    It is 0 where all folds have the same probabilities, however uncertain each is, and at most the logarithm of the
    number of classes (Houlsby et al., arXiv 1112.5745, equation 1; for ensembles Smith and Gal, arXiv 1803.08533).

    Args:
        of_folds: probabilities of each fold, ``(C, z, y, x)``; one at a time is in memory.
        regions: see :func:`entropy_nats`.
    """
    total, entropies, folds = np.float32(0), np.float32(0), 0
    for probabilities in of_folds:
        total = total + np.asarray(probabilities, np.float32)
        entropies = entropies + entropy_nats(probabilities, regions)
        folds += 1
    return np.maximum(entropy_nats(total / folds, regions) - entropies / folds, 0)
