"""A decoder's transposed convolution and the convolution behind it as one, for fewer multiplications.

nnU-Net upsamples, concatenates the skip and convolves. Nothing nonlinear lies between, so the convolution of the
upsampled half and the transposed convolution are one transposed convolution of the same stride with a larger kernel
(4 for 2 and 3). In 3-D these need 8 C_in C_out multiplications per voxel in place of C_in C_out + 27 C_out^2, nearly
half less for C_in = 2 C_out, and neither the upsampled features nor the concatenation are ever stored.
"""

from itertools import islice, product
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from magms_nnunet.cpu.convolution import uses_onednn

Upsampling = nn.ConvTranspose2d | nn.ConvTranspose3d
Convolution = nn.Conv2d | nn.Conv3d

_WORTH_IT = 4
"""The saving that is required, as a multiple of the cost of composing the kernels."""


def pays_to_merge(upsampling: Upsampling, convolution: Convolution, shape: tuple[int, ...]) -> bool:
    """Return whether :func:`merged_convolution` saves more than composing the kernels costs.

    Args:
        upsampling: nnU-Net's transposed convolution, whose kernel is its stride.
        convolution: of stride 1, with the upsampled features as the first half of its input.
        shape: of the skip, ``(B, C_out, *spatial)``.
    """
    below, channels = upsampling.in_channels, upsampling.out_channels
    kernel, stride = convolution.kernel_size, upsampling.stride
    size = shape[2:]
    if any(edge < k or k % 2 == 0 for edge, k in zip(size, kernel, strict=True)):
        return False
    if not uses_onednn(shape):
        return False
    taps = prod((s + k - 1) / s for s, k in zip(stride, kernel, strict=True))
    saved = prod(size) * (below * channels + prod(kernel) * channels**2 - taps * below * channels)
    return saved > _WORTH_IT * prod(kernel) * prod(stride) * below * channels**2


def convolved_skip(upsampling: Upsampling, convolution: Convolution, skip: Tensor) -> Tensor:
    """Return the part of the convolution that depends on the skip, with its bias; it is linear in ``skip``.

    Args:
        upsampling: transposed convolution whose output is concatenated with the skip.
        convolution: convolution of both.
        skip: ``(B, C_skip, *spatial)``.

    Returns:
        ``(B, C_out, *spatial)``
    """
    weight = convolution.weight[:, upsampling.out_channels :]
    return _convolve(skip, weight, convolution.bias, _padding(convolution))


def merged_convolution(upsampling: Upsampling, convolution: Convolution, x: Tensor, of_skip: Tensor) -> Tensor:
    """Compute ``convolution(cat(upsampling(x), skip))``, up to rounding.

    Args:
        upsampling: nnU-Net's transposed convolution, whose kernel is its stride.
        convolution: of stride 1 and odd kernel, which keeps the size.
        x: ``(B, C_in, *coarse)``.
        of_skip: output of :func:`convolved_skip`, ``(B, C_out, *spatial)``, of ``stride`` times that size.

    Returns:
        ``(B, C_out, *spatial)``
    """
    upsample = F.conv_transpose3d if x.ndim == 5 else F.conv_transpose2d
    weight, padding = convolution.weight[:, : upsampling.out_channels], _padding(convolution)
    # The response to an impulse: each of the transposed convolution's taps, spread by the mirrored convolution.
    kernel = upsample(upsampling.weight, weight.transpose(0, 1).flip(*range(2, weight.ndim)))
    inside = at_border = None
    if upsampling.bias is not None:
        # The convolution turns the bias into a constant, except at the border, beyond which it is 0.
        bias = upsampling.bias.view(1, -1, *[1] * (x.ndim - 2)).expand(1, -1, *convolution.kernel_size)
        response = _convolve(bias, weight, None, padding)
        middle = response[(..., *(slice(border, border + 1) for border in padding))]
        inside, at_border = middle.flatten(), response - middle
    result = upsample(x, kernel, inside, upsampling.stride, padding)
    result += of_skip
    return result if at_border is None else _AddToBorder.apply(result, at_border)


def _padding(convolution: Convolution) -> tuple[int, ...]:
    """Return the padding of a convolution of stride 1 and odd kernel that keeps the size."""
    return tuple(k // 2 for k in convolution.kernel_size)


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None, padding: tuple[int, ...]) -> Tensor:
    return (F.conv3d if x.ndim == 5 else F.conv2d)(x, weight, bias, 1, padding)


class _AddToBorder(torch.autograd.Function):
    """Adds, in place, a response at the border, given as that of an image of the size of the kernel."""

    @staticmethod
    def forward(ctx, x: Tensor, response: Tensor) -> Tensor:
        ctx.mark_dirty(x)
        ctx.kernel = response.shape[2:]
        for here, there in _border(x.shape[2:], ctx.kernel):
            x[here] += response[there]
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor]:
        of_response = gradient.new_zeros(1, gradient.shape[1], *ctx.kernel)
        for here, there in _border(gradient.shape[2:], ctx.kernel):
            part = of_response[there]
            part += gradient[here].sum_to_size(part.shape)
        return gradient, of_response


def _border(size: tuple[int, ...], kernel: tuple[int, ...]) -> list[tuple[tuple[slice, ...], tuple[slice, ...]]]:
    """Return the faces, edges and corners of an image, each with the part of a kernel-sized image that it repeats."""
    axes = []
    for edge, k in zip(size, kernel, strict=True):
        border = k // 2
        cuts = [(slice(border, edge - border), slice(border, border + 1))]
        if border:
            cuts += [(slice(border), slice(border)), (slice(edge - border, edge), slice(border + 1, k))]
        axes.append(cuts)
    everything = (slice(None), slice(None))
    return [
        ((*everything, *(here for here, _ in cuts)), (*everything, *(there for _, there in cuts)))
        for cuts in islice(product(*axes), 1, None)  # the first is the inside
    ]
