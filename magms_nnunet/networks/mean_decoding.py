"""Decodes the mean of many sets of features, for about two thirds of what decoding each mean would cost.

The first convolution of a decoder's stage sees the upsampled features beside the skips, and is linear in the skips; so
is the transposed convolution in the bottleneck. What they make of a mean is the mean of what they make of each
modality, which is computed once, for however many subsets.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from dynamic_network_architectures.building_blocks.unet_decoder import UNetDecoder
from torch import Tensor, nn

from magms_nnunet.modalities import Subset
from magms_nnunet.networks.fusion import mean

_STAGES_ONE_BY_ONE = 2
"""The last ones, whose feature maps are large; the others decode all subsets as one batch."""


def linear_parts(decoder: UNetDecoder, features: list[Tensor]) -> list[Tensor]:
    """What the decoder's linear layers make of one modality's features.

    Args:
        decoder: nnU-Net's.
        features: one ``(B, C_l, *spatial_l)`` per level, highest resolution first, bottleneck last.

    Returns:
        Per level the same; of the bottleneck its upsampled features.
    """
    *skips, bottleneck = features
    parts = []
    for skip, stage in zip(skips, reversed(decoder.stages), strict=True):
        conv = _first_convolution(stage)
        parts.append(_convolve(conv, skip, conv.weight[:, -skip.shape[1] :], bias=None))
    return [*parts, decoder.transpconvs[0](bottleneck)]


def decode_means(decoder: UNetDecoder, parts: dict[int, list[Tensor]], subsets: Sequence[Subset]) -> list[Tensor]:
    """Logits of full resolution, for each subset those of the mean of its modalities' features.

    Args:
        decoder: nnU-Net's.
        parts: modality -> its :func:`linear_parts`.
        subsets: of the modalities in ``parts``.

    Returns:
        ``(B, classes, *spatial)`` for each subset.
    """
    *coarse, last = range(len(decoder.stages))
    coarse, fine = coarse[: 1 - _STAGES_ONE_BY_ONE], [*coarse[1 - _STAGES_ONE_BY_ONE :], last]
    batch = next(iter(parts.values()))[0].shape[0]
    x = torch.cat([mean([parts[m][-1] for m in subset]) for subset in subsets])
    for stage in coarse:
        x = _decode_stage(decoder, stage, x, parts, subsets)
    logits = []
    for subset, of_subset in zip(subsets, x.split(batch), strict=True):
        for stage in fine:
            of_subset = _decode_stage(decoder, stage, of_subset, parts, [subset])
        logits.append(decoder.seg_layers[-1](of_subset))
    return logits


def _decode_stage(
    decoder: UNetDecoder, stage: int, x: Tensor, parts: dict[int, list[Tensor]], subsets: Sequence[Subset]
) -> Tensor:
    """One stage of the decoder for all subsets, ``(subsets x B, C, *spatial)``."""
    if stage > 0:
        x = decoder.transpconvs[stage](x)
    blocks = decoder.stages[stage].convs
    conv, *others = blocks[0].all_modules
    x = _convolve(conv, x, conv.weight[:, : x.shape[1]], conv.bias)
    batch = len(x) // len(subsets)
    for i, subset in enumerate(subsets):
        for m in subset:
            x[i * batch : (i + 1) * batch].add_(parts[m][-stage - 2], alpha=1 / len(subset))
    for layer in (*others, *blocks[1:]):
        x = layer(x)
    return x


def _first_convolution(stage: nn.Module) -> nn.Module:
    return stage.convs[0].conv


def _convolve(conv: nn.Module, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The convolution with some of its weights."""
    function = F.conv3d if weight.ndim == 5 else F.conv2d
    return function(x, weight, bias, conv.stride, conv.padding, conv.dilation)
