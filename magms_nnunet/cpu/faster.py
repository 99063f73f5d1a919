"""Replaces the layers of a network by faster ones; the only function of this package that others need."""

from typing import TypeVar

from dynamic_network_architectures.building_blocks.unet_decoder import UNetDecoder
from torch import nn

from magms_nnunet.cpu.convolution import Conv3d
from magms_nnunet.cpu.decoder import Decoder, PointwiseConv2d, PointwiseConv3d
from magms_nnunet.cpu.instance_norm import InstanceNorm2d, InstanceNorm3d

Network = TypeVar("Network", bound=nn.Module)

_LAYERS: dict[type, type] = {
    nn.Conv3d: Conv3d,
    nn.InstanceNorm2d: InstanceNorm2d,
    nn.InstanceNorm3d: InstanceNorm3d,
}
_PROJECTIONS: dict[type, type] = {nn.Conv2d: PointwiseConv2d, nn.Conv3d: PointwiseConv3d}


def faster_on_cpu(network: Network) -> Network:
    """Return the network itself, with faster layers in place of PyTorch's and nnU-Net's.

    The weights and their names stay, and results agree up to rounding. nnU-Net derives the number of dimensions
    from PyTorch's own classes while it builds a network, so layers are replaced after that.

    Args:
        network: made of nnU-Net's parts. Its ``projections``, if it has any, are the 1x1x1 convolutions of skips.
    """
    for layer in getattr(network, "projections", nn.Module()).modules():
        if type(layer) in _PROJECTIONS:
            layer.__class__ = _PROJECTIONS[type(layer)]
    for layer in network.modules():
        if type(layer) in _LAYERS:
            layer.__class__ = _LAYERS[type(layer)]
    if type(getattr(network, "decoder", None)) is UNetDecoder:
        network.decoder = Decoder(network.decoder)
    return network
