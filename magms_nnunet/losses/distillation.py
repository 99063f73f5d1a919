"""The two distillation terms of equation 1 (arXiv 2306.03730): KL of the outputs, L2 of the features.

Both compare a student (one modality) with the teacher (all modalities fused). Whether the teacher receives gradients is
the caller's decision: detach it there.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def kl_softmax(teacher: Tensor, student: Tensor, *, temperature: float = 1.0, mask: Tensor | None = None) -> Tensor:
    """Return KL(teacher || student) of softmax outputs, summed over classes, averaged over voxels, times T^2.

    The temperature divides the logits of both sides; T^2 keeps the gradient's size (Hinton et al., arXiv 1503.02531).

    Args:
        teacher: logits ``(B, C, *spatial)``.
        student: logits of the same shape.
        temperature: T > 0.
        mask: bool ``(B, 1, *spatial)``, the voxels that count; None: all.

    Returns:
        Scalar, float32; 0 where no voxel counts.
    """
    log_p = F.log_softmax(teacher.float() / temperature, 1)
    log_q = F.log_softmax(student.float() / temperature, 1)
    return _mean_over_voxels(log_p.exp() * (log_p - log_q), mask) * temperature**2


def kl_bernoulli(teacher: Tensor, student: Tensor, *, temperature: float = 1.0, mask: Tensor | None = None) -> Tensor:
    """Return KL(teacher || student) of independent sigmoid outputs, one per region.

    Args:
        teacher: logits ``(B, C, *spatial)``.
        student: logits of the same shape.
        temperature: divides both logits.
        mask: bool ``(B, 1, *spatial)``, the voxels that count; None: all.
    """
    t, s = teacher.float() / temperature, student.float() / temperature
    p = torch.sigmoid(t)
    kl = p * (F.logsigmoid(t) - F.logsigmoid(s)) + (1 - p) * (F.logsigmoid(-t) - F.logsigmoid(-s))
    return _mean_over_voxels(kl, mask) * temperature**2


def _mean_over_voxels(kl: Tensor, mask: Tensor | None) -> Tensor:
    """Sum over classes, and average over the voxels that count."""
    per_voxel = kl.sum(1, keepdim=True)
    if mask is None:
        return per_voxel.mean()
    return torch.where(mask, per_voxel, 0.0).sum() / mask.sum().clamp(min=1)


def feature_distance(teacher: list[Tensor], student: list[Tensor]) -> Tensor:
    """Return the mean squared difference of the features at each level, averaged over levels.

    A mean, in place of the sum of the norm, keeps gamma = 1 meaningful at any patch size and width.

    Args:
        teacher: one ``(B, C_l, *spatial_l)`` per level.
        student: features of the same shapes.

    Returns:
        Scalar, float32.
    """
    levels = [F.mse_loss(s.float(), t.float()) for t, s in zip(teacher, student, strict=True)]
    return torch.stack(levels).mean()
