"""The loss of a network that is trained on random subsets of the modalities."""

from torch import Tensor, nn

from magms_nnunet.losses.decision_memory import DecisionMemory
from magms_nnunet.losses.targets import Target, full_resolution
from magms_nnunet.networks.any_subset_unet import SubsetLogits


class AnySubsetLoss(nn.Module):
    """nnU-Net's loss of the logits; their samples are kept for the training of the decision offset.

    Args:
        segmentation_loss: nnU-Net's Dice and cross entropy.
        memory: keeps the samples.
    """

    def __init__(self, segmentation_loss: nn.Module, memory: DecisionMemory):
        super().__init__()
        self.segmentation_loss = segmentation_loss
        self.memory = memory

    def forward(self, output: SubsetLogits | Tensor | list[Tensor], target: Target) -> Tensor:
        """Return the scalar loss; plain logits (validation) are not kept."""
        if not isinstance(output, SubsetLogits):
            return self.segmentation_loss(output, target)
        self.memory.observe(full_resolution(output.logits), output.available, full_resolution(target))
        return self.segmentation_loss(output.logits, target)
