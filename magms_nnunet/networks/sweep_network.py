"""Many subsets in one pass: each modality is encoded once, then fused and decoded for every subset."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from magms_nnunet.modalities import Subset
from magms_nnunet.networks.decoder import Decoder
from magms_nnunet.networks.multi_encoder_unet import MultiEncoderUNet


class SweepNetwork(nn.Module):
    """A multi-encoder network seen by nnU-Net's sliding window as one whose classes are those of all subsets.

    All 2^M - 1 subsets cost M encoder passes in place of M 2^(M - 1), and the logits are those of one by one.

    Args:
        network: in eval mode.
        subsets: sorted channels each, in the order of the output.
        fast: where features are averaged, also apply once per modality what the decoder does to them before anything
            nonlinear, and average that: on a CPU about a sixth less time. The logits are then the same up to rounding.
    """

    def __init__(self, network: MultiEncoderUNet, subsets: Sequence[Subset], *, fast: bool = False):
        super().__init__()
        self.network = network
        self.subsets = list(subsets)
        averages = type(network).fuse is MultiEncoderUNet.fuse and isinstance(network.decoder, Decoder)
        self._shares_linear_parts = fast and averages

    def forward(self, x: Tensor) -> Tensor:
        """``(B, subsets x classes, *spatial)`` of ``x``, ``(B, M + extra, *spatial)``.

        Voxels of a modality reach the logits of those subsets only that have it.
        """
        network, prepare, decode = self.network, list, self.network.decode
        if self._shares_linear_parts:
            prepare, decode = network.decoder.linear_parts, network.decoder.decode_linear_parts
        modalities = sorted({m for subset in self.subsets for m in subset})
        features = {m: prepare(network.encode(x, m)) for m in modalities}
        return torch.cat([decode(network.fuse({m: features[m] for m in s})) for s in self.subsets], 1)

    def load_state_dict(self, state_dict: dict, *args, **kwargs):
        """Weights of the network itself: nnU-Net loads each fold's checkpoint through this."""
        return self.network.load_state_dict(state_dict, *args, **kwargs)
