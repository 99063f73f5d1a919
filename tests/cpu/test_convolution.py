import pytest
import torch
from torch import nn

from magms_nnunet.cpu.convolution import Conv3d, uses_onednn

FAST = "aten::mkldnn_convolution"


def pair(*args, **kwargs):
    """PyTorch's layer and ours with its weights."""
    stock = nn.Conv3d(*args, **kwargs)
    ours = Conv3d(*args, **kwargs)
    ours.load_state_dict(stock.state_dict())
    return stock, ours


def operators(layer, x):
    """What PyTorch ran."""
    with torch.profiler.profile() as profile:
        layer(x)
    return {event.key for event in profile.key_averages()}


@pytest.mark.parametrize(
    ("layer", "size"),
    [
        (pair(1, 8, 3, padding=1), (24, 24, 24)),
        (pair(1, 8, (1, 3, 3), padding=(0, 1, 1), bias=False), (5, 24, 24)),
        (pair(16, 8, 3, 2, 1), (14, 13, 12)),
        (pair(16, 16, 3, padding=2, dilation=2), (8, 7, 6)),
    ],
    ids=["first of an encoder", "thick slices", "strided", "dilated"],
)
def test_a_small_sample_takes_the_fast_kernel_and_keeps_its_values(layer, size):
    stock, ours = layer
    image = torch.randn(1, 9 + stock.in_channels, *(edge + 5 for edge in size))
    window = (slice(2, edge + 2) for edge in size)  # as the sliding window cuts it
    x = image[(slice(None), slice(4, 4 + stock.in_channels), *window)]
    with torch.inference_mode():
        torch.testing.assert_close(ours(x), stock(x), rtol=1e-4, atol=1e-5)
        assert FAST in operators(ours, x)


def same_operators(stock, ours, x):
    return operators(stock, x) == operators(ours, x)


def test_training_is_left_to_pytorch():
    stock, ours = pair(1, 8, 3, padding=1)
    assert same_operators(stock, ours, torch.randn(1, 1, 24, 24, 24))


@pytest.mark.parametrize("size", [(1, 8, 4, 4, 4), (8, 24, 24, 24), (2, 8, 24, 24, 24)])
@torch.inference_mode()
def test_what_it_would_not_speed_up_is_left_to_pytorch(size):
    """Few voxels; a sample without an axis of its own; a batch."""
    stock, ours = pair(8, 8, 3, padding=1)
    assert same_operators(stock, ours, torch.randn(size))


@pytest.mark.parametrize("kwargs", [{"kernel_size": 1}, {"kernel_size": 3, "padding_mode": "reflect", "padding": 1}])
@torch.inference_mode()
def test_other_kinds_are_left_to_pytorch(kwargs):
    stock, ours = pair(1, 8, **kwargs)
    assert same_operators(stock, ours, torch.randn(1, 1, 24, 24, 24))


@torch.inference_mode()
def test_other_precisions_and_a_pytorch_without_these_kernels_are_left_alone(monkeypatch):
    stock, ours = pair(1, 8, 3, padding=1)
    x = torch.randn(1, 1, 24, 24, 24)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(ours(x), stock(x))
    assert same_operators(stock.double(), ours.double(), x.double())
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    assert same_operators(stock.float(), ours.float(), x)


@pytest.mark.parametrize(
    "shape",
    [
        (1, 1, 128, 128, 128),
        (1, 1, 144, 143, 9),
        (1, 4, 71, 72, 8),
        (1, 4, 71, 73, 8),
        (1, 320, 8, 8, 8),
        (2, 1, 4, 4, 4),
    ],
)
def test_the_rule_for_onednn_is_that_of_the_installed_pytorch(shape):
    """At the threshold, 20,480 values in the first four dimensions, and on both sides of it."""
    weight = torch.zeros(8, shape[1], 3, 3, 3)
    ones, zeros = (1, 1, 1), (0, 0, 0)
    backend = torch._C._select_conv_backend(torch.zeros(shape), weight, None, ones, ones, ones, False, zeros, 1, [8])
    assert uses_onednn(shape) == (backend == torch._C._ConvBackend.Mkldnn)
