"""3-D convolutions that on a CPU take about half the time for a small single sample.

For float32 PyTorch takes its fast kernels, oneDNN's, only from a batch of two or from a certain size on, which it
reads from the first four dimensions: of ``(1, 1, 128, 128, 128)`` it sees 16,384 values, too few. So nearly every first
convolution of an encoder with one modality, and those of the coarse levels, go through a slow one.
"""

from math import prod

import torch
from torch import Tensor, nn

_WORTH_IT = 200
"""Voxels of the output below which the slow kernel is as fast."""


def uses_onednn(shape: tuple[int, ...]) -> bool:
    """Whether PyTorch convolves an input of this shape, ``(B, C, *spatial)``, with oneDNN's kernels on a CPU.

    This is the rule of ``use_mkldnn`` in PyTorch's ``aten/src/ATen/native/Convolution.cpp`` for kernels of 3 and one
    group. ``tests/cpu/test_convolution.py`` compares it with what the installed PyTorch chooses.
    """
    return shape[0] > 1 or prod(shape[:4]) > 20480


def on_plain_cpu(x: Tensor) -> bool:
    """Whether what is quicker on a CPU may be done; compiled and in mixed precision nothing of it was measured."""
    return x.device.type == "cpu" and not torch.is_autocast_enabled("cpu") and not torch.compiler.is_compiling()


class Conv3d(nn.Conv3d):
    """``nn.Conv3d`` that predicts with the fast kernel also where PyTorch does not choose it."""

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if isinstance(self.padding, tuple) and self._chooses_slow_kernel(x):
            return torch.mkldnn_convolution(x, weight, bias, self.padding, self.stride, self.dilation, self.groups)
        return super()._conv_forward(x, weight, bias)

    def _chooses_slow_kernel(self, x: Tensor) -> bool:
        if torch.is_grad_enabled() or not on_plain_cpu(x) or x.dtype != torch.float32:
            return False
        if x.ndim != 5 or uses_onednn(x.shape) or not _has_fast_kernels():
            return False
        voxels = prod(x.shape[2:]) // prod(self.stride)
        return max(self.kernel_size) > 1 and self.padding_mode == "zeros" and voxels >= _WORTH_IT


def _has_fast_kernels() -> bool:
    return bool(torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled)
