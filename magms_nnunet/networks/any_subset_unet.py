"""One U-Net for every subset of the modalities, which are the channels of one image."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from magms_nnunet.networks.availability import checked_available, marked_available, without_absent
from magms_nnunet.networks.conditional_norm import make_conditional
from magms_nnunet.networks.decision_offset import DecisionOffset
from magms_nnunet.networks.detached_decoder import Encoder, detach_encoder
from magms_nnunet.networks.linear_estimate import LinearEstimate


class SubsetLogits(NamedTuple):
    """The output of a training pass, for the loss.

    Attributes:
        logits: ``(B, outputs, *spatial)``; with deep supervision a list of them, highest resolution first.
        available: bool ``(B, M)``, the modalities that each sample was seen from.
    """

    logits: Tensor | list[Tensor]
    available: Tensor


class AnySubsetUNet(nn.Module):
    """The U-Net of the plans, told which modalities a sample lacks.

    Absent modalities are estimated from the others, the normalisations are conditional, and so is the decision.

    Args:
        encoder: takes ``(B, M + extra, *spatial)`` and returns its skips (``PlainConvEncoder``, ``ResidualEncoder``).
        decoder: a ``UNetDecoder`` that was built for it.
        num_modalities: M.
        num_outputs: classes or regions.
    """

    encoder: Encoder
    decoder: Any

    def __init__(self, *, encoder: Encoder, decoder: Any, num_modalities: int, num_outputs: int):
        super().__init__()
        self.encoder = encoder
        self.decoder = detach_encoder(decoder, encoder)
        self.estimate = LinearEstimate(num_modalities)
        self.decision_offset = DecisionOffset(num_modalities, num_outputs)
        self.num_modalities = num_modalities
        self._condition = make_conditional(self, num_modalities)

    def forward(self, x: Tensor, available: Tensor | None = None) -> Tensor | list[Tensor] | SubsetLogits:
        """Return the logits with their offsets in eval, and :class:`SubsetLogits` in training.

        Args:
            x: ``(B, M + extra, *spatial)``. Voxels of a modality that a sample lacks are never used, NaN included.
            available: bool ``(B, M)``. None: in training as the batch is marked (``availability.py``), in eval
                all.

        Raises:
            ValueError: ``available`` has another shape, or a sample has no modality at all.
        """
        if available is not None:
            available = checked_available(available, x, self.num_modalities).to(x.device)
        elif self.training:
            available = marked_available(x, self.num_modalities)
        else:
            available = torch.ones(len(x), self.num_modalities, dtype=torch.bool, device=x.device)
        self._condition.tell(available)
        logits = self.decoder(self.encoder(self.estimate(without_absent(x, available), available)))
        if self.training:
            return SubsetLogits(logits, available)
        if isinstance(logits, Tensor):
            return self.decision_offset(logits, available)
        return [self.decision_offset(logits[0], available), *logits[1:]]

    def compute_conv_feature_map_size(self, input_size: tuple[int, ...]) -> int:
        """Count the voxels of all feature maps of one training pass, nnU-Net's measure of memory."""
        return self.encoder.compute_conv_feature_map_size(input_size) + self.decoder.compute_conv_feature_map_size(
            input_size
        )
