"""A network's own estimate of its Dice, from its probabilities."""

import torch
from torch import Tensor

from magms_nnunet.metrics.dice import Regions

_SLAB_VOXELS = 1 << 22  # their probabilities are in memory at a time


def soft_dice(logits: Tensor, regions: Regions, *, sigmoid: bool) -> dict[str, float]:
    """Return ``(2 sum(p m) + 1) / (sum(p) + sum(m) + 1)`` of every region, on the grid of the logits.

    ``p`` is the probability of the region and ``m`` the predicted mask. The voxel that is added on both sides makes the
    value 1 where nothing is predicted and every probability is 0.

    Args:
        logits: ``(C, *spatial)``; C classes with the background first, or a sigmoid per region.
        regions: label values of each region, in the order of dataset.json.
        sigmoid: whether the outputs are sigmoids, one per region.
    """
    sums = {name: torch.zeros(3, dtype=torch.float64) for name in regions}
    slabs = max(1, round(logits[0].numel() / _SLAB_VOXELS))
    for slab in logits.tensor_split(slabs, dim=1):
        slab = slab.float()
        probabilities = torch.sigmoid(slab) if sigmoid else torch.softmax(slab, 0)
        labels = None if sigmoid else slab.argmax(0)
        for channel, (name, values) in enumerate(regions.items()):
            if labels is None:
                p, mask = probabilities[channel], slab[channel] > 0
            else:
                p = probabilities[list(values)].sum(0)
                mask = torch.isin(labels, torch.tensor(values))
            sums[name] += torch.stack([(p * mask).sum(), p.sum(), mask.sum()]).double()
    return {name: float((2 * both + 1) / (p + mask + 1)) for name, (both, p, mask) in sums.items()}
