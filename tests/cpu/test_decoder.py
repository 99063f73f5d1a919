import copy

import pytest
import torch
from dynamic_network_architectures.building_blocks.unet_decoder import UNetDecoder
from torch import nn

from magms_nnunet.cpu.decoder import Decoder, channels_last_if_quicker
from magms_nnunet.cpu.merged_convolution import pays_to_merge
from tests.networks.conftest import configuration


@pytest.fixture
def pair():
    """pair(dim, unet, deep_supervision, anisotropic) -> nnU-Net and our decoder made of a copy of its decoder."""
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    def make(dim=3, unet="PlainConvUNet", deep_supervision=False, anisotropic=False):
        plans = configuration(1, dim, unet, anisotropic)
        stock = get_network_from_plans(
            plans.network_arch_class_name,
            plans.network_arch_init_kwargs,
            plans.network_arch_init_kwargs_req_import,
            1,
            3,
            allow_init=True,
            deep_supervision=deep_supervision,
        )
        for parameter in stock.parameters():
            nn.init.normal_(parameter, std=0.2)  # biases, too
        del stock.decoder.encoder  # whose weights are the encoder's
        return stock, Decoder(copy.deepcopy(stock.decoder))

    return make


@pytest.mark.parametrize("unet", ["PlainConvUNet", "ResidualEncoderUNet"])
@pytest.mark.parametrize(("dim", "size"), [(3, 32), (2, 128)])
@pytest.mark.parametrize("deep_supervision", [False, True])
@pytest.mark.parametrize("anisotropic", [False, True])
def test_logits_and_gradients_are_nnunets(pair, dim, size, unet, deep_supervision, anisotropic):
    stock, decoder = pair(dim, unet, deep_supervision, anisotropic)
    features = stock.encoder(torch.randn(2, 1, *[size] * dim))
    for logits, expected in zip(*(_as_list(one(features)) for one in (decoder, stock.decoder)), strict=True):
        torch.testing.assert_close(logits, expected, rtol=1e-3, atol=1e-4)
    scale = max(float(logits.detach().abs().max()) for logits in _as_list(stock.decoder(features)))
    own, stocks = (
        torch.autograd.grad(
            sum(logits.square().mean() for logits in _as_list(one(features))),
            [*features, *one.parameters()],
            retain_graph=True,
            allow_unused=True,
        )
        for one in (decoder, stock.decoder)
    )
    for gradient, expected in zip(own, stocks, strict=True):
        if expected is None:  # deep supervision's, where it is switched off
            assert gradient is None
        else:
            torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-3 * scale)


def _as_list(logits):
    return logits if isinstance(logits, list) else [logits]


@pytest.mark.parametrize(("dim", "size"), [(3, 32), (2, 128)])
@pytest.mark.parametrize("anisotropic", [False, True])
def test_prediction_is_that_of_training_up_to_rounding(pair, dim, size, anisotropic):
    stock, decoder = pair(dim, anisotropic=anisotropic)
    features = [feature.detach() for feature in stock.encoder(torch.randn(2, 1, *[size] * dim))]
    assert pays_to_merge(decoder.transpconvs[-1], decoder.stages[-1].convs[0].conv, features[0].shape)
    expected = decoder(features)
    with torch.inference_mode():
        logits = decoder(features)
    assert logits.is_contiguous()
    torch.testing.assert_close(logits, expected, rtol=1e-3, atol=1e-4)


def test_linear_parts_are_linear_and_decode_to_the_same_logits(pair):
    stock, decoder = pair()
    with torch.inference_mode():
        one, two = (stock.encoder(torch.randn(2, 1, 32, 32, 32)) for _ in range(2))
        middle = [(a + b) / 2 for a, b in zip(one, two, strict=True)]
        parts = [(a + b) / 2 for a, b in zip(decoder.linear_parts(one), decoder.linear_parts(two), strict=True)]
        assert [part.shape for part in parts] == [feature.shape for feature in middle]
        torch.testing.assert_close(decoder.decode_linear_parts(parts), decoder(middle), rtol=1e-3, atol=1e-4)


def test_mixed_precision_is_left_to_nnunet(pair):
    stock, decoder = pair()
    features = stock.encoder(torch.randn(1, 1, 32, 32, 32))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(decoder(features), stock.decoder(features))


def test_weights_have_nnunets_names(pair):
    stock, decoder = pair()
    assert list(decoder.state_dict()) == list(stock.decoder.state_dict())
    assert isinstance(decoder, UNetDecoder)  # nnU-Net switches deep supervision on and off by its attribute


def test_large_features_change_their_layout_in_prediction_only():
    large, small = torch.zeros(2, 4, 24, 24, 24), torch.zeros(2, 4, 12, 12, 12)
    assert channels_last_if_quicker(large) is large
    with torch.inference_mode():
        assert channels_last_if_quicker(large).is_contiguous(memory_format=torch.channels_last_3d)
        assert channels_last_if_quicker(small).is_contiguous()
        assert channels_last_if_quicker(large[:1]).is_contiguous()  # which PyTorch would convolve slowly
        assert channels_last_if_quicker(torch.zeros(1, 4, 128, 128)).is_contiguous(memory_format=torch.channels_last)
