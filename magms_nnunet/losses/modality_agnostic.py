"""Equation 2 (arXiv 2306.03730): the fused branch's loss plus every modality's loss of equation 1."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, overload

import torch
import torch.distributed as dist
from torch import Tensor, nn

from magms_nnunet.losses.backward_per_branch import backward_per_branch
from magms_nnunet.losses.distillation import feature_distance, kl_bernoulli, kl_softmax
from magms_nnunet.losses.targets import Target, counted_voxels, full_resolution
from magms_nnunet.networks.multi_encoder_unet import BranchFeatures, Logits


class ModalityAgnosticLoss(nn.Module):
    """Decode every branch with the network's decoder, and differentiate each while the loss is computed.

    The loss owns the decoder: the network returns features, and ``forward`` takes the gradient of each branch before
    it decodes the next one, so that the activations of only one branch are in memory. The value is equation 2,

        DC(y, f~) + sum over m of [DC(y, f_m) + lambda KL(f~ || f_m) + gamma ||F_m - F~||^2].

    DC is nnU-Net's own Dice and cross entropy loss, at every scale of deep supervision; KL is taken at full
    resolution. A term whose weight is 0 is not computed. Voxels with the ignore label count in neither.

    Where samples lack modalities, the fused branch uses those that each sample has. The DC of a modality is taken over
    the samples that have it, its distillation over those that have another modality, too. Where several processes
    compute the Dice of a batch together, each of them needs all of its samples: those without the modality count as
    background that was found, which adds nothing to the Dice and lowers the mean of the cross entropy.

    Args:
        segmentation_loss: DC, called with logits and target as nnU-Net's trainer does.
        decoder: of the network, from the features of every level to logits.
        regions: whether the outputs are sigmoids (region-based training).
        ignore_label: value of voxels without annotation, or None. With regions the target's last channel marks them.
        kl_weight: lambda.
        feature_weight: gamma.
        temperature: of the KL term, for teacher and student.
        teacher_gradient: whether the distillation terms reach the teacher, which is detached otherwise. If so, all
            branches are differentiated together.
        students_per_step: K of the M students, drawn at random for each call, with their terms multiplied by M / K.

    Attributes:
        last_terms: of the last training step, ``(M + 1, 3)``, detached, for the log: columns DC, KL, features, with
            their weights; row 0 the teacher, row 1 + m modality m, 0 where it was not drawn or no sample has it.
        distillation: factor of lambda and gamma, which a trainer may raise from 0 to 1.
        modality_weights: factor of each modality's terms, None: 1 for all.
        gradient_scale: see :func:`backward_per_branch`.
    """

    def __init__(
        self,
        segmentation_loss: nn.Module,
        decoder: nn.Module,
        *,
        regions: bool = False,
        ignore_label: int | None = None,
        kl_weight: float = 1.0,
        feature_weight: float = 1.0,
        temperature: float = 1.0,
        teacher_gradient: bool = False,
        students_per_step: int | None = None,
    ):
        super().__init__()
        self.segmentation_loss = segmentation_loss
        self.decoder = decoder
        self.regions = regions
        self.ignore_label = ignore_label
        self.kl_weight = kl_weight
        self.feature_weight = feature_weight
        self.temperature = temperature
        self.teacher_gradient = teacher_gradient
        self.students_per_step = students_per_step
        self.distillation = 1.0
        self.modality_weights: Sequence[float] | None = None
        self.last_terms: Tensor | None = None
        self.gradient_scale: Tensor | None = None

    def forward(self, output: BranchFeatures | Logits, target: Target) -> Tensor:
        """Return the scalar loss; for plain logits (validation) DC alone."""
        if not isinstance(output, BranchFeatures):
            return self.segmentation_loss(output, target)
        M, levels = len(output.students), len(output.teacher)
        drawn = self._drawn_students(M, output.teacher[0].device)
        weights = [M / len(drawn) * (1.0 if self.modality_weights is None else self.modality_weights[m]) for m in drawn]

        def terms(features: list[Tensor]) -> Iterator[Tensor]:
            branches = [features[start : start + levels] for start in range(0, len(features), levels)]
            available = None if output.available is None else output.available[:, drawn]
            several = None if output.available is None else output.available.sum(1) > 1
            return self._terms(branches[0], branches[1:], weights, target, available, several)

        features = [*output.teacher, *(feature for m in drawn for feature in output.students[m])]
        if self.teacher_gradient or not torch.is_grad_enabled():
            rows = torch.stack(list(terms(features)))
            loss = rows.sum()
        else:
            parameters = [p for p in self.decoder.parameters() if p.requires_grad]
            loss, rows = backward_per_branch(terms, features, parameters, self.gradient_scale)
        self.last_terms = rows.new_zeros(M + 1, 3)
        self.last_terms[[0, *(1 + m for m in drawn)]] = rows.detach()
        return loss

    def _shared_dice(self) -> bool:
        """Whether all processes compute the Dice together, from samples in equal numbers."""
        together = dist.is_available() and dist.is_initialized()
        return together and any(getattr(part, "batch_dice", False) for part in self.segmentation_loss.modules())

    def _drawn_students(self, M: int, device: torch.device) -> list[int]:
        if self.students_per_step is None or self.students_per_step >= M:
            return list(range(M))
        drawn = torch.randperm(M, device=device)[: self.students_per_step]
        if (
            dist.is_available() and dist.is_initialized()
        ):  # all processes draw the same, since a Dice over the whole batch is that of one modality
            dist.broadcast(drawn, 0)
        return sorted(drawn.tolist())

    def _terms(
        self,
        teacher_features: list[Tensor],
        students: list[list[Tensor]],
        weights: Sequence[float],
        target: Target,
        available: Tensor | None,
        several: Tensor | None,
    ) -> Iterator[Tensor]:
        """Yield a row of terms for the teacher, then one for each student.

        Args:
            weights: of the students.
            available: bool ``(B, K)``, the samples that have the students' modalities; None: all.
            several: bool ``(B,)``, the samples that have more than one modality; None: all.
        """
        logits = self.decoder(teacher_features)
        none = torch.zeros((), device=teacher_features[0].device)
        yield self._row(self.segmentation_loss(logits, target), none, none)
        teacher_logits, teacher = _detached(logits), full_resolution(logits)
        if not self.teacher_gradient:
            teacher, teacher_features = teacher.detach(), [feature.detach() for feature in teacher_features]
        kl_weight, feature_weight = self.distillation * self.kl_weight, self.distillation * self.feature_weight
        if feature_weight:
            teacher_features = [feature.float() for feature in teacher_features]  # once for all students
        mask = counted_voxels(full_resolution(target), self.ignore_label, self.regions)
        divergence = kl_bernoulli if self.regions else kl_softmax
        shared_dice = self._shared_dice()
        for k, (features, weight) in enumerate(zip(students, weights, strict=True)):
            kl = distance = none
            rows = None if available is None else available[:, k]
            if rows is not None and not rows.any():
                dc = 0 * features[-1].float().mean()
                if shared_dice:
                    empty, nothing = _nothing_to_segment(teacher_logits, target, self.regions)
                    dc = self.segmentation_loss(_map(lambda scale, dc=dc: scale + dc, empty), nothing)
                yield weight * self._row(dc, none, none)
                continue
            logits = self.decoder(_of(features, rows))
            taught = None if rows is None or several is None else rows & several
            if taught is None or taught.any():
                of_logits = None if rows is None or taught is None else taught[rows]
                if kl_weight:
                    student = _of(full_resolution(logits), of_logits)
                    kl = divergence(_of(teacher, taught), student, temperature=self.temperature, mask=_of(mask, taught))
                if feature_weight:
                    distance = feature_distance(_of(teacher_features, taught), _of(features, taught))
            segmented, reference = logits, _of(target, rows)
            if rows is not None and shared_dice and not rows.all():
                empty, reference = _nothing_to_segment(teacher_logits, target, self.regions)
                segmented, reference = _put(empty, rows, logits), _put(reference, rows, _of(target, rows))
            dc = self.segmentation_loss(segmented, reference)
            yield weight * self._row(dc, kl_weight * kl, feature_weight * distance)

    @staticmethod
    def _row(dc: Tensor, kl: Tensor, distance: Tensor) -> Tensor:
        return torch.stack([dc.float(), kl.float(), distance.float()])


@overload
def _of(tensors: Tensor, rows: Tensor | None) -> Tensor: ...


@overload
def _of(tensors: list[Tensor], rows: Tensor | None) -> list[Tensor]: ...


@overload
def _of(tensors: None, rows: Tensor | None) -> None: ...


def _of(tensors: Tensor | list[Tensor] | None, rows: Tensor | None) -> Tensor | list[Tensor] | None:
    """Select samples of one tensor or of each tensor in a list; ``rows``: bool ``(B,)``, None: all."""
    if tensors is None or rows is None or rows.all():
        return tensors
    if isinstance(tensors, list):
        return [_of(tensor, rows) for tensor in tensors]
    return tensors[rows.to(tensors.device)]


def _detached(logits: Tensor | list[Tensor]) -> Tensor | list[Tensor]:
    return logits.detach() if isinstance(logits, Tensor) else [scale.detach() for scale in logits]


def _map(function: Callable[..., Tensor], *scales: Tensor | list[Tensor]) -> Tensor | list[Tensor]:
    """Apply a function to tensors, or to the tensors of each scale in lists."""
    if isinstance(scales[0], Tensor):
        return function(*scales)
    return [function(*tensors) for tensors in zip(*scales, strict=True)]


def _put(into: Tensor | list[Tensor], rows: Tensor, samples: Tensor | list[Tensor]) -> Tensor | list[Tensor]:
    """Return ``into`` with other samples in its ``rows``, bool ``(B,)``."""
    return _map(lambda all_of, some: all_of.index_put((rows.to(some.device),), some.to(all_of)), into, samples)


def _nothing_to_segment(like: Tensor | list[Tensor], target: Target, regions: bool) -> tuple[Any, Target]:
    """Return logits of pure background, shaped as ``like``, and a target to match, for samples without a modality."""

    def background(scale: Tensor) -> Tensor:
        logits = scale.new_full(scale.shape, -100.0)
        if not regions:
            logits[:, 0] = 100.0
        return logits

    return _map(background, like), _map(torch.zeros_like, target)
