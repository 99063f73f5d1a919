"""nnU-Net's decoder, faster on a CPU."""

from math import prod

import torch
from dynamic_network_architectures.building_blocks.unet_decoder import UNetDecoder
from torch import Tensor, nn

from magms_nnunet.cpu.convolution import on_plain_cpu, uses_onednn
from magms_nnunet.cpu.merged_convolution import (
    Convolution,
    Upsampling,
    convolved_skip,
    merged_convolution,
    pays_to_merge,
)

_LARGE = 10_000
"""Voxels from which on a CPU convolves channels-last features faster."""


class Decoder(UNetDecoder):
    """``UNetDecoder`` with the same weights and the same logits, up to rounding, at less cost on a CPU.

    Where that is faster, the upsampling and the first convolution of a stage are one (``merged_convolution.py``), and
    in prediction large features are channels-last. On other devices, compiled or in mixed precision it is nnU-Net's.

    Args:
        decoder: whose layers are used.
    """

    def __init__(self, decoder: UNetDecoder):
        nn.Module.__init__(self)
        self.__dict__ |= decoder.__dict__  # its layers and its settings

    def forward(self, features: list[Tensor]) -> Tensor | list[Tensor]:
        """Return logits ``(B, classes, *spatial)``; with deep supervision those of every resolution, highest first.

        Args:
            features: ``(B, C_l, *spatial_l)`` of every level, highest resolution first, bottleneck last.
        """
        return self.decode_linear_parts(self.linear_parts(features))

    def linear_parts(self, features: list[Tensor]) -> list[Tensor]:
        """Return the part of the decoder's output that depends on the skips alone and is linear in them.

        From its average over modalities, :meth:`decode_linear_parts` computes the logits of the averaged features, up
        to rounding.
        """
        if not on_plain_cpu(features[0]):
            return features
        *skips, bottleneck = features
        parts = [
            convolved_skip(*layers, channels_last_if_quicker(skip)) if pays_to_merge(*layers, skip.shape) else skip
            for skip, layers in zip(skips, reversed(self._linear_layers()), strict=True)
        ]
        return [*parts, bottleneck]

    def decode_linear_parts(self, parts: list[Tensor]) -> Tensor | list[Tensor]:
        """Return logits as :meth:`forward` does, from :meth:`linear_parts`."""
        if not on_plain_cpu(parts[0]):
            return super().forward(parts)
        *parts, x = parts
        logits = []
        for stage, (layers, part) in enumerate(zip(self._linear_layers(), reversed(parts), strict=True)):
            blocks = self.stages[stage]
            if pays_to_merge(*layers, part.shape):
                x = merged_convolution(*layers, x.contiguous(memory_format=_layout_of(part)), part)
                for layer in (*blocks.convs[0].all_modules[1:], *blocks.convs[1:]):
                    x = layer(x)
            else:
                x = blocks(torch.cat((layers[0](x), part), 1))
            if self.deep_supervision or part is parts[0]:
                logits.append(self.seg_layers[stage](x).contiguous())
        return logits[::-1] if self.deep_supervision else logits[0]

    def _linear_layers(self) -> list[tuple[Upsampling, Convolution]]:
        """Return the upsampling of every stage and the convolution behind it, lowest resolution first."""
        return [(up, blocks.convs[0].conv) for up, blocks in zip(self.transpconvs, self.stages, strict=True)]


class _Pointwise(nn.Module):
    """A convolution with a kernel of 1 whose input gets the layout that is fastest on a CPU."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve ``x``, ``(B, C, *spatial)``."""
        return super().forward(channels_last_if_quicker(x))


class PointwiseConv2d(_Pointwise, nn.Conv2d):
    """``nn.Conv2d`` of one pixel, for the skips of an encoder."""


class PointwiseConv3d(_Pointwise, nn.Conv3d):
    """``nn.Conv3d`` of one voxel, for the skips of an encoder."""


def channels_last_if_quicker(features: Tensor) -> Tensor:
    """Return the features of one level in the layout that is fastest on a CPU; in training they are unchanged."""
    if torch.is_grad_enabled() or not on_plain_cpu(features):
        return features
    if prod(features.shape[2:]) < _LARGE or not uses_onednn(features.shape):
        return features
    return features.contiguous(memory_format=_channels_last(features))


def _layout_of(x: Tensor) -> torch.memory_format:
    channels_last = _channels_last(x)
    return channels_last if x.is_contiguous(memory_format=channels_last) else torch.contiguous_format


def _channels_last(x: Tensor) -> torch.memory_format:
    return torch.channels_last_3d if x.ndim == 5 else torch.channels_last
