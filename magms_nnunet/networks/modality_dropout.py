"""Random subsets of the modalities in training, for systems that learn to do without some by seeing them missing."""

import torch
from torch import Tensor


def random_available(batch_size: int, num_modalities: int, device: torch.device | str = "cpu") -> Tensor:
    """Which modalities each sample keeps: bool ``(B, M)``, uniform over the 2^M - 1 non-empty subsets."""
    subset = torch.randint(1, 2**num_modalities, (batch_size, 1), device=device)
    return (subset >> torch.arange(num_modalities, device=device)) & 1 == 1


def without_absent(x: Tensor, available: Tensor) -> Tensor:
    """``x`` with zeros in place of what a sample lacks, NaN included.

    Args:
        x: ``(B, M + extra, *spatial)``; ``extra`` channels stay as they are.
        available: bool ``(B, M)``.
    """
    M = available.shape[1]
    mask = available.to(x.device).view(*available.shape, *[1] * (x.ndim - 2))
    return torch.cat((torch.where(mask, x[:, :M], 0.0), x[:, M:]), 1)
