"""Draws the modalities that a sample keeps in a training step."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class SubsetLaw:
    """Keep all modalities in a share of the samples, and a random incomplete subset in the others.

    An incomplete subset is drawn by size: first the number of modalities, uniformly from 1 to one less than there are,
    then a subset of that size. A uniform draw over all subsets would show 1 complete sample in 15 for four modalities,
    which costs accuracy where nothing is missing.

    Attributes:
        full_probability: share of the samples that keep all modalities. In a batch of B samples, B times this number
            of them, rounded up or down at random.

    Raises:
        ValueError: ``full_probability`` is not between 0 and 1.
    """

    full_probability: float = 0.5

    def __post_init__(self):
        if not 0 <= self.full_probability <= 1:
            raise ValueError(f"full_probability must be between 0 and 1, got {self.full_probability}")

    def draw(self, available: Tensor) -> Tensor:
        """Return the modalities that each sample keeps: bool ``(B, M)``, at least one of each sample's own.

        Args:
            available: bool ``(B, M)``, the modalities that each sample has; at least one in each row.
        """
        B, M = available.shape
        number = available.sum(1)
        num_complete = int(B * self.full_probability + torch.rand(()).item())
        complete = torch.randperm(B, device=available.device) < num_complete
        size = 1 + (torch.rand(B, device=available.device) * (number - 1)).long()
        size = torch.where(complete | (number == 1), number, size)
        order = torch.rand(B, M, device=available.device).masked_fill(~available, -1).argsort(1, descending=True)
        return torch.zeros_like(available).scatter(1, order, torch.arange(M, device=size.device) < size[:, None])
