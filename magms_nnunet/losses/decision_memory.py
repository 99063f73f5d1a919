"""Trains the decision offset on the samples of the last training steps."""

from collections import deque
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

from magms_nnunet.losses.targets import counted_voxels
from magms_nnunet.networks.decision_offset import LARGEST, THRESHOLDS, DecisionOffset, volumes


class _Sample(NamedTuple):
    """What is kept of a sample: its modalities, its features, and the volumes at the thresholds."""

    available: Tensor
    features: Tensor
    predicted: Tensor
    right: Tensor
    reference: Tensor


class DecisionMemory:
    """Keeps for each sample the Dice that every offset would give, and finds the offsets of the highest Dice.

    The Dice of a decision is no smooth function of the offset, and one batch says little about it. The volumes of
    prediction and overlap at 25 thresholds are small, and give the Dice of a class at any offset by interpolation. With
    a softmax this supposes that the offsets of the other classes are 0.

    Where a sample's reference lacks a class, its Dice is 0 whatever is predicted. There the score is
    ``v / (v + predicted volume)``, v being the mean volume of the class in the samples that have it, so that a false
    positive as large as the usual structure halves it.

    A sample that is a small part of its image, such as a slice, says little about the Dice of the image. With
    ``batch_dice``, which nnU-Net plans in this case, the score is the Dice over all samples of a subset.

    Args:
        decision_offset: of the network.
        regions: whether the outputs are sigmoids (region-based training).
        ignore_label: value of voxels without annotation, or None. With regions the target's last channel marks them.
        batch_dice: as in the plans' configuration.
    """

    CAPACITY, CAPACITY_OF_PARTS, FEWEST = 1024, 4096, 100  # samples
    STEPS, BATCH, LR, DECAY = 200, 64, 1e-2, 1e-2

    def __init__(
        self,
        decision_offset: DecisionOffset,
        *,
        regions: bool = False,
        ignore_label: int | None = None,
        batch_dice: bool = False,
    ):
        self.decision_offset = decision_offset
        self.regions = regions
        self.ignore_label = ignore_label
        self.batch_dice = batch_dice
        self._samples: deque[_Sample] = deque(maxlen=self.CAPACITY_OF_PARTS if batch_dice else self.CAPACITY)

    def __len__(self) -> int:
        """Return the number of samples kept."""
        return len(self._samples)

    @torch.no_grad()
    def observe(self, logits: Tensor, available: Tensor, target: Tensor) -> None:
        """Keep the samples of a training step.

        Args:
            logits: of full resolution, ``(B, outputs, *spatial)``, without offsets.
            available: bool ``(B, M)``, the modalities that each sample was seen from.
            target: of full resolution, ``(B, 1, *spatial)`` labels or ``(B, regions [+ 1], *spatial)``.
        """
        margins = self.decision_offset.margins(logits)
        counted = counted_voxels(target, self.ignore_label, self.regions)
        if self.regions:
            reference = target[:, : margins.shape[1]].bool()
        else:
            labels = torch.arange(margins.shape[1], device=target.device).view(1, -1, *[1] * (margins.ndim - 2))
            reference = target == labels
        if counted is not None:
            reference = reference & counted
        predicted = everywhere = volumes(margins)
        if counted is not None:
            predicted = volumes(margins, counted)
        available = available.to(margins.device)
        kept = _Sample(
            available,
            self.decision_offset.features(everywhere, available, margins[0, 0].numel()),
            predicted,
            volumes(margins, reference),
            reference.flatten(2).sum(2).float(),
        )
        self._samples.extend(map(_Sample._make, zip(*kept, strict=True)))

    def fit(self) -> None:
        """Train the offset on the samples kept; fewer than 100 leave it as it is. All processes get the same offset."""
        offset, number = self.decision_offset, len(self._samples)
        if number >= self.FEWEST:
            kept = _Sample(*(torch.stack(parts) for parts in zip(*self._samples, strict=True)))
            score = _PooledDice(kept) if self.batch_dice else _SampleDice(kept)
            everything = torch.arange(number, device=kept.features.device)
            counts = kept.reference.any(0)
            counts[0] &= self.regions  # otherwise it is the background
            offset.requires_grad_(True)
            optimizer = torch.optim.AdamW(offset.parameters(), self.LR, weight_decay=self.DECAY)
            for step in range(self.STEPS):
                optimizer.param_groups[0]["lr"] = self.LR * (1 - step / self.STEPS)
                drawn = (
                    everything if self.batch_dice else torch.randint(number, (self.BATCH,), device=everything.device)
                )
                # at first a slope is needed where nothing is predicted for a while
                value = score(drawn, offset.offset(kept.features[drawn]), smooth=step < self.STEPS // 2)
                optimizer.zero_grad()
                (-value[:, counts].mean()).backward()
                optimizer.step()
            optimizer.zero_grad()
            offset.requires_grad_(False)
        if dist.is_available() and dist.is_initialized():
            for p in offset.parameters():
                dist.broadcast(p, 0)


class _SampleDice:
    """The scores of samples at their offsets."""

    def __init__(self, kept: _Sample):
        has = kept.reference > 0
        usual = kept.reference.sum(0) / has.sum(0).clamp(min=1)
        volume = torch.where(has, kept.reference, usual)[:, :, None]
        gained = torch.where(has[:, :, None], 2 * kept.right, usual[:, None])
        self.scores = gained / (kept.predicted + volume).clamp(min=1e-5)
        self.smooth = _smoothed(self.scores)

    def __call__(self, drawn: Tensor, offsets: Tensor, *, smooth: bool) -> Tensor:
        """Return the scores: ``(drawn, outputs)``."""
        return _interpolated((self.smooth if smooth else self.scores)[drawn], offsets)


class _PooledDice:
    """The Dice over the samples of each subset at their offsets."""

    def __init__(self, kept: _Sample):
        self.kept = kept
        self.smooth = _smoothed(kept.right), _smoothed(kept.predicted)
        self.subset = kept.available.unique(dim=0, return_inverse=True)[1]

    def __call__(self, drawn: Tensor, offsets: Tensor, *, smooth: bool) -> Tensor:
        """Return for each sample the Dice over those of its subset: ``(drawn, outputs)``."""
        right, predicted = self.smooth if smooth else (self.kept.right, self.kept.predicted)
        overlap = self._sums(_interpolated(right[drawn], offsets), drawn)
        prediction = self._sums(_interpolated(predicted[drawn], offsets), drawn)
        reference = self._sums(self.kept.reference[drawn], drawn)
        return 2 * overlap / (prediction + reference).clamp(min=1e-5)

    def _sums(self, values: Tensor, drawn: Tensor) -> Tensor:
        """Return for each sample the sum over those of its subset."""
        subset = self.subset[drawn]
        return values.new_zeros(len(drawn), values.shape[1]).index_add(0, subset, values)[subset]


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
