"""The threshold between foreground and background, for every subset of the modalities."""

import torch
from torch import Tensor, nn


class DecisionOffset(nn.Module):
    """Adds to the logits of each class a number that depends on which modalities are absent.

    Cross entropy makes a network uncertain where a subset shows a structure badly: enhancing tumour seen without T1c is
    seldom more than 30 % probable anywhere, and a decision at 50 % leaves it out although a segmentation at 10 % has
    the better Dice. The offset moves the decision to the highest Dice:

        offset(S) = bias + sum over the absent m of weight[m]

    It is learned in training by :func:`magms_nnunet.losses.decision_dice.decision_dice`, and starts at 0.

    Args:
        num_modalities: M.
        num_outputs: classes or regions.
    """

    def __init__(self, num_modalities: int, num_outputs: int):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(num_outputs))
        self.weight = nn.Parameter(torch.zeros(num_modalities, num_outputs))

    def forward(self, logits: Tensor, available: Tensor) -> Tensor:
        """Return the logits with their offsets, ``(B, outputs, *spatial)``.

        Args:
            logits: ``(B, outputs, *spatial)``.
            available: bool ``(B, M)``.
        """
        absent = (~available).to(logits.device, self.weight.dtype)
        offset = self.bias + absent @ self.weight
        return logits + offset.view(*offset.shape, *[1] * (logits.ndim - 2)).to(logits.dtype)
