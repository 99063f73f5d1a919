"""Many subsets in one pass of the sliding window."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from magms_nnunet.modalities import Subset
from magms_nnunet.networks.any_subset_unet import AnySubsetUNet
from magms_nnunet.networks.multi_encoder_unet import MultiEncoderUNet


class SweepNetwork(nn.Module):
    """Presents a network for any subset to nnU-Net's sliding window as one whose classes are those of all subsets.

    The logits are those of one subset at a time. Where there is an encoder per modality, each tile is encoded once per
    modality, so that all 2^M - 1 subsets cost M encoder passes in place of M 2^(M - 1).

    Args:
        network: in eval mode.
        subsets: sorted channels each, in the order of the output.
        fast: whether to compute the decoder's linear part once per modality where features are averaged, and to average
            that: on a CPU about a sixth less time. The logits are then the same up to rounding.
    """

    def __init__(self, network: MultiEncoderUNet | AnySubsetUNet, subsets: Sequence[Subset], *, fast: bool = False):
        super().__init__()
        self.network: MultiEncoderUNet | AnySubsetUNet = network
        self.subsets = list(subsets)
        averages = getattr(type(network), "fuse", None) is MultiEncoderUNet.fuse
        self._shares_linear_parts = fast and averages and hasattr(network.decoder, "linear_parts")

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of all subsets, ``(B, subsets x classes, *spatial)``.

        Voxels of a modality reach the logits of those subsets only that have it.

        Args:
            x: ``(B, M + extra, *spatial)``.
        """
        if not isinstance(self.network, MultiEncoderUNet):
            return torch.cat([self.network(x, mask.expand(len(x), -1)) for mask in self._available()], 1)
        network: Any = self.network
        prepare: Callable[[list[Tensor]], list[Tensor]] = list
        decode: Callable[[list[Tensor]], Any] = network.decode
        if self._shares_linear_parts:
            prepare, decode = network.decoder.linear_parts, network.decoder.decode_linear_parts
        modalities = sorted({m for subset in self.subsets for m in subset})
        features = {m: prepare(network.encode(x, m)) for m in modalities}
        return torch.cat([decode(network.fuse({m: features[m] for m in s})) for s in self.subsets], 1)

    def _available(self) -> Tensor:
        """Return the modalities of each subset: bool ``(subsets, 1, M)``."""
        available = torch.zeros(len(self.subsets), 1, self.network.num_modalities, dtype=torch.bool)
        for row, subset in zip(available, self.subsets, strict=True):
            row[0, list(subset)] = True
        return available

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False):
        """Load the weights of the network inside: nnU-Net loads the checkpoint of each fold by this method.

        Args:
            state_dict: name -> tensor, of the network inside.
            strict: as for :meth:`torch.nn.Module.load_state_dict`.
            assign: as for :meth:`torch.nn.Module.load_state_dict`.
        """
        return self.network.load_state_dict(state_dict, strict, assign)
