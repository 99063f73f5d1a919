"""Trains the decision offset on the samples of the last training steps."""

from collections import deque

import torch
import torch.distributed as dist
from torch import Tensor

from magms_nnunet.losses.decision_curves import Curves, PooledDice, SampleDice, keep_curves
from magms_nnunet.losses.decision_voxels import VoxelDice, Voxels, keep_voxels
from magms_nnunet.losses.targets import counted_voxels
from magms_nnunet.networks.decision_offset import DecisionOffset, volumes


class DecisionMemory:
    """Keeps what gives the Dice of each sample at every offset, and finds the offsets of the highest Dice.

    The Dice of a decision is no smooth function of the offset, and one batch says little about it. Of regions, and of a
    single class beside the background, the volumes of prediction and overlap at 25 thresholds are kept, which give the
    Dice at any offset by interpolation. Several classes of a softmax compete for a voxel, so that the Dice of one
    depends on the offsets of all; there a few voxels of each class are kept.

    Where a sample's reference lacks a class, its Dice is 0 whatever is predicted. There the score is
    ``D 2v / (2v + predicted volume)``, D being the mean Dice of the samples that have the class and v their mean volume
    of it: the Dice that is left of an image which has the usual structure outside of the sample. A stronger penalty
    makes a structure that many patients lack too rare in those who have it.

    A fit starts anew and is short, with dropout: the samples come from patients whom the network has seen, and offsets
    that are fitted to them for long, epoch after epoch, suit new patients less.

    A sample that is a small part of its image, such as a slice, says little about the Dice of the image. With
    ``batch_dice``, which nnU-Net plans in this case, the score is the Dice over all samples of a subset.

    Args:
        decision_offset: of the network.
        regions: whether the outputs are sigmoids (region-based training).
        ignore_label: value of voxels without annotation, or None. With regions the target's last channel marks them.
        batch_dice: as in the plans' configuration.
    """

    CAPACITY, CAPACITY_OF_PARTS, FEWEST = 1024, 4096, 100  # samples
    STEPS, LR, DECAY, DROPOUT = 400, 1e-2, 1e-2, 0.5

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
        self._samples: deque[Curves | Voxels] = deque(maxlen=self.CAPACITY_OF_PARTS if batch_dice else self.CAPACITY)

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
        outputs = margins.shape[1]
        counted = counted_voxels(target, self.ignore_label, self.regions)
        if self.regions:
            reference = target[:, :outputs].bool()
        else:
            labels = torch.arange(outputs, device=target.device).view(1, -1, *[1] * (margins.ndim - 2))
            reference = target == labels
        if counted is not None:
            reference = reference & counted
        available = available.to(margins.device)
        features = self.decision_offset.features(volumes(margins), available, margins[0, 0].numel())
        if self.regions or outputs == 2:
            kept = keep_curves(available, features, margins, reference, counted)
        else:
            kept = keep_voxels(available, features, logits, margins, reference)
        self._samples.extend(map(type(kept)._make, zip(*kept, strict=True)))

    def fit(self) -> None:
        """Train the offset anew on the samples that all processes keep; fewer than 100 leave it as it is."""
        offset, together = self.decision_offset, dist.is_available() and dist.is_initialized()
        if not self._samples:
            return
        kept = type(self._samples[0])(*(torch.stack(parts) for parts in zip(*self._samples, strict=True)))
        if together:  # nnU-Net draws the patches of each process by another rule
            kept = _of_all_processes(kept)
        if len(kept.features) >= self.FEWEST:
            score = self._score(kept)
            counts = kept.reference.any(0)
            counts[0] &= self.regions  # otherwise it is the background
            offset.reset()
            offset.mean.copy_(kept.features.mean(0))
            offset.scale.copy_(kept.features.std(0).clamp(min=0.1))
            offset.requires_grad_(True)
            optimizer = torch.optim.AdamW(offset.parameters(), self.LR, weight_decay=self.DECAY)
            for step in range(self.STEPS):
                optimizer.param_groups[0]["lr"] = self.LR * (1 - step / self.STEPS)
                drawn = score.draw()
                # at first a slope is needed where nothing is predicted for a while
                offsets = offset.offset(kept.features[drawn], dropout=self.DROPOUT)
                value = score(drawn, offsets, smooth=step < self.STEPS // 2)
                optimizer.zero_grad()
                (-value[:, counts].mean()).backward()
                optimizer.step()
            optimizer.zero_grad()
            offset.requires_grad_(False)
        if together:
            for of_offset in offset.state_dict().values():
                dist.broadcast(of_offset, 0)

    def _score(self, kept: Curves | Voxels) -> SampleDice | PooledDice | VoxelDice:
        if isinstance(kept, Voxels):
            return VoxelDice(kept, of_subsets=self.batch_dice)
        return PooledDice(kept) if self.batch_dice else SampleDice(kept)


def _of_all_processes(kept: Curves | Voxels) -> Curves | Voxels:
    """Return the samples of every process, one after the other, on the device of this one's."""
    parts: list = [None] * dist.get_world_size()
    dist.all_gather_object(parts, tuple(part.cpu() for part in kept))
    return type(kept)(*(torch.cat(same).to(kept.features.device) for same in zip(*parts, strict=True)))
