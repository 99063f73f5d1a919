"""The Dice of all classes of a softmax at any offsets of their logits, from a few voxels of each class."""

from typing import NamedTuple

import torch
from torch import Tensor

from magms_nnunet.losses.decision_curves import dice_of_samples, dice_of_subsets, usual_volume, weigh_absence
from magms_nnunet.networks.decision_offset import LARGEST

LEAST = -30.0
"""Logits that are lower than the highest one of their voxel by more are raised to this difference."""


class Voxels(NamedTuple):
    """What is kept of samples: their modalities, features of the offset, and voxels drawn from each class.

    Attributes:
        available: bool ``(N, M)``.
        features: ``(N, features)``.
        logits: less the highest of the voxel, float16 ``(N, classes, voxels, classes)``; the second axis is the class
            of the reference.
        reference: number of voxels that those of a class were drawn from, ``(N, classes)``: its volume, and for the
            background the voxels that an offset can turn into another class.
    """

    available: Tensor
    features: Tensor
    logits: Tensor
    reference: Tensor


def keep_voxels(available: Tensor, features: Tensor, logits: Tensor, margins: Tensor, reference: Tensor) -> Voxels:
    """Return what is kept of a batch: up to 64 voxels of each class, drawn at random with replacement.

    Args:
        available: bool ``(B, M)``.
        features: ``(B, features)``.
        logits: ``(B, classes, *spatial)``.
        margins: ``(B, classes, *spatial)``.
        reference: bool ``(B, classes, *spatial)``, the annotated voxels of each class.
    """
    B, K = logits.shape[:2]
    number = min(64, max(8, 512 // K))
    V = logits[0, 0].numel()
    first = V * torch.arange(B, device=logits.device)[:, None]
    drawn, volumes = [], []
    for k in range(K):
        members = reference[:, k].flatten(1)
        if k == 0:
            members = members & (margins[:, 1:].amax(1) > -LARGEST).flatten(1)
        rank = members.flatten().cumsum(0, dtype=torch.int32)  # of all samples: a GPU adds up few long rows slowly
        before = rank[first] - members[:, :1].int()
        volume = rank[first + V - 1] - before
        chosen = before + (torch.rand(B, number, device=logits.device) * volume).int()
        index = (torch.searchsorted(rank, chosen, right=True) - first).clamp(max=V - 1)
        drawn.append(logits.flatten(2).gather(2, index[:, None].expand(B, K, number)).float())
        volumes.append(volume)
    of_voxels = torch.stack(drawn, 1).transpose(2, 3)
    of_voxels = of_voxels - of_voxels.amax(3, keepdim=True)
    of_voxels = of_voxels.nan_to_num(LEAST).clamp(min=LEAST)  # a step in half precision may overflow
    return Voxels(available, features, of_voxels.half(), torch.cat(volumes, 1).float())


class VoxelDice:
    """The scores of samples, or the Dice over the samples of each subset, at their offsets.

    The drawn voxels of a class represent all of it. A voxel belongs to each class in the share that a softmax of its
    logits with offsets gives, which is sharpened to come close to the decision.

    Args:
        kept: the samples.
        of_subsets: whether the samples of a subset are scored together.
    """

    def __init__(self, kept: Voxels, *, of_subsets: bool):
        self.kept = kept
        self.of_subsets = of_subsets
        self.usual = usual_volume(kept.reference)
        self.subset = kept.available.unique(dim=0, return_inverse=True)[1]

    def draw(self) -> Tensor:
        """Return the samples of a step: 64, or 64 of each of four subsets, those more often that more samples have."""
        drawn = torch.randint(len(self.subset), (4 if self.of_subsets else 64,), device=self.subset.device)
        if not self.of_subsets:
            return drawn
        members = [(self.subset == self.subset[one]).nonzero()[:, 0] for one in drawn]
        return torch.cat([of[torch.randint(len(of), (64,), device=of.device)] for of in members])

    def __call__(self, drawn: Tensor, offsets: Tensor, *, smooth: bool) -> Tensor:
        """Return the scores: ``(drawn, classes)``; the background has no offset, and its score no meaning."""
        available, _, logits, reference = Voxels(*(part[drawn] for part in self.kept))
        offsets = torch.cat((torch.zeros_like(offsets[:, :1]), offsets[:, 1:]), 1)
        shares = ((1 if smooth else 4) * (logits.float() + offsets[:, None, None])).softmax(3)
        confusion = shares.mean(2) * reference[:, :, None]  # (drawn, class of the reference, predicted class)
        right, predicted = confusion.diagonal(dim1=1, dim2=2), confusion.sum(1)
        if self.of_subsets:
            return dice_of_subsets(available, right, predicted, reference)
        return weigh_absence(dice_of_samples(right, predicted, reference, self.usual), reference > 0)
