"""A differentiable form of the Dice of a network's decisions."""

import torch
from torch import Tensor


def decision_dice(
    logits: Tensor,
    target: Tensor,
    *,
    regions: bool = False,
    mask: Tensor | None = None,
    sharpness: float = 4.0,
) -> Tensor:
    """Return the Dice of sharpened probabilities, mean over samples and foreground classes.

    The decision of a segmentation is 0 or 1 at each voxel and has no gradient. Multiplying the logits by ``sharpness``
    is close to it and has one. A class that a sample's reference lacks does not count, as its Dice is 0 whatever
    the network predicts.

    Args:
        logits: ``(B, outputs, *spatial)``; float32 is used inside.
        target: labels ``(B, 1, *spatial)``, or with ``regions`` one channel per output ``(B, outputs, *spatial)``.
        regions: whether the outputs are sigmoids; otherwise a softmax whose class 0 is the background.
        mask: bool ``(B, 1, *spatial)``, the voxels that count; None: all.
        sharpness: the factor.

    Returns:
        Scalar in [0, 1]; 0 where no sample has any foreground.
    """
    logits = sharpness * logits.float()
    if regions:
        p, y = logits.sigmoid(), target
    else:
        p = logits.softmax(1)[:, 1:]
        y = target == torch.arange(1, logits.shape[1], device=logits.device).view(1, -1, *[1] * (logits.ndim - 2))
    if mask is not None:
        p, y = p * mask, y * mask
    space = tuple(range(2, logits.ndim))
    volume = y.sum(space, dtype=torch.float32)
    overlap = (p * y).sum(space)
    dice = 2 * overlap / (p.sum(space) + volume).clamp(min=1)
    counts = volume > 0
    return (dice * counts).sum() / counts.sum().clamp(min=1)
