"""The loss of a network that is trained on random subsets of the modalities."""

from torch import Tensor, nn

from magms_nnunet.losses.decision_dice import decision_dice
from magms_nnunet.losses.targets import Target, counted_voxels, full_resolution
from magms_nnunet.networks.any_subset_unet import SubsetLogits
from magms_nnunet.networks.decision_offset import DecisionOffset


class AnySubsetLoss(nn.Module):
    """nnU-Net's loss of the logits, plus 1 - Dice of the decisions, which trains the offsets only.

    Args:
        segmentation_loss: nnU-Net's Dice and cross entropy.
        decision_offset: of the network.
        regions: whether the outputs are sigmoids (region-based training).
        ignore_label: value of voxels without annotation, or None. With regions the target's last channel marks them.
    """

    def __init__(
        self,
        segmentation_loss: nn.Module,
        decision_offset: DecisionOffset,
        *,
        regions: bool = False,
        ignore_label: int | None = None,
    ):
        super().__init__()
        self.segmentation_loss = segmentation_loss
        self.decision_offset = decision_offset
        self.regions = regions
        self.ignore_label = ignore_label

    def forward(self, output: SubsetLogits | Tensor | list[Tensor], target: Target) -> Tensor:
        """Return the scalar loss; for plain logits (validation) that of nnU-Net alone."""
        if not isinstance(output, SubsetLogits):
            return self.segmentation_loss(output, target)
        logits, labels = full_resolution(output.logits), full_resolution(target)
        mask = counted_voxels(labels, self.ignore_label, self.regions)
        if self.regions and mask is not None:
            labels = labels[:, :-1]
        decided = self.decision_offset(logits.detach().float(), output.available)
        dice = decision_dice(decided, labels, regions=self.regions, mask=mask)
        return self.segmentation_loss(output.logits, target) + 1 - dice
