import pytest
import torch
from torch import nn

from magms_nnunet.cpu.instance_norm import InstanceNorm2d, InstanceNorm3d


@pytest.mark.parametrize(
    ("ours", "pytorch"), [(InstanceNorm2d, nn.InstanceNorm2d), (InstanceNorm3d, nn.InstanceNorm3d)]
)
@pytest.mark.parametrize("affine", [True, False])
def test_values_and_gradients_are_pytorchs(ours, pytorch, affine):
    dim = 2 if pytorch is nn.InstanceNorm2d else 3
    a, b = ours(5, eps=1e-5, affine=affine), pytorch(5, eps=1e-5, affine=affine)
    if affine:
        nn.init.normal_(b.weight)
        nn.init.normal_(b.bias)
        a.load_state_dict(b.state_dict())
    x = (3 + 2 * torch.randn(2, 5, *[6] * dim)).requires_grad_()
    same_x = x.detach().clone().requires_grad_()
    out, expected = a(x), b(same_x)
    torch.testing.assert_close(out, expected)
    weights = torch.randn_like(out)
    (out * weights).sum().backward()
    (expected * weights).sum().backward()
    for p, q in zip((x, *a.parameters()), (same_x, *b.parameters()), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize(("norm", "size"), [(InstanceNorm3d, (64, 64, 64)), (InstanceNorm2d, (512, 512))])
def test_channels_last_features_are_normalised_as_exactly(norm, size, affine):
    """PyTorch's own kernels for this layout are off by 1e-4 already at this size."""
    layer = norm(8, affine=affine)
    if affine:
        nn.init.normal_(layer.weight)
        nn.init.normal_(layer.bias)
    x = 3 + 2 * torch.randn(2, 8, *size)
    layout = torch.channels_last_3d if len(size) == 3 else torch.channels_last
    with torch.inference_mode():
        out = layer(x.contiguous(memory_format=layout))
        assert out.is_contiguous(memory_format=layout)
        torch.testing.assert_close(out, layer.double()(x.double()).float(), rtol=0, atol=1e-5)


def test_channels_last_features_in_mixed_precision_are_left_to_pytorch():
    layer, x = InstanceNorm3d(4), 3 + torch.randn(1, 4, 16, 16, 16)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        out = layer(x.contiguous(memory_format=torch.channels_last_3d))
    torch.testing.assert_close(out, layer(x).detach(), rtol=0, atol=1e-5)


def test_half_precision_is_left_to_pytorch():
    """Its group normalisation rounds more than its instance normalisation."""
    x = (3 + 2 * torch.randn(2, 4, 16, 16, 16)).bfloat16()
    assert torch.equal(InstanceNorm3d(4)(x), nn.InstanceNorm3d(4)(x))


def test_a_single_sample_needs_no_axis_of_its_own():
    x = 3 + torch.randn(4, 16, 16, 16)
    torch.testing.assert_close(InstanceNorm3d(4, affine=True)(x), nn.InstanceNorm3d(4, affine=True)(x))


def test_input_of_another_dimension_is_an_error():
    with pytest.raises(ValueError, match="expected 4D or 5D"):
        InstanceNorm3d(3)(torch.zeros(1, 3))
