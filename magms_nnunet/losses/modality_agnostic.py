"""Equation 2 (arXiv 2306.03730): the fused branch's loss plus every modality's loss of equation 1."""

import torch
from torch import Tensor, nn

from magms_nnunet.losses.distillation import feature_distance, kl_bernoulli, kl_softmax
from magms_nnunet.networks.multi_encoder_unet import BranchOutputs, Logits

Target = Tensor | list[Tensor]
"""``(B, 1, *spatial)`` labels, or ``(B, regions [+ 1 for ignore], *spatial)``; with deep supervision a list."""


class ModalityAgnosticLoss(nn.Module):
    """DC(y, f~) + sum over m of [DC(y, f_m) + lambda KL(f~ || f_m) + gamma ||F_m - F~||^2].

    DC is nnU-Net's own Dice and cross entropy loss, at every scale of deep supervision; KL is taken at full
    resolution. A term whose weight is 0 is not computed. Voxels with the ignore label count in neither.

    Args:
        segmentation_loss: DC, called with logits and target as nnU-Net's trainer does.
        regions: the outputs are sigmoids (region-based training).
        ignore_label: value of voxels without annotation, or None. With regions the target's last channel marks them.
        kl_weight: lambda.
        feature_weight: gamma.
        temperature: of the KL term, for teacher and student.
        teacher_gradient: let the distillation terms reach the teacher; else it is detached there.

    Attributes:
        last_terms: the terms of the last training step, as :meth:`terms` returns them, detached; for the log.
    """

    def __init__(
        self,
        segmentation_loss: nn.Module,
        *,
        regions: bool = False,
        ignore_label: int | None = None,
        kl_weight: float = 1.0,
        feature_weight: float = 1.0,
        temperature: float = 1.0,
        teacher_gradient: bool = False,
    ):
        super().__init__()
        self.segmentation_loss = segmentation_loss
        self.regions = regions
        self.ignore_label = ignore_label
        self.kl_weight = kl_weight
        self.feature_weight = feature_weight
        self.temperature = temperature
        self.teacher_gradient = teacher_gradient
        self.last_terms: Tensor | None = None

    def forward(self, output: BranchOutputs | Logits, target: Target) -> Tensor:
        """Scalar loss; of plain logits (validation) DC alone."""
        if not isinstance(output, BranchOutputs):
            return self.segmentation_loss(output, target)
        terms = self.terms(output, target)
        self.last_terms = terms.detach()
        return terms.sum()

    def terms(self, output: BranchOutputs, target: Target) -> Tensor:
        """The weighted terms, ``(M + 1, 3)``: columns DC, KL, features; row 0 the teacher, row 1 + m modality m."""
        teacher, teacher_features = _full_resolution(output.teacher), output.teacher_features
        if not self.teacher_gradient:
            teacher, teacher_features = teacher.detach(), [feature.detach() for feature in teacher_features]
        if self.feature_weight:
            teacher_features = [feature.float() for feature in teacher_features]  # once for all students
        mask = self._counted_voxels(_full_resolution(target))
        divergence = kl_bernoulli if self.regions else kl_softmax
        none = torch.zeros((), device=teacher.device)
        rows = [self.segmentation_loss(output.teacher, target), none, none]
        for student, features in zip(output.students, output.student_features, strict=True):
            kl = distance = none
            if self.kl_weight:
                kl = divergence(teacher, _full_resolution(student), temperature=self.temperature, mask=mask)
            if self.feature_weight:
                distance = feature_distance(teacher_features, features)
            rows += [self.segmentation_loss(student, target), self.kl_weight * kl, self.feature_weight * distance]
        return torch.stack([term.float() for term in rows]).view(-1, 3)

    def _counted_voxels(self, target: Tensor) -> Tensor | None:
        if self.ignore_label is None:
            return None
        if self.regions:
            return ~target[:, -1:].bool()
        return target != self.ignore_label


def _full_resolution(scales: Tensor | list[Tensor]) -> Tensor:
    return scales if isinstance(scales, Tensor) else scales[0]
