import copy

import pytest
import torch
from torch import nn

from magms_nnunet.networks.conditional_norm import make_conditional

AVAILABLE = torch.tensor([[True, False, True], [True, True, True]])


def conditional(dim=3, channels=5, random=True):
    layer = (nn.InstanceNorm2d if dim == 2 else nn.InstanceNorm3d)(channels, affine=True)
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    network = nn.Sequential(layer)
    plain = copy.deepcopy(layer)
    condition = make_conditional(network, 3)
    condition.tell(AVAILABLE)
    if random:
        nn.init.normal_(layer.modulation.weight)
    return layer, plain, condition


def by_hand(layer, plain, x):
    """From PyTorch's layer without weights."""
    axes = tuple(range(2, x.ndim))
    means = x.mean(axes)
    means = (means - means.mean(1, keepdim=True)) / (means.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    absent = torch.tensor([[0.0, 1, 0], [0, 0, 0]])
    change = torch.cat((absent, means), 1) @ layer.modulation.weight.T
    scale, shift = (part.view(2, -1, *[1] * len(axes)) for part in change.chunk(2, 1))
    weight, bias = (p.view(1, -1, *[1] * len(axes)) for p in (plain.weight, plain.bias))
    normalised = nn.functional.instance_norm(x, eps=plain.eps)
    return normalised * (weight + scale) + bias + shift


@pytest.mark.parametrize("dim", [2, 3])
def test_at_first_it_is_the_layer_that_it_was_made_of(dim):
    layer, plain, _ = conditional(dim, random=False)
    x = 3 + 2 * torch.randn(2, 5, *[6] * dim)
    assert isinstance(layer, type(plain))
    torch.testing.assert_close(layer(x), plain(x))
    assert list(layer.state_dict()) == ["weight", "bias", "modulation.weight"]


@pytest.mark.parametrize("dim", [2, 3])
def test_scale_and_shift_depend_on_the_modalities_and_on_the_means(dim):
    layer, plain, _ = conditional(dim)
    x = (3 + 2 * torch.randn(2, 5, *[6] * dim)).requires_grad_()
    same_x = x.detach().clone().requires_grad_()
    out, expected = layer(x), by_hand(layer, plain, same_x)
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-4)
    weights = torch.randn_like(out)
    (out * weights).sum().backward()
    of_layer, layer.modulation.weight.grad = layer.modulation.weight.grad, None
    (expected * weights).sum().backward()
    torch.testing.assert_close(x.grad, same_x.grad, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(of_layer, layer.modulation.weight.grad, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("dim", "layout"), [(2, torch.channels_last), (3, torch.channels_last_3d)])
def test_prediction_in_channels_last_gives_the_same(dim, layout):
    layer, _, _ = conditional(dim)
    x = 3 + 2 * torch.randn(2, 5, *[16] * dim)
    with torch.inference_mode():
        expected = layer(x)
        out = layer(x.contiguous(memory_format=layout))
        assert out.is_contiguous(memory_format=layout)
        torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-4)


def test_mixed_precision_leaves_scale_and_shift_in_full_precision():
    layer, plain, _ = conditional()
    x = (3 + 2 * torch.randn(2, 5, 8, 8, 8)).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(x)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), by_hand(layer, plain, x.float()), rtol=0.02, atol=0.05)


def test_samples_that_nothing_was_told_of_are_complete():
    layer, _, condition = conditional()
    x = torch.randn(2, 5, 6, 6, 6)
    condition.tell(torch.ones(2, 3, dtype=torch.bool))
    complete = layer(x)
    condition.absent = None
    assert torch.equal(layer(x), complete)


def test_a_copy_of_a_network_has_a_condition_of_its_own():
    layer, _, condition = conditional()
    network = nn.Sequential(layer)
    network.condition = condition
    other = copy.deepcopy(network)
    other.condition.tell(~AVAILABLE)
    assert torch.equal(layer.condition.absent[0], torch.tensor([0.0, 1, 0]))
    assert torch.equal(other[0].condition.absent[0], torch.tensor([1.0, 0, 1]))


def test_other_normalisations_stay_what_they_are():
    running = nn.InstanceNorm3d(2, affine=True, track_running_stats=True)
    network = nn.Sequential(nn.InstanceNorm3d(2), nn.BatchNorm3d(2), running)
    before = [type(layer) for layer in network]
    make_conditional(network, 3)
    assert [type(layer) for layer in network] == before


def test_input_of_another_dimension_is_an_error():
    layer, _, _ = conditional()
    with pytest.raises(ValueError, match="expected 4D or 5D"):
        layer(torch.zeros(2, 5))
