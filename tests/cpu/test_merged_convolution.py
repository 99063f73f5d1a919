import pytest
import torch
from torch import nn

from magms_nnunet.cpu.merged_convolution import convolved_skip, merged_convolution, pays_to_merge

CONVOLUTIONS = {2: (nn.ConvTranspose2d, nn.Conv2d), 3: (nn.ConvTranspose3d, nn.Conv3d)}
CASES = {
    "isotropic": ((2, 2, 2), (3, 3, 3), (4, 5, 6)),
    "thick slices": ((1, 2, 2), (1, 3, 3), (3, 5, 4)),
    "thick slices, kernel through them": ((1, 2, 2), (3, 3, 3), (3, 5, 4)),
    "2-D": ((2, 2), (3, 3), (5, 6)),
    "large kernel": ((2, 4), (5, 3), (5, 6)),
}


def layers(stride, kernel, bias=True, below=6, channels=4):
    transposed, conv = CONVOLUTIONS[len(stride)]
    upsampling = transposed(below, channels, stride, stride, bias=bias)
    convolution = conv(2 * channels, channels, kernel, 1, [(k - 1) // 2 for k in kernel], bias=bias)
    return upsampling.double(), convolution.double()


def merged(upsampling, convolution, x, skip):
    return merged_convolution(upsampling, convolution, x, convolved_skip(upsampling, convolution, skip))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("stride", "kernel", "coarse"), CASES.values(), ids=CASES)
def test_values_and_gradients_are_those_of_one_after_the_other(stride, kernel, coarse, bias):
    upsampling, convolution = layers(stride, kernel, bias)
    x = torch.randn(2, 6, *coarse, dtype=torch.float64, requires_grad=True)
    size = [n * s for n, s in zip(coarse, stride, strict=True)]
    skip = torch.randn(2, 4, *size, dtype=torch.float64, requires_grad=True)
    inputs = [x, skip, *upsampling.parameters(), *convolution.parameters()]
    expected = convolution(torch.cat((upsampling(x), skip), 1))
    out = merged(upsampling, convolution, x, skip)
    torch.testing.assert_close(out, expected)
    weights = torch.randn_like(out)
    for own, stock in zip(
        torch.autograd.grad((out * weights).sum(), inputs),
        torch.autograd.grad((expected * weights).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(own, stock)


@pytest.mark.parametrize(
    ("shape", "pays"),
    [
        ((1, 32, 48, 48, 48), True),
        ((2, 32, 12, 12, 12), False),  # composing the kernels would cost more
        ((1, 32, 1, 4000, 4000), False),  # thinner than the kernel
        ((2, 32, 32, 32, 32), True),
        ((1, 8, 48, 48, 48), False),  # PyTorch's slow kernels
    ],
)
def test_it_is_done_where_it_pays(shape, pays):
    assert pays_to_merge(*layers((2, 2, 2), (3, 3, 3), below=64, channels=32), shape) is pays


def test_an_even_kernel_is_left_alone():
    assert not pays_to_merge(*layers((2, 2, 2), (2, 2, 2), below=64, channels=32), (2, 32, 48, 48, 48))
