"""The Dice of each class at every offset of its logits, where no class competes with another for a voxel."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from magms_nnunet.networks.decision_offset import LARGEST, THRESHOLDS, volumes


class Curves(NamedTuple):
    """What is kept of samples: their modalities, features of the offset, and volumes at its 25 thresholds.

    Attributes:
        available: bool ``(N, M)``.
        features: ``(N, features)``.
        predicted: annotated voxels above each threshold, ``(N, outputs, 25)``.
        right: those of them that belong to the class, ``(N, outputs, 25)``.
        reference: volume of each class in voxels, ``(N, outputs)``.
    """

    available: Tensor
    features: Tensor
    predicted: Tensor
    right: Tensor
    reference: Tensor


def keep_curves(
    available: Tensor, features: Tensor, margins: Tensor, reference: Tensor, counted: Tensor | None
) -> Curves:
    """Return what is kept of a batch.

    Args:
        available: bool ``(B, M)``.
        features: ``(B, features)``.
        margins: ``(B, outputs, *spatial)``.
        reference: bool ``(B, outputs, *spatial)``, the annotated voxels of each class.
        counted: bool ``(B, 1, *spatial)``, the annotated voxels; None: all.
    """
    return Curves(
        available,
        features,
        volumes(margins, counted),
        volumes(margins, reference),
        reference.flatten(2).sum(2).float(),
    )


class SampleDice:
    """The scores of samples at their offsets."""

    def __init__(self, kept: Curves):
        self.has = kept.reference > 0
        usual = usual_volume(kept.reference)[:, None]
        self.scores = dice_of_samples(kept.right, kept.predicted, kept.reference[:, :, None], usual)
        self.smooth = _smoothed(self.scores)

    def draw(self) -> Tensor:
        """Return the samples of a step, 64."""
        return torch.randint(len(self.has), (64,), device=self.has.device)

    def __call__(self, drawn: Tensor, offsets: Tensor, *, smooth: bool) -> Tensor:
        """Return the scores: ``(drawn, outputs)``."""
        scores = _interpolated((self.smooth if smooth else self.scores)[drawn], offsets)
        return weigh_absence(scores, self.has[drawn])


class PooledDice:
    """The Dice over the samples of each subset at their offsets."""

    def __init__(self, kept: Curves):
        self.kept = kept
        self.smooth = _smoothed(kept.right), _smoothed(kept.predicted)

    def draw(self) -> Tensor:
        """Return the samples of a step, all of them."""
        return torch.arange(len(self.kept.available), device=self.kept.available.device)

    def __call__(self, drawn: Tensor, offsets: Tensor, *, smooth: bool) -> Tensor:
        """Return for each sample the Dice over those of its subset: ``(drawn, outputs)``."""
        right, predicted = self.smooth if smooth else (self.kept.right, self.kept.predicted)
        return dice_of_subsets(
            self.kept.available[drawn],
            _interpolated(right[drawn], offsets),
            _interpolated(predicted[drawn], offsets),
            self.kept.reference[drawn],
        )


def usual_volume(reference: Tensor) -> Tensor:
    """Return the mean volume of each class in the samples that have it: ``(outputs,)``.

    Args:
        reference: ``(N, outputs)``.
    """
    return reference.sum(0) / (reference > 0).sum(0).clamp(min=1)


def dice_of_samples(right: Tensor, predicted: Tensor, reference: Tensor, usual: Tensor) -> Tensor:
    """Return the Dice of samples, and of those that lack a class the share of its Dice that false positives leave.

    Args:
        right: volume of the overlap, ``(N, outputs[, thresholds])``.
        predicted: volume of the prediction, of the same shape.
        reference: ``(N, outputs[, 1])``.
        usual: of :func:`usual_volume`, ``(outputs[, 1])``.
    """
    has = reference > 0
    overlap, volume = torch.where(has, right, usual), torch.where(has, reference, 2 * usual)
    return 2 * overlap / (predicted + volume).clamp(min=1e-5)


def weigh_absence(scores: Tensor, has: Tensor) -> Tensor:
    """Return the scores, those of a class that a sample lacks times the mean score of the samples that have it.

    Args:
        scores: ``(N, outputs)``.
        has: bool ``(N, outputs)``.
    """
    reached = (scores.detach() * has).sum(0) / has.sum(0).clamp(min=1)
    return torch.where(has, scores, reached * scores)


def dice_of_subsets(available: Tensor, right: Tensor, predicted: Tensor, reference: Tensor) -> Tensor:
    """Return for each sample the Dice over all samples of its subset: ``(N, outputs)``.

    Args:
        available: bool ``(N, M)``.
        right: volume of the overlap, ``(N, outputs)``.
        predicted: volume of the prediction, ``(N, outputs)``.
        reference: ``(N, outputs)``.
    """
    subset = available.unique(dim=0, return_inverse=True)[1]
    sums = torch.stack((right, predicted, reference), 1)
    sums = torch.zeros_like(sums).index_add(0, subset, sums)[subset]
    return 2 * sums[:, 0] / (sums[:, 1] + sums[:, 2]).clamp(min=1e-5)


def _smoothed(scores: Tensor) -> Tensor:
    """Return the means over thresholds that are at most 2 apart: ``(N, outputs, 25)``."""
    return nn.functional.avg_pool1d(nn.functional.pad(scores, (4, 4), mode="replicate"), 9, 1)


def _interpolated(scores: Tensor, offsets: Tensor) -> Tensor:
    """Return the scores at the thresholds that offsets amount to: ``(N, outputs)``.

    Args:
        scores: ``(N, outputs, 25)``.
        offsets: ``(N, outputs)``; an offset of 2 is a threshold of -2.
    """
    position = (LARGEST - offsets) / (2 * LARGEST) * (THRESHOLDS - 1)
    below = position.detach().floor().long().clamp(0, THRESHOLDS - 2)[:, :, None]
    part = position - below[:, :, 0]
    return scores.gather(2, below)[:, :, 0] * (1 - part) + scores.gather(2, below + 1)[:, :, 0] * part
