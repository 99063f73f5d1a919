"""3-D convolutions that take about half the time for a small single sample on a CPU.

For float32 PyTorch uses its fast kernels, those of oneDNN, only for a batch of two or more or above a certain size,
which it computes from the first four dimensions: ``(1, 1, 128, 128, 128)`` counts as 16,384 values, too few. So nearly
every first convolution of an encoder with one modality, and those of the coarse levels, use a slow kernel.
"""

from math import prod

import torch
from torch import Tensor, nn

_WORTH_IT = 200
"""Voxels of the output below which the slow kernel is as fast."""


def uses_onednn(shape: tuple[int, ...]) -> bool:
    """Return whether PyTorch convolves an input of this shape, ``(B, C, *spatial)``, with oneDNN on a CPU.

    This is the rule of ``use_mkldnn`` in PyTorch's ``aten/src/ATen/native/Convolution.cpp`` for kernels of 3 and one
    group. ``tests/cpu/test_convolution.py`` compares it with the choice of the installed PyTorch.
    """
    return shape[0] > 1 or prod(shape[:4]) > 20480


def on_plain_cpu(x: Tensor) -> bool:
    """Return whether the faster layers apply; they were measured neither compiled nor in mixed precision."""
    return x.device.type == "cpu" and not torch.is_autocast_enabled("cpu") and not torch.compiler.is_compiling()


class Conv3d(nn.Conv3d):
    """``nn.Conv3d`` that predicts with the fast kernel also where PyTorch would choose the slow one."""

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
