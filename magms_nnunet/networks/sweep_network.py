"""Many subsets in one pass: each modality is encoded once, then fused and decoded for every subset."""

from collections.abc import Sequence

import torch
from dynamic_network_architectures.building_blocks.unet_decoder import UNetDecoder
from torch import Tensor, nn

from magms_nnunet.modalities import Subset
from magms_nnunet.networks.mean_decoding import decode_means, linear_parts
from magms_nnunet.networks.multi_encoder_unet import MultiEncoderUNet


class SweepNetwork(nn.Module):
    """A multi-encoder network seen by nnU-Net's sliding window as one whose classes are those of all subsets.

    All 2^M - 1 subsets cost M encoder passes in place of M 2^(M - 1), and where features are averaged two thirds of the
    decoder's; the logits are those of one by one, up to rounding.

    Args:
        network: in eval mode.
        subsets: sorted channels each, in the order of the output.
    """

    def __init__(self, network: MultiEncoderUNet, subsets: Sequence[Subset]):
        super().__init__()
        self.network = network
        self.subsets = list(subsets)
        averages = type(network).fuse is MultiEncoderUNet.fuse
        self.decodes_means = averages and isinstance(network.decoder, UNetDecoder)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, subsets x classes, *spatial)`` of ``x``, ``(B, M + extra, *spatial)``.

        Voxels of a modality reach the logits of those subsets only that have it.
        """
        network = self.network
        modalities = sorted({m for subset in self.subsets for m in subset})
        if self.decodes_means:
            parts = {m: linear_parts(network.decoder, network.encode(x, m)) for m in modalities}
            return torch.cat(decode_means(network.decoder, parts, self.subsets), 1)
        features = {m: network.encode(x, m) for m in modalities}
        return torch.cat([network.decode(network.fuse({m: features[m] for m in s})) for s in self.subsets], 1)

    def load_state_dict(self, state_dict: dict, *args, **kwargs):
        """Weights of the network itself: nnU-Net loads each fold's checkpoint through this."""
        return self.network.load_state_dict(state_dict, *args, **kwargs)
