"""HeMIS: fusion by the mean and the variance of the modalities' features (Havaei et al., arXiv 1607.05194)."""

from typing import Any

import torch
from torch import Tensor, nn

from magms_nnunet.networks.availability import checked_available, marked_available, without_absent
from magms_nnunet.networks.detached_decoder import Encoder
from magms_nnunet.networks.fusion import mean_fusion
from magms_nnunet.networks.multi_encoder_unet import Logits, MultiEncoderUNet


def mean_and_variance(features: dict[int, Tensor], available: Tensor | None = None) -> Tensor:
    """Return the first two moments over the available modalities, for each sample.

    The variance divides by the number of modalities minus 1, and is 0 where a sample has only one (section 2 of the
    paper).

    Args:
        features: as in :func:`magms_nnunet.networks.fusion.mean_fusion`.
        available: as in :func:`magms_nnunet.networks.fusion.mean_fusion`.

    Returns:
        ``(B, 2 C, *spatial)``, the means first.
    """
    mean = mean_fusion(features, available)
    if available is None:
        available = torch.ones(len(mean), max(features) + 1, dtype=torch.bool)
    weights = available[:, list(features)].to(mean.device, mean.dtype)
    weights = weights / (weights.sum(1, keepdim=True) - 1).clamp(min=1)
    per_voxel = (-1, *[1] * (mean.ndim - 1))
    terms = [(f - mean).square() * weights[:, i].view(per_voxel) for i, f in enumerate(features.values())]
    return torch.cat((mean, torch.stack(terms).sum(0)), 1)


class HeMISUNet(MultiEncoderUNet):
    """A U-Net with an encoder per modality, whose decoder gets mean and variance of the features at every level.

    The original is a shallow 2-D network that fuses once. This one has the encoders and the decoder of the plans, as
    every other system that is compared with it; a 1x1x1 convolution per level takes the 2 C moments to the C channels
    that the decoder was built for. In training NaN marks the modalities that a sample lacks (``availability.py``).

    Args:
        encoders: as for :class:`MultiEncoderUNet`.
        decoder: as for :class:`MultiEncoderUNet`.
    """

    def __init__(self, *, encoders: list[Encoder], decoder: Any):
        super().__init__(encoders=encoders, decoder=decoder)
        del self.projections
        conv = encoders[0].conv_op
        self.abstraction = nn.ModuleList(conv(2 * channels, channels, 1) for channels in encoders[0].output_channels)

    def encode(self, x: Tensor, modality: int) -> list[Tensor]:
        """Return the features of one modality at every level; see :meth:`MultiEncoderUNet.encode`."""
        return self.encoders[modality](self.image(x, modality))

    def fuse(self, features: dict[int, list[Tensor]], available: Tensor | None = None) -> list[Tensor]:
        """Return the fused features of every level; see :meth:`MultiEncoderUNet.fuse`."""
        levels = range(len(self.abstraction))
        moments = [mean_and_variance({m: f[level] for m, f in features.items()}, available) for level in levels]
        return [abstraction(level) for abstraction, level in zip(self.abstraction, moments, strict=True)]

    def forward(self, x: Tensor, available: Tensor | None = None) -> Logits:
        """Return logits; arguments as for :class:`MultiEncoderUNet`, but in training None means the batch's marks."""
        if not self.training:
            return self.segment(x, available)
        if available is None:
            available = marked_available(x, self.num_modalities)
        else:
            available = checked_available(available, x, self.num_modalities)
        x = without_absent(x, available)
        return self.decode(self.fuse({m: self.encode(x, m) for m in range(self.num_modalities)}, available))
