"""Many subsets in one pass: each modality is encoded once, then fused and decoded for every subset."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from magms_nnunet.modalities import Subset
from magms_nnunet.networks.multi_encoder_unet import MultiEncoderUNet


class SweepNetwork(nn.Module):
    """A multi-encoder network seen by nnU-Net's sliding window as one whose classes are those of all subsets.

    All 2^M - 1 subsets cost M encoder passes in place of M 2^(M - 1), and give the same logits as one by one.

    Args:
        network: in eval mode.
        subsets: sorted channels each, in the order of the output.
    """

    def __init__(self, network: MultiEncoderUNet, subsets: Sequence[Subset]):
        super().__init__()
        self.network = network
        self.subsets = list(subsets)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, subsets x classes, *spatial)`` of ``x``, ``(B, M + extra, *spatial)``.

        Voxels of a modality reach the logits of those subsets only that have it.
        """
        network = self.network
        features = {m: network.encode(x, m) for m in sorted({m for subset in self.subsets for m in subset})}
        return torch.cat([network.decode(network.fuse({m: features[m] for m in s})) for s in self.subsets], 1)

    def load_state_dict(self, state_dict: dict, *args, **kwargs):
        """Weights of the network itself: nnU-Net loads each fold's checkpoint through this."""
        return self.network.load_state_dict(state_dict, *args, **kwargs)
