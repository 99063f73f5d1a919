"""Mean fusion of the features of the available modalities (section 2.1 of arXiv 2306.03730)."""

import torch
from torch import Tensor


def mean_fusion(features: dict[int, Tensor], available: Tensor | None = None) -> Tensor:
    """Return the mean over the available modalities, for each sample.

    Args:
        features: modality -> ``(B, C, *spatial)``. A modality that no sample has may be left out; features of one that
            some samples lack must be finite there, because they are multiplied by 0.
        available: bool ``(B, M)``, at least one True per row. None: all samples have all modalities in ``features``.

    Returns:
        ``(B, C, *spatial)``
    """
    if available is None:
        return mean(list(features.values()))
    modalities = list(features)
    first = features[modalities[0]]
    weights = available[:, modalities].to(first.device, first.dtype)
    weights = weights / weights.sum(1, keepdim=True)
    per_voxel = (-1, *[1] * (first.ndim - 1))
    return torch.stack([features[m] * weights[:, i].view(per_voxel) for i, m in enumerate(modalities)]).sum(0)


def mean(tensors: list[Tensor]) -> Tensor:
    """Return the mean of tensors of one shape. Sums after the first are in place, for less memory traffic."""
    if len(tensors) == 1:
        return tensors[0]
    total = tensors[0] + tensors[1]
    for tensor in tensors[2:]:
        total += tensor
    total /= len(tensors)
    return total
