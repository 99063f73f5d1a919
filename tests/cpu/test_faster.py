from dynamic_network_architectures.building_blocks.unet_decoder import UNetDecoder
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from torch import nn

from magms_nnunet.cpu.convolution import Conv3d
from magms_nnunet.cpu.decoder import Decoder, PointwiseConv3d
from magms_nnunet.cpu.faster import faster_on_cpu
from magms_nnunet.cpu.instance_norm import InstanceNorm2d, InstanceNorm3d
from tests.networks.conftest import configuration


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv3d(1, 4, 3), nn.Conv2d(4, 4, 1), nn.ConvTranspose3d(4, 4, 2), nn.InstanceNorm3d(4), nn.BatchNorm3d(4)
        )
        self.layers.append(nn.InstanceNorm2d(4))
        self.projections = nn.ModuleList([nn.Conv3d(4, 4, 1, bias=False)])


def test_layers_are_replaced_and_keep_their_weights():
    network = Network()
    before = network.state_dict()
    faster = faster_on_cpu(network)
    assert faster is network
    assert [type(layer) for layer in faster.layers] == [
        *(Conv3d, nn.Conv2d, nn.ConvTranspose3d, InstanceNorm3d, nn.BatchNorm3d, InstanceNorm2d)
    ]
    assert type(faster.projections[0]) is PointwiseConv3d
    after = faster.state_dict()
    assert after.keys() == before.keys()
    assert all(a.data_ptr() == b.data_ptr() for a, b in zip(before.values(), after.values(), strict=True))


def test_nnunets_decoder_is_replaced_and_others_are_not():
    plans = configuration(1)
    unet = get_network_from_plans(
        plans.network_arch_class_name,
        plans.network_arch_init_kwargs,
        plans.network_arch_init_kwargs_req_import,
        1,
        2,
        deep_supervision=False,
    )
    assert type(unet.decoder) is UNetDecoder
    weights = unet.decoder.state_dict()
    assert type(faster_on_cpu(unet).decoder) is Decoder
    assert unet.decoder.state_dict().keys() == weights.keys()
    network = nn.Module()
    network.decoder = nn.Identity()
    assert type(faster_on_cpu(network).decoder) is nn.Identity
