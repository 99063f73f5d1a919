"""Presents a network for any subset to nnU-Net's sliding window as a network of some of its modalities."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from magms_nnunet.modalities import Subset
from magms_nnunet.networks.any_subset_unet import AnySubsetUNet
from magms_nnunet.networks.multi_encoder_unet import Logits, MultiEncoderUNet


class SubsetNetwork(nn.Module):
    """Takes only the channels of a subset, so that voxels of other modalities cannot reach it.

    Args:
        network: in eval mode.
        subset: sorted channels, at least one.
    """

    def __init__(self, network: MultiEncoderUNet | AnySubsetUNet, subset: Subset):
        super().__init__()
        self.network = network
        self.subset = list(subset)

    def forward(self, x: Tensor) -> Logits:
        """Return logits.

        Args:
            x: ``(B, len(subset) + extra, *spatial)``; ``extra`` is the previous stage of a cascade."""
        M, given = self.network.num_modalities, len(self.subset)
        if given == M:
            return self.network(x)
        full = x.new_zeros(len(x), M + x.shape[1] - given, *x.shape[2:])
        full[:, self.subset] = x[:, :given]
        full[:, M:] = x[:, given:]
        available = torch.zeros(len(x), M, dtype=torch.bool)
        available[:, self.subset] = True
        return self.network(full, available)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False):
        """Load the weights of the network inside: nnU-Net loads the checkpoint of each fold by this method.

        Args:
            state_dict: name -> tensor, of the network inside.
            strict: as for :meth:`torch.nn.Module.load_state_dict`.
            assign: as for :meth:`torch.nn.Module.load_state_dict`.
        """
        return self.network.load_state_dict(state_dict, strict, assign)
