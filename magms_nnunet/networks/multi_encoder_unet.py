"""One encoder per modality, mean fusion, one shared decoder (Figure 1 and section 2.1 of arXiv 2306.03730)."""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from magms_nnunet.networks.availability import checked_available, without_absent
from magms_nnunet.networks.detached_decoder import Encoder, detach_encoder
from magms_nnunet.networks.fusion import mean_fusion

Logits = Tensor | list[Tensor]
"""``(B, classes, *spatial)``; with deep supervision a list of them, highest resolution first."""


class BranchFeatures(NamedTuple):
    """The output of a training pass, for the decoder and for equations 1 and 2.

    Attributes:
        teacher: the fused features F~ of every level, highest resolution first.
        students: per modality the projected features F_m of every level.
        available: bool ``(B, M)``, on the CPU, which modalities each sample has; None: all.
    """

    teacher: list[Tensor]
    students: list[list[Tensor]]
    available: Tensor | None = None


class MultiEncoderUNet(nn.Module):
    """U-Net with an encoder per modality; predicts from any non-empty subset of them.

    All skips and the bottleneck are fused. Each modality has a 1x1x1 convolution without bias per level ("linear
    combination of features"), which also applies to a modality that is given alone.

    Args:
        encoders: one per modality, which differ in their weights only; each takes ``(B, 1 + extra, *spatial)`` and
            returns its skips, highest resolution first, bottleneck last (``PlainConvEncoder``, ``ResidualEncoder``).
        decoder: a ``UNetDecoder`` that was built for such an encoder.

    Attributes:
        recompute_encoders: whether, in training, each encoder keeps only its projected features and runs again in the
            backward pass: less memory, more time.
    """

    encoders: nn.ModuleList
    decoder: Any

    def __init__(self, *, encoders: list[Encoder], decoder: Any):
        super().__init__()
        first = encoders[0]
        self.encoders = nn.ModuleList(encoders)
        self.projections = nn.ModuleList(
            nn.ModuleList(first.conv_op(channels, channels, 1, bias=False) for channels in first.output_channels)
            for _ in encoders
        )
        for projection in self.projections.modules():
            if isinstance(projection, first.conv_op):
                nn.init.dirac_(projection.weight)  # starts as the U-Net that the plans describe
        self.decoder = detach_encoder(decoder, first)
        self.recompute_encoders = False

    @property
    def num_modalities(self) -> int:
        """M."""
        return len(self.encoders)

    def encode(self, x: Tensor, modality: int) -> list[Tensor]:
        """Return the projected features F_m of one modality.

        Args:
            x: ``(B, M + extra, *spatial)``; ``extra`` channels (the previous stage of a cascade) go to every encoder.
            modality: the channel to encode; the other modalities' channels are not read.

        Returns:
            One ``(B, C_l, *spatial_l)`` per level, highest resolution first, bottleneck last.
        """
        skips = self.encoders[modality](self.image(x, modality))
        projections: Any = self.projections[modality]
        return [projection(skip) for projection, skip in zip(projections, skips, strict=True)]

    def image(self, x: Tensor, modality: int) -> Tensor:
        """Return the input of an encoder: its modality and the shared channels, ``(B, 1 + extra, *spatial)``."""
        image = x[:, modality : modality + 1]
        if x.shape[1] > self.num_modalities:
            image = torch.cat((image, x[:, self.num_modalities :]), 1)
        return image

    def fuse(self, features: dict[int, list[Tensor]], available: Tensor | None = None) -> list[Tensor]:
        """Return the fused features of every level; arguments as in :func:`mean_fusion`, for each level."""
        levels = range(len(next(iter(features.values()))))
        return [mean_fusion({m: f[level] for m, f in features.items()}, available) for level in levels]

    def decode(self, features: list[Tensor]) -> Logits:
        """Return the logits from the features of every level, of one modality or fused."""
        return self.decoder(features)

    def forward(self, x: Tensor, available: Tensor | None = None) -> Logits | BranchFeatures:
        """Call :meth:`branches` in training and :meth:`segment` in eval.

        nnU-Net and ``DistributedDataParallel`` call this method only.

        Args:
            x: ``(B, M + extra, *spatial)``. Voxels of a modality that a sample lacks are never used, NaN included.
            available: bool ``(B, M)``, the modalities that each sample has. None: all.

        Raises:
            ValueError: ``available`` has another shape, or a sample has no modality at all.
        """
        return self.branches(x, available) if self.training else self.segment(x, available)

    def segment(self, x: Tensor, available: Tensor | None = None) -> Logits:
        """Return the logits of the fused branch; arguments and errors as for :meth:`forward`.

        The encoder of a modality that no sample has does not run.
        """
        modalities = list(range(self.num_modalities))
        if available is not None:
            available = checked_available(available, x, self.num_modalities)
            modalities = available.any(0).nonzero().flatten().tolist()
        x, available = self._masked(x, available, modalities)
        return self.decode(self.fuse({m: self.encode(x, m) for m in modalities}, available))

    def branches(self, x: Tensor, available: Tensor | None = None) -> BranchFeatures:
        """Return the features of all branches, which the loss decodes; arguments and errors as for :meth:`forward`.

        Every encoder runs. The encoder of an absent modality gets zeros, and the loss leaves that student out.
        """
        if available is not None:
            available = checked_available(available, x, self.num_modalities)
        x, available = self._masked(x, available, list(range(self.num_modalities)))
        features = {m: self._encode(x, m) for m in range(self.num_modalities)}
        return BranchFeatures(self.fuse(features, available), list(features.values()), available)

    def _masked(self, x: Tensor, available: Tensor | None, modalities: list[int]) -> tuple[Tensor, Tensor | None]:
        """Set absent modalities of ``x`` to 0; return it and ``available``, None where nothing is absent."""
        if available is None or available[:, modalities].all():
            return x, None
        return without_absent(x, available), available

    def _encode(self, x: Tensor, modality: int) -> list[Tensor]:
        if self.recompute_encoders:
            return checkpoint(self.encode, x, modality, use_reentrant=False)
        return self.encode(x, modality)

    def compute_conv_feature_map_size(self, input_size: tuple[int, ...]) -> int:
        """Count the voxels of all feature maps of one training pass; see :func:`conv_feature_map_size`."""
        return conv_feature_map_size(self.encoders[0], self.decoder, self.num_modalities, input_size)


def conv_feature_map_size(encoder: Encoder, decoder: Any, num_modalities: int, input_size: tuple[int, ...]) -> int:
    """Count the voxels of all feature maps of a training pass.

    These are M encoders, one decoder pass, and at each level M projections, their mean, and the gradients of these. Of
    the M + 1 decoder passes one counts, since each is differentiated before the next one begins. The gradients stand
    for the outputs of the normalisation, which nnU-Net's measure leaves out after every convolution that it counts.

    Args:
        encoder: one of the M encoders.
        decoder: the shared decoder.
        num_modalities: M.
        input_size: patch size in voxels, without batch and channels.
    """
    fusion = 0
    level_size = input_size
    for channels, strides in zip(encoder.output_channels, encoder.strides, strict=True):
        level_size = [size // stride for size, stride in zip(level_size, strides, strict=True)]
        fusion += (num_modalities + 1) * channels * int(np.prod(level_size, dtype=np.int64))
    return int(
        num_modalities * encoder.compute_conv_feature_map_size(input_size)
        + decoder.compute_conv_feature_map_size(input_size)
        + fusion
    )
