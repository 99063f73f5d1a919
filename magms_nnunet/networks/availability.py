"""The modalities that the samples of a batch have, and the marks for them in a training batch."""

import torch
from torch import Tensor


def mark_absent(x: Tensor, available: Tensor) -> Tensor:
    """Return a training batch in which NaN marks what a sample lacks, for :func:`marked_available` to read.

    nnU-Net's training step hands the network one tensor. NaN cannot be mistaken for an image, and a network that
    overlooks it has a loss of NaN, instead of learning silently from zeros.

    Args:
        x: ``(B, M + extra, *spatial)``; ``extra`` channels (the previous stage of a cascade) stay as they are.
        available: bool ``(B, M)``.

    Returns:
        ``(B, M + extra, *spatial)``
    """
    return _replaced(x, available, torch.nan)


def marked_available(x: Tensor, num_modalities: int) -> Tensor:
    """Return which modalities the samples of a marked batch have: bool ``(B, M)``, on the device of ``x``.

    Args:
        x: ``(B, M + extra, *spatial)`` from :func:`mark_absent`; without marks every modality is available.
        num_modalities: M.
    """
    return ~x[:, :num_modalities].flatten(2).isnan().all(2)  # an image with some NaN is damaged and must be noticed


def checked_available(available: Tensor, x: Tensor, num_modalities: int) -> Tensor:
    """Return ``available`` as bool on the CPU; reading it does not wait for the GPU where the caller made it there.

    Args:
        available: ``(B, M)``.
        x: the images, ``(B, M + extra, *spatial)``.
        num_modalities: M.

    Raises:
        ValueError: ``available`` has another shape, or a sample has no modality at all.
    """
    available = available.to("cpu", torch.bool)
    if available.shape != (len(x), num_modalities):
        raise ValueError(f"available must be (B, M) = {(len(x), num_modalities)}, got {tuple(available.shape)}")
    if not available.any(1).all():
        raise ValueError("a sample without any modality cannot be segmented")
    return available


def without_absent(x: Tensor, available: Tensor) -> Tensor:
    """Return ``x`` with zeros in place of the modalities that a sample lacks, NaN included.

    Args:
        x: ``(B, M + extra, *spatial)``; ``extra`` channels stay as they are.
        available: bool ``(B, M)``.

    Returns:
        ``(B, M + extra, *spatial)``
    """
    return _replaced(x, available, 0.0)


def _replaced(x: Tensor, available: Tensor, value: float) -> Tensor:
    M = available.shape[1]
    mask = available.to(x.device).view(*available.shape, *[1] * (x.ndim - 2))
    return torch.cat((torch.where(mask, x[:, :M], value), x[:, M:]), 1)
